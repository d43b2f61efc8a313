//! Other files of existing datasets.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::dataset_writer;
use crate::registry::db::spill::SpillBuffer;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Replaces the file records of datasets of a type.
#[derive(Debug)]
pub(crate) struct ReplaceFileRecords {
    /// Dataset type name.
    pub dataset_type: String,
    /// Rows as in [`crate::registry::dataset_writer::DatasetBatch`].
    pub rows: SpillBuffer,
}

#[async_trait]
impl RowChange for ReplaceFileRecords {
    fn describe(&self) -> ReportRow {
        ReportRow::new("file record", Status::Updated, &self.dataset_type, self.rows.len() as u64)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        let registry = &context.repo.registry;
        registry.make_file_records(context.tx).await?;
        let record = context.dataset_type(&self.dataset_type)?;
        let mut written = 0;
        for rows in self.rows.chunks(1)? {
            written += dataset_writer::replace_files(context.tx, registry, record, &rows?).await?;
        }
        Ok(written)
    }
}
