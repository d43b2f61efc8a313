//! `register_collection` and `remove_collection`.

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

/// Refuses a collection of another type than the one wanted.
///
/// # Errors
/// Its type.
pub(in crate::repo) fn check(name: &str, kind: CollectionType, wanted: CollectionType) -> Result<()> {
    if kind == wanted {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, format!("collection '{name}' is {kind}, not {wanted}")))
}

/// What makes a collection of this type be there.
///
/// # Errors
/// A collection of this name and another type, or what the database says.
pub(in crate::repo) async fn ensure_collection(
    repo: &Repo,
    name: &str,
    kind: CollectionType,
) -> Result<Option<Change>> {
    match load(&repo.registry).await?.find(name) {
        Some(there) => check(name, there.kind, kind).map(|()| None),
        None => Ok(Some(Change::Collection(name.to_owned(), kind, None))),
    }
}

/// Makes a collection; one of the same name and type is left as it is.
#[derive(Debug)]
pub struct RegisterCollection {
    /// Its name.
    pub name: String,
    /// RUN, TAGGED, CHAINED or CALIBRATION.
    pub kind: CollectionType,
    /// Its documentation.
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

/// Removes collections that are no RUN: their associations go, their datasets stay.
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
        // A name that is gone already is as asked: running a script again must not fail here.
        if all.find(&self.name).is_none() && !glob::is_pattern(&self.name) {
            applier.record("collection", Status::Unchanged, format!("no {}", self.name), 1);
            return Ok(());
        }
        let chosen = all.select(std::slice::from_ref(&self.name))?;
        for collection in &chosen {
            if collection.kind == CollectionType::Run {
                if glob::is_pattern(&self.name) {
                    continue;
                }
                let message =
                    format!("collection '{}' is a RUN: it holds its datasets and is not removed", collection.name);
                return Err(Error::new(Kind::Conflict, message));
            }
            let parents = all.parents(&collection.name);
            if let Some(parent) = parents.iter().find(|p| !chosen.iter().any(|c| c.id == p.id)) {
                let message = format!("collection '{}' is a child of chain '{}'", collection.name, parent.name);
                return Err(Error::new(Kind::Conflict, message));
            }
            plan.push((parents.len(), collection));
        }
        // Chains before their children.
        plan.sort_by_key(|(parents, _)| *parents);
        applier.apply(plan.into_iter().map(|(_, c)| Change::RemoveCollection(c.name.clone(), c.kind)).collect()).await
    }
}
