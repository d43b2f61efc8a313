//! Writes `export.yaml` files in the form of the Butler, block by block.

use std::io::Write;

use crate::error::{Error, Result};
use crate::format::yaml::scalar;
use crate::model::calendar;
use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::model::time::{self, Timespan};

/// The format version of the written files.
const VERSION: &str = "1.0.2";

/// A value of a dimension record or data ID.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    /// NULL.
    Null,
    /// A string.
    Text(String),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Bytes other than a region.
    Bytes(Vec<u8>),
    /// A region in the encoding of `sphgeom`.
    Region(Vec<u8>),
    /// A time, TAI nanoseconds.
    Time(i64),
}

/// The writer of an export file; the flag is true once a block has been written.
pub(crate) struct Writer<W: Write>(W, bool);

impl<W: Write> Writer<W> {
    /// Begins an export file for a dimension universe.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn begin(mut out: W, universe: &str, universe_version: i64) -> Result<Self> {
        writeln!(
            out,
            "description: Butler Data Repository Export\nversion: {VERSION}\nuniverse_version: {universe_version}\n\
             universe_namespace: {universe}"
        )?;
        Ok(Self(out, false))
    }

    /// Starts the list of blocks if necessary and returns the output.
    fn block(&mut self) -> Result<&mut W> {
        if !std::mem::replace(&mut self.1, true) {
            writeln!(self.0, "data:")?;
        }
        Ok(&mut self.0)
    }

    /// Begins a block of dimension records.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn dimension(&mut self, element: &str) -> Result<()> {
        Ok(writeln!(self.block()?, "- type: dimension\n  element: {element}\n  records:")?)
    }

    /// Writes a record of the dimension block.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn record(&mut self, fields: &[(&str, Scalar)]) -> Result<()> {
        for (i, (name, value)) in fields.iter().enumerate() {
            writeln!(self.0, "  {} {name}: {}", if i == 0 { '-' } else { ' ' }, shown(value, "      ")?)?;
        }
        Ok(())
    }

    /// Writes a collection, with its children if it is CHAINED.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn collection(
        &mut self,
        name: &str,
        kind: CollectionType,
        doc: Option<&str>,
        children: &[String],
    ) -> Result<()> {
        writeln!(self.block()?, "- type: collection\n  collection_type: {kind}\n  name: {}", scalar(name))?;
        if let Some(doc) = doc {
            writeln!(self.0, "  doc: {}", scalar(doc))?;
        }
        match kind {
            CollectionType::Run => writeln!(self.0, "  host: null\n  timespan_begin: null\n  timespan_end: null")?,
            CollectionType::Chained if children.is_empty() => writeln!(self.0, "  children: []")?,
            CollectionType::Chained => {
                writeln!(self.0, "  children:")?;
                for child in children {
                    writeln!(self.0, "  - {}", scalar(child))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes a dataset type with all its dimensions, and begins the block of its datasets in a RUN collection.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn datasets(&mut self, dataset_type: &DatasetType, dimensions: &[String], run: &str) -> Result<()> {
        let DatasetType { name, storage_class, is_calibration, .. } = dataset_type;
        writeln!(self.block()?, "- type: dataset_type\n  name: {name}")?;
        if dimensions.is_empty() {
            writeln!(self.0, "  dimensions: []")?;
        } else {
            writeln!(self.0, "  dimensions:")?;
            for dimension in dimensions {
                writeln!(self.0, "  - {dimension}")?;
            }
        }
        writeln!(self.0, "  storage_class: {storage_class}\n  is_calibration: {is_calibration}")?;
        Ok(writeln!(self.0, "- type: dataset\n  dataset_type: {name}\n  run: {}\n  records:", scalar(run))?)
    }

    /// Writes a dataset of the block.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn dataset(&mut self, id: &str, data_id: &[(&str, Scalar)], path: &str, formatter: &str) -> Result<()> {
        writeln!(self.0, "  - dataset_id:\n    - !uuid '{id}'\n    data_id:")?;
        if data_id.is_empty() {
            writeln!(self.0, "    - {{}}")?;
        }
        for (i, (name, value)) in data_id.iter().enumerate() {
            writeln!(self.0, "    {} {name}: {}", if i == 0 { '-' } else { ' ' }, shown(value, "        ")?)?;
        }
        Ok(writeln!(self.0, "    path: {}\n    formatter: {formatter}", scalar(path))?)
    }

    /// Begins the associations of a collection.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn associations(&mut self, collection: &str, kind: CollectionType) -> Result<()> {
        let items = if kind == CollectionType::Calibration { "validity_ranges" } else { "dataset_ids" };
        let name = scalar(collection);
        Ok(writeln!(
            self.block()?,
            "- type: associations\n  collection: {name}\n  collection_type: {kind}\n  {items}:"
        )?)
    }

    /// Writes the association of a dataset with a TAGGED collection.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn tagged(&mut self, id: &str) -> Result<()> {
        Ok(writeln!(self.0, "  - !uuid '{id}'")?)
    }

    /// Writes the certification of datasets in a CALIBRATION collection, with their validity range.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn certified(&mut self, span: Timespan, ids: &[&str]) -> Result<()> {
        if span.is_empty() {
            writeln!(self.0, "  - timespan: !lsst.daf.butler.Timespan EMPTY\n    dataset_ids:")?;
        } else {
            let end = |at: i64, open: i64| if at == open { "null".to_owned() } else { instant(at) };
            let (begin, end) = (end(span.begin, 0), end(span.end, time::MAX));
            writeln!(
                self.0,
                "  - timespan: !lsst.daf.butler.Timespan\n      begin: {begin}\n      end: {end}\n    dataset_ids:"
            )?;
        }
        for id in ids {
            writeln!(self.0, "    - !uuid '{id}'")?;
        }
        Ok(())
    }

    /// Completes the file and returns the output.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn finish(mut self) -> Result<W> {
        if !self.1 {
            writeln!(self.0, "data: []")?;
        }
        self.0.flush()?;
        Ok(self.0)
    }
}

fn shown(value: &Scalar, below: &str) -> Result<String> {
    Ok(match value {
        Scalar::Null => "null".to_owned(),
        Scalar::Text(text) => scalar(text),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => float(*value),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Bytes(bytes) => format!("!!binary '{}'", crate::format::base64(bytes)),
        Scalar::Region(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("!<lsst.sphgeom.{}>\n{below}encoded: {hex}", shape(bytes)?)
        }
        Scalar::Time(at) => instant(*at),
    })
}

fn instant(at: i64) -> String {
    let text = calendar::format(at).replace('T', " ");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("!butler_time/tai/iso '{whole}.{fraction:0<9}'")
}

/// Formats a float so that YAML 1.1 reads it as one: with a decimal point, and a sign in the exponent.
fn float(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            ".nan"
        } else if value > 0.0 {
            ".inf"
        } else {
            "-.inf"
        }
        .to_owned();
    }
    let text = format!("{value:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// Returns the `sphgeom` class of a region, from the first byte of its encoding.
///
/// # Errors
/// A byte that is not the code of a region class.
pub(crate) fn shape(bytes: &[u8]) -> Result<&'static str> {
    Ok(match bytes.first() {
        Some(b'p') => "ConvexPolygon",
        Some(b'c') => "Circle",
        Some(b'b') => "Box",
        Some(b'e') => "Ellipse",
        Some(b'u') => "UnionRegion",
        Some(b'i') => "IntersectionRegion",
        _ => return Err(Error::invalid("a region has an unknown encoding")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_read_as_such_by_yaml_1_1() {
        let shown: Vec<_> = [1e-5, 1e300, 0.1, 30.0, -2.5e-7].map(float).into();
        assert_eq!(
            shown,
            ["1.0e-05".replace("05", "5"), "1.0e+300".into(), "0.1".into(), "30.0".into(), "-2.5e-7".into()]
        );
        assert_eq!(instant(1_731_067_200_000_000_000), "!butler_time/tai/iso '2024-11-08 12:00:00.000000000'");
        assert_eq!(instant(1_731_067_200_430_000_000), "!butler_time/tai/iso '2024-11-08 12:00:00.430000000'");
    }
}
