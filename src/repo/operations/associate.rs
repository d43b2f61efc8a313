//! `associate` and `disassociate`: datasets in TAGGED collections.

use std::collections::HashSet;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::registry::collections;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets::{self, ids};
use crate::registry::db::Batches;
use crate::registry::db::conn::Executor;
use crate::repo::Repo;
use crate::repo::changeset::changes::{AssociateDatasets, DisassociateDatasets};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Adds datasets to a TAGGED collection.
#[derive(Debug)]
pub(crate) struct Associate {
    /// Collection name; the collection must exist.
    pub collection: String,
}

/// Removes datasets from a TAGGED collection; datasets that are not in it are ignored.
#[derive(Debug)]
pub(crate) struct Disassociate {
    /// Collection name; the collection must exist.
    pub collection: String,
}

#[async_trait]
impl Operation for Associate {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        tagged(&repo, &self.collection, "associate into").await?;
        let mut set = ChangeSet::default();
        for (record, wanted) in by_type(&repo, context.rows).await? {
            let members = datasets::data_ids(&mut Executor::Conn(&repo.registry.conn), &record, &wanted).await?;
            let there = datasets::ids_in(&repo.registry, &record, &self.collection).await?;
            let new: BooleanArray = ids(&members, "dataset_id")?.iter().map(|id| Some(!there.contains(id))).collect();
            let (collection, dataset_type) = (self.collection.clone(), record.dataset_type.name);
            set.record("membership", Status::Unchanged, &dataset_type, (new.len() - new.true_count()) as u64);
            if new.true_count() > 0 {
                let rows = filter_record_batch(&members, &new)?.into();
                set.push(AssociateDatasets { collection, dataset_type, rows });
            }
        }
        Ok(set.into_plan())
    }
}

#[async_trait]
impl Operation for Disassociate {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        tagged(&repo, &self.collection, "disassociate from").await?;
        let mut set = ChangeSet::default();
        for (record, wanted) in by_type(&repo, context.rows).await? {
            let there = datasets::ids_in(&repo.registry, &record, &self.collection).await?;
            let ids: Vec<_> = wanted.into_iter().filter(|id| there.contains(id)).collect();
            if !ids.is_empty() {
                let (collection, dataset_type) = (self.collection.clone(), record.dataset_type.name);
                set.push(DisassociateDatasets { collection, dataset_type, ids });
            }
        }
        Ok(set.into_plan())
    }
}

/// Returns the changes by which datasets leave a TAGGED collection; datasets that are not in it are ignored.
///
/// # Errors
/// `Kind::NotFound` for an unknown collection, `Kind::Conflict` for one that is not TAGGED; database errors.
pub(super) async fn disassociations(
    repo: &Repo,
    collection: &str,
    wanted: &[String],
) -> Result<Vec<DisassociateDatasets>> {
    tagged(repo, collection, "disassociate from").await?;
    let mut changes = Vec::new();
    for record in dataset_types::load(&repo.registry).await? {
        let there = datasets::ids_in(&repo.registry, &record, collection).await?;
        let ids: Vec<String> = wanted.iter().filter(|id| there.contains(*id)).cloned().collect();
        if !ids.is_empty() {
            let (collection, dataset_type) = (collection.to_owned(), record.dataset_type.name);
            changes.push(DisassociateDatasets { collection, dataset_type, ids });
        }
    }
    Ok(changes)
}

async fn tagged(repo: &Repo, name: &str, doing: &str) -> Result<()> {
    match collections::load(&repo.registry).await?.get(name)?.kind {
        CollectionType::Tagged => Ok(()),
        other => Err(Error::new(
            Kind::Conflict,
            format!("cannot {doing} collection '{name}' of type {other}: must be TAGGED"),
        )),
    }
}

/// Returns the given ids, grouped by dataset type. Every id must be in the registry.
async fn by_type(repo: &Repo, rows: Option<Batches>) -> Result<Vec<(TypeRecord, Vec<String>)>> {
    let mut seen = HashSet::new();
    let given = read_texts(rows, "dataset_id").await?;
    let wanted: Vec<String> = given.into_iter().filter(|id| seen.insert(id.clone())).collect();
    let mut kinds = datasets::types_of(&mut Executor::Conn(&repo.registry.conn), &wanted).await?;
    let known: HashSet<&String> = kinds.values().flatten().collect();
    if let Some(missing) = wanted.iter().find(|id| !known.contains(id)) {
        return Err(Error::new(Kind::NotFound, format!("no dataset has the id '{missing}'")));
    }
    let types = dataset_types::load(&repo.registry).await?;
    let mut all: Vec<_> = types.into_iter().filter_map(|t| kinds.remove(&t.id).map(|ids| (t, ids))).collect();
    all.iter_mut().for_each(|(_, ids)| ids.sort_unstable());
    Ok(all)
}
