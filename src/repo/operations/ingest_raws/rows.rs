//! Registry rows of exposures and their files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};

use crate::error::Result;
use crate::instrument::{Instrument, Observation, day_obs_timespan};
use crate::model::dataset::{DatasetType, dataset_id};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::datasets::{self, ExistingDataset};
use crate::registry::db::rows::{constant_text, record_batch, text_column};
use crate::registry::dimensions;
use crate::registry::i64_values;
use crate::registry::optional_string_values;
use crate::registry::schema::{ColumnType, ReadColumn, TableDef};
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::operations::ingest_raws::Exposure;
use crate::store::Location;

/// Returns the detector names of an instrument, by id.
pub(super) async fn detectors(repo: &Repo, instrument: &str) -> Result<HashMap<i64, String>> {
    let columns =
        vec![ReadColumn::plain("id", ColumnType::Int), ReadColumn::plain("full_name", ColumnType::Text(None))];
    let rows = dimensions::values(&repo.registry, "detector", columns, Some(instrument)).await?;
    Ok(i64_values(&rows, 0).into_iter().zip(string_values(&rows, 1)).collect())
}

/// Returns the filters of an instrument.
pub(super) async fn filters(repo: &Repo, instrument: &str) -> Result<Vec<String>> {
    let columns = vec![ReadColumn::plain("name", ColumnType::Text(None))];
    Ok(string_values(&dimensions::values(&repo.registry, "physical_filter", columns, Some(instrument)).await?, 0))
}

/// Returns the distinct records of an element that exposures need, and the row number of each exposure's record.
pub(super) fn records(table: &TableDef, element: &str, exposures: &[Exposure]) -> Result<(RecordBatch, Vec<usize>)> {
    let all: Vec<&Observation> = exposures.iter().map(|e| &e.observation).collect();
    // Different offsets of the same day are kept as two records, so that the difference is reported.
    let key = |o: &Observation| match element {
        "group" => (o.group.clone(), 0, None),
        "day_obs" => (String::new(), o.day_obs, o.day_offset),
        _ => (String::new(), o.exposure, None),
    };
    let mut positions = HashMap::new();
    let mut distinct = Vec::new();
    let mut of = Vec::with_capacity(all.len());
    for observation in all {
        let position = *positions.entry(key(observation)).or_insert_with(|| {
            distinct.push(observation);
            distinct.len() - 1
        });
        of.push(position);
    }
    let rows = match element {
        "group" => groups(&distinct)?,
        "day_obs" => days(&distinct)?,
        _ => exposure_rows(&distinct)?,
    };
    // Older universes lack some columns.
    let known = |name: &str| table.read_columns().iter().any(|c| c.name == name);
    let schema = rows.schema();
    let columns: Vec<_> = (0..rows.num_columns()).filter(|i| known(schema.field(*i).name())).collect();
    Ok((rows.project(&columns)?, of))
}

fn column<T, A: FromIterator<T> + arrow::array::Array + 'static>(
    all: &[&Observation],
    value: impl Fn(&Observation) -> T,
) -> ArrayRef {
    Arc::new(all.iter().map(|o| value(o)).collect::<A>())
}

fn groups(all: &[&Observation]) -> Result<RecordBatch> {
    record_batch([
        ("instrument", text_column(all.iter().map(|o| o.instrument.as_str()))),
        ("name", text_column(all.iter().map(|o| o.group.as_str()))),
    ])
}

fn days(all: &[&Observation]) -> Result<RecordBatch> {
    let span = |o: &Observation| o.day_offset.and_then(|offset| day_obs_timespan(o.day_obs, offset));
    record_batch([
        ("instrument", text_column(all.iter().map(|o| o.instrument.as_str()))),
        ("id", column::<_, Int64Array>(all, |o| Some(o.day_obs))),
        ("timespan_begin", column::<_, TimestampNanosecondArray>(all, |o| span(o).map(|s| s.0))),
        ("timespan_end", column::<_, TimestampNanosecondArray>(all, |o| span(o).map(|s| s.1))),
    ])
}

fn exposure_rows(all: &[&Observation]) -> Result<RecordBatch> {
    let text = |value: fn(&Observation) -> &str| -> ArrayRef { text_column(all.iter().map(|o| value(o))) };
    let maybe = |value: fn(&Observation) -> Option<&str>| -> ArrayRef {
        Arc::new(all.iter().map(|o| value(o)).collect::<StringArray>())
    };
    let int = |value: fn(&Observation) -> Option<i64>| column::<_, Int64Array>(all, value);
    let float = |value: fn(&Observation) -> Option<f64>| column::<_, Float64Array>(all, value);
    let time = |value: fn(&Observation) -> Option<i64>| column::<_, TimestampNanosecondArray>(all, value);
    record_batch([
        ("instrument", text(|o| &o.instrument)),
        ("id", int(|o| Some(o.exposure))),
        ("day_obs", int(|o| Some(o.day_obs))),
        ("group", text(|o| &o.group)),
        // For universes in which day_obs and group are not dimensions.
        ("group_name", text(|o| &o.group)),
        ("physical_filter", text(|o| &o.physical_filter)),
        ("obs_id", text(|o| &o.obs_id)),
        ("exposure_time", float(|o| Some(o.exposure_time))),
        ("dark_time", float(|o| o.dark_time)),
        ("observation_type", text(|o| &o.observation_type)),
        ("observation_reason", maybe(|o| o.observation_reason.as_deref())),
        ("seq_num", int(|o| o.seq_num)),
        ("seq_start", int(|o| Some(o.seq_start))),
        ("seq_end", int(|o| Some(o.seq_end))),
        ("target_name", maybe(|o| o.target_name.as_deref())),
        ("science_program", maybe(|o| o.science_program.as_deref())),
        ("tracking_ra", float(|o| o.tracking.map(|t| t.0))),
        ("tracking_dec", float(|o| o.tracking.map(|t| t.1))),
        ("sky_angle", float(|o| o.sky_angle)),
        ("azimuth", float(|o| o.azimuth)),
        ("zenith_angle", float(|o| o.zenith_angle)),
        ("has_simulated", column::<_, BooleanArray>(all, |o| Some(o.has_simulated))),
        ("can_see_sky", column::<_, BooleanArray>(all, |o| o.can_see_sky)),
        ("timespan_begin", time(|o| Some(o.timespan.0))),
        ("timespan_end", time(|o| Some(o.timespan.1))),
    ])
}

/// A raw dataset and its file.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Dataset id.
    pub id: String,
    /// Exposure id.
    pub exposure: i64,
    /// Detector id.
    pub detector: i64,
    /// File.
    pub location: &'a Location,
    /// Size in bytes, or −1 if it is not recorded.
    pub size: i64,
}

/// Returns the dataset id of a raw.
pub(super) fn raw_dataset_id(instrument: &Instrument, run: &str, exposure: i64, detector: i64) -> String {
    let data_id = [
        ("detector", detector.to_string()),
        ("exposure", exposure.to_string()),
        ("instrument", instrument.name.clone()),
    ];
    dataset_id(&instrument.raw.dataset_type, Some(run), &data_id).to_string()
}

/// Returns the `dataset_id` and the dimensions of datasets.
pub(super) fn data_ids(instrument: &Instrument, rows: &[&Row<'_>]) -> Result<RecordBatch> {
    let int = |value: fn(&Row<'_>) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(value(row))).collect::<Int64Array>())
    };
    record_batch([
        ("dataset_id", text_column(rows.iter().map(|row| row.id.as_str()))),
        ("instrument", constant_text(&instrument.name, rows.len())),
        ("detector", int(|row| row.detector)),
        ("exposure", int(|row| row.exposure)),
    ])
}

/// Returns rows for [`crate::registry::dataset_writer`], with the recorded paths of the files.
pub(super) fn dataset_rows(instrument: &Instrument, rows: &[Row<'_>], paths: &[String]) -> Result<RecordBatch> {
    let data_ids = data_ids(instrument, &rows.iter().collect::<Vec<_>>())?;
    let columns = data_ids.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(data_ids.columns().to_vec());
    let sizes: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.size)).collect::<Int64Array>());
    record_batch(columns.chain([
        ("path", text_column(paths.iter().map(String::as_str))),
        ("formatter", constant_text(&instrument.raw.formatter, rows.len())),
        ("file_size", sizes),
    ]))
}

/// Existing raws by exposure and detector.
pub(super) type ExistingRaws = HashMap<(i64, i64), ExistingDataset>;

/// Returns the raws of these exposures that the run holds.
pub(super) async fn existing_raws(
    repo: &Repo,
    record: &TypeRecord,
    instrument: &Instrument,
    run: &str,
    exposures: &[&Exposure],
) -> Result<ExistingRaws> {
    if exposures.is_empty() {
        return Ok(ExistingRaws::new());
    }
    let ids: Vec<i64> = exposures.iter().map(|e| e.observation.exposure).collect();
    let rows = datasets::of_exposures(&repo.registry, record, run, &instrument.name, &ids).await?;
    let keys = i64_values(&rows, 0).into_iter().zip(i64_values(&rows, 1));
    let values =
        string_values(&rows, 2).into_iter().zip(optional_string_values(&rows, 3).into_iter().zip(i64_values(&rows, 4)));
    let existing = values.map(|(id, (path, size))| ExistingDataset { id, file: path.map(|path| (path, size)) });
    Ok(keys.zip(existing).collect())
}

/// Returns the dataset type of an instrument's raws.
///
/// # Errors
/// Dimensions that are not in the universe.
pub(super) fn raw_type(repo: &Repo, instrument: &Instrument) -> Result<DatasetType> {
    let raw = &instrument.raw;
    Ok(DatasetType {
        name: raw.dataset_type.clone(),
        dimensions: repo.registry.universe.group(&raw.dimensions)?.required,
        storage_class: raw.storage_class.clone(),
        is_calibration: false,
    })
}
