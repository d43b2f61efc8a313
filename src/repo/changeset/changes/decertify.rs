//! Validity ranges that are shortened or removed.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::error::Result;
use crate::model::time::Timespan;
use crate::registry::certifications;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Removes a timespan from the validity ranges of a dataset type in a CALIBRATION collection.
#[derive(Debug)]
pub(crate) struct RemoveValidity {
    /// Collection name.
    pub collection: String,
    /// Dataset type name.
    pub dataset_type: String,
    /// Timespan to remove; TAI nanoseconds.
    pub timespan: Timespan,
    /// Data IDs; `None` for all.
    pub data_ids: Option<RecordBatch>,
    /// Number of validity ranges that overlap the timespan.
    pub affected: u64,
}

#[async_trait]
impl RowChange for RemoveValidity {
    fn describe(&self) -> ReportRow {
        ReportRow::new("certification", Status::Removed, &self.dataset_type, self.affected)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        let Self { collection, dataset_type, timespan, data_ids, .. } = self;
        let record = context.dataset_type(dataset_type)?;
        certifications::decertify(context.tx, record, collection, *timespan, data_ids.as_ref()).await
    }
}
