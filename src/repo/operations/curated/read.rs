//! Reads calibrations from the folders of an instrument.

use bytes::Bytes;

use super::WriteCurated;
use crate::error::{Error, Kind, Result};
use crate::format::curated::Curated;
use crate::model::calendar::parse_stem;
use crate::model::dataset::DatasetType;
use crate::model::time::{Timespan, utc_to_tai};
use crate::registry::dimensions;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::{i64_values, string_values};
use crate::repo::Repo;
use crate::repo::changeset::PlanProgress;
use crate::store::Location;

/// A calibration to store and certify.
pub(super) struct Calibration {
    pub(super) file: String,
    pub(super) run: String,
    pub(super) detector: Option<i64>,
    pub(super) filter: Option<String>,
    pub(super) valid: Timespan,
    pub(super) fits: Bytes,
}

/// The registered detectors and filters of the instrument.
pub(super) struct KnownInstrument {
    pub(super) detectors: Vec<(i64, String)>,
    pub(super) filters: Vec<String>,
}

impl KnownInstrument {
    pub(super) async fn load(repo: &Repo, instrument: &str) -> Result<Self> {
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
    /// Reads the camera, which is valid at all times.
    pub(super) async fn camera(&self, folder: &Location) -> Result<Calibration> {
        let file = match &self.camera {
            Some(file) => Location::parse(file)?,
            None => folder.child("camera.fits"),
        };
        let fits = file.read(super::LIMIT).await.map_err(|e| {
            let advice = "set camera => '…' to a FITS file written by the pipelines";
            Error::new(e.kind(), format!("camera: {}; {advice}", e.message())).with_source(e)
        })?;
        if !fits.starts_with(b"SIMPLE  =") {
            return Err(Error::invalid(format!("camera '{}' is not a FITS file", file.display())));
        }
        let run = format!("{}/unbounded", self.base());
        Ok(Calibration { file: file.display(), run, detector: None, filter: None, valid: Timespan::ALL, fits })
    }

    /// Reads the calibrations of one type from a folder, or from its subfolders by detector, by filter, or by both.
    pub(super) async fn read(
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
        let curated = Curated::parse(&kind.storage_class, &file.read(super::LIMIT).await?)?;
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
}

type CalibrationFolder = (Location, Option<i64>, Option<String>);

/// Returns the names of the subfolders of a folder, including links to folders.
pub(super) async fn all_folders(folder: &Location) -> Result<Vec<String>> {
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
