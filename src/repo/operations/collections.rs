//! `register_collection` and `remove_collection`: creation and removal of collections.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::model::glob;
use crate::registry::collections::load;
use crate::registry::db::conn::Batches;
use crate::repo::Operation;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::applier::ChangeApplier;
use crate::repo::changeset::change::{Change, Status};

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
pub(super) async fn ensure_collection(repo: &Repo, name: &str, kind: CollectionType) -> Result<Option<Change>> {
    match load(&repo.registry).await?.find(name) {
        Some(there) => check(name, there.kind, kind).map(|()| None),
        None => Ok(Some(Change::Collection(name.to_owned(), kind, None))),
    }
}

/// Creates a collection; an existing collection of the same name and type is not changed.
#[derive(Debug)]
pub struct RegisterCollection {
    /// Collection name.
    pub name: String,
    /// RUN, TAGGED, CHAINED or CALIBRATION.
    pub kind: CollectionType,
    /// Documentation.
    pub doc: Option<String>,
}

#[async_trait]
impl Operation for RegisterCollection {
    async fn run(
        &self,
        handle: &RepositoryHandle,
        _rows: Option<Batches>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let repo = handle.repo().await?;
        if self.name.trim().is_empty() {
            return Err(Error::invalid("a collection needs a name"));
        }
        match load(&repo.registry).await?.find(&self.name) {
            Some(there) if there.kind == self.kind => {
                applier.record("collection", Status::Unchanged, format!("{} {}", self.kind, self.name), 1);
                Ok(())
            }
            Some(there) => check(&self.name, there.kind, self.kind),
            None => applier.apply(vec![Change::Collection(self.name.clone(), self.kind, self.doc.clone())]).await,
        }
    }
}

/// Removes collections other than RUN collections. Their associations are removed, their datasets are kept.
#[derive(Debug)]
pub struct RemoveCollection {
    /// A name or a glob.
    pub name: String,
}

#[async_trait]
impl Operation for RemoveCollection {
    async fn run(
        &self,
        handle: &RepositoryHandle,
        _rows: Option<Batches>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let repo = handle.repo().await?;
        let all = load(&repo.registry).await?;
        let mut plan = Vec::new();
        // A missing collection is not an error, so that a script can be run again.
        if all.find(&self.name).is_none() && !glob::is_pattern(&self.name) {
            applier.record("collection", Status::Absent, &self.name, 1);
            return Ok(());
        }
        let chosen = all.select(std::slice::from_ref(&self.name))?;
        for collection in &chosen {
            if collection.kind == CollectionType::Run {
                if glob::is_pattern(&self.name) {
                    continue;
                }
                let message =
                    format!("collection '{}' is a RUN, which cannot be removed: it holds datasets", collection.name);
                return Err(Error::new(Kind::Conflict, message));
            }
            let parents = all.parents(&collection.name);
            if let Some(parent) = parents.iter().find(|p| !chosen.iter().any(|c| c.id == p.id)) {
                let message = format!("collection '{}' is a child of chain '{}'", collection.name, parent.name);
                return Err(Error::new(Kind::Conflict, message));
            }
            plan.push((parents.len(), collection));
        }
        // Chains are removed before their children.
        plan.sort_by_key(|(parents, _)| *parents);
        applier.apply(plan.into_iter().map(|(_, c)| Change::RemoveCollection(c.name.clone(), c.kind)).collect()).await
    }
}
