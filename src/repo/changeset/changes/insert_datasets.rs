//! New datasets of a run.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::dataset_writer::{self, DatasetBatch, DatasetTable};
use crate::registry::db::spill::SpillBuffer;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Inserts datasets of a type into a run.
#[derive(Debug)]
pub(crate) struct InsertDatasets {
    /// Dataset type name.
    pub dataset_type: String,
    /// RUN collection.
    pub run: String,
    /// Rows as in [`DatasetBatch`].
    pub rows: SpillBuffer,
}

#[async_trait]
impl RowChange for InsertDatasets {
    fn describe(&self) -> ReportRow {
        ReportRow::new("dataset", Status::Inserted, &self.dataset_type, self.rows.len() as u64)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        let registry = &context.repo.registry;
        registry.make_file_records(context.tx).await?;
        let datastore = context.repo.config.datastore_name();
        let record = context.dataset_type(&self.dataset_type)?;
        let strategy = dataset_writer::insert_strategy(context.tx);
        let mut new = 0;
        for tables in strategy.passes {
            for rows in self.rows.chunks(strategy.together)? {
                let (run, ingest_date) = (&*self.run, context.now);
                let batch = DatasetBatch { record, run, datastore: &datastore, ingest_date, rows: &rows? };
                for table in *tables {
                    let written = dataset_writer::store(context.tx, registry, &batch, *table).await?;
                    new += if *table == DatasetTable::Datasets { written } else { 0 };
                }
            }
        }
        Ok(new)
    }
}
