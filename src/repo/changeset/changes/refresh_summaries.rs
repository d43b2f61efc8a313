//! Summaries of collections.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::removal;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Deletes the summaries of a dataset type for collections that no longer hold it.
#[derive(Debug)]
pub(crate) struct RefreshSummaries {
    /// Dataset type name.
    pub dataset_type: String,
    /// Number of collections.
    pub count: u64,
}

#[async_trait]
impl RowChange for RefreshSummaries {
    fn describe(&self) -> ReportRow {
        ReportRow::new("summary", Status::Removed, &self.dataset_type, self.count)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        removal::refresh_summaries(context.tx, context.dataset_type(&self.dataset_type)?).await
    }
}
