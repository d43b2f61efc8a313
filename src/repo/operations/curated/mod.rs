//! `write_curated_calibrations`: calibrations that are maintained as files together with the code of an instrument.

mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use async_trait::async_trait;
use uuid::Uuid;

use self::read::{Calibration, KnownInstrument, all_folders};
use crate::error::{Error, Kind, Result};
use crate::instrument::Instrument;
use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::model::time::Timespan;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets;
use crate::registry::db::rows::{constant_text, record_batch, text_column};
use crate::repo::Repo;
use crate::repo::changeset::changes::{AddMembers, CreateDatasetType, InsertDatasets, TransferFiles};
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::repo::operations::collections;
use crate::store::transfer::{Transfer, TransferSource};
use crate::store::transfer_mode::TransferMode;
use crate::store::{FileType, Location};

/// The dataset types of curated calibrations.
const TYPES: &str = include_str!("../../../instrument/curated.csv");
/// Maximum size in bytes of a calibration file.
const LIMIT: u64 = 1 << 28;

/// Writes curated calibrations; existing ones are not changed.
#[derive(Debug)]
pub(crate) struct WriteCurated {
    /// Instrument.
    pub instrument: Instrument,
    /// Labels, which are part of the collection names.
    pub labels: Vec<String>,
    /// Folder that contains a folder for each instrument.
    pub data: String,
    /// FITS file of the camera; by default `camera.fits` in the folder of the instrument.
    pub camera: Option<String>,
    /// CALIBRATION collection; by default derived from the labels.
    pub collection: Option<String>,
    /// Prefix of collection names; by default the name of the instrument.
    pub prefix: Option<String>,
}

#[async_trait]
impl Operation for WriteCurated {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        if self.labels.is_empty() && self.collection.is_none() {
            return Err(Error::invalid("write_curated_calibrations needs label => '…' or collection => '…'"));
        }
        if let Some(bad) = self.labels.iter().find(|label| label.trim().is_empty() || label.contains(['/', '*', '?'])) {
            return Err(Error::invalid(format!("'{bad}' is not a valid label for collection names")));
        }
        let folder = self.instrument.curated_folder.as_ref().ok_or_else(|| {
            Error::new(Kind::Unsupported, format!("{} has no curated calibrations", self.instrument.name))
        })?;
        let repo = context.handle.repo().await?;
        let known = KnownInstrument::load(&repo, &self.instrument.name).await?;
        let folder = Location::parse(&self.data)?.child(folder);
        if folder.stat().await? != FileType::Directory {
            let message =
                format!("cannot find folder '{}' with calibrations of {}", folder.display(), self.instrument.name);
            return Err(Error::new(Kind::NotFound, message));
        }
        context.progress.begin("write_curated_calibrations", None);
        let mut found = vec![(calibration_type("camera", "Camera", false, false), vec![self.camera(&folder).await?])];
        let there = all_folders(&folder).await?;
        for line in TYPES.lines().skip(1) {
            let [name, class, by_detector, by_filter] = line.split(',').collect::<Vec<_>>()[..] else {
                return Err(Error::bug(format!("curated.csv: {line}")));
            };
            if there.iter().any(|t| t == name) {
                let kind = calibration_type(name, class, by_detector == "true", by_filter == "true");
                let all = self.read(&folder.child(name), &kind, &known, &context.progress).await?;
                found.push((kind, all));
            }
        }
        Ok(self.change_set(&repo, found).await?.into_plan())
    }
}

fn calibration_type(name: &str, storage_class: &str, by_detector: bool, by_filter: bool) -> DatasetType {
    let mut dimensions = vec!["instrument".to_owned()];
    dimensions.extend(by_detector.then(|| "detector".to_owned()));
    dimensions.extend(by_filter.then(|| "physical_filter".to_owned()));
    DatasetType { name: name.to_owned(), dimensions, storage_class: storage_class.to_owned(), is_calibration: true }
}

impl WriteCurated {
    /// Returns the prefix of collection names.
    fn base(&self) -> String {
        let mut base = format!("{}/calib", self.prefix.as_ref().unwrap_or(&self.instrument.name));
        self.labels.iter().for_each(|label| base.push_str(&format!("/{label}")));
        base
    }

    /// Returns the change set for the calibrations found.
    async fn change_set(&self, repo: &Repo, found: Vec<(DatasetType, Vec<Calibration>)>) -> Result<ChangeSet<'static>> {
        let collection = self.collection.clone().unwrap_or_else(|| self.base());
        let mut set = ChangeSet::default();
        set.extend(collections::ensure_collection(repo, &collection, CollectionType::Calibration).await?);
        let records = dataset_types::load(&repo.registry).await?;
        let mut runs = BTreeSet::new();
        let mut certified = Vec::new();
        for (kind, all) in found {
            let record = records.iter().find(|r| r.dataset_type.name == kind.name);
            match record {
                Some(record) => dataset_types::check_same(&kind, &record.dataset_type)?,
                None => set.push(CreateDatasetType(kind.clone())),
            }
            let mut by_run: BTreeMap<String, Vec<Calibration>> = BTreeMap::new();
            for one in all {
                by_run.entry(one.run.clone()).or_default().push(one);
            }
            for (run, all) in by_run {
                if runs.insert(run.clone()) {
                    set.extend(collections::ensure_collection(repo, &run, CollectionType::Run).await?);
                }
                check_distinct(&all)?;
                certified.extend(self.store(repo, &kind, record, (&run, &all), &mut set).await?);
            }
        }
        let rows = certifications(&certified)?.into();
        set.push(AddMembers { collection, kind: CollectionType::Calibration, rows });
        Ok(set)
    }

    /// Adds the changes that store calibrations of one type and run. Returns their ids with their validity ranges.
    /// Stored calibrations must be identical.
    async fn store(
        &self,
        repo: &Repo,
        kind: &DatasetType,
        record: Option<&TypeRecord>,
        (run, all): (&str, &[Calibration]),
        set: &mut ChangeSet<'_>,
    ) -> Result<Vec<(String, Timespan)>> {
        let fresh: Vec<String> = all.iter().map(|_| Uuid::new_v4().to_string()).collect();
        let rows = self.rows(kind, all, &fresh)?;
        let there = match record {
            Some(record) => datasets::existing_datasets(&repo.registry, record, run, &rows).await?,
            None => HashMap::new(),
        };
        let keys = record.map_or_else(|| Ok(fresh.clone()), |record| datasets::keys(record, &rows))?;
        let root = Location::parse(&repo.datastore_root())?;
        let mut new = Vec::new();
        for (one, key) in all.iter().zip(&keys) {
            let stored = there.get(key).and_then(|present| present.file.as_ref());
            if let Some((path, _)) = stored
                && !path.contains("://")
                && root.child(path).read(LIMIT).await? != one.fits
            {
                let message =
                    format!("file '{}' has changed since it was written to run '{run}': use another label", one.file);
                return Err(Error::new(Kind::Conflict, message));
            }
            new.push(stored.is_none());
        }
        let known = |(key, fresh): (&String, &String)| there.get(key).map_or_else(|| fresh.clone(), |p| p.id.clone());
        let ids: Vec<String> = keys.iter().zip(&fresh).map(known).collect();
        let mask = new.iter().map(|new| Some(*new)).collect();
        let rows = arrow::compute::filter_record_batch(&self.rows(kind, all, &ids)?, &mask)?;
        set.record("dataset", Status::Unchanged, &kind.name, (all.len() - rows.num_rows()) as u64);
        if rows.num_rows() > 0 {
            let kept: Vec<&Calibration> = all.iter().zip(&new).filter(|(_, new)| **new).map(|(one, _)| one).collect();
            let places = paths(repo, kind, run, &rows, &PendingRecords::new()).await?;
            let places: Vec<String> = places.into_iter().map(|path| format!("{path}.fits")).collect();
            if let Some(twice) = places.iter().enumerate().find(|(i, place)| places[..*i].contains(place)) {
                let message = format!("two files map to the path '{}': the file template is not unique", twice.1);
                return Err(Error::new(Kind::Conflict, message));
            }
            let files = kept.iter().zip(&places).map(|(one, path)| Transfer {
                from: TransferSource::Bytes(one.fits.clone()),
                to: root.child(path),
                mode: TransferMode::Copy,
            });
            set.push(TransferFiles { transfers: files.collect() });
            let columns = rows.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(rows.columns().to_vec());
            let sizes: Int64Array = kept.iter().map(|one| i64::try_from(one.fits.len()).ok()).collect();
            let rows = record_batch(columns.chain([
                ("path", text_column(places.iter().map(String::as_str))),
                ("formatter", constant_text(repo.formatter(kind)?, places.len())),
                ("file_size", Arc::new(sizes) as ArrayRef),
            ]))?;
            let (dataset_type, run) = (kind.name.clone(), run.to_owned());
            set.push(InsertDatasets { dataset_type, run, rows: rows.into() });
        }
        Ok(ids.into_iter().zip(all.iter().map(|one| one.valid)).collect())
    }

    /// Returns rows of `dataset_id` and the dimensions.
    fn rows(&self, kind: &DatasetType, all: &[Calibration], ids: &[String]) -> Result<RecordBatch> {
        let mut columns = vec![("dataset_id", text_column(ids.iter().map(String::as_str)))];
        for dimension in &kind.dimensions {
            let values: ArrayRef = match dimension.as_str() {
                "detector" => Arc::new(all.iter().map(|one| one.detector).collect::<Int64Array>()),
                "physical_filter" => Arc::new(all.iter().map(|one| one.filter.as_deref()).collect::<StringArray>()),
                _ => constant_text(&self.instrument.name, all.len()),
            };
            columns.push((dimension, values));
        }
        record_batch(columns)
    }
}

/// Checks that no two calibrations of a run have the same data ID.
fn check_distinct(all: &[Calibration]) -> Result<()> {
    let mut seen = HashMap::new();
    for one in all {
        if let Some(first) = seen.insert((one.detector, &one.filter), &one.file) {
            let message = format!("files '{first}' and '{}' have the same CALIBDATE", one.file);
            return Err(Error::new(Kind::Conflict, message));
        }
    }
    Ok(())
}

fn certifications(all: &[(String, Timespan)]) -> Result<RecordBatch> {
    let times = |end: fn(&Timespan) -> i64| {
        Arc::new(all.iter().map(|(_, span)| Some(end(span))).collect::<TimestampNanosecondArray>()) as ArrayRef
    };
    record_batch([
        ("dataset_id", text_column(all.iter().map(|(id, _)| id.as_str()))),
        ("timespan_begin", times(|span| span.begin)),
        ("timespan_end", times(|span| span.end)),
    ])
}
