//! The inputs of a campaign other than raws: exported calibrations, models and tables, and reference catalogues.
//!
//! Archives, collections and files have the names of the real campaign; each file holds one line of text.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use uuid::{Builder, Uuid};

use super::put;
use crate::error::{Error, Result};
use crate::format::export_writer::{Scalar, Writer};
use crate::format::fits::{Column, Header};
use crate::instrument::Instrument;
use crate::model::calendar::parse;
use crate::model::collection::CollectionType;
use crate::model::dataset::{DatasetType, storage_classes};
use crate::model::time::Timespan;
use crate::sphere::from_degrees;
use crate::sphere::polygon::Polygon;
use crate::sphere::region::Region;

/// The calibration collections of the campaign, with the archives that contain them.
const CALIBRATIONS: &str = include_str!("calibrations.csv");

/// Dataset types of calibrations: name, storage class, and whether they depend on the filter as well as the detector.
const TYPES: [(&str, &str, bool); 9] = [
    ("bias", "ExposureF", false),
    ("dark", "ExposureF", false),
    ("defects", "Defects", false),
    ("cti", "IsrCalib", false),
    ("ptc", "PhotonTransferCurveDataset", false),
    ("bfk", "BrighterFatterKernel", false),
    ("linearizer", "Linearizer", false),
    ("flat", "ExposureF", true),
    ("illuminationCorrection", "ExposureF", true),
];

/// The sky map of the campaign and a small one for the demo: file, name, number of rings, pixel scale (arcsec).
const SKYMAPS: [(&str, &str, u32, &str); 2] =
    [("lsst_cells_v1.skymap.config", "lsst_cells_v1", 120, "0.2"), ("demo.skymap.config", "demo_cells", 9, "8.0")];

/// Reference catalogues: dataset type, and half the width (degrees) of the area around each field that they cover.
const CATALOGUES: [(&str, f64); 2] = [("the_monster_20240904", 0.5), ("the_monster_20250219", 0.8)];

/// A calibration collection of a ticket, with the dataset type of its datasets.
struct Calibration<'a> {
    ticket: &'a str,
    collection: &'a str,
    dataset_type: DatasetType,
    /// The bands of its datasets; empty if they do not depend on the filter.
    bands: Vec<&'a str>,
}

/// Writes all ancillary files below the folder of a sample.
pub(super) fn write(dir: &Path, camera: &Instrument, fields: &[(f64, f64)], good_visits: &str) -> Result<()> {
    let mut archives: BTreeMap<&str, Vec<Calibration<'_>>> = BTreeMap::new();
    for line in CALIBRATIONS.lines().skip(1) {
        let [ticket, archive, collection] = line.split(',').collect::<Vec<_>>()[..] else {
            return Err(Error::bug(format!("calibrations.csv: {line}")));
        };
        archives.entry(archive).or_default().push(calibration(ticket, collection)?);
    }
    for (archive, calibrations) in archives {
        let file = dir.join("calibs").join(archive).join("export.yaml");
        write_calibrations(&file, &dir.join("ancillary"), camera, &calibrations)?;
    }
    write_single(dir, "pretrained-models-export.yaml", &PRETRAINED, camera)?;
    write_single(dir, "DM-48089-fgcmLookupTable-export.yaml", &FGCM, camera)?;
    write_ephemerides(dir, camera, good_visits)?;
    for (file, name, rings, scale) in SKYMAPS {
        let text = format!(
            "config.name = \"{name}\"\nconfig.skyMap = \"rings\"\nconfig.skyMap[\"rings\"].numRings = {rings}\n\
             config.skyMap[\"rings\"].projection = \"TAN\"\nconfig.skyMap[\"rings\"].tractOverlap = 1.0 / 60\n\
             config.skyMap[\"rings\"].pixelScale = {scale}\nconfig.skyMap[\"rings\"].tractBuilder = \"cells\"\n"
        );
        put(&dir.join(file), text.as_bytes())?;
    }
    CATALOGUES.iter().try_for_each(|(name, radius)| write_catalogue(dir, name, *radius, fields))
}

fn calibration<'a>(ticket: &'a str, collection: &'a str) -> Result<Calibration<'a>> {
    let name = collection.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or(collection);
    let (kind, band) = name.split_once('-').unwrap_or((name, "all"));
    let found = TYPES.iter().find(|(name, ..)| *name == kind);
    let (name, class, by_filter) =
        found.ok_or_else(|| Error::bug(format!("calibrations.csv: no type for '{kind}'")))?;
    let mut dimensions = vec!["instrument".to_owned(), "detector".to_owned()];
    dimensions.extend(by_filter.then(|| "physical_filter".to_owned()));
    let bands = match (by_filter, band) {
        (false, _) => Vec::new(),
        (true, "all") => vec!["u", "g", "r", "i", "z", "y"],
        (true, band) => vec![band],
    };
    let (name, storage_class) = ((*name).to_owned(), (*class).to_owned());
    let dataset_type = DatasetType { name, dimensions, storage_class, is_calibration: true };
    Ok(Calibration { ticket, collection, dataset_type, bands })
}

/// The band and the name of each filter of the campaign.
const FILTERS: [(&str, &str); 6] =
    [("u", "u_02"), ("g", "g_01"), ("r", "r_03"), ("i", "i_06"), ("z", "z_03"), ("y", "y_04")];

fn write_calibrations(file: &Path, files: &Path, camera: &Instrument, all: &[Calibration<'_>]) -> Result<()> {
    let mut writer = Writer::begin(Vec::new(), "daf_butler", 7)?;
    write_camera(&mut writer, camera, true)?;
    let full = |c: &Calibration<'_>| format!("{}/calib/{}/{}", camera.name, c.ticket, c.collection);
    let run = |c: &Calibration<'_>| {
        let collection = full(c);
        let (head, date) = collection.rsplit_once('.').unwrap_or((&collection, ""));
        format!("{head}Gen.{date}/{}T210000Z", &date[..date.len().min(8)])
    };
    for calibration in all {
        writer.collection(&full(calibration), CollectionType::Calibration, None, &[])?;
        writer.collection(&run(calibration), CollectionType::Run, None, &[])?;
    }
    let mut tickets: Vec<&str> = all.iter().map(|c| c.ticket).collect();
    tickets.dedup();
    for ticket in tickets {
        let children: Vec<String> = all.iter().filter(|c| c.ticket == ticket).map(full).collect();
        writer.collection(&format!("{}/calib/{ticket}", camera.name), CollectionType::Chained, None, &children)?;
    }
    let mut certified = Vec::new();
    for calibration in all {
        let (kind, run) = (&calibration.dataset_type, run(calibration));
        let dimensions = if calibration.bands.is_empty() {
            kind.dimensions.clone()
        } else {
            ["band", "instrument", "detector", "physical_filter"].map(str::to_owned).to_vec()
        };
        writer.datasets(kind, &dimensions, &run)?;
        let mut ids = Vec::new();
        for (detector, full_name, ..) in &camera.detectors {
            let filters = FILTERS.iter().filter(|(band, _)| calibration.bands.contains(band));
            let filters: Vec<_> = if calibration.bands.is_empty() { vec![None] } else { filters.map(Some).collect() };
            for filter in filters {
                let mut data_id =
                    vec![("instrument", Scalar::Text(camera.name.clone())), ("detector", Scalar::Int(*detector))];
                data_id.extend(filter.map(|(_, name)| ("physical_filter", Scalar::Text((*name).to_owned()))));
                let filter = filter.map_or_else(String::new, |(band, name)| format!("_{band}_{name}"));
                let tail = run.replace(['/', '.'], "_");
                let path = format!("{run}/{0}/{0}_{1}{filter}_{full_name}_{tail}.fits", kind.name, camera.name);
                put(&files.join(&path), format!("{path}\n").as_bytes())?;
                let id = id(&path).to_string();
                writer.dataset(&id, &data_id, &path, formatter(kind)?)?;
                ids.push(id);
            }
        }
        certified.push((full(calibration), ids));
    }
    let valid = Timespan::new(parse("2024-10-01"), None);
    for (collection, ids) in certified {
        writer.associations(&collection, CollectionType::Calibration)?;
        writer.certified(valid, &ids.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    put(file, &writer.finish()?)
}

fn write_camera(writer: &mut Writer<Vec<u8>>, camera: &Instrument, parts: bool) -> Result<()> {
    let text = |value: &str| Scalar::Text(value.to_owned());
    writer.dimension("instrument")?;
    writer.record(&[
        ("name", text(&camera.name)),
        ("visit_max", Scalar::Int(camera.visit_max)),
        ("visit_system", Scalar::Int(camera.visit_system)),
        ("exposure_max", Scalar::Int(camera.exposure_max)),
        ("detector_max", Scalar::Int(camera.detector_max)),
        ("class_name", text(&camera.class_name)),
    ])?;
    if !parts {
        return Ok(());
    }
    writer.dimension("detector")?;
    for (id, full_name, name_in_raft, raft, purpose) in &camera.detectors {
        writer.record(&[
            ("instrument", text(&camera.name)),
            ("id", Scalar::Int(*id)),
            ("full_name", text(full_name)),
            ("name_in_raft", text(name_in_raft)),
            ("raft", raft.as_deref().map_or(Scalar::Null, text)),
            ("purpose", text(purpose)),
        ])?;
    }
    writer.dimension("physical_filter")?;
    for (name, band) in camera.filters.iter().filter(|(name, _)| FILTERS.iter().any(|(_, f)| f == name)) {
        writer.record(&[("instrument", text(&camera.name)), ("name", text(name)), ("band", text(band))])?;
    }
    Ok(())
}

/// An export file with one dataset.
struct Single {
    dataset_type: &'static str,
    storage_class: &'static str,
    by_instrument: bool,
    run: &'static str,
    id: &'static str,
    path: &'static str,
    formatter: &'static str,
}

const PRETRAINED: Single = Single {
    dataset_type: "pretrainedModelPackage",
    storage_class: "NNModelPackagePayload",
    by_instrument: false,
    run: "pretrained_models/tac_cnn_comcam_2025-02-18",
    id: "a83d850a-0094-417c-ac9c-64d0f7b98048",
    path: "pretrained_models/tac_cnn_comcam_2025-02-18/pretrainedModelPackage/\
           pretrainedModelPackage_pretrained_models_tac_cnn_comcam_2025-02-18.zip",
    formatter: "lsst.meas.transiNet.modelPackages.formatters.NNModelPackageFormatter",
};

const FGCM: Single = Single {
    dataset_type: "fgcmLookUpTable",
    storage_class: "Catalog",
    by_instrument: true,
    run: "LSSTComCam/calib/fgcmcal/DM-48089",
    id: "bb573ca3-6159-45d9-88e3-866e01da4882",
    path: "LSSTComCam/calib/fgcmcal/DM-48089/fgcmLookUpTable/\
           fgcmLookUpTable_LSSTComCam_LSSTComCam_calib_fgcmcal_DM-48089.fits",
    formatter: "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter",
};

fn write_single(dir: &Path, file: &str, single: &Single, camera: &Instrument) -> Result<()> {
    let mut writer = Writer::begin(Vec::new(), "daf_butler", 7)?;
    let mut data_id = Vec::new();
    if single.by_instrument {
        write_camera(&mut writer, camera, false)?;
        data_id.push(("instrument", Scalar::Text(camera.name.clone())));
    }
    let dimensions: Vec<String> = data_id.iter().map(|(name, _)| (*name).to_owned()).collect();
    let (name, storage_class) = (single.dataset_type.to_owned(), single.storage_class.to_owned());
    let kind = DatasetType { name, dimensions: dimensions.clone(), storage_class, is_calibration: false };
    writer.collection(single.run, CollectionType::Run, None, &[])?;
    writer.datasets(&kind, &dimensions, single.run)?;
    writer.dataset(single.id, &data_id, single.path, single.formatter)?;
    put(&dir.join("ancillary").join(single.path), format!("{}\n", single.path).as_bytes())?;
    put(&dir.join(file), &writer.finish()?)
}

/// The dataset type and the RUN collection of the solar system objects near each detector of each visit.
const EPHEMERIDES: (&str, &str) = ("preloaded_DRP_SsObjects", "u/jkurla/dp1_ephem_2/20250409T120000Z");

/// Writes the export of predicted positions of solar system objects; all datasets hold the same sample positions.
fn write_ephemerides(dir: &Path, camera: &Instrument, good_visits: &str) -> Result<()> {
    let (name, run) = EPHEMERIDES;
    let file = ephemerides()?;
    let dimensions = ["instrument", "detector", "visit"].map(str::to_owned).to_vec();
    let storage_class = "DataFrame".to_owned();
    let kind = DatasetType { name: name.to_owned(), dimensions, storage_class, is_calibration: false };
    let mut writer = Writer::begin(Vec::new(), "daf_butler", 7)?;
    writer.collection(run, CollectionType::Run, None, &[])?;
    writer.datasets(
        &kind,
        &["band", "instrument", "day_obs", "detector", "physical_filter", "visit"].map(str::to_owned),
        run,
    )?;
    for visit in good_visits.lines().filter_map(|line| line.parse::<i64>().ok()) {
        for (detector, full_name, ..) in &camera.detectors {
            let data_id = [
                ("instrument", Scalar::Text(camera.name.clone())),
                ("detector", Scalar::Int(*detector)),
                ("visit", Scalar::Int(visit)),
            ];
            let path =
                format!("{run}/{name}/{}/{visit}/{name}_{}_{visit}_{full_name}.parq", visit / 100_000, camera.name);
            put(&dir.join("ancillary").join(&path), &file)?;
            writer.dataset(&id(&path).to_string(), &data_id, &path, formatter(&kind)?)?;
        }
    }
    put(&dir.join("DM-49977-export.yaml"), &writer.finish()?)
}

/// Returns a Parquet file with two objects: designation, right ascension and declination (ICRS, degrees).
fn ephemerides() -> Result<Vec<u8>> {
    let rows = RecordBatch::try_from_iter([
        ("ObjID", Arc::new(StringArray::from(vec!["SAMPLE 1", "SAMPLE 2"])) as ArrayRef),
        ("ra", Arc::new(Float64Array::from(vec![53.16, 95.04])) as ArrayRef),
        ("dec", Arc::new(Float64Array::from(vec![-28.1, -25.0])) as ArrayRef),
    ])?;
    let mut bytes = Vec::new();
    let failed = |e: datafusion::parquet::errors::ParquetError| Error::bug(format!("writing a Parquet file: {e}"));
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).map_err(failed)?;
    writer.write(&rows).and_then(|()| writer.close().map(drop)).map_err(failed)?;
    Ok(bytes)
}

/// Writes the shards of a reference catalogue around the fields, and the table of the shards as ECSV and as FITS.
fn write_catalogue(dir: &Path, name: &str, radius: f64, fields: &[(f64, f64)]) -> Result<()> {
    let mut pixels = Vec::new();
    for (ra, dec) in fields {
        let corner = |x: f64, y: f64| from_degrees(ra + x * radius / dec.to_radians().cos(), dec + y * radius);
        let square = [corner(-1.0, -1.0), corner(1.0, -1.0), corner(1.0, 1.0), corner(-1.0, 1.0)];
        pixels.extend(Region::Polygon(Polygon::new(square.to_vec())).envelope(7).into_iter().flatten());
    }
    pixels.sort_unstable();
    pixels.dedup();
    let mut table = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: filename, datatype: string}\n\
                     # - {name: htm7, datatype: int64}\n# schema: astropy-2.0\nfilename htm7\n"
        .to_owned();
    let mut rows = Vec::new();
    for pixel in pixels {
        put(&dir.join(format!("raw/refcats/{name}/{pixel}.fits")), format!("{name} {pixel}\n").as_bytes())?;
        table.push_str(&format!("{pixel}.fits {pixel}\n"));
        rows.extend(format!("{pixel:06}.fits").bytes().chain(pixel.to_be_bytes()));
    }
    put(&dir.join(format!("{name}.ecsv")), table.as_bytes())?;
    let column = |name, form: &str| Column { name, form: form.to_owned(), more: Vec::new() };
    let columns = [column("filename", "11A"), column("htm7", "K")];
    let mut file = Header::primary(8, true).with(&[]);
    file.extend(Header::table(&columns, 19, rows.len() / 19, 0).with(&rows));
    put(&dir.join(format!("{name}.fits")), &file)
}

/// Returns a dataset id that is determined by the path but has the form of a random UUID, as in the real exports.
fn id(path: &str) -> Uuid {
    Builder::from_random_bytes(*Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_bytes()).as_bytes()).into_uuid()
}

fn formatter(kind: &DatasetType) -> Result<&'static str> {
    let found = storage_classes().find(|(name, _)| *name == kind.storage_class).and_then(|(_, formatter)| formatter);
    found.ok_or_else(|| Error::bug(format!("no formatter for {}", kind.storage_class)))
}
