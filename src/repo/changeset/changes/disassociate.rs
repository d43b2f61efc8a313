//! Datasets of one type that leave a TAGGED collection.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::dataset_writer;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Removes datasets of a type from a TAGGED collection.
#[derive(Debug)]
pub(crate) struct DisassociateDatasets {
    /// Collection name.
    pub collection: String,
    /// Dataset type name.
    pub dataset_type: String,
    /// Dataset ids.
    pub ids: Vec<String>,
}

#[async_trait]
impl RowChange for DisassociateDatasets {
    fn describe(&self) -> ReportRow {
        ReportRow::new("membership", Status::Removed, &self.dataset_type, self.ids.len() as u64)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        let record = context.dataset_type(&self.dataset_type)?;
        dataset_writer::disassociate(context.tx, record, &self.collection, &self.ids).await
    }
}
