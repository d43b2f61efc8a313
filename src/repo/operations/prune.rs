//! `prune` and `empty_trash`: removal of datasets and of their files.

use std::collections::HashSet;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use uuid::Uuid;

use super::associate::disassociations;
use crate::error::{Error, Kind, Result};
use crate::registry::datasets;
use crate::registry::db::Batches;
use crate::registry::db::conn::Executor;
use crate::registry::removal::{self, IDS, Impact, Scope};
use crate::repo::Repo;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{DeleteDatasets, EmptyTrash, MoveToTrash};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::store::{FileType, Location};

/// What is removed of datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PruneMode {
    /// Datasets, with all memberships and certifications, and their files.
    Purge,
    /// Files; the datasets stay in the registry.
    Unstore,
    /// Memberships in TAGGED collections.
    Disassociate,
}

/// Removes datasets.
#[derive(Debug)]
pub(crate) struct Prune {
    /// What is removed.
    pub mode: PruneMode,
    /// TAGGED collections that the datasets leave, for the modes `unstore` and `disassociate`.
    pub collections: Vec<String>,
}

impl PruneMode {
    /// Parses `purge`, `unstore` or `disassociate`.
    ///
    /// # Errors
    /// `Kind::NotFound` for another word.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match name {
            "purge" => Ok(Self::Purge),
            "unstore" => Ok(Self::Unstore),
            "disassociate" => Ok(Self::Disassociate),
            other => Err(Error::not_found("mode", other, ["purge", "unstore", "disassociate"])),
        }
    }
}

#[async_trait]
impl Operation for Prune {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        repo.check_datastore()?;
        match (self.mode, self.collections.is_empty()) {
            (PruneMode::Purge, false) => {
                return Err(Error::invalid("mode 'purge' removes datasets from all collections: omit 'collections'"));
            }
            (PruneMode::Disassociate, true) => {
                return Err(Error::invalid("mode 'disassociate' needs 'collections', a list of TAGGED collections"));
            }
            _ => {}
        }
        let (ids, absent) = known_ids(&repo, context.rows).await?;
        context.progress.begin("prune", Some(ids.len() as u64));
        let mut sets = Vec::new();
        let mut first = ChangeSet::default();
        for collection in &self.collections {
            first.extend(disassociations(&repo, collection, &ids).await?);
        }
        first.record("dataset", Status::Absent, "", absent);
        sets.push(first);
        if self.mode == PruneMode::Disassociate {
            return Ok(stream::iter(sets.into_iter().map(Ok)).boxed());
        }
        let mut total = leftovers(&repo).await?;
        for some in ids.chunks(IDS) {
            let scope = Scope::Ids(some.to_vec());
            let impact = removal::impact(&repo.registry, &scope).await?;
            let mut set = ChangeSet::default();
            set.set_completed(some.len() as u64, impact.bytes);
            removals(&mut set, &scope, &impact, self.mode);
            total.files += impact.files;
            total.bytes += impact.bytes;
            sets.push(set);
        }
        sets.push(empty_trash(&total));
        Ok(stream::iter(sets.into_iter().map(Ok)).boxed())
    }
}

/// Returns the given ids that belong to datasets, each once and in a fixed order, and the number of the others.
async fn known_ids(repo: &Repo, rows: Option<Batches>) -> Result<(Vec<String>, u64)> {
    let texts = read_texts(rows, "dataset_id").await?;
    // One id has several spellings.
    let canonical = |text: &String| Uuid::try_parse(text).map_or_else(|_| text.clone(), |id| id.to_string());
    let given: HashSet<String> = texts.iter().map(canonical).collect();
    let given: Vec<String> = given.into_iter().collect();
    let known = datasets::types_of(&mut Executor::Conn(&repo.registry.conn), &given).await?;
    let mut ids: Vec<String> = known.into_values().flatten().collect();
    ids.sort_unstable();
    let absent = given.len().saturating_sub(ids.len()) as u64;
    Ok((ids, absent))
}

/// Adds the changes that remove datasets, and what is lost with them.
pub(super) fn removals(set: &mut ChangeSet<'_>, scope: &Scope, impact: &Impact, mode: PruneMode) {
    if impact.stored > 0 {
        set.push(MoveToTrash { scope: scope.clone(), count: impact.stored });
    }
    if mode == PruneMode::Unstore {
        return;
    }
    for (kind, lost) in [("membership", &impact.tags), ("certification", &impact.certifications)] {
        for (collection, count) in lost {
            set.record(kind, Status::Removed, collection, *count);
        }
    }
    let count = impact.datasets.values().sum();
    if count > 0 {
        let types: Vec<&str> = impact.datasets.keys().map(String::as_str).collect();
        set.push(DeleteDatasets { scope: scope.clone(), name: types.join(", "), count });
    }
}

/// Returns the files of datasets that an interrupted removal left in the trash. Checks that the datastore is there: else
/// all files would seem to be gone.
///
/// # Errors
/// `Kind::NotFound` if the datastore does not exist; database errors.
pub(super) async fn leftovers(repo: &Repo) -> Result<Impact> {
    let root = Location::parse(&repo.datastore_root())?;
    if matches!(root.stat().await?, FileType::Missing) {
        let message = format!("the datastore '{}' does not exist: files cannot be removed", root.display());
        return Err(Error::new(Kind::NotFound, message));
    }
    let mut found = Impact::default();
    let mut after: Option<String> = None;
    loop {
        let page = removal::read_trash(&repo.registry, after.as_deref()).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.id.clone());
        let is_ours = |path: &str| !path.contains("://");
        found.files += page.iter().filter(|t| !t.is_shared && t.path.as_deref().is_some_and(is_ours)).count() as u64;
    }
}

/// Returns the change set that empties the trash after datasets were moved to it.
pub(super) fn empty_trash<'a>(impact: &Impact) -> ChangeSet<'a> {
    let mut set = ChangeSet::default();
    set.push(Change::Standalone(Box::new(EmptyTrash { files: impact.files, bytes: impact.bytes })));
    set
}

/// Removes the files of datasets that an interrupted removal left in the trash.
#[derive(Debug)]
pub(crate) struct RemoveTrash;

#[async_trait]
impl Operation for RemoveTrash {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        repo.check_datastore()?;
        if removal::read_trash(&repo.registry, None).await?.is_empty() {
            return Ok(ChangeSet::default().into_plan());
        }
        Ok(empty_trash(&leftovers(&repo).await?).into_plan())
    }
}
