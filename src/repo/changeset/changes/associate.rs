//! Datasets of one type for a TAGGED collection.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::registry::dataset_writer;
use crate::registry::db::spill::SpillBuffer;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Adds datasets of a type to a TAGGED collection.
#[derive(Debug)]
pub(crate) struct AssociateDatasets {
    /// Collection name.
    pub collection: String,
    /// Dataset type name.
    pub dataset_type: String,
    /// Rows of `dataset_id` and the dimensions.
    pub rows: SpillBuffer,
}

#[async_trait]
impl RowChange for AssociateDatasets {
    fn describe(&self) -> ReportRow {
        ReportRow::new("membership", Status::Inserted, &self.dataset_type, self.rows.len() as u64)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        let Self { collection, dataset_type, rows } = self;
        let record = context.dataset_type(dataset_type)?;
        let mut written = 0;
        for rows in rows.chunks(1)? {
            let registry = &context.repo.registry;
            let added = dataset_writer::associate(context.tx, registry, record, collection, &rows?).await;
            written += added.map_err(|e| match e.kind() {
                Kind::Conflict => {
                    let message = format!(
                        "collection '{collection}' already holds another dataset with the same type and data ID"
                    );
                    Error::new(Kind::Conflict, message).with_source(e)
                }
                _ => e,
            })?;
        }
        Ok(written)
    }
}
