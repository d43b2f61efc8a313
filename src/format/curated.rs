//! Curated calibrations: converts the ECSV files of a calibration data folder to the FITS files that the LSST
//! pipelines read (calibrations of `ip_isr`, transmission curves of `afw`).

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use serde_json::{Value, json};

use super::fits::{Column, Header};
use super::tables::{Meta, UNIT, parse_ecsv_with_meta};
use crate::error::{Error, Kind, Result};

/// A curated calibration.
#[derive(Debug)]
pub struct Curated {
    /// The metadata of the ECSV header.
    meta: Meta,
    /// The bytes of the FITS file.
    pub fits: Vec<u8>,
}

/// The first header keys of all calibrations of `ip_isr`, in the order of `ip_isr`.
const FIRST: [&str; 6] = ["INSTRUME", "SLOTNAME", "DETECTOR", "DET_NAME", "DET_SER", "CALIB_ID"];

/// The columns of a crosstalk table with their FITS forms.
const CROSSTALK: [(&str, char); 7] = [
    ("CT_COEFFS", 'D'),
    ("CT_ERRORS", 'D'),
    ("CT_COUNTS", 'K'),
    ("CT_VALID", 'L'),
    ("CT_COEFFS_SQR", 'D'),
    ("CT_ERRORS_SQR", 'D'),
    ("CT_AMP_GAIN_RATIOS", 'D'),
];
/// The header keys of a crosstalk table, after those common to all calibrations.
const CROSSTALK_KEYS: [&str; 5] =
    ["DETECTOR_NAME", "DETECTOR_SERIAL", "HAS_CROSSTALK", "NAMP", "CROSSTALK_RATIOS_UNITS"];
/// The version of the crosstalk tables that `ip_isr` writes, independent of the version of the ECSV file.
const CROSSTALK_VERSION: f64 = 1.2;

impl Curated {
    /// Converts an ECSV file to a calibration of a storage class.
    ///
    /// # Errors
    /// A file that is not a valid calibration of this storage class, or a storage class that is not supported.
    pub fn parse(storage_class: &str, bytes: &[u8]) -> Result<Self> {
        let convert = match storage_class {
            "CrosstalkCalib" => crosstalk,
            "Defects" => defects,
            "TransmissionCurve" => transmission,
            other => {
                let message = format!("writing files of storage class {other} is not supported");
                return Err(Error::new(Kind::Unsupported, message));
            }
        };
        let (rows, meta) = parse_ecsv_with_meta(bytes)?;
        Ok(Self { fits: convert(&rows, &meta)?, meta })
    }

    /// Returns a string of the header.
    ///
    /// # Errors
    /// A key that is missing or whose value is not a string.
    pub fn text(&self, key: &str) -> Result<&str> {
        let found = self.meta.get(key).and_then(Value::as_str);
        found.ok_or_else(|| Error::invalid(format!("header key '{key}' is missing or is not a string")))
    }

    /// Returns an integer of the header.
    ///
    /// # Errors
    /// A key that is missing or whose value is not an integer.
    pub fn int(&self, key: &str) -> Result<i64> {
        let found = self.meta.get(key).and_then(Value::as_i64);
        found.ok_or_else(|| Error::invalid(format!("header key '{key}' is missing or is not an integer")))
    }
}

/// Formats a table of `ip_isr` after a primary header without data.
fn calibration(table: Header, data: &[u8]) -> Vec<u8> {
    [Header::primary(8, true).with(&[]), table.with(data)].concat()
}

/// Returns the header value of a key, or an empty string if it is missing or null.
fn card_value(meta: &Meta, key: &str) -> Value {
    meta.get(key).filter(|value| !value.is_null()).cloned().unwrap_or_else(|| "".into())
}

/// Adds the cards that all calibrations of `ip_isr` have.
fn common(header: &mut Header, meta: &Meta, kind: &str, version: f64) {
    let value = |key: &str| card_value(meta, key);
    let schema = format!("{kind}_SCHEMA");
    header.card("OBSTYPE", &value("OBSTYPE")).card(&schema, &value(&schema));
    header.card(&format!("{kind}_VERSION"), &version.into());
    for key in FIRST {
        // `ip_isr` writes the raft name under SLOTNAME.
        header.card(key, &value(if key == "SLOTNAME" { "RAFTNAME" } else { key }));
    }
    header.card("CALIBCLS", &value("CALIBCLS"));
}

fn crosstalk(rows: &RecordBatch, meta: &Meta) -> Result<Vec<u8>> {
    if rows.num_rows() != 1 {
        return Err(Error::invalid(format!("a crosstalk table has one row, not {}", rows.num_rows())));
    }
    let amplifiers = meta.get("NAMP").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let amplifiers = amplifiers.ok_or_else(|| Error::invalid("header key 'NAMP' is missing or is not an integer"))?;
    let cells = amplifiers.checked_pow(2).filter(|n| (1..1 << 20).contains(n));
    let cells = cells.ok_or_else(|| Error::invalid(format!("NAMP is {amplifiers}, which is not a valid number")))?;
    let (mut columns, mut data) = (Vec::new(), Vec::new());
    let mut column = |name, form: char, n: usize| {
        let more = vec![("TDIM", json!(format!("({n})")))];
        columns.push(Column { name, form: format!("{n}{form}"), more });
    };
    for (name, form) in CROSSTALK {
        column(name, form, cells);
        array(rows, name, form, cells, &mut data)?;
    }
    // Gains are present only if the ratios were fitted.
    column("CT_FIT_GAINS", 'D', amplifiers);
    match rows.column_by_name("CT_FIT_GAINS") {
        Some(_) => array(rows, "CT_FIT_GAINS", 'D', amplifiers, &mut data)?,
        None => data.extend(std::iter::repeat_n(0, 8 * amplifiers)),
    }
    let mut header = Header::table(&columns, data.len(), 1, 0);
    common(&mut header, meta, "CROSSTALK", CROSSTALK_VERSION);
    let value = |key: &str| card_value(meta, key);
    for key in CROSSTALK_KEYS {
        header.card(key, &value(key));
    }
    header.card("CROSSTALK_SHAPE", &amplifiers.into()).card("CALIBDATE", &value("CALIBDATE"));
    for key in ["RAFTNAME", "FILTER", "SEQFILE", "SEQNAME", "SEQCKSUM"] {
        header.card(key, &"".into());
    }
    Ok(calibration(header, &data))
}

/// Appends the values of the list in the only cell of a column as big-endian bytes.
fn array(rows: &RecordBatch, name: &str, form: char, count: usize, data: &mut Vec<u8>) -> Result<()> {
    let bad = |message: &str| Error::invalid(format!("column '{name}' {message}"));
    let text = rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).filter(|c| c.is_valid(0));
    let text = text.ok_or_else(|| bad("is missing"))?.value(0).trim();
    let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let values: Vec<&str> = list.ok_or_else(|| bad("does not hold a list"))?.split(',').map(str::trim).collect();
    if values.len() != count {
        return Err(bad(&format!("has {} values, not {count}", values.len())));
    }
    for value in values {
        match form {
            'K' => value.parse::<i64>().ok().map(|v| data.extend(v.to_be_bytes())),
            'L' => value.parse::<bool>().ok().map(|v| data.push(if v { b'T' } else { b'F' })),
            // `astropy` writes NaN (for an amplifier with itself), which is not valid JSON.
            _ => value.parse::<f64>().ok().map(|v| data.extend(v.to_be_bytes())),
        }
        .ok_or_else(|| bad(&format!("has {value} among its values")))?;
    }
    Ok(())
}

fn defects(rows: &RecordBatch, meta: &Meta) -> Result<Vec<u8>> {
    let names = ["x0", "y0", "width", "height"];
    // A table without rows has floating-point columns.
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
    header.card("CALIBDATE", &card_value(meta, "CALIBDATE"));
    Ok(calibration(header, &data))
}

fn ints(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    filled(rows, name, &DataType::Int64)
}

/// Returns a column, cast to a type, and refuses NULLs.
fn filled(rows: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef> {
    let bad = |message: &str| Error::invalid(format!("column '{name}' {message}"));
    let column = cast(rows.column_by_name(name).ok_or_else(|| bad("is missing"))?, kind)?;
    if column.null_count() > 0 {
        return Err(bad("has a cell without a number"));
    }
    Ok(column)
}

/// Formats a spatially constant transmission curve as `afw` persists it: an archive index, and a table of one row whose
/// arrays are on the heap.
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
    // Zero throughput outside the curve, then the number of values and the heap offset of each array.
    let mut data = vec![0; 16];
    [count, 0, count, 8 * count].iter().for_each(|n| data.extend((*n as u64).to_be_bytes()));
    let heap = throughputs.iter().chain(&wavelengths).flat_map(|value| value.to_be_bytes());
    data.extend(heap);
    let mut table = Header::table(&columns, 48, 1, 16 * count);
    archive(&mut table, "ARCHIVE_DATA", 1);
    table.card("AR_NAME", &class.into()).card("EXTNAME", &class.into()).card("AFW_TABLE_VERSION", &3.into());
    Ok([Header::primary(16, true).with(&[]), index, table.with(&data)].concat())
}

/// Returns wavelengths (angstrom) and throughputs (fractions), averaged over the amplifiers.
fn curve(rows: &RecordBatch) -> Result<(Vec<f64>, Vec<f64>)> {
    let name = ["efficiency", "throughput"].into_iter().find(|name| rows.column_by_name(name).is_some());
    let throughputs = scaled(rows, name.unwrap_or("efficiency"), &[("%", 0.01), ("", 1.0)])?;
    let wavelengths = scaled(rows, "wavelength", &[("nm", 10.0), ("Angstrom", 1.0), ("angstrom", 1.0)])?;
    if wavelengths.is_empty() {
        return Err(Error::invalid("a transmission curve needs at least one row"));
    }
    let Some(amplifiers) = rows.column_by_name("amp_name") else { return Ok((wavelengths, throughputs)) };
    let amplifiers = cast(amplifiers, &DataType::Utf8)?;
    let mut curves: Vec<(Option<&str>, usize)> = Vec::new();
    for name in amplifiers.as_string::<i32>() {
        match curves.last_mut() {
            Some((last, count)) if *last == name => *count += 1,
            _ => curves.push((name, 1)),
        }
    }
    let count = curves[0].1;
    let grids: Vec<_> = wavelengths.chunks(count).collect();
    let names: BTreeSet<_> = curves.iter().map(|curve| curve.0).collect();
    if names.len() != curves.len() || curves.iter().any(|c| c.1 != count) || grids.iter().any(|g| *g != grids[0]) {
        return Err(Error::invalid(
            "the rows must be grouped by amplifier, and all amplifiers must have the same wavelengths",
        ));
    }
    let mean = |at: usize| throughputs.iter().skip(at).step_by(count).sum::<f64>() / curves.len() as f64;
    Ok((grids[0].to_vec(), (0..count).map(mean).collect()))
}

/// Returns a column multiplied by the factor of its unit; float32 columns are scaled in single precision.
fn scaled(rows: &RecordBatch, name: &str, units: &[(&str, f64)]) -> Result<Vec<f64>> {
    let column = filled(rows, name, &DataType::Float64)?;
    let schema = rows.schema();
    let field = schema.field_with_name(name)?;
    let unit = field.metadata().get(UNIT).map_or("", String::as_str);
    let factor = units.iter().find(|(known, _)| *known == unit).map(|(_, factor)| *factor).ok_or_else(|| {
        let known: Vec<_> = units.iter().map(|(unit, _)| format!("'{unit}'")).collect();
        Error::invalid(format!("column '{name}' has the unit '{unit}', not {}", known.join(" or ")))
    })?;
    let single = *field.data_type() == DataType::Float32;
    let scale = |value: &f64| if single { f64::from(*value as f32 * factor as f32) } else { value * factor };
    Ok(column.as_primitive::<Float64Type>().values().iter().map(scale).collect())
}
