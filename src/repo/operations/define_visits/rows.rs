//! The records of visits.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};

use super::SYSTEMS;
use super::visit::{Visit, azimuth, common, every};
use crate::error::{Error, Result};
use crate::registry::db::rows::{constant_text, record_batch};
use crate::sphere::Vector;
use crate::sphere::hull::hull;

pub(super) fn systems(instrument: &str) -> Result<RecordBatch> {
    record_batch([
        ("instrument", constant_text(instrument, SYSTEMS.len())),
        ("id", Arc::new(Int64Array::from(SYSTEMS.map(|s| s.0).to_vec())) as ArrayRef),
        ("name", Arc::new(StringArray::from(SYSTEMS.map(|s| s.1).to_vec()))),
    ])
}

pub(super) fn visit_rows(instrument: &str, some: &[Visit], seen: &[Vec<(i64, [Vector; 4])>]) -> Result<RecordBatch> {
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

pub(super) fn definitions(instrument: &str, some: &[Visit], chosen: &[bool]) -> Result<RecordBatch> {
    let chosen = some.iter().zip(chosen).filter(|(_, chosen)| **chosen);
    let values = chosen.flat_map(|(visit, _)| visit.members.iter().map(|e| (e.id, visit.id))).collect();
    pairs(instrument, ["exposure", "visit"], values)
}

pub(super) fn memberships(instrument: &str, some: &[Visit], chosen: &[bool]) -> Result<RecordBatch> {
    let chosen = some.iter().zip(chosen).filter(|(_, chosen)| **chosen);
    let values = chosen.flat_map(|(visit, _)| visit.systems.iter().map(|system| (*system, visit.id))).collect();
    pairs(instrument, ["visit_system", "visit"], values)
}

pub(super) fn detector_regions(
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
