//! Removal of a dataset type.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::dataset_types;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Deletes a dataset type that has no datasets. Its tables stay, as those of the Butler.
#[derive(Debug)]
pub(crate) struct DeleteDatasetType {
    /// Dataset type name.
    pub name: String,
}

#[async_trait]
impl RowChange for DeleteDatasetType {
    fn describe(&self) -> ReportRow {
        ReportRow::new("dataset_type", Status::Removed, &self.name, 1)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        dataset_types::delete(context.tx, &self.name).await
    }
}
