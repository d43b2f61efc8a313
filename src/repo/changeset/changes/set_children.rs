//! The children of a chain.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::collections;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Replaces the children of a chain.
#[derive(Debug)]
pub(crate) struct SetChildren {
    /// Name of the chain.
    pub chain: String,
    /// Children that the operation has read; if another writer has changed them, the change is stale.
    pub expected: Vec<String>,
    /// New children with their positions.
    pub children: Vec<(String, i64)>,
}

#[async_trait]
impl RowChange for SetChildren {
    fn describe(&self) -> ReportRow {
        ReportRow::new("chain", Status::Updated, &self.chain, 1)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        collections::set_chain(context.tx, &self.chain, &self.expected, &self.children).await.map(u64::from)
    }
}
