//! `define_visits`: defines visits from exposures, with regions on the sky.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use crate::error::{Error, Kind, Result};
use crate::instrument::Instrument;
use crate::instrument::camera::{Camera, Pointing};
use crate::registry::db::conn::Batches;
use crate::registry::db::rows::{constant_text, record_batch, required_column, strict_cast};
use crate::registry::dimensions::{self, table};
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::changeset::changes::{RecordSource, WriteRecords};
use crate::repo::changeset::comparison::sync_records;
use crate::repo::changeset::comparison::{Comparison, compare, conflict, filter_rows};
use crate::repo::changeset::input_rows::read_rows;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::sphere::Vector;
use crate::sphere::hull::hull;

/// Defines the visits of an instrument.
#[derive(Debug)]
pub struct DefineVisits {
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

/// An exposure on the sky.
#[derive(Debug, Clone)]
struct Exposure {
    id: i64,
    obs_id: String,
    day_obs: i64,
    seq: (i64, i64, i64),
    physical_filter: Option<String>,
    target_name: Option<String>,
    science_program: Option<String>,
    observation_reason: Option<String>,
    exposure_time: Option<f64>,
    azimuth: Option<f64>,
    zenith_angle: Option<f64>,
    timespan: (Option<i64>, Option<i64>),
    pointing: Pointing,
}

/// A visit of one or more exposures.
#[derive(Debug)]
struct Visit {
    id: i64,
    name: String,
    systems: Vec<i64>,
    members: Vec<Exposure>,
}

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
        let sets = stream::try_unfold((portions, false), move |(mut portions, has_visits)| {
            let repo = Arc::clone(&repo);
            async move {
                let mut set = ChangeSet::default();
                let Some(portion) = portions.next() else { return Ok(None) };
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
                let records = RecordSource::Rows(rows.into());
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

/// Converts exposure records.
fn read(rows: &RecordBatch) -> Result<Vec<Exposure>> {
    let at = |name: &str| rows.schema_ref().index_of(name);
    let text =
        |name: &str| -> Result<Vec<Option<String>>> { Ok(crate::registry::optional_string_values(rows, at(name)?)) };
    let float = |name: &str| Ok::<_, Error>(rows.column(at(name)?).as_primitive::<Float64Type>().clone());
    let int = |name: &str| Ok::<_, Error>(rows.column(at(name)?).as_primitive::<Int64Type>().clone());
    let time = |name: &str| Ok::<_, Error>(rows.column(at(name)?).as_primitive::<TimestampNanosecondType>().clone());
    let (ids, days) = (int("id")?, int("day_obs")?);
    let (seq, starts, ends) = (int("seq_num")?, int("seq_start")?, int("seq_end")?);
    let (names, filters, targets) =
        (string_values(rows, at("obs_id")?), text("physical_filter")?, text("target_name")?);
    let (programs, reasons) = (text("science_program")?, text("observation_reason")?);
    let (times, azimuths, zeniths) = (float("exposure_time")?, float("azimuth")?, float("zenith_angle")?);
    let [ra, dec, angles] = POINTING.map(float);
    let (ra, dec, angles) = (ra?, dec?, angles?);
    let (begins, finishes) = (time("timespan_begin")?, time("timespan_end")?);
    let some = |array: &Float64Array, row: usize| array.is_valid(row).then(|| array.value(row));
    let stamp = |array: &TimestampNanosecondArray, row: usize| array.is_valid(row).then(|| array.value(row));
    let exposure = |row: usize| Exposure {
        id: ids.value(row),
        obs_id: names[row].clone(),
        day_obs: days.value(row),
        seq: (seq.value(row), starts.value(row), ends.value(row)),
        physical_filter: filters[row].clone(),
        target_name: targets[row].clone(),
        science_program: programs[row].clone(),
        observation_reason: reasons[row].clone(),
        exposure_time: some(&times, row),
        azimuth: some(&azimuths, row),
        zenith_angle: some(&zeniths, row),
        timespan: (stamp(&begins, row), stamp(&finishes, row)),
        pointing: Pointing { ra: ra.value(row), dec: dec.value(row), angle: angles.value(row) },
    };
    Ok((0..rows.num_rows()).map(exposure).collect())
}

/// Returns the visits of exposures, ordered by id: one for each exposure, and one for each sequence.
fn visits(exposures: Vec<Exposure>) -> Vec<Visit> {
    let mut groups: BTreeMap<(i64, i64, i64), Vec<Exposure>> = BTreeMap::new();
    for exposure in exposures {
        groups.entry((exposure.day_obs, exposure.seq.1, exposure.seq.2)).or_default().push(exposure);
    }
    let mut all = Vec::new();
    for (_, mut members) in groups {
        members.sort_by_key(|e| (e.seq.0, e.id));
        let first = members[0].clone();
        let multi = first.seq.1 != first.seq.2;
        // A sequence without its first exposure has no name and is not a visit.
        let whole = multi && first.seq.0 == first.seq.1;
        for exposure in &members {
            let (mut id, mut name) = (exposure.id, exposure.obs_id.clone());
            if whole && exposure.id == first.id {
                id = format!("9{id}").parse().unwrap_or(id);
                name.push_str("_first");
            }
            let systems = if multi { vec![0] } else { vec![0, 2] };
            all.push(Visit { id, name, systems, members: vec![exposure.clone()] });
        }
        if whole {
            all.push(Visit { id: first.id, name: first.obs_id, systems: vec![2], members });
        }
    }
    all.sort_by_key(|visit| visit.id);
    all
}

fn systems(instrument: &str) -> Result<RecordBatch> {
    record_batch([
        ("instrument", constant_text(instrument, SYSTEMS.len())),
        ("id", Arc::new(Int64Array::from(SYSTEMS.map(|s| s.0).to_vec())) as ArrayRef),
        ("name", Arc::new(StringArray::from(SYSTEMS.map(|s| s.1).to_vec()))),
    ])
}

/// Returns the common value of all exposures, if there is one.
fn common(visit: &Visit, value: fn(&Exposure) -> Option<&String>) -> Option<String> {
    let first = value(&visit.members[0])?;
    visit.members.iter().all(|e| value(e) == Some(first)).then(|| first.clone())
}

/// Returns the values of all exposures, if none is missing.
fn every(visit: &Visit, value: fn(&Exposure) -> Option<f64>) -> Option<Vec<f64>> {
    visit.members.iter().map(value).collect()
}

fn azimuth(visit: &Visit) -> Option<f64> {
    let all = every(visit, |e| e.azimuth)?;
    if let [one] = all[..] {
        return Some(one);
    }
    let sum = |part: fn(f64) -> f64| all.iter().map(|a| part(a.to_radians())).sum::<f64>();
    Some(sum(f64::sin).atan2(sum(f64::cos)).to_degrees())
}

fn visit_rows(instrument: &str, some: &[Visit], seen: &[Vec<(i64, [Vector; 4])>]) -> Result<RecordBatch> {
    let int = |value: fn(&Visit) -> Option<i64>| Arc::new(some.iter().map(value).collect::<Int64Array>()) as ArrayRef;
    let float =
        |value: fn(&Visit) -> Option<f64>| Arc::new(some.iter().map(value).collect::<Float64Array>()) as ArrayRef;
    let text =
        |value: fn(&Visit) -> Option<String>| Arc::new(some.iter().map(value).collect::<StringArray>()) as ArrayRef;
    let time = |value: fn(&Visit) -> Option<i64>| {
        Arc::new(some.iter().map(value).collect::<TimestampNanosecondArray>()) as ArrayRef
    };
    let region = |corners: &Vec<(i64, [Vector; 4])>| {
        let all: Vec<Vector> = corners.iter().flat_map(|(_, corners)| *corners).collect();
        hull(&all).map(|region| region.encode())
    };
    record_batch([
        ("instrument", constant_text(instrument, some.len())),
        ("id", int(|v| Some(v.id))),
        ("day_obs", int(|v| v.members.iter().map(|e| e.day_obs).min())),
        ("physical_filter", text(|v| common(v, |e| e.physical_filter.as_ref()))),
        ("name", text(|v| Some(v.name.clone()))),
        ("seq_num", int(|v| v.members.iter().map(|e| e.seq.0).min())),
        ("exposure_time", float(|v| every(v, |e| e.exposure_time).map(|all| all.iter().sum()))),
        ("target_name", text(|v| common(v, |e| e.target_name.as_ref()))),
        (
            "observation_reason",
            text(|v| Some(common(v, |e| e.observation_reason.as_ref()).unwrap_or_else(|| "various".to_owned()))),
        ),
        ("science_program", text(|v| common(v, |e| e.science_program.as_ref()))),
        ("azimuth", float(azimuth)),
        ("zenith_angle", float(|v| every(v, |e| e.zenith_angle).map(|all| all.iter().sum::<f64>() / all.len() as f64))),
        ("region", Arc::new(seen.iter().map(region).collect::<BinaryArray>())),
        ("timespan_begin", time(|v| v.members.iter().map(|e| e.timespan.0).min().flatten())),
        ("timespan_end", time(|v| v.members.iter().map(|e| e.timespan.1).max().flatten())),
    ])
}

fn pairs(instrument: &str, names: [&str; 2], values: Vec<(i64, i64)>) -> Result<RecordBatch> {
    let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let (first, second): (Vec<_>, Vec<_>) = values.into_iter().unzip();
    record_batch([
        ("instrument", constant_text(instrument, first.len())),
        (names[0], column(first)),
        (names[1], column(second)),
    ])
}

fn definitions(instrument: &str, some: &[Visit], chosen: &[bool]) -> Result<RecordBatch> {
    let chosen = some.iter().zip(chosen).filter(|(_, chosen)| **chosen);
    let values = chosen.flat_map(|(visit, _)| visit.members.iter().map(|e| (e.id, visit.id))).collect();
    pairs(instrument, ["exposure", "visit"], values)
}

fn memberships(instrument: &str, some: &[Visit], chosen: &[bool]) -> Result<RecordBatch> {
    let chosen = some.iter().zip(chosen).filter(|(_, chosen)| **chosen);
    let values = chosen.flat_map(|(visit, _)| visit.systems.iter().map(|system| (*system, visit.id))).collect();
    pairs(instrument, ["visit_system", "visit"], values)
}

fn detector_regions(
    instrument: &str,
    some: &[Visit],
    seen: &[Vec<(i64, [Vector; 4])>],
    chosen: &[bool],
) -> Result<RecordBatch> {
    let (mut detectors, mut ids, mut regions) = (Vec::new(), Vec::new(), Vec::new());
    for ((visit, corners), _) in some.iter().zip(seen).zip(chosen).filter(|(_, chosen)| **chosen) {
        for (detector, corners) in corners {
            let region = hull(corners).ok_or_else(|| Error::bug("the corners of a detector do not form a polygon"))?;
            detectors.push(*detector);
            ids.push(visit.id);
            regions.push(region.encode());
        }
    }
    record_batch([
        ("instrument", constant_text(instrument, ids.len())),
        ("detector", Arc::new(Int64Array::from(detectors)) as ArrayRef),
        ("visit", Arc::new(Int64Array::from(ids))),
        ("region", Arc::new(BinaryArray::from_iter_values(regions))),
    ])
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
