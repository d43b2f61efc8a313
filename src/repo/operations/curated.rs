//! `write_curated_calibrations`: calibrations that are maintained as files together with the code of an instrument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::format::curated::Curated;
use crate::instrument::Instrument;
use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::model::time::{Timespan, parse_stem, utc_to_tai};
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets;
use crate::registry::db::rows::{constant_text, record_batch, text_column};
use crate::registry::dimensions;
use crate::registry::i64_values;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::changeset::changes::{AddMembers, CreateDatasetType, InsertDatasets, TransferFiles};
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext, PlanProgress};
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::repo::operations::collections;
use crate::store::transfer::{Transfer, TransferMode, TransferSource};
use crate::store::{FileType, Location};

/// The dataset types of curated calibrations.
const TYPES: &str = include_str!("../../instrument/curated.csv");
/// Maximum size in bytes of a calibration file.
const LIMIT: u64 = 1 << 28;

/// Writes curated calibrations; existing ones are not changed.
#[derive(Debug)]
pub struct WriteCurated {
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

/// A calibration to store and certify.
struct Calibration {
    file: String,
    run: String,
    detector: Option<i64>,
    filter: Option<String>,
    valid: Timespan,
    fits: Bytes,
}

/// The registered detectors and filters of the instrument.
struct KnownInstrument {
    detectors: Vec<(i64, String)>,
    filters: Vec<String>,
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

impl KnownInstrument {
    async fn load(repo: &Repo, instrument: &str) -> Result<Self> {
        let (id, name) = (ReadColumn::plain("id", ColumnType::Int), ReadColumn::plain("name", ColumnType::Text(None)));
        let full_name = ReadColumn::plain("full_name", ColumnType::Text(None));
        let detectors = dimensions::values(&repo.registry, "detector", vec![id, full_name], Some(instrument)).await?;
        let filters = dimensions::values(&repo.registry, "physical_filter", vec![name], Some(instrument)).await?;
        if detectors.num_rows() == 0 {
            return Err(Error::new(Kind::NotFound, format!("instrument '{instrument}' is not registered")));
        }
        let detectors = i64_values(&detectors, 0).into_iter().zip(string_values(&detectors, 1)).collect();
        Ok(Self { detectors, filters: string_values(&filters, 0) })
    }

    /// Returns the detector whose full name, in lower case, is the name of a folder.
    fn detector(&self, folder: &str) -> Result<i64> {
        let names: Vec<String> = self.detectors.iter().map(|(_, name)| name.to_lowercase()).collect();
        let found = names.iter().zip(&self.detectors).find(|(name, _)| *name == folder);
        found
            .map(|(_, (id, _))| *id)
            .ok_or_else(|| Error::not_found("detector", folder, names.iter().map(String::as_str)))
    }

    /// Returns the filter whose name, in lower case with underscores for spaces, is the name of a folder.
    fn filter(&self, folder: &str) -> Result<&str> {
        let names: Vec<String> = self.filters.iter().map(|name| name.to_lowercase().replace(' ', "_")).collect();
        let found = names.iter().zip(&self.filters).find(|(name, _)| *name == folder);
        let unknown = || Error::not_found("physical_filter", folder, names.iter().map(String::as_str));
        found.map(|(_, filter)| filter.as_str()).ok_or_else(unknown)
    }
}

impl WriteCurated {
    /// Returns the prefix of collection names.
    fn base(&self) -> String {
        let mut base = format!("{}/calib", self.prefix.as_ref().unwrap_or(&self.instrument.name));
        self.labels.iter().for_each(|label| base.push_str(&format!("/{label}")));
        base
    }

    /// Reads the camera, which is valid at all times.
    async fn camera(&self, folder: &Location) -> Result<Calibration> {
        let file = match &self.camera {
            Some(file) => Location::parse(file)?,
            None => folder.child("camera.fits"),
        };
        let fits = file.read(LIMIT).await.map_err(|e| {
            let advice = "a camera that the pipelines wrote, as a FITS file, is given by camera => '…'";
            Error::new(e.kind(), format!("camera: {}; {advice}", e.message())).with_source(e)
        })?;
        if !fits.starts_with(b"SIMPLE  =") {
            return Err(Error::invalid(format!("camera '{}' is not a FITS file", file.display())));
        }
        let run = format!("{}/unbounded", self.base());
        Ok(Calibration { file: file.display(), run, detector: None, filter: None, valid: Timespan::ALL, fits })
    }

    /// Reads the calibrations of one type from a folder, or from its subfolders by detector, by filter, or by both.
    async fn read(
        &self,
        folder: &Location,
        kind: &DatasetType,
        known: &KnownInstrument,
        progress: &PlanProgress,
    ) -> Result<Vec<Calibration>> {
        let has = |dimension: &str| kind.dimensions.iter().any(|d| d == dimension);
        let mut folders = vec![(folder.clone(), None, None)];
        if has("detector") {
            folders = below(folders).await?;
            for (folder, detector, _) in &mut folders {
                *detector = Some(known.detector(&folder.name()).map_err(|e| named(e, folder))?);
            }
        }
        if has("physical_filter") {
            folders = below(folders).await?;
            for (folder, _, filter) in &mut folders {
                *filter = Some(known.filter(&folder.name()).map_err(|e| named(e, folder))?.to_owned());
            }
        }
        let mut all = Vec::new();
        for (folder, detector, filter) in folders {
            let files = folder.list().await?.files.into_iter().map(|(name, _)| name);
            let mut begins = Vec::new();
            for name in files.filter(|name| [".ecsv", ".yaml", ".json"].iter().any(|end| name.ends_with(end))) {
                let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
                let begin = parse_stem(stem).map(utc_to_tai);
                let begin = begin.ok_or_else(|| {
                    let message = format!("the name of file '{}' is not a date", folder.child(&name).display());
                    Error::invalid(message)
                })?;
                begins.push((begin, name));
            }
            begins.sort();
            if let Some(pair) = begins.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                let message = format!("files '{}' and '{}' are valid from the same time on", pair[0].1, pair[1].1);
                return Err(named(Error::new(Kind::Conflict, message), &folder));
            }
            for (at, (begin, name)) in begins.iter().enumerate() {
                let file = folder.child(name);
                let valid = Timespan::new(Some(*begin), begins.get(at + 1).map(|(next, _)| *next));
                let read = self.file(&file, kind, detector, filter.clone(), valid).await;
                all.push(read.map_err(|e| e.context(format_args!("file '{}'", file.display())))?);
                progress.tick(1, 0);
            }
        }
        Ok(all)
    }

    async fn file(
        &self,
        file: &Location,
        kind: &DatasetType,
        detector: Option<i64>,
        filter: Option<String>,
        valid: Timespan,
    ) -> Result<Calibration> {
        if !file.name().ends_with(".ecsv") {
            return Err(Error::new(Kind::Unsupported, "only ECSV files are supported"));
        }
        let curated = Curated::parse(&kind.storage_class, &file.read(LIMIT).await?)?;
        let differs = |key: &str, wanted: &str, given: &str| {
            Err(Error::invalid(format!("the header has {key} = '{given}', the folder '{wanted}'")))
        };
        let folder = self.instrument.curated_folder.as_deref().unwrap_or_default();
        for (key, wanted) in [("INSTRUME", folder), ("OBSTYPE", &*kind.name)] {
            let given = curated.text(key)?;
            if !given.eq_ignore_ascii_case(wanted) {
                return differs(key, wanted, given);
            }
        }
        if let Some(detector) = detector {
            let given = curated.int("DETECTOR")?;
            if given != detector {
                return differs("DETECTOR", &detector.to_string(), &given.to_string());
            }
        }
        if let Some(filter) = &filter {
            let given = curated.text("FILTER")?;
            if !given.eq_ignore_ascii_case(filter) {
                return differs("FILTER", filter, given);
            }
        }
        let date = curated.text("CALIBDATE")?;
        let clock = parse_stem(date).ok_or_else(|| Error::invalid(format!("CALIBDATE '{date}' is not a date")))?;
        let day = chrono::DateTime::from_timestamp_nanos(clock).format("%Y%m%dT%H%M%SZ");
        let run = format!("{}/curated/{day}", self.base());
        Ok(Calibration { file: file.display(), run, detector, filter, valid, fits: curated.fits.into() })
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

type CalibrationFolder = (Location, Option<i64>, Option<String>);

/// Returns the names of the subfolders of a folder, including links to folders.
async fn all_folders(folder: &Location) -> Result<Vec<String>> {
    let mut listing = folder.list().await?;
    listing.folders.append(&mut listing.links);
    listing.folders.sort();
    Ok(listing.folders)
}

/// Returns the subfolders of some folders.
async fn below(folders: Vec<CalibrationFolder>) -> Result<Vec<CalibrationFolder>> {
    let mut all = Vec::new();
    for (folder, detector, filter) in folders {
        for name in all_folders(&folder).await? {
            all.push((folder.child(&name), detector, filter.clone()));
        }
    }
    Ok(all)
}

fn named(error: Error, folder: &Location) -> Error {
    error.context(format_args!("folder '{}'", folder.display()))
}
