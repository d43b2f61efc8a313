//! Records of a dimension element.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::registry::db::insert::OnConflict;
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Inserts or replaces records of a dimension element.
#[derive(Debug)]
pub(crate) struct WriteRecords {
    /// Dimension element.
    pub element: String,
    /// Records.
    pub records: RecordSource,
    /// True to replace existing records with the same key.
    pub replace: bool,
}

/// Records that exist, or that are computed when they are written.
#[derive(Debug)]
pub(crate) enum RecordSource {
    /// Existing rows.
    Rows(Box<SpillBuffer>),
    /// Rows that are expensive to compute.
    Computed(Arc<dyn ComputeRecords>),
}

/// Computes records of an element.
pub(crate) trait ComputeRecords: Debug + Send + Sync {
    /// Returns the number of records, without computing them.
    fn count(&self) -> u64;

    /// Returns the records; they are computed on the first call, which blocks.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    fn records(&self) -> Result<&SpillBuffer>;
}

impl WriteRecords {
    /// Inserts new records.
    pub(crate) fn insert(element: &str, rows: impl Into<SpillBuffer>) -> Self {
        Self { element: element.to_owned(), records: RecordSource::Rows(Box::new(rows.into())), replace: false }
    }

    /// Replaces existing records.
    pub(crate) fn replace(element: &str, rows: impl Into<SpillBuffer>) -> Self {
        Self { replace: true, ..Self::insert(element, rows) }
    }
}

#[async_trait]
impl RowChange for WriteRecords {
    fn describe(&self) -> ReportRow {
        let status = if self.replace { Status::Updated } else { Status::Inserted };
        let count = match &self.records {
            RecordSource::Rows(rows) => rows.len() as u64,
            RecordSource::Computed(records) => records.count(),
        };
        ReportRow::new(&self.element, status, "", count)
    }

    async fn prepare(&self) -> Result<()> {
        let RecordSource::Computed(records) = &self.records else { return Ok(()) };
        let records = Arc::clone(records);
        let computing = tokio::task::spawn_blocking(move || records.records().map(|_| ()));
        computing.await.map_err(|e| Error::bug(format!("computing records: {e}")))?
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        let rows = match &self.records {
            RecordSource::Rows(rows) => &**rows,
            RecordSource::Computed(records) => records.records()?,
        };
        let conflict = if self.replace { OnConflict::Replace } else { OnConflict::Keep };
        let mut written = 0;
        for rows in rows.chunks(1)? {
            let registry = &context.repo.registry;
            written += dimensions::insert(context.tx, registry, &self.element, &rows?, conflict).await?;
        }
        Ok(written)
    }
}
