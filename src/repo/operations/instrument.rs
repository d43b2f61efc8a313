//! `register_instrument`: registers an instrument with its detectors and filters.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use async_trait::async_trait;

use crate::error::Result;
use crate::instrument::Instrument;
use crate::registry::db::rows::{constant_int, constant_text, record_batch, text_column};
use crate::registry::dimensions::table;
use crate::repo::changeset::comparison::sync_records;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Registers an instrument. Identical records are unchanged; records that differ are an error unless `update`.
#[derive(Debug)]
pub(crate) struct RegisterInstrument {
    /// Instrument to register.
    pub instrument: Instrument,
    /// True to overwrite records that differ.
    pub update: bool,
}

#[async_trait]
impl Operation for RegisterInstrument {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let mut set = ChangeSet::default();
        for (element, rows) in records(&self.instrument)? {
            // Older universes lack some columns.
            let known = table(&repo.registry, element)?;
            let columns: Vec<usize> = (0..rows.num_columns())
                .filter(|i| known.column(rows.schema_ref().field(*i).name()).is_some())
                .collect();
            sync_records(&repo, element, &rows.project(&columns)?, self.update, &mut set).await?;
        }
        Ok(set.into_plan())
    }
}

fn records(instrument: &Instrument) -> Result<[(&'static str, RecordBatch); 3]> {
    let name = &instrument.name;
    let own = record_batch([
        ("name", constant_text(name, 1)),
        ("visit_max", constant_int(instrument.visit_max, 1)),
        ("visit_system", constant_int(instrument.visit_system, 1)),
        ("exposure_max", constant_int(instrument.exposure_max, 1)),
        ("detector_max", constant_int(instrument.detector_max, 1)),
        ("class_name", constant_text(&instrument.class_name, 1)),
    ])?;
    let detectors = &instrument.detectors;
    let ids: ArrayRef = Arc::new(detectors.iter().map(|d| d.0).collect::<arrow::array::Int64Array>());
    let rafts: ArrayRef = Arc::new(detectors.iter().map(|d| d.3.as_deref()).collect::<StringArray>());
    let detectors = record_batch([
        ("instrument", constant_text(name, detectors.len())),
        ("id", ids),
        ("full_name", text_column(detectors.iter().map(|d| d.1.as_str()))),
        ("name_in_raft", text_column(detectors.iter().map(|d| d.2.as_str()))),
        ("raft", rafts),
        ("purpose", text_column(detectors.iter().map(|d| d.4.as_str()))),
    ])?;
    let filters = record_batch([
        ("instrument", constant_text(name, instrument.filters.len())),
        ("name", text_column(instrument.filters.iter().map(|f| f.0.as_str()))),
        ("band", text_column(instrument.filters.iter().map(|f| f.1.as_str()))),
    ])?;
    Ok([("instrument", own), ("detector", detectors), ("physical_filter", filters)])
}
