//! Curated calibrations in the layout of `obs_lsst_data`, with synthetic values, and a placeholder for the camera.

use std::path::Path;

use serde_json::json;

use super::{FILTERS, put};
use crate::error::Result;
use crate::format::fits::{Column, Header};
use crate::instrument::Instrument;

/// The start of validity of all calibrations (UTC), as in file names and in headers.
const BEGIN: (&str, &str) = ("19700101T000000", "1970-01-01T00:00:00");
/// The number of amplifiers of a detector.
const AMPLIFIERS: usize = 16;

/// Writes the calibration folder of one instrument.
pub(super) fn write(folder: &Path, camera: &Instrument) -> Result<()> {
    let name = camera.curated_folder.as_deref().unwrap_or(&camera.name);
    let folder = folder.join(name);
    put(&folder.join("camera.fits"), &detectors(camera))?;
    let file = |kind: &str, below: &str, table: String| {
        let path = folder.join(kind).join(below).join(format!("{}.ecsv", BEGIN.0));
        put(&path, table.as_bytes())
    };
    for (id, full_name, slot, raft, _) in &camera.detectors {
        let below = full_name.to_lowercase();
        let raft = raft.as_deref().unwrap_or_default();
        let who = format!(
            "#   DETECTOR: {id}\n#   DET_NAME: {full_name}\n#   DET_SER: SAMPLE-{id:03}\n#   RAFTNAME: {raft}\n\
             #   SLOTNAME: {slot}\n#   CALIB_ID: instrument={} raftName={raft} detectorName={full_name} detector={id}\n",
            camera.name
        );
        file("crosstalk", &below, crosstalk(name, full_name, &who))?;
        file("manual_defects", &below, defects(name, *id, &who))?;
        file("transmission_sensor", &below, sensor(name, *id))?;
    }
    for (at, filter) in FILTERS.iter().enumerate() {
        let middle = 370.0 + 120.0 * at as f64;
        let curve = |nm: f64| if (nm - middle).abs() < 60.0 { 95.0 } else { 0.02 };
        file(
            "transmission_filter",
            &filter.to_lowercase(),
            transmission("filter", name, &format!("FILTER: {filter}"), curve),
        )?;
    }
    file("transmission_optics", "", transmission("optics", name, "MODE: DETECTOR", |nm| 60.0 - nm / 100.0))
}

/// Formats an ECSV file from columns, metadata lines and rows.
fn table(columns: &[(&str, &str)], meta: &str, rows: &str) -> String {
    let column_lines: String = columns.iter().map(|(name, form)| format!("# - {{name: {name}, {form}}}\n")).collect();
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    format!(
        "# %ECSV 1.0\n# ---\n# datatype:\n{column_lines}# meta:\n{meta}# schema: astropy-2.0\n{}\n{rows}",
        names.join(" ")
    )
}

/// Returns the metadata lines that all files have.
fn meta(kind: &str, folder: &str, class: &str) -> String {
    format!("#   OBSTYPE: {kind}\n#   INSTRUME: {folder}\n#   CALIBDATE: '{}'\n#   CALIBCLS: {class}\n", BEGIN.1)
}

fn crosstalk(folder: &str, full_name: &str, who: &str) -> String {
    let cells = AMPLIFIERS * AMPLIFIERS;
    let array = |form: &str| format!("datatype: string, subtype: '{form}[{cells}]'");
    let (floats, ints, bools) = (array("float64"), array("int64"), array("bool"));
    let columns = [
        ("CT_COEFFS", &*floats),
        ("CT_ERRORS", &floats),
        ("CT_COUNTS", &ints),
        ("CT_VALID", &bools),
        ("CT_COEFFS_SQR", &floats),
        ("CT_ERRORS_SQR", &floats),
        ("CT_AMP_GAIN_RATIOS", &floats),
    ];
    let coefficient = |at: usize| {
        let (from, to) = (at / AMPLIFIERS, at % AMPLIFIERS);
        if from == to { 0.0 } else { 2e-4 / (from.abs_diff(to) as f64).powi(2) }
    };
    let list =
        |value: &dyn Fn(usize) -> serde_json::Value| json!((0..cells).map(value).collect::<Vec<_>>()).to_string();
    let rows = [
        list(&|at| coefficient(at).into()),
        list(&|_| 1e-6.into()),
        list(&|_| 100.into()),
        list(&|_| true.into()),
        list(&|_| 0.0.into()),
        list(&|_| 0.0.into()),
        list(&|_| 1.0.into()),
    ];
    let own = format!(
        "#   DETECTOR_NAME: {full_name}\n#   HAS_CROSSTALK: true\n#   NAMP: {AMPLIFIERS}\n\
         #   CROSSTALK_RATIOS_UNITS: electron\n#   CROSSTALK_SCHEMA: Gen3 Crosstalk\n#   CROSSTALK_VERSION: 1.1\n"
    );
    let meta = meta("CROSSTALK", folder, "lsst.ip.isr.crosstalk.CrosstalkCalib");
    table(&columns, &(meta + who + &own), &format!("{}\n", rows.join(" ")))
}

fn defects(folder: &str, id: i64, who: &str) -> String {
    let boxes: String = (0..id % 3).map(|at| format!("{} 0 {} 2000\n", 500 * (at + 1) + id, 1 + at)).collect();
    // Without rows the columns are float64, as `astropy` writes them.
    let form = if boxes.is_empty() { "datatype: float64" } else { "datatype: int64" };
    let columns = ["x0", "y0", "width", "height"].map(|name| (name, form));
    let meta = meta("manual_defects", folder, "lsst.ip.isr.defects.Defects");
    table(&columns, &(meta + who + "#   defects_SCHEMA: ''\n#   defects_VERSION: 2.0\n"), &boxes)
}

/// Formats the transmission curves of the amplifiers of a detector.
fn sensor(folder: &str, id: i64) -> String {
    let columns = [
        ("amp_name", "datatype: string"),
        ("wavelength", "unit: nm, datatype: float32"),
        ("efficiency", "unit: '%', datatype: float64"),
    ];
    let class = "lsst.ip.isr.IntermediateSensorTransmissionCurve";
    let meta = meta("transmission_sensor", folder, class) + &format!("#   DETECTOR: {id}\n");
    let amplifiers = (0..AMPLIFIERS).map(|at| format!("C{}{}", at / 8, at % 8));
    let rows: String = amplifiers
        .flat_map(|name| {
            let curve =
                |step: i32| format!("{name} {}.025 {}\n", 320 + 25 * step, 90.5 - f64::from((step - 14).pow(2)) / 3.0);
            (0..30).map(curve).collect::<Vec<_>>()
        })
        .collect();
    table(&columns, &meta, &rows)
}

fn transmission(kind: &str, folder: &str, own: &str, curve: impl Fn(f64) -> f64) -> String {
    let columns = [("wavelength", "unit: nm, datatype: float64"), ("efficiency", "unit: '%', datatype: float64")];
    let class = format!("lsst.ip.isr.Intermediate{}{}TransmissionCurve", kind[..1].to_uppercase(), &kind[1..]);
    let meta = meta(&format!("transmission_{kind}"), folder, &class) + &format!("#   {own}\n");
    let rows: String =
        (0..160).map(|step| 300.0 + 5.0 * f64::from(step)).map(|nm| format!("{nm:?} {:?}\n", curve(nm))).collect();
    table(&columns, &meta, &rows)
}

/// Returns a FITS table of the detectors. It replaces the camera dataset, which only the science pipelines can write.
fn detectors(camera: &Instrument) -> Vec<u8> {
    let columns = [("id", "1K"), ("full_name", "16A")];
    let columns = columns.map(|(name, form)| Column { name, form: form.to_owned(), more: Vec::new() });
    let mut data = Vec::new();
    for (id, full_name, ..) in &camera.detectors {
        data.extend(id.to_be_bytes());
        data.extend(format!("{full_name:\0<16}").bytes());
    }
    let mut table = Header::table(&columns, 24, camera.detectors.len(), 0);
    table.card("EXTNAME", &"SAMPLE_DETECTORS".into());
    [Header::primary(8, true).with(&[]), table.with(&data)].concat()
}
