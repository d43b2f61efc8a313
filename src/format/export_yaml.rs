//! `export.yaml`: what one Butler repository hands to another, read item by item however large it is.

use std::collections::VecDeque;
use std::io::Read;

use saphyr_parser::Event;
use uuid::Uuid;

use super::export_writer;
use super::yaml_nodes::{Node, Nodes, Value, twice};
use crate::error::{Error, Result};
use crate::model::collection::CollectionType;
use crate::model::time::Timespan;

/// One thing that the file holds.
#[derive(Debug)]
pub enum Item {
    /// A dataset type to be registered; its dimensions required and implied.
    DatasetType {
        /// Name.
        name: String,
        /// Dimensions, in any order.
        dimensions: Vec<String>,
        /// Storage class.
        storage_class: String,
        /// Whether its datasets may be certified.
        is_calibration: bool,
    },
    /// A collection to be registered.
    Collection {
        /// Name.
        name: String,
        /// Type.
        kind: CollectionType,
        /// Documentation.
        doc: Option<String>,
        /// Children of a chain.
        children: Vec<String>,
    },
    /// A block of records of an element begins.
    Element {
        /// The dimension element.
        element: String,
        /// Its line.
        line: usize,
    },
    /// A dimension record.
    Record {
        /// The dimension element.
        element: String,
        /// Its line.
        line: usize,
        /// Its fields.
        fields: Vec<(String, Node)>,
    },
    /// A file with its datasets.
    File(File),
    /// Datasets that a TAGGED collection holds, or a CALIBRATION collection for some time.
    Association {
        /// The collection.
        collection: String,
        /// The validity range, in a CALIBRATION collection.
        timespan: Option<Timespan>,
        /// The datasets.
        dataset_ids: Vec<Uuid>,
    },
}

/// A file with its datasets.
#[derive(Debug)]
pub struct File {
    /// Its line.
    pub line: usize,
    /// Dataset type.
    pub dataset_type: String,
    /// RUN collection.
    pub run: String,
    /// Ids and data IDs of its datasets.
    pub datasets: Vec<(Uuid, Vec<(String, Node)>)>,
    /// Where it is.
    pub path: String,
    /// The class that reads it.
    pub formatter: Option<String>,
}

/// Namespace of the ids that integer dataset ids of the oldest exports get.
const INTEGER_IDS: Uuid = Uuid::from_u128(0x4d48_51f4_2890_4d41_8779_5f38_a3f5_062b);

/// The items of an export file.
pub struct Export<R: Read> {
    nodes: Nodes<R>,
    state: State,
    ready: VecDeque<Item>,
    /// Keys of the document so far.
    seen: Vec<String>,
}

enum State {
    Start,
    /// Between keys of the document.
    Document,
    /// Between blocks.
    Blocks,
    /// Between the items of a block.
    Items(Block),
    End,
}

/// The keys of a block that stand before its items.
struct Block {
    line: usize,
    kind: String,
    keys: Vec<(String, Node)>,
}

impl<R: Read + 'static> Export<R> {
    /// Of a text.
    pub fn new(reader: R) -> Self {
        Self { nodes: Nodes::new(reader), state: State::Start, ready: VecDeque::new(), seen: Vec::new() }
    }

    /// The next item; nothing after the last.
    ///
    /// # Errors
    /// Text that is no export file of a version that is understood, with its line.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            match std::mem::replace(&mut self.state, State::End) {
                State::Start => self.start()?,
                State::Document => self.document()?,
                State::Blocks => self.blocks()?,
                State::Items(block) => self.items(block)?,
                State::End => return Ok(None),
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        loop {
            match self.nodes.step()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::MappingStart(..), _) => break,
                _ => return Err(Error::invalid("an export file is a mapping with the keys version and data")),
            }
        }
        self.state = State::Document;
        Ok(())
    }

    fn document(&mut self) -> Result<()> {
        let Some((key, line)) = self.nodes.key()? else {
            if let Some(missing) = ["version", "data"].iter().find(|key| !self.seen.iter().any(|seen| seen == *key)) {
                return Err(Error::invalid(format!("there is no key '{missing}'")));
            }
            if !matches!(self.nodes.step()?.0, Event::DocumentEnd) || !matches!(self.nodes.step()?.0, Event::StreamEnd)
            {
                return Err(Error::invalid("there is a second document"));
            }
            return Ok(());
        };
        if self.seen.contains(&key) {
            return Err(twice(&key, line));
        }
        self.seen.push(key.clone());
        match key.as_str() {
            "version" => check_version(&self.nodes.node()?)?,
            "data" => {
                if !matches!(self.nodes.step()?.0, Event::SequenceStart(..)) {
                    return Err(Error::invalid(format!("line {line}: 'data' should be a list of blocks")));
                }
                self.state = State::Blocks;
                return Ok(());
            }
            _ => drop(self.nodes.node()?),
        }
        self.state = State::Document;
        Ok(())
    }

    fn blocks(&mut self) -> Result<()> {
        match self.nodes.step()? {
            (Event::SequenceEnd, _) => {
                self.state = State::Document;
                Ok(())
            }
            (Event::MappingStart(..), line) => self.block(Block { line, kind: String::new(), keys: Vec::new() }),
            (_, line) => Err(Error::invalid(format!("line {line}: a block should be a mapping with the key 'type'"))),
        }
    }

    /// Reads keys up to the list of items, or to the end.
    fn block(&mut self, mut block: Block) -> Result<()> {
        while let Some((key, line)) = self.nodes.key()? {
            if block.key(&key).is_some() || (key == "type" && !block.kind.is_empty()) {
                return Err(twice(&key, line));
            }
            if key == "type" {
                block.kind = self.nodes.node()?.text()?.to_owned();
                continue;
            }
            let (items, needed) = shape(&block.kind);
            let known = !items.is_empty() && needed.iter().all(|name| block.keys.iter().any(|(key, _)| key == name));
            if items.contains(&key.as_str()) && known && matches!(self.nodes.peek()?.0, Event::SequenceStart(..)) {
                self.nodes.step()?;
                self.ready.extend(block.begin()?);
                self.state = State::Items(block);
                return Ok(());
            }
            let value = self.nodes.node()?;
            block.keys.push((key, value));
        }
        self.whole(block)?;
        self.state = State::Blocks;
        Ok(())
    }

    fn items(&mut self, block: Block) -> Result<()> {
        let item = match self.nodes.peek()?.0 {
            Event::SequenceEnd => {
                self.nodes.step()?;
                while let Some((key, line)) = self.nodes.key()? {
                    if key == "type" || block.key(&key).is_some() || shape(&block.kind).0.contains(&key.as_str()) {
                        return Err(twice(&key, line));
                    }
                    self.nodes.node()?;
                }
                self.state = State::Blocks;
                return Ok(());
            }
            _ => self.nodes.node()?,
        };
        let item = block.item(item)?;
        self.ready.push_back(item);
        self.state = State::Items(block);
        Ok(())
    }

    /// A block that was read to its end before its items were met.
    fn whole(&mut self, mut block: Block) -> Result<()> {
        match block.kind.as_str() {
            "" => return Err(block.lacks("type")),
            "dataset_type" | "collection" | "run" => self.ready.push_back(block.declaration()?),
            _ => {
                let (items, needed) = shape(&block.kind);
                if items.is_empty() {
                    let kinds = ["dimension", "collection", "run", "dataset_type", "dataset", "associations"];
                    let error = Error::not_found("kind of block", &block.kind, kinds);
                    return Err(error.context(format_args!("line {}", block.line)));
                }
                if let Some(missing) = needed.iter().find(|name| block.key(name).is_none()) {
                    return Err(block.lacks(missing));
                }
                let at = block.keys.iter().position(|(key, _)| items.contains(&key.as_str()));
                let at = at.ok_or_else(|| block.lacks(items[0]))?;
                self.ready.extend(block.begin()?);
                for item in block.keys.remove(at).1.list()? {
                    let item = block.item(item)?;
                    self.ready.push_back(item);
                }
            }
        }
        Ok(())
    }
}

/// For a kind of block: the keys that hold its items, and those that must be known for them.
fn shape(kind: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        "dimension" => (&["records"], &["element"]),
        "dataset" => (&["records"], &["dataset_type", "run"]),
        "associations" => (&["dataset_ids", "validity_ranges"], &["collection", "collection_type"]),
        _ => (&[], &[]),
    }
}

fn check_version(node: &Node) -> Result<()> {
    let Value::Scalar(text, plain) = &node.value else {
        return Err(node.wrong("'version' should be a version such as 1.0.2"));
    };
    let parts: Vec<Option<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(0)] if *plain => Ok(()),
        [Some(1), Some(0), Some(_)] => Ok(()),
        [Some(_), Some(_), Some(_)] => Err(node.wrong("export files of version 1.0 are understood")),
        _ => Err(node.wrong("'version' should be a version such as 1.0.2")),
    }
}

impl Block {
    fn key(&self, name: &str) -> Option<&Node> {
        self.keys.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn lacks(&self, name: &str) -> Error {
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

    /// What is told before the items.
    fn begin(&self) -> Result<Option<Item>> {
        let element = if self.kind == "dimension" { Some(self.text("element")?) } else { None };
        Ok(element.map(|element| Item::Element { element, line: self.line }))
    }

    /// The children of a chain; old files give each with a restriction that is null.
    fn children(&self) -> Result<Vec<String>> {
        let list = self.key("children").ok_or_else(|| self.lacks("children"))?.clone().list()?;
        let child = |node: Node| match node.value {
            Value::List(pair) => pair.first().ok_or_else(|| self.lacks("children"))?.text().map(str::to_owned),
            _ => node.text().map(str::to_owned),
        };
        list.into_iter().map(child).collect()
    }

    fn declaration(&self) -> Result<Item> {
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

    fn item(&self, node: Node) -> Result<Item> {
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
            let said = format!("line {line}: this file has {} dataset ids for {} data IDs", ids.len(), data_ids.len());
            return Err(Error::invalid(said));
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
                // Old files have begin and end beside the ids.
                let timespan = match (span, begin, end) {
                    (Some(span), ..) => span,
                    (None, Some(begin), Some(end)) => Timespan::new(begin, end),
                    _ => {
                        let said = format!("line {line}: this validity range has no key 'timespan'");
                        return Err(Error::invalid(said));
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
    found.ok_or_else(|| node.wrong("there should be a dataset id tagged !uuid"))
}

fn instant(node: &Node) -> Result<Option<i64>> {
    if node.is_null() { Ok(None) } else { node.time().map(Some) }
}

/// A validity range tagged `!lsst.daf.butler.Timespan`: `{begin, end}`, or the word `EMPTY`.
///
/// # Errors
/// Another value.
pub fn timespan(node: Node) -> Result<Timespan> {
    if node.tag.as_deref() != Some("lsst.daf.butler.Timespan") {
        return Err(node.wrong("there should be a timespan tagged !lsst.daf.butler.Timespan"));
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
        (Some(begin), Some(end)) => Ok(Timespan::new(begin, end)),
        _ => Err(Error::invalid(format!("line {line}: a timespan has begin and end"))),
    }
}

/// The bytes of a region in `sphgeom`'s encoding.
///
/// # Errors
/// Another value.
pub fn region(node: Node) -> Result<Vec<u8>> {
    let shape = node.tag.as_deref().and_then(|tag| tag.strip_prefix("lsst.sphgeom.")).map(str::to_owned);
    let Some(shape) = shape else {
        return Err(node.wrong("there should be a region such as !<lsst.sphgeom.ConvexPolygon>"));
    };
    for (key, value) in node.map()? {
        if key == "encoded" {
            let bytes = unhex(value.text()?).ok_or_else(|| value.wrong("there should be hexadecimal digits"))?;
            let fits = export_writer::shape(&bytes).is_ok_and(|found| found == shape);
            return if fits {
                Ok(bytes)
            } else {
                Err(value.wrong(&format!("there should be the encoding of a {shape}")))
            };
        }
    }
    Err(Error::invalid("a region has no key 'encoded'"))
}

/// Bytes from hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? * 16 + digit(pair[1])?);
    if text.len().is_multiple_of(2) { text.as_bytes().chunks(2).map(pair).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &'static str) -> Result<Vec<Item>> {
        let mut export = Export::new(text.as_bytes());
        let mut items = Vec::new();
        while let Some(item) = export.next_item()? {
            items.push(item);
        }
        Ok(items)
    }

    #[test]
    fn keys_may_come_in_any_order() {
        let text = "data:\n- records: [{dataset_id: 3, data_id: {htm7: 200000}, path: a.fits}]\n  run: r\n  type: dataset\n  \
                    dataset_type: cat\n- {type: run, name: r}\nversion: 1.0.0\n";
        let items = all(text).unwrap();
        let Item::File(file) = &items[0] else { panic!("{items:?}") };
        assert_eq!((file.run.as_str(), file.datasets.len(), items.len()), ("r", 1, 2));
        assert_eq!(file.datasets[0].0.get_version_num(), 3);
    }

    #[test]
    fn files_that_are_none_are_told_with_their_line() {
        for (text, said) in [
            ("version: 2.0.0\ndata: []\n", "line 1: export files of version 1.0 are understood, not '2.0.0'"),
            ("version: 1\ndata: []\n", "line 1: 'version' should be"),
            ("data: []\n", "there is no key 'version'"),
            ("version: 1.0.2\n", "there is no key 'data'"),
            ("version: 1.0.2\nversion: 1.0.2\n", "line 2: key 'version' is there twice"),
            ("version: 1.0.2\ndata: 3\n", "line 2: 'data' should be a list of blocks"),
            ("version: 1.0.2\ndata:\n- {name: x}\n", "line 3: this block has no key 'type'"),
            ("version: 1.0.2\ndata:\n- {type: datset}\n", "no kind of block named 'datset'; did you mean 'dataset'?"),
            ("version: 1.0.2\ndata:\n- {type: run}\n", "line 3: this run has no key 'name'"),
            (
                "version: 1.0.2\ndata:\n- {type: dataset, dataset_type: x, run: r, records: [{dataset_id: x}]}\n",
                "line 3: there should be a dataset id tagged !uuid, not 'x'",
            ),
            ("[1]", "an export file is a mapping"),
            ("", "an export file is a mapping"),
        ] {
            let error = all(text).unwrap_err();
            assert!(error.said().contains(said), "{text}: {error}");
        }
    }
}
