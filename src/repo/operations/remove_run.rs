//! `remove_run`: removal of RUN collections with their datasets and files.

use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use super::collections::unlink;
use super::prune::{PruneMode, empty_trash, leftovers, removals};
use crate::error::{Error, Kind, Result};
use crate::model::collection::{Collection, CollectionType, Collections};
use crate::model::glob;
use crate::registry::collections::load;
use crate::registry::removal::{self, Impact, Scope};
use crate::repo::changeset::changes::DeleteCollection;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Removes RUN collections with their datasets and files.
#[derive(Debug)]
pub(crate) struct RemoveRun {
    /// A name or a glob.
    pub name: String,
    /// True to remove runs that are children of chains, and whose datasets are tagged or certified.
    pub force: bool,
}

#[async_trait]
impl Operation for RemoveRun {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        repo.check_datastore()?;
        let mut total = leftovers(&repo).await?;
        let all = load(&repo.registry).await?;
        let is_pattern = glob::is_pattern(&self.name);
        if all.find(&self.name).is_none() && !is_pattern {
            let mut set = empty_trash(&total);
            set.record("collection", Status::Absent, &self.name, 1);
            return Ok(set.into_plan());
        }
        let chosen = all.select(std::slice::from_ref(&self.name))?;
        if let Some(other) = chosen.iter().find(|c| c.kind != CollectionType::Run && !is_pattern) {
            let message =
                format!("collection '{}' is {}, not RUN: remove_collection removes it", other.name, other.kind);
            return Err(Error::new(Kind::Conflict, message));
        }
        let runs: Vec<&Collection> = chosen.into_iter().filter(|c| c.kind == CollectionType::Run).collect();
        context.progress.begin("remove_run", None);
        let mut sets = Vec::new();
        for run in &runs {
            let scope = Scope::Run(run.name.clone());
            let impact = removal::impact(&repo.registry, &scope).await?;
            if !self.force {
                check_unused(&all, run, &impact)?;
            }
            let mut set = ChangeSet::default();
            set.set_completed(impact.datasets.values().sum(), impact.bytes);
            set.extend(unlink(&all, &[&run.name], &[]));
            removals(&mut set, &scope, &impact, PruneMode::Purge);
            set.push(DeleteCollection { name: run.name.clone(), kind: run.kind });
            total.files += impact.files;
            total.bytes += impact.bytes;
            sets.push(set);
        }
        sets.push(empty_trash(&total));
        Ok(stream::iter(sets.into_iter().map(Ok)).boxed())
    }
}

/// Checks that nothing else refers to a run or its datasets.
fn check_unused(all: &Collections, run: &Collection, impact: &Impact) -> Result<()> {
    let mut uses = Vec::new();
    let mut names = |what: &str, found: Vec<String>| {
        if !found.is_empty() {
            uses.push(format!("{what} {}", found.join(", ")));
        }
    };
    let quoted = |name: &String| format!("'{name}'");
    names("it is a child of", all.parents(&run.name).iter().map(|parent| quoted(&parent.name)).collect());
    names("its datasets are tagged in", impact.tags.keys().map(quoted).collect());
    names("its datasets are certified in", impact.certifications.keys().map(quoted).collect());
    if uses.is_empty() {
        return Ok(());
    }
    let message = format!("cannot remove run '{}': {}; force => true removes this too", run.name, uses.join(", "));
    Err(Error::new(Kind::Conflict, message))
}
