//! `remove_orphans` and `refresh_summaries`: removal of what interrupted or old writers left.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;

use crate::error::{Error, Result};
use crate::registry::removal::stale_summaries;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{RefreshSummaries, RemoveOrphans, recorded};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::store::Location;

/// Removes files of the datastore that no record names: the orphans of `check_files`.
#[derive(Debug)]
pub(crate) struct CleanOrphans {
    /// Files that were modified later are kept: another writer may be about to record them.
    pub min_age: Duration,
}

#[async_trait]
impl Operation for CleanOrphans {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        repo.check_datastore()?;
        let root = Location::parse(&repo.datastore_root())?;
        let given: HashSet<String> = read_texts(context.rows, "uri").await?.into_iter().collect();
        let mut files = Vec::new();
        for uri in given {
            let file = Location::parse(&uri)?;
            if file.strip_prefix(&root).is_none() {
                let message = format!("file '{uri}' is not in the datastore '{}'", root.display());
                return Err(Error::invalid(message));
            }
            files.push(file);
        }
        files.sort_by_key(Location::uri);
        let mut set = ChangeSet::default();
        let known = recorded(&repo.registry, &root, &files).await?;
        set.record("file", Status::Unchanged, "a record names it", known.len() as u64);
        files.retain(|file| !known.contains(&file.uri()));
        let mut old = Vec::new();
        let (mut young, mut absent) = (0, 0);
        for file in files {
            match file.modified().await? {
                None => absent += 1,
                Some(at) if (Utc::now() - at).to_std().unwrap_or_default() < self.min_age => young += 1,
                Some(_) => old.push(file),
            }
        }
        set.record("file", Status::Absent, "", absent);
        set.record("file", Status::Unchanged, "it is younger than min_age", young);
        let mut sets = vec![Ok(set)];
        if !old.is_empty() {
            let mut set = ChangeSet::default();
            set.push(Change::Standalone(Box::new(RemoveOrphans { root, files: old })));
            sets.push(Ok(set));
        }
        Ok(Box::pin(futures::stream::iter(sets)))
    }
}

/// Deletes summaries of dataset types that collections no longer hold.
#[derive(Debug)]
pub(crate) struct CleanSummaries;

#[async_trait]
impl Operation for CleanSummaries {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let mut set = ChangeSet::default();
        for (dataset_type, count) in stale_summaries(&repo.registry).await? {
            set.push(RefreshSummaries { dataset_type, count });
        }
        Ok(set.into_plan())
    }
}
