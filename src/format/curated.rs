//! Curated calibrations: from the ECSV files of a calibration data folder to the FITS files that the classes of the
//! LSST pipelines read (`ip_isr`'s calibrations, `afw`'s transmission curves).

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use serde_json::{Value, json};

use super::fits::{Column, Header};
use super::tables::{Meta, parse_ecsv_with_meta};
use crate::error::{Error, Result};

/// One curated calibration.
#[derive(Debug)]
pub struct Curated {
    /// What the header says.
    meta: Meta,
    /// The FITS file.
    pub fits: Vec<u8>,
}

/// Keys of the header that every calibration of `ip_isr` writes first, in its order.
const FIRST: [&str; 6] = ["INSTRUME", "SLOTNAME", "DETECTOR", "DET_NAME", "DET_SER", "CALIB_ID"];

/// The columns of a crosstalk table with their forms, and the keys of its header after the common ones.
const CROSSTALK: [(&str, char); 7] = [
    ("CT_COEFFS", 'D'),
    ("CT_ERRORS", 'D'),
    ("CT_COUNTS", 'K'),
    ("CT_VALID", 'L'),
    ("CT_COEFFS_SQR", 'D'),
    ("CT_ERRORS_SQR", 'D'),
    ("CT_AMP_GAIN_RATIOS", 'D'),
];
const CROSSTALK_KEYS: [&str; 5] =
    ["DETECTOR_NAME", "DETECTOR_SERIAL", "HAS_CROSSTALK", "NAMP", "CROSSTALK_RATIOS_UNITS"];
/// The version of the tables that `ip_isr` writes, whatever the file says.
const CROSSTALK_VERSION: f64 = 1.2;

impl Curated {
    /// A calibration of this storage class, from an ECSV file.
    ///
    /// # Errors
    /// A file that is no such calibration, or a class that is not made of such files.
    pub fn parse(storage_class: &str, bytes: &[u8]) -> Result<Self> {
        let convert = match storage_class {
            "CrosstalkCalib" => crosstalk,
            "Defects" => defects,
            "TransmissionCurve" => transmission,
            other => return Err(Error::invalid(format!("files of storage class {other} are not written yet"))),
        };
        let (rows, meta) = parse_ecsv_with_meta(bytes)?;
        Ok(Self { fits: convert(&rows, &meta)?, meta })
    }

    /// A text of the header.
    ///
    /// # Errors
    /// No such key, or a value that is no text.
    pub fn text(&self, key: &str) -> Result<&str> {
        let found = self.meta.get(key).and_then(Value::as_str);
        found.ok_or_else(|| Error::invalid(format!("the header has no text '{key}'")))
    }

    /// A whole number of the header.
    ///
    /// # Errors
    /// No such key, or a value that is no whole number.
    pub fn int(&self, key: &str) -> Result<i64> {
        let found = self.meta.get(key).and_then(Value::as_i64);
        found.ok_or_else(|| Error::invalid(format!("the header has no whole number '{key}'")))
    }
}

/// A table of `ip_isr` behind a primary header without data.
fn calibration(table: Header, data: &[u8]) -> Vec<u8> {
    [Header::primary(8, true).with(&[]), table.with(data)].concat()
}

/// The cards that all calibrations of `ip_isr` have.
fn common(header: &mut Header, meta: &Meta, kind: &str, version: f64) {
    let value = |key: &str| meta.get(key).cloned().unwrap_or_else(|| "".into());
    let schema = format!("{kind}_SCHEMA");
    header.card("OBSTYPE", &value("OBSTYPE")).card(&schema, &value(&schema));
    header.card(&format!("{kind}_VERSION"), &version.into());
    for key in FIRST {
        // The writer of `ip_isr` puts the raft where the slot belongs.
        header.card(key, &value(if key == "SLOTNAME" { "RAFTNAME" } else { key }));
    }
    header.card("CALIBCLS", &value("CALIBCLS"));
}

fn crosstalk(rows: &RecordBatch, meta: &Meta) -> Result<Vec<u8>> {
    if rows.num_rows() != 1 {
        return Err(Error::invalid(format!("a crosstalk table has one row, not {}", rows.num_rows())));
    }
    let amplifiers = meta.get("NAMP").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let amplifiers = amplifiers.ok_or_else(|| Error::invalid("the header has no whole number 'NAMP'"))?;
    let cells = amplifiers.checked_pow(2).filter(|n| *n < 1 << 20);
    let cells = cells.ok_or_else(|| Error::invalid(format!("NAMP is {amplifiers}, which no detector has")))?;
    let (mut columns, mut data) = (Vec::new(), Vec::new());
    let mut column = |name, form: char, n: usize| {
        let more = vec![("TDIM", json!(format!("({n})")))];
        columns.push(Column { name, form: format!("{n}{form}"), more });
    };
    for (name, form) in CROSSTALK {
        let bad = |said: &str| Error::invalid(format!("column '{name}' {said}"));
        let text = rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).filter(|c| c.is_valid(0));
        let text = text.ok_or_else(|| bad("is missing"))?.value(0);
        let values: Vec<Value> = serde_json::from_str(text).map_err(|e| bad(&format!("holds no list: {e}")))?;
        if values.len() != cells {
            return Err(bad(&format!("has {} values, not {cells}", values.len())));
        }
        column(name, form, cells);
        for value in values {
            match form {
                'K' => value.as_i64().map(|v| data.extend(v.to_be_bytes())),
                'L' => value.as_bool().map(|v| data.push(if v { b'T' } else { b'F' })),
                _ => value.as_f64().map(|v| data.extend(v.to_be_bytes())),
            }
            .ok_or_else(|| bad(&format!("has {value} among its values")))?;
        }
    }
    // Files do not have the gains that a fit of the ratios would give.
    column("CT_FIT_GAINS", 'D', amplifiers);
    data.extend(std::iter::repeat_n(0, 8 * amplifiers));
    let mut header = Header::table(&columns, data.len(), 1, 0);
    common(&mut header, meta, "CROSSTALK", CROSSTALK_VERSION);
    let value = |key: &str| meta.get(key).cloned().unwrap_or_else(|| "".into());
    for key in CROSSTALK_KEYS {
        header.card(key, &value(key));
    }
    header.card("CROSSTALK_SHAPE", &amplifiers.into()).card("CALIBDATE", &value("CALIBDATE"));
    for key in ["RAFTNAME", "FILTER", "SEQFILE", "SEQNAME", "SEQCKSUM"] {
        header.card(key, &"".into());
    }
    Ok(calibration(header, &data))
}

fn defects(rows: &RecordBatch, meta: &Meta) -> Result<Vec<u8>> {
    let names = ["x0", "y0", "width", "height"];
    // A table without rows has columns of floating point.
    let form = if rows.num_rows() == 0 { "D" } else { "K" };
    let columns = names.map(|name| Column { name, form: form.to_owned(), more: Vec::new() });
    let values = names.iter().map(|name| ints(rows, name)).collect::<Result<Vec<_>>>()?;
    let values: Vec<_> = values.iter().map(|column| column.as_primitive::<Int64Type>()).collect();
    let mut data = Vec::new();
    for row in 0..rows.num_rows() {
        values.iter().for_each(|column| data.extend(column.value(row).to_be_bytes()));
    }
    let version = meta.get("defects_VERSION").and_then(Value::as_f64).unwrap_or(2.0);
    let mut header = Header::table(&columns, 32, rows.num_rows(), 0);
    common(&mut header, meta, "defects", version);
    header.card("CALIBDATE", meta.get("CALIBDATE").unwrap_or(&Value::Null));
    Ok(calibration(header, &data))
}

fn ints(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    filled(rows, name, &DataType::Int64)
}

/// A column without NULLs, of this type.
fn filled(rows: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef> {
    let bad = |said: &str| Error::invalid(format!("column '{name}' {said}"));
    let column = cast(rows.column_by_name(name).ok_or_else(|| bad("is missing"))?, kind)?;
    if column.null_count() > 0 {
        return Err(bad("has a cell without a number"));
    }
    Ok(column)
}

/// A transmission curve as `afw` persists one that is the same everywhere: an index of one entry, and a table of one
/// row whose arrays are on the heap.
fn transmission(rows: &RecordBatch, _: &Meta) -> Result<Vec<u8>> {
    let (wavelengths, throughputs) = curve(rows)?;
    let class = "SpatiallyConstantTransmissionCurve";
    let counts = ["id", "cat.archive", "cat.persistable", "row0", "nrows"];
    let column =
        |name, form: &str, kind: &str| Column { name, form: form.to_owned(), more: vec![("TCCLS", kind.into())] };
    let mut columns: Vec<_> = counts.iter().map(|name| column(name, "1J", "Scalar")).collect();
    columns.extend(["name", "module"].map(|name| column(name, "64A", "String")));
    let mut data: Vec<u8> = [1_i32, 1, 0, 0, 1].iter().flat_map(|n| n.to_be_bytes()).collect();
    for text in [class, "lsst.afw.image"] {
        let mut cell = text.as_bytes().to_vec();
        cell.resize(64, 0);
        data.append(&mut cell);
    }
    let archive = |header: &mut Header, kind: &str, number: i64| {
        header.card("EXTTYPE", &kind.into()).card("AR_CATN", &number.into());
    };
    let mut index = Header::table(&columns, data.len(), 1, 0);
    archive(&mut index, "ARCHIVE_INDEX", 0);
    index.card("EXTNAME", &"ARCHIVE_INDEX".into()).card("AR_NCAT", &2.into()).card("AFW_TABLE_VERSION", &3.into());
    let index = index.with(&data);

    let count = wavelengths.len();
    let array = format!("1QD({count})");
    let mut columns = vec![
        column("throughputAtMin", "1D", "Scalar"),
        column("throughputAtMax", "1D", "Scalar"),
        column("throughput", &array, "Array"),
        column("wavelengths", &array, "Array"),
    ];
    columns[3].more.push(("TUNIT", "angstrom".into()));
    // Outside the curve nothing passes; then number of values and offset on the heap of each array.
    let mut data = vec![0; 16];
    [count, 0, count, 8 * count].iter().for_each(|n| data.extend((*n as u64).to_be_bytes()));
    let heap = throughputs.iter().chain(&wavelengths).flat_map(|value| value.to_be_bytes());
    data.extend(heap);
    let mut table = Header::table(&columns, 48, 1, 16 * count);
    archive(&mut table, "ARCHIVE_DATA", 1);
    table.card("AR_NAME", &class.into()).card("EXTNAME", &class.into()).card("AFW_TABLE_VERSION", &3.into());
    Ok([Header::primary(16, true).with(&[]), index, table.with(&data)].concat())
}

/// Wavelengths in angstrom and throughputs as fractions, from nanometres and percent; the mean of all amplifiers.
fn curve(rows: &RecordBatch) -> Result<(Vec<f64>, Vec<f64>)> {
    let name = ["efficiency", "throughput"].into_iter().find(|name| rows.column_by_name(name).is_some());
    let throughputs = filled(rows, name.unwrap_or("efficiency"), &DataType::Float64)?;
    let throughputs = throughputs.as_primitive::<Float64Type>().values();
    let wavelengths = wavelengths(rows)?;
    let Some(amplifiers) = rows.column_by_name("amp_name") else {
        return Ok((wavelengths, throughputs.iter().map(|value| value / 100.0).collect()));
    };
    let amplifiers = cast(amplifiers, &DataType::Utf8)?;
    let mut names: Vec<_> = amplifiers.as_string::<i32>().iter().collect();
    names.dedup();
    let count = wavelengths.len() / names.len().max(1);
    let grids: Vec<_> = wavelengths.chunks(count.max(1)).collect();
    if grids.iter().any(|grid| *grid != grids[0]) {
        return Err(Error::invalid("the amplifiers do not have the same wavelengths, one amplifier after the other"));
    }
    let mean = |at: usize| {
        let sum: f64 = throughputs.iter().skip(at).step_by(count).sum();
        sum / names.len() as f64 / 100.0
    };
    Ok((grids.first().map(|grid| grid.to_vec()).unwrap_or_default(), (0..count).map(mean).collect()))
}

/// Wavelengths in angstrom; those of single precision are scaled so.
fn wavelengths(rows: &RecordBatch) -> Result<Vec<f64>> {
    let column = filled(rows, "wavelength", &DataType::Float64)?;
    let column: &Float64Array = column.as_primitive();
    let single = rows.column_by_name("wavelength").is_some_and(|c| *c.data_type() == DataType::Float32);
    let scaled = |value: &f64| if single { f64::from(*value as f32 * 10.0) } else { value * 10.0 };
    Ok(column.values().iter().map(scaled).collect())
}
