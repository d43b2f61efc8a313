//! Visits, and the exposures that they consist of.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};

use super::POINTING;
use crate::error::{Error, Result};
use crate::instrument::camera::Pointing;
use crate::registry::{optional_string_values, string_values};

/// An exposure on the sky.
#[derive(Debug, Clone)]
pub(super) struct Exposure {
    pub(super) id: i64,
    pub(super) obs_id: String,
    pub(super) day_obs: i64,
    pub(super) seq: (i64, i64, i64),
    pub(super) physical_filter: Option<String>,
    pub(super) target_name: Option<String>,
    pub(super) science_program: Option<String>,
    pub(super) observation_reason: Option<String>,
    pub(super) exposure_time: Option<f64>,
    pub(super) azimuth: Option<f64>,
    pub(super) zenith_angle: Option<f64>,
    pub(super) timespan: (Option<i64>, Option<i64>),
    pub(super) pointing: Pointing,
}

/// A visit of one or more exposures.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) systems: Vec<i64>,
    pub(super) members: Vec<Exposure>,
}

/// Converts exposure records.
pub(super) fn read(rows: &RecordBatch) -> Result<Vec<Exposure>> {
    let at = |name: &str| rows.schema_ref().index_of(name);
    let text = |name: &str| -> Result<Vec<Option<String>>> { Ok(optional_string_values(rows, at(name)?)) };
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
pub(super) fn visits(exposures: Vec<Exposure>) -> Vec<Visit> {
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

/// Returns the common value of all exposures, if there is one.
pub(super) fn common(visit: &Visit, value: fn(&Exposure) -> Option<&String>) -> Option<String> {
    let first = value(&visit.members[0])?;
    visit.members.iter().all(|e| value(e) == Some(first)).then(|| first.clone())
}

/// Returns the values of all exposures, if none is missing.
pub(super) fn every(visit: &Visit, value: fn(&Exposure) -> Option<f64>) -> Option<Vec<f64>> {
    visit.members.iter().map(value).collect()
}

pub(super) fn azimuth(visit: &Visit) -> Option<f64> {
    let all = every(visit, |e| e.azimuth)?;
    if let [one] = all[..] {
        return Some(one);
    }
    let sum = |part: fn(f64) -> f64| all.iter().map(|a| part(a.to_radians())).sum::<f64>();
    Some(sum(f64::sin).atan2(sum(f64::cos)).to_degrees())
}
