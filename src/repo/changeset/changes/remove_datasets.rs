//! Removal of datasets from the datastore, or from the registry too.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::removal::{self, Scope};
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Moves stored datasets to the trash of the datastore, whose files `EmptyTrash` removes.
#[derive(Debug)]
pub(crate) struct MoveToTrash {
    /// Datasets.
    pub scope: Scope,
    /// Number of stored datasets.
    pub count: u64,
}

/// Deletes datasets with all their memberships. They must not be stored.
#[derive(Debug)]
pub(crate) struct DeleteDatasets {
    /// Datasets.
    pub scope: Scope,
    /// What the report names.
    pub name: String,
    /// Number of datasets.
    pub count: u64,
}

#[async_trait]
impl RowChange for MoveToTrash {
    fn describe(&self) -> ReportRow {
        ReportRow::new("stored dataset", Status::Removed, "", self.count)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        removal::move_to_trash(context.tx, &self.scope).await
    }
}

#[async_trait]
impl RowChange for DeleteDatasets {
    fn describe(&self) -> ReportRow {
        ReportRow::new("dataset", Status::Removed, &self.name, self.count)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        removal::delete_datasets(context.tx, &self.scope).await
    }
}
