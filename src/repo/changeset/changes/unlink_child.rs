//! Removal of a child from a chain.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::collections;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Removes a child from a chain; the other children keep their positions.
#[derive(Debug)]
pub(crate) struct UnlinkChild {
    /// Name of the chain.
    pub chain: String,
    /// Name of the child.
    pub child: String,
}

#[async_trait]
impl RowChange for UnlinkChild {
    fn describe(&self) -> ReportRow {
        ReportRow::new("chain", Status::Updated, &self.chain, 1)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        collections::unlink(context.tx, &self.chain, &self.child).await
    }
}
