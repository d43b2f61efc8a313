//! `register_instrument`: registers an instrument with its detectors and filters.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use async_trait::async_trait;

use super::applier::ChangeApplier;
use super::change::{Change, Status};
use super::sync::{Comparison, compare, conflict, find_duplicates, select};
use super::{Operation, Repo, RepositoryHandle};
use crate::error::{Error, Kind, Result};
use crate::instrument::Instrument;
use crate::registry::conn::Batches;
use crate::registry::dimensions::table;
use crate::registry::rows::{constant_int, constant_text, record_batch, text_column};

/// Registers an instrument. Identical records are unchanged; records that differ are an error unless `update`.
#[derive(Debug)]
pub struct RegisterInstrument {
    /// Instrument to register.
    pub instrument: Instrument,
    /// True to overwrite records that differ.
    pub update: bool,
}

#[async_trait]
impl Operation for RegisterInstrument {
    async fn run(
        &self,
        handle: &RepositoryHandle,
        _rows: Option<Batches>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let repo = handle.repo().await?;
        let mut plan = Vec::new();
        for (element, rows) in records(&self.instrument)? {
            // Older universes lack some columns.
            let known = table(&repo.registry, element)?;
            let columns: Vec<usize> = (0..rows.num_columns())
                .filter(|i| known.column(rows.schema_ref().field(*i).name()).is_some())
                .collect();
            sync(&repo, element, &rows.project(&columns)?, self.update, &mut plan, applier).await?;
        }
        applier.apply(plan).await
    }
}

/// Adds the changes that insert missing records; records that differ are an error, or are replaced with `update`.
pub(super) async fn sync(
    repo: &Repo,
    element: &str,
    rows: &RecordBatch,
    update: bool,
    plan: &mut Vec<Change>,
    applier: &mut ChangeApplier<'_>,
) -> Result<()> {
    let known = table(&repo.registry, element)?;
    let statuses = compare(&repo.registry, &known, rows).await?;
    if let Some((row, first)) = find_duplicates(&known, rows)?.into_iter().enumerate().find_map(|(r, t)| Some((r, t?)))
    {
        let message = format!("rows {} and {} of the new records of '{element}' have the same key", first + 1, row + 1);
        return Err(Error::new(Kind::Conflict, message));
    }
    if let Some(Comparison::Differs(how)) = statuses.iter().find(|s| matches!(s, Comparison::Differs(_)) && !update) {
        return Err(conflict(element, how));
    }
    let new = select(rows, &statuses, |s| *s == Comparison::New)?;
    let changed = select(rows, &statuses, |s| matches!(s, Comparison::Differs(_)))?;
    applier.record(element, Status::Unchanged, "", (rows.num_rows() - new.num_rows() - changed.num_rows()) as u64);
    if new.num_rows() > 0 {
        plan.push(Change::Insert(element.to_owned(), new.into()));
    }
    if changed.num_rows() > 0 {
        plan.push(Change::Replace(element.to_owned(), changed.into()));
    }
    Ok(())
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
