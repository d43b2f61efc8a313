//! `register_collection` and `remove_collection`: creation and removal of collections.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::model::glob;
use crate::registry::collections::load;
use crate::repo::Repo;
use crate::repo::changeset::changes::{CreateCollection, DeleteCollection};
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Checks the type of a collection.
///
/// # Errors
/// `Kind::Conflict` for a collection of another type.
pub(super) fn check(name: &str, kind: CollectionType, wanted: CollectionType) -> Result<()> {
    if kind == wanted {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, format!("collection '{name}' is {kind}, not {wanted}")))
}

/// Returns the change that creates a collection, or `None` if it exists with this type.
///
/// # Errors
/// `Kind::Conflict` when the collection exists with another type; database errors.
pub(super) async fn ensure_collection(
    repo: &Repo,
    name: &str,
    kind: CollectionType,
) -> Result<Option<CreateCollection>> {
    match load(&repo.registry).await?.find(name) {
        Some(there) => check(name, there.kind, kind).map(|()| None),
        None => Ok(Some(CreateCollection { name: name.to_owned(), kind, doc: None })),
    }
}

/// Creates a collection; an existing collection of the same name and type is not changed.
#[derive(Debug)]
pub(crate) struct RegisterCollection {
    /// Collection name.
    pub name: String,
    /// RUN, TAGGED, CHAINED or CALIBRATION.
    pub kind: CollectionType,
    /// Documentation.
    pub doc: Option<String>,
}

#[async_trait]
impl Operation for RegisterCollection {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        if self.name.trim().is_empty() {
            return Err(Error::invalid("a collection needs a name"));
        }
        let mut set = ChangeSet::default();
        match load(&repo.registry).await?.find(&self.name) {
            Some(there) => {
                check(&self.name, there.kind, self.kind)?;
                set.record("collection", Status::Unchanged, format!("{} {}", self.kind, self.name), 1);
            }
            None => {
                set.push(CreateCollection { name: self.name.clone(), kind: self.kind, doc: self.doc.clone() });
            }
        }
        Ok(set.into_plan())
    }
}

/// Removes collections other than RUN collections. Their associations are removed, their datasets are kept.
#[derive(Debug)]
pub(crate) struct RemoveCollection {
    /// A name or a glob.
    pub name: String,
}

#[async_trait]
impl Operation for RemoveCollection {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let all = load(&repo.registry).await?;
        let mut set = ChangeSet::default();
        // A missing collection is not an error, so that a script can be run again.
        if all.find(&self.name).is_none() && !glob::is_pattern(&self.name) {
            set.record("collection", Status::Absent, &self.name, 1);
            return Ok(set.into_plan());
        }
        let chosen = all.select(std::slice::from_ref(&self.name))?;
        let mut removed = Vec::new();
        for collection in &chosen {
            if collection.kind == CollectionType::Run {
                if glob::is_pattern(&self.name) {
                    continue;
                }
                let message =
                    format!("cannot remove collection '{}': a RUN collection contains its datasets", collection.name);
                return Err(Error::new(Kind::Conflict, message));
            }
            let parents = all.parents(&collection.name);
            if let Some(parent) = parents.iter().find(|p| !chosen.iter().any(|c| c.id == p.id)) {
                let message =
                    format!("cannot remove collection '{}': it is a child of chain '{}'", collection.name, parent.name);
                return Err(Error::new(Kind::Conflict, message));
            }
            removed.push((parents.len(), collection));
        }
        // Chains are removed before their children.
        removed.sort_by_key(|(parents, _)| *parents);
        set.extend(removed.into_iter().map(|(_, c)| DeleteCollection { name: c.name.clone(), kind: c.kind }));
        Ok(set.into_plan())
    }
}
