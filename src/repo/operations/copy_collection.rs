//! `copy_collection`: copies the memberships of a collection to another one.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::format::export_item::Item;
use crate::model::collection::CollectionType;
use crate::model::time::{MAX, Timespan};
use crate::registry::dataset_queries::collection_members;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::{collections, datasets, timestamp_values};
use crate::repo::Repo;
use crate::repo::changeset::{Operation, Plan, PlanContext};
use crate::repo::operations::import::plan::ImportPlan;
use crate::repo::operations::import::{Import, OnDifference};
use crate::store::transfer_mode::TransferMode;

/// Copies a TAGGED, CALIBRATION or CHAINED collection.
#[derive(Debug)]
pub(crate) struct CopyCollection {
    /// The collection that is copied.
    pub from: String,
    /// The collection that gets its members; created if it does not exist.
    pub to: String,
}

#[async_trait]
impl Operation for CopyCollection {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let known = collections::load(&repo.registry).await?;
        let from = known.get(&self.from)?.clone();
        if from.kind == CollectionType::Run {
            let message = format!(
                "'{}' is a RUN collection, and its datasets cannot be in another one: associate them with a TAGGED one",
                self.from
            );
            return Err(Error::new(Kind::Conflict, message));
        }
        if self.from == self.to {
            return Err(Error::invalid(format!("collection '{}' cannot be copied to itself", self.from)));
        }
        let task = Import {
            directory: repo.datastore_root(),
            export_file: String::new(),
            transfer: TransferMode::Copy,
            skip_dimensions: Vec::new(),
            track_file_attrs: true,
            without_datastore: true,
            on_difference: OnDifference::Keep,
        };
        let mut plan = ImportPlan::new(&task, &repo).await?;
        let (input, name, kind, children) = ("copy_collection", self.to.clone(), from.kind, from.children);
        plan.take(Item::Collection { name, kind, doc: from.doc, children }, input, None).await?;
        if kind != CollectionType::Chained {
            for record in dataset_types::load(&repo.registry).await? {
                for item in memberships(&repo, &record, (&self.from, kind), &self.to, |_| true).await? {
                    plan.take(item, input, None).await?;
                }
            }
        }
        Ok(plan.finish().await?.into_plan())
    }
}

/// Returns the memberships of some datasets of a type in a TAGGED or CALIBRATION collection, as those of the collection
/// `to`.
///
/// # Errors
/// Database errors.
pub(super) async fn memberships(
    source: &Repo,
    record: &TypeRecord,
    (collection, kind): (&str, CollectionType),
    to: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Item>> {
    let is_calibration = kind == CollectionType::Calibration;
    if is_calibration && !record.dataset_type.is_calibration {
        return Ok(Vec::new());
    }
    let rows = collection_members(&source.registry, record, collection, is_calibration).await?;
    let ids = datasets::ids(&rows, "dataset_id")?;
    let column = |name: &str| rows.schema_ref().index_of(name).ok().map(|at| timestamp_values(&rows, at));
    let (begins, ends) = (column("timespan_begin"), column("timespan_end"));
    let mut all: Vec<Item> = Vec::new();
    for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| is_wanted(id)) {
        let bound = |bounds: &Option<Vec<Option<i64>>>| bounds.as_ref().and_then(|bounds| bounds[row]);
        let timespan =
            is_calibration.then(|| Timespan { begin: bound(&begins).unwrap_or(0), end: bound(&ends).unwrap_or(MAX) });
        let id = uuid::Uuid::parse_str(&id).map_err(|e| Error::bug(format!("dataset id '{id}': {e}")))?;
        match all.last_mut() {
            Some(Item::Association { timespan: last, dataset_ids, .. }) if *last == timespan => dataset_ids.push(id),
            _ => all.push(Item::Association { collection: to.to_owned(), timespan, dataset_ids: vec![id] }),
        }
    }
    Ok(all)
}
