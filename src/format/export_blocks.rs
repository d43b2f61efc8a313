//! The blocks of an export file and the tagged values in them.

use uuid::Uuid;

use super::export_item::{File, Item};
use super::export_writer;
use super::yaml_nodes::{Node, Value};
use crate::error::{Error, Result};
use crate::model::collection::CollectionType;
use crate::model::time::Timespan;

/// The UUIDv3 namespace for the integer dataset ids of the oldest exports.
const INTEGER_IDS: Uuid = Uuid::from_u128(0x4d48_51f4_2890_4d41_8779_5f38_a3f5_062b);

/// The keys of a block that precede its items.
pub(super) struct Block {
    pub line: usize,
    pub kind: String,
    pub keys: Vec<(String, Node)>,
}

/// Returns, for a kind of block, the keys that hold its items and the keys that are needed to read these items.
pub(super) fn shape(kind: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        "dimension" => (&["records"], &["element"]),
        "dataset" => (&["records"], &["dataset_type", "run"]),
        "associations" => (&["dataset_ids", "validity_ranges"], &["collection", "collection_type"]),
        _ => (&[], &[]),
    }
}

impl Block {
    pub(super) fn key(&self, name: &str) -> Option<&Node> {
        self.keys.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(super) fn lacks(&self, name: &str) -> Error {
        let kind = if self.kind.is_empty() { "block" } else { &self.kind };
        Error::invalid(format!("line {}: this {kind} has no key '{name}'", self.line))
    }

    fn text(&self, name: &str) -> Result<String> {
        Ok(self.key(name).ok_or_else(|| self.lacks(name))?.text()?.to_owned())
    }

    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let list = self.key(name).ok_or_else(|| self.lacks(name))?.clone().list()?;
        list.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    fn collection_type(&self) -> Result<CollectionType> {
        let word = self.text("collection_type")?;
        CollectionType::from_name(&word.to_uppercase()).map_err(|e| e.context(format_args!("line {}", self.line)))
    }

    /// Returns the item that precedes the records of a dimension block.
    pub(super) fn begin(&self) -> Result<Option<Item>> {
        let element = if self.kind == "dimension" { Some(self.text("element")?) } else { None };
        Ok(element.map(|element| Item::Element { element, line: self.line }))
    }

    /// Returns the children of a chain; old files give each child as a pair with a null restriction.
    fn children(&self) -> Result<Vec<String>> {
        let list = self.key("children").ok_or_else(|| self.lacks("children"))?.clone().list()?;
        let child = |node: Node| match node.value {
            Value::List(pair) => pair.first().ok_or_else(|| self.lacks("children"))?.text().map(str::to_owned),
            _ => node.text().map(str::to_owned),
        };
        list.into_iter().map(child).collect()
    }

    pub(super) fn declaration(&self) -> Result<Item> {
        match self.kind.as_str() {
            "dataset_type" => Ok(Item::DatasetType {
                name: self.text("name")?,
                dimensions: self.texts("dimensions")?,
                storage_class: self.text("storage_class")?,
                is_calibration: self.key("is_calibration").map_or(Ok(false), Node::bool)?,
            }),
            "run" => Ok(Item::Collection {
                name: self.text("name")?,
                kind: CollectionType::Run,
                doc: None,
                children: Vec::new(),
            }),
            _ => {
                let kind = self.collection_type()?;
                let children = if kind == CollectionType::Chained { self.children()? } else { Vec::new() };
                let doc = self.key("doc").filter(|doc| !doc.is_null()).map(Node::text).transpose()?;
                Ok(Item::Collection { name: self.text("name")?, kind, doc: doc.map(str::to_owned), children })
            }
        }
    }

    pub(super) fn item(&self, node: Node) -> Result<Item> {
        let line = node.line;
        match self.kind.as_str() {
            "dimension" => Ok(Item::Record { element: self.text("element")?, line, fields: node.map()? }),
            "dataset" => self.file(node).map(Item::File),
            _ => self.association(node),
        }
    }

    fn file(&self, node: Node) -> Result<File> {
        let (line, mut ids, mut data_ids, mut path, mut formatter) = (node.line, None, None, None, None);
        for (key, value) in node.map()? {
            match key.as_str() {
                "dataset_id" => ids = Some(one_or_more(value).iter().map(dataset_id).collect::<Result<Vec<_>>>()?),
                "data_id" => {
                    data_ids = Some(one_or_more(value).into_iter().map(Node::map).collect::<Result<Vec<_>>>()?);
                }
                "path" => path = Some(value.text()?.to_owned()),
                "formatter" if !value.is_null() => formatter = Some(value.text()?.to_owned()),
                _ => {}
            }
        }
        let lacks = |name: &str| Error::invalid(format!("line {line}: this record has no key '{name}'"));
        let (ids, data_ids) = (ids.ok_or_else(|| lacks("dataset_id"))?, data_ids.ok_or_else(|| lacks("data_id"))?);
        if ids.len() != data_ids.len() || ids.is_empty() {
            let message =
                format!("line {line}: this file has {} dataset ids for {} data IDs", ids.len(), data_ids.len());
            return Err(Error::invalid(message));
        }
        Ok(File {
            line,
            dataset_type: self.text("dataset_type")?,
            run: self.text("run")?,
            datasets: ids.into_iter().zip(data_ids).collect(),
            path: path.ok_or_else(|| lacks("path"))?,
            formatter,
        })
    }

    fn association(&self, node: Node) -> Result<Item> {
        let collection = self.text("collection")?;
        match self.collection_type()? {
            CollectionType::Tagged => {
                Ok(Item::Association { collection, timespan: None, dataset_ids: vec![dataset_id(&node)?] })
            }
            CollectionType::Calibration => {
                let (line, mut span, mut ids) = (node.line, None, None);
                let (mut begin, mut end) = (None, None);
                for (key, value) in node.map()? {
                    match key.as_str() {
                        "timespan" => span = Some(timespan(value)?),
                        "begin" => begin = Some(instant(&value)?),
                        "end" => end = Some(instant(&value)?),
                        "dataset_ids" => ids = Some(value.list()?.iter().map(dataset_id).collect::<Result<Vec<_>>>()?),
                        _ => {}
                    }
                }
                let lacks = || Error::invalid(format!("line {line}: this validity range has no key 'dataset_ids'"));
                // Old files have `begin` and `end` instead of `timespan`.
                let timespan = match (span, begin, end) {
                    (Some(span), ..) => span,
                    (None, Some(begin), Some(end)) => checked(line, begin, end)?,
                    _ => {
                        let message = format!("line {line}: this validity range has no key 'timespan'");
                        return Err(Error::invalid(message));
                    }
                };
                Ok(Item::Association { collection, timespan: Some(timespan), dataset_ids: ids.ok_or_else(lacks)? })
            }
            other => Err(Error::invalid(format!("line {}: a {other} collection has no associations", self.line))),
        }
    }
}

fn one_or_more(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) => items,
        _ => vec![node],
    }
}

fn dataset_id(node: &Node) -> Result<Uuid> {
    let text = node.text()?;
    let found = match node.tag.as_deref() {
        Some("uuid") => Uuid::try_parse(text).ok().filter(|_| text.len() == 36),
        None => text.parse::<u64>().ok().map(|id| Uuid::new_v3(&INTEGER_IDS, id.to_string().as_bytes())),
        Some(_) => None,
    };
    found.ok_or_else(|| node.wrong("expected a dataset id tagged !uuid"))
}

/// Reads the bound of a timespan, in TAI nanoseconds; null is an unbounded side.
///
/// # Errors
/// A value of another type.
pub(crate) fn instant(node: &Node) -> Result<Option<i64>> {
    if node.is_null() { Ok(None) } else { node.time().map(Some) }
}

/// Creates a timespan from bounds in TAI nanoseconds; errors refer to a line of the file.
///
/// # Errors
/// A timespan that the registry cannot store.
pub(crate) fn checked(line: usize, begin: Option<i64>, end: Option<i64>) -> Result<Timespan> {
    Timespan::checked(begin, end).map_err(|e| e.context(format_args!("line {line}")))
}

/// Reads a validity range tagged `!lsst.daf.butler.Timespan`: `{begin, end}`, or the word `EMPTY`.
///
/// # Errors
/// A value of another type.
pub(crate) fn timespan(node: Node) -> Result<Timespan> {
    if node.tag.as_deref() != Some("lsst.daf.butler.Timespan") {
        return Err(node.wrong("expected a timespan tagged !lsst.daf.butler.Timespan"));
    }
    if matches!(&node.value, Value::Scalar(text, _) if text == "EMPTY") {
        return Ok(Timespan::EMPTY);
    }
    let (line, mut begin, mut end) = (node.line, None, None);
    for (key, value) in node.map()? {
        match key.as_str() {
            "begin" => begin = Some(instant(&value)?),
            "end" => end = Some(instant(&value)?),
            _ => return Err(value.wrong("a timespan has begin and end")),
        }
    }
    match (begin, end) {
        (Some(begin), Some(end)) => checked(line, begin, end),
        _ => Err(Error::invalid(format!("line {line}: a timespan has begin and end"))),
    }
}

/// Reads a region; returns its bytes in the encoding of `sphgeom`.
///
/// # Errors
/// A value of another type.
pub(crate) fn region(node: Node) -> Result<Vec<u8>> {
    let shape = node.tag.as_deref().and_then(|tag| tag.strip_prefix("lsst.sphgeom.")).map(str::to_owned);
    let Some(shape) = shape else {
        return Err(node.wrong("expected a region such as !<lsst.sphgeom.ConvexPolygon>"));
    };
    for (key, value) in node.map()? {
        if key == "encoded" {
            let bytes = unhex(value.text()?).ok_or_else(|| value.wrong("expected hexadecimal digits"))?;
            let fits = export_writer::shape(&bytes).is_ok_and(|found| found == shape);
            return if fits { Ok(bytes) } else { Err(value.wrong(&format!("expected the encoding of a {shape}"))) };
        }
    }
    Err(Error::invalid("a region has no key 'encoded'"))
}

/// Decodes hexadecimal digits; `None` if the text is invalid.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? * 16 + digit(pair[1])?);
    if text.len().is_multiple_of(2) { text.as_bytes().chunks(2).map(pair).collect() } else { None }
}
