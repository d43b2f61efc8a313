//! Sidecars: a dataset as JSON, with its dimension records, as `rucio-register` attaches it to a file.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::export_blocks::unhex;
use super::export_writer::shape;
use super::yaml_nodes::{Node, TAI_NANOSECONDS, Value as Content};
use crate::error::{Error, Result};
use crate::model::time::MAX;

/// A dataset with its data ID and, unless left out, the records of its dimensions.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sidecar {
    /// Dataset id.
    #[serde(deserialize_with = "uuid")]
    pub id: Uuid,
    /// Dataset type.
    #[serde(rename = "datasetType")]
    pub dataset_type: SidecarType,
    /// Data ID and records.
    #[serde(rename = "dataId")]
    pub data_id: SidecarDataId,
    /// RUN collection.
    pub run: String,
}

/// The dataset type of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SidecarType {
    /// Name.
    pub name: String,
    /// Name of the storage class.
    #[serde(rename = "storageClass")]
    pub storage_class: String,
    /// Required dimensions.
    pub dimensions: Vec<String>,
    /// True if its datasets can be certified.
    #[serde(default, rename = "isCalibration")]
    pub is_calibration: bool,
}

/// The data ID of a sidecar.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SidecarDataId {
    /// Values of the required and implied dimensions.
    #[serde(rename = "dataId")]
    pub values: Map<String, Value>,
    /// Records by element, if the sidecar has them.
    #[serde(default)]
    pub records: Option<Map<String, Value>>,
}

fn uuid<'de, D: Deserializer<'de>>(source: D) -> Result<Uuid, D::Error> {
    Uuid::parse_str(&String::deserialize(source)?).map_err(serde::de::Error::custom)
}

impl Sidecar {
    /// Parses a sidecar.
    ///
    /// # Errors
    /// `Kind::Invalid` for text that is not a sidecar.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| Error::invalid(format!("the sidecar is not a dataset: {e}")))
    }

    /// Returns the records: element and fields.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        let all = self.data_id.records.iter().flatten();
        all.filter_map(|(element, record)| Some((element.as_str(), record.get("record")?.as_object()?)))
    }
}

/// Converts the fields of a record, or the values of a data ID, to those of an export file.
///
/// # Errors
/// `Kind::Invalid` for values that a record cannot have.
pub(crate) fn fields(values: &Map<String, Value>) -> Result<Vec<(String, Node)>> {
    let named = |(name, value): (&String, &Value)| {
        let node = match (name.as_str(), value) {
            (_, Value::Null) => scalar("null", true),
            ("region", Value::String(digits)) => region(digits)?,
            ("timespan", value) => timespan(value)?,
            (_, Value::String(text)) => scalar(text, false),
            (_, Value::Number(_) | Value::Bool(_)) => scalar(&value.to_string(), true),
            (_, Value::Array(_) | Value::Object(_)) => {
                return Err(Error::invalid(format!("field '{name}' is neither text, number nor boolean")));
            }
        };
        Ok((name.clone(), node))
    };
    values.iter().map(named).collect()
}

fn node(tag: Option<&str>, value: Content) -> Node {
    Node { line: 0, tag: tag.map(str::to_owned), value }
}

fn scalar(text: &str, is_plain: bool) -> Node {
    node(None, Content::Scalar(text.to_owned(), is_plain))
}

/// Converts a region in hexadecimal digits.
fn region(digits: &str) -> Result<Node> {
    let bytes = unhex(digits).ok_or_else(|| Error::invalid("a region has other than hexadecimal digits"))?;
    let tag = format!("lsst.sphgeom.{}", shape(&bytes)?);
    Ok(node(Some(&tag), Content::Map(vec![("encoded".to_owned(), scalar(digits, false))])))
}

/// Converts a validity range: two integers, TAI nanoseconds.
fn timespan(value: &Value) -> Result<Node> {
    let ends: Option<Vec<i64>> = value.as_array().and_then(|ends| ends.iter().map(Value::as_i64).collect());
    let Some([begin, end]) = ends.as_deref() else {
        return Err(Error::invalid(format!("a timespan is two integers, not {value}")));
    };
    let tag = Some("lsst.daf.butler.Timespan");
    if begin >= end {
        return Ok(node(tag, Content::Scalar("EMPTY".to_owned(), true)));
    }
    let bound = |time: i64| match time {
        0 | MAX => scalar("null", true),
        time => node(Some(TAI_NANOSECONDS), Content::Scalar(time.to_string(), true)),
    };
    let bounds = vec![("begin".to_owned(), bound(*begin)), ("end".to_owned(), bound(*end))];
    Ok(node(tag, Content::Map(bounds)))
}
