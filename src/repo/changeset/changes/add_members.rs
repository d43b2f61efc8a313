//! Datasets of any type for a TAGGED or CALIBRATION collection.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::collection::CollectionType;
use crate::registry::db::spill::SpillBuffer;
use crate::registry::{certifications, dataset_types, datasets};
use crate::repo::Repo;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Adds datasets to a TAGGED or CALIBRATION collection by id. Types and data IDs are looked up when the change is
/// applied, because the same change set may insert the datasets.
#[derive(Debug)]
pub(crate) struct AddMembers {
    /// Collection name.
    pub collection: String,
    /// TAGGED or CALIBRATION.
    pub kind: CollectionType,
    /// Rows of `dataset_id`, and for CALIBRATION collections `timespan_begin` and `timespan_end`.
    pub rows: SpillBuffer,
}

#[async_trait]
impl RowChange for AddMembers {
    fn describe(&self) -> ReportRow {
        let item = if self.kind == CollectionType::Calibration { "certification" } else { "membership" };
        ReportRow::new(item, Status::Inserted, &self.collection, self.rows.len() as u64)
    }

    async fn count_existing(&self, repo: &Repo) -> Result<u64> {
        let registry = &repo.registry;
        let types = dataset_types::load(registry).await?;
        let rows = self.rows.batches()?;
        match self.kind {
            CollectionType::Calibration => certifications::count_known(registry, &types, &self.collection, rows).await,
            _ => datasets::count_members(registry, &types, &self.collection, rows).await,
        }
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        let mut written = 0;
        for rows in self.rows.chunks(1)? {
            let (registry, types) = (&context.repo.registry, context.types);
            written += certifications::join(context.tx, registry, types, &self.collection, &rows?).await?;
        }
        Ok(written)
    }
}
