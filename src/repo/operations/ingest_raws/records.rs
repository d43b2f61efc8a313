//! The records of other elements that raws refer to.

use std::collections::HashSet;

use arrow::array::RecordBatch;

use super::batch::ExposureBatcher;
use crate::error::{Error, Kind, Result};
use crate::registry::dimensions::table;
use crate::repo::changeset::ChangeSet;
use crate::repo::changeset::changes::WriteRecords;
use crate::repo::changeset::comparison::{Comparison, compare, conflict, filter_rows, find_duplicates};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::operations::ingest_raws::{Exposure, rows};

/// The records of one element that a batch needs.
pub(super) struct ElementRecords {
    pub(super) element: &'static str,
    pub(super) records: RecordBatch,
    /// The row of each exposure's record.
    pub(super) rows: Vec<usize>,
    /// How each record compares with the registry.
    pub(super) comparisons: Vec<Comparison>,
}

impl ExposureBatcher<'_> {
    /// Returns the group, day_obs and exposure records of exposures, compared with the registry.
    pub(super) async fn records(&self, exposures: &[Exposure]) -> Result<Vec<ElementRecords>> {
        let mut all = Vec::new();
        for element in ["group", "day_obs", "exposure"] {
            if self.repo.registry.universe.find(element).is_none() {
                continue;
            }
            let known = table(&self.repo.registry, element)?;
            let (records, rows) = rows::records(&known, element, exposures)?;
            let mut comparisons = compare(&self.repo.registry, &known, &records).await?;
            for (row, first) in find_duplicates(&known, &records)?.iter().enumerate() {
                if first.is_some() && comparisons[row] == Comparison::New {
                    comparisons[row] = Comparison::Differs("an earlier exposure has other values".to_owned());
                }
            }
            all.push(ElementRecords { element, records, rows, comparisons });
        }
        Ok(all)
    }

    /// Returns the positions of the exposures whose records do not conflict with existing records.
    pub(super) fn without_conflicts(
        &self,
        exposures: &[Exposure],
        needed: &[ElementRecords],
        failures: &mut Vec<Error>,
    ) -> Vec<usize> {
        let conflict_of = |at: usize| {
            needed.iter().find_map(|element| match &element.comparisons[element.rows[at]] {
                Comparison::Differs(how) if !self.task.update_records => Some(conflict(element.element, how)),
                _ => None,
            })
        };
        let mut good = Vec::with_capacity(exposures.len());
        for (at, exposure) in exposures.iter().enumerate() {
            match conflict_of(at) {
                None => good.push(at),
                Some(error) => {
                    let message = format!("exposure {}: {}", exposure.observation.obs_id, error.message());
                    failures.push(Error::new(Kind::Conflict, message));
                }
            }
        }
        good
    }

    /// Adds the changes for the records of one element that these exposures need. Returns the unchanged records.
    pub(super) fn add_records(
        &self,
        element: ElementRecords,
        good: &[usize],
        set: &mut ChangeSet<'_>,
    ) -> Result<ReportRow> {
        let ElementRecords { element, records, rows, comparisons } = element;
        // Records that only failed exposures refer to are not written.
        let needed: HashSet<usize> = good.iter().map(|at| rows[*at]).collect();
        let is = |wanted: fn(&Comparison) -> bool| {
            let needed = &needed;
            comparisons.iter().enumerate().map(move |(row, found)| needed.contains(&row) && wanted(found))
        };
        let new = filter_rows(&records, is(|found| *found == Comparison::New))?;
        let changed = filter_rows(&records, is(|found| matches!(found, Comparison::Differs(_))))?;
        let unchanged = is(|found| *found == Comparison::Unchanged).filter(|same| *same).count();
        if new.num_rows() > 0 {
            set.push(WriteRecords::insert(element, new));
        }
        if changed.num_rows() > 0 {
            set.push(WriteRecords::replace(element, changed));
        }
        Ok(ReportRow::new(element, Status::Unchanged, "", unchanged as u64))
    }
}
