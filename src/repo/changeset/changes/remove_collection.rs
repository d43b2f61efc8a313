//! Removal of a collection.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::collection::CollectionType;
use crate::registry::collections;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Deletes a collection with its memberships; the datasets stay in their runs.
#[derive(Debug)]
pub(crate) struct DeleteCollection {
    /// Collection name.
    pub name: String,
    /// Collection type.
    pub kind: CollectionType,
}

#[async_trait]
impl RowChange for DeleteCollection {
    fn describe(&self) -> ReportRow {
        ReportRow::new("collection", Status::Removed, format!("{} {}", self.kind, self.name), 1)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        collections::remove(context.tx, &self.name).await
    }
}
