//! `define_visits`: defines visits from exposures, with regions on the sky.

mod rows;
mod visit;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use self::rows::{definitions, detector_regions, memberships, systems, visit_rows};
use self::visit::{Exposure, Visit, common, read, visits};
use crate::error::{Error, Kind, Result};
use crate::instrument::Instrument;
use crate::instrument::camera::Camera;
use crate::registry::db::Batches;
use crate::registry::db::rows::{constant_text, record_batch, required_column, strict_cast};
use crate::registry::dimensions::{self, table};
use crate::repo::Repo;
use crate::repo::changeset::changes::{RecordSource, WriteRecords};
use crate::repo::changeset::comparison::sync_records;
use crate::repo::changeset::comparison::{Comparison, compare, conflict, filter_rows};
use crate::repo::changeset::input_rows::read_rows;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Defines the visits of an instrument.
#[derive(Debug)]
pub(crate) struct DefineVisits {
    /// Instrument.
    pub instrument: Instrument,
    /// True to overwrite visits that differ.
    pub update_records: bool,
    /// True to add the other exposures of a sequence, and to extend existing visits.
    pub incremental: bool,
}

/// Approximate number of detector regions per transaction.
const REGIONS: usize = 32 * 1024;
/// Exposure columns that identify a sequence.
const SEQUENCE: [&str; 4] = ["id", "day_obs", "seq_start", "seq_end"];
/// Exposure columns that give the pointing.
const POINTING: [&str; 3] = ["tracking_ra", "tracking_dec", "sky_angle"];
const SEES_SKY: &str = "can_see_sky";
/// Visit systems: single exposures, and sequences of exposures.
const SYSTEMS: [(i64, &str); 2] = [(0, "one-to-one"), (2, "by-seq-start-end")];

#[async_trait]
impl Operation for DefineVisits {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let name = &self.instrument.name;
        let camera = self.instrument.camera.as_ref().ok_or_else(|| {
            Error::new(Kind::Unsupported, format!("the instrument file of {name} does not describe its camera"))
        })?;
        let groups = self.groups(&repo, context.rows).await?;
        context.progress.begin("define_visits", Some(groups.iter().map(|group| group.len() as u64).sum()));
        let portions = portions(groups, REGIONS / camera.detectors().max(1));
        let sets = stream::try_unfold((Some(portions), false), move |(mut portions, has_visits)| {
            let repo = Arc::clone(&repo);
            async move {
                let mut set = ChangeSet::default();
                let Some(portion) = portions.as_mut().and_then(Iterator::next) else {
                    if has_visits || portions.is_none() {
                        return Ok(None);
                    }
                    set.record("visit", Status::Unchanged, "no exposure can see the sky", 1);
                    return Ok(Some((set, (None, true))));
                };
                let visits = visits(self.exposures(&repo, &portion).await?);
                if !has_visits && !visits.is_empty() {
                    sync_records(&repo, "visit_system", &systems(name)?, false, &mut set).await?;
                }
                self.add_visits(&repo, camera, &visits, &mut set).await?;
                set.set_completed(portion.len() as u64, 0);
                Ok(Some((set, (portions, has_visits || !visits.is_empty()))))
            }
        });
        Ok(sets.boxed())
    }
}

impl DefineVisits {
    /// Returns the ids of on-sky exposures by sequence, for the given exposures or for all of the instrument.
    async fn groups(&self, repo: &Repo, rows: Option<Batches>) -> Result<Vec<Vec<i64>>> {
        let name = &self.instrument.name;
        let mut columns = table(&repo.registry, "exposure")?.read_columns();
        columns.retain(|c| SEQUENCE.contains(&&*c.name) || POINTING.contains(&&*c.name) || c.name == SEES_SKY);
        let found = dimensions::values(&repo.registry, "exposure", columns, Some(name)).await?;
        if found.num_rows() == 0 {
            return Err(Error::new(Kind::NotFound, format!("{name} has no exposures")));
        }
        let int = |name: &str| Ok::<_, Error>(required_column(&found, name)?.as_primitive::<Int64Type>().clone());
        let [ids, days, starts, ends] = [int(SEQUENCE[0])?, int(SEQUENCE[1])?, int(SEQUENCE[2])?, int(SEQUENCE[3])?];
        let mut groups: BTreeMap<(i64, i64, i64), Vec<i64>> = BTreeMap::new();
        for row in see_sky(&found)? {
            groups.entry((days.value(row), starts.value(row), ends.value(row))).or_default().push(ids.value(row));
        }
        let Some(rows) = rows else { return Ok(groups.into_values().collect()) };
        let given = read_rows(Some(rows)).await?;
        if given.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let at = given.schema_ref().index_of("exposure").unwrap_or(0);
        let given = strict_cast(given.column(at), &arrow::datatypes::DataType::Int64)?;
        let given: HashSet<i64> = given.as_primitive::<Int64Type>().iter().flatten().collect();
        let there: HashSet<i64> = ids.values().iter().copied().collect();
        if let Some(missing) = given.difference(&there).min() {
            return Err(Error::new(Kind::NotFound, format!("{name} has no exposure {missing}")));
        }
        let mut wanted: Vec<Vec<i64>> =
            groups.into_values().filter(|g| g.iter().any(|id| given.contains(id))).collect();
        if !self.incremental {
            wanted.iter_mut().for_each(|group| group.retain(|id| given.contains(id)));
        }
        Ok(wanted)
    }

    /// Reads the exposures with these ids.
    async fn exposures(&self, repo: &Repo, ids: &[i64]) -> Result<Vec<Exposure>> {
        let known = table(&repo.registry, "exposure")?;
        let keys = record_batch([
            ("instrument", constant_text(&self.instrument.name, ids.len())),
            ("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
        ])?;
        read(&dimensions::keyed_values(&repo.registry, &known, known.read_columns(), &keys).await?)
    }

    /// Adds the changes for new visits, and for visits that differ if updates are allowed.
    async fn add_visits(&self, repo: &Repo, camera: &Camera, some: &[Visit], set: &mut ChangeSet<'_>) -> Result<()> {
        if let Some(visit) = some.iter().find(|visit| common(visit, |e| e.physical_filter.as_ref()).is_none()) {
            let message = format!("visit {}: its exposures have different filters", visit.name);
            return Err(Error::new(Kind::Conflict, message));
        }
        let name = &self.instrument.name;
        let seen: Vec<_> = some.iter().map(|visit| camera.corners(visit.members[0].pointing)).collect();
        let known = table(&repo.registry, "visit")?;
        let columns = visit_rows(name, some, &seen)?;
        // Older universes lack some columns.
        let kept: Vec<usize> = (0..columns.num_columns())
            .filter(|i| known.read_columns().iter().any(|c| c.name == *columns.schema_ref().field(*i).name()))
            .collect();
        let rows = columns.project(&kept)?;
        let statuses = compare(&repo.registry, &known, &rows).await?;
        let update = self.update_records || self.incremental;
        for (visit, status) in some.iter().zip(&statuses) {
            if let Comparison::Differs(how) = status
                && !update
            {
                let error = conflict("visit", how).context(format_args!("visit {}", visit.name));
                let message = format!("{}; update_records => true overwrites it", error.message());
                return Err(Error::new(Kind::Conflict, message));
            }
        }
        let of = |wanted: fn(&Comparison) -> bool| -> Vec<bool> { statuses.iter().map(wanted).collect() };
        let (new, changed) = (of(|s| *s == Comparison::New), of(|s| matches!(s, Comparison::Differs(_))));
        let unchanged = statuses.iter().filter(|s| **s == Comparison::Unchanged).count();
        set.record("visit", Status::Unchanged, "", unchanged as u64);
        let mut add = |element: &str, rows: RecordBatch, replace: bool| {
            if rows.num_rows() > 0 {
                let records = RecordSource::Rows(Box::new(rows.into()));
                set.push(WriteRecords { element: element.to_owned(), records, replace });
            }
        };
        add("visit", filter_rows(&rows, new.iter().copied())?, false);
        add("visit", filter_rows(&rows, changed.iter().copied())?, true);
        let grown: Vec<bool> =
            new.iter().zip(&changed).map(|(new, changed)| *new || (*changed && self.incremental)).collect();
        add("visit_definition", definitions(name, some, &grown)?, false);
        add("visit_system_membership", memberships(name, some, &new)?, false);
        add("visit_detector_region", detector_regions(name, some, &seen, &new)?, false);
        add("visit_detector_region", detector_regions(name, some, &seen, &changed)?, true);
        Ok(())
    }
}

/// Splits exposures into portions of complete sequences, with at most `most` exposures unless one sequence is longer.
fn portions(groups: Vec<Vec<i64>>, most: usize) -> impl Iterator<Item = Vec<i64>> {
    let mut groups = groups.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut portion = groups.next()?;
        while let Some(group) = groups.next_if(|group| portion.len() + group.len() <= most) {
            portion.extend(group);
        }
        Some(portion)
    })
}

/// Returns the rows of exposures that point at a known position on the sky.
fn see_sky(rows: &RecordBatch) -> Result<Vec<usize>> {
    let blind = required_column(rows, SEES_SKY)?;
    let blind = |row: usize| blind.is_valid(row) && !blind.as_boolean().value(row);
    let places = POINTING.map(|name| required_column(rows, name));
    let places = places.into_iter().collect::<Result<Vec<_>>>()?;
    Ok((0..rows.num_rows()).filter(|row| !blind(*row) && places.iter().all(|place| place.is_valid(*row))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_hold_whole_sequences() {
        let groups = vec![vec![1; 500], vec![2; 12], vec![3; 1], vec![4; 3000], vec![5; 7]];
        let lengths: Vec<_> = portions(groups, 512).map(|portion| portion.len()).collect();
        assert_eq!(lengths, [512, 1, 3000, 7]);
    }
}
