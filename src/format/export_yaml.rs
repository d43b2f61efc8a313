//! Reads `export.yaml`, the exchange format of Butler repositories, item by item in bounded memory.

use std::collections::VecDeque;
use std::io::Read;

use saphyr_parser::Event;

use super::export_blocks::{Block, shape};
use super::export_item::Item;
use super::yaml_nodes::{Node, Nodes, Value, twice};
use crate::error::{Error, Result};

/// A streaming reader of the items of an export file.
pub struct Export<R: Read> {
    nodes: Nodes<R>,
    state: State,
    ready: VecDeque<Item>,
    /// Keys of the document read so far.
    seen: Vec<String>,
    /// Namespace and version of the dimension universe.
    universe: (String, i64),
}

impl<R: Read> std::fmt::Debug for Export<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("universe", &self.universe).finish_non_exhaustive()
    }
}

enum State {
    Start,
    /// The next event is a key of the document.
    Document,
    /// The next event is a block.
    Blocks,
    /// The next event is an item of a block.
    Items(Block),
    End,
}

impl<R: Read + 'static> Export<R> {
    /// Creates a reader of an export file.
    pub fn new(reader: R) -> Self {
        let universe = ("daf_butler".to_owned(), 0);
        Self { nodes: Nodes::new(reader), state: State::Start, ready: VecDeque::new(), seen: Vec::new(), universe }
    }

    /// Reads the next item; `None` at the end of the file.
    ///
    /// # Errors
    /// Text that is not an export file of a supported version, with its line.
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
                return Err(Error::invalid(format!("key '{missing}' is missing")));
            }
            if !matches!(self.nodes.step()?.0, Event::DocumentEnd) || !matches!(self.nodes.step()?.0, Event::StreamEnd)
            {
                return Err(Error::invalid("the file has more than one YAML document"));
            }
            return Ok(());
        };
        if self.seen.contains(&key) {
            return Err(twice(&key, line));
        }
        self.seen.push(key.clone());
        match key.as_str() {
            "version" => check_version(&self.nodes.node()?)?,
            "universe_version" | "universe_namespace" if self.seen.iter().any(|seen| seen == "data") => {
                return Err(Error::invalid(format!("line {line}: '{key}' must come before 'data'")));
            }
            "universe_version" => self.universe.1 = self.nodes.node()?.int()?,
            "universe_namespace" => self.nodes.node()?.text()?.clone_into(&mut self.universe.0),
            "data" => {
                if !matches!(self.nodes.step()?.0, Event::SequenceStart(..)) {
                    return Err(Error::invalid(format!("line {line}: 'data' must be a list of blocks")));
                }
                let (namespace, version) = self.universe.clone();
                self.ready.push_back(Item::Universe { namespace, version });
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
            (_, line) => Err(Error::invalid(format!("line {line}: a block must be a mapping with the key 'type'"))),
        }
    }

    /// Reads the keys of a block up to its list of items or its end.
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

    /// Converts a block that has been read completely, because the keys needed for its items followed the items.
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

fn check_version(node: &Node) -> Result<()> {
    let Value::Scalar(text, plain) = &node.value else {
        return Err(node.wrong("'version' must be a version such as 1.0.2"));
    };
    let parts: Vec<Option<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(0)] if *plain => Ok(()),
        [Some(1), Some(0), Some(_)] => Ok(()),
        [Some(_), Some(_), Some(_)] => Err(node.wrong("only export files of version 1.0 are supported")),
        _ => Err(node.wrong("'version' must be a version such as 1.0.2")),
    }
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
        let Item::File(file) = &items[1] else { panic!("{items:?}") };
        assert_eq!((file.run.as_str(), file.datasets.len(), items.len()), ("r", 1, 3));
        assert_eq!(file.datasets[0].0.get_version_num(), 3);
    }

    #[test]
    fn malformed_files_are_errors_with_their_line() {
        for (text, message) in [
            ("version: 2.0.0\ndata: []\n", "line 1: only export files of version 1.0 are supported, not '2.0.0'"),
            ("version: 1\ndata: []\n", "line 1: 'version' must be"),
            ("data: []\n", "key 'version' is missing"),
            ("version: 1.0.2\n", "key 'data' is missing"),
            ("version: 1.0.2\nversion: 1.0.2\n", "line 2: duplicate key 'version'"),
            ("version: 1.0.2\ndata: 3\n", "line 2: 'data' must be a list of blocks"),
            ("version: 1.0.2\ndata:\n- {name: x}\n", "line 3: this block has no key 'type'"),
            ("version: 1.0.2\ndata:\n- {type: datset}\n", "no kind of block named 'datset'; did you mean 'dataset'?"),
            ("version: 1.0.2\ndata:\n- {type: run}\n", "line 3: this run has no key 'name'"),
            (
                "version: 1.0.2\ndata:\n- {type: dataset, dataset_type: x, run: r, records: [{dataset_id: x}]}\n",
                "line 3: expected a dataset id tagged !uuid, not 'x'",
            ),
            ("[1]", "an export file is a mapping"),
            ("", "an export file is a mapping"),
        ] {
            let error = all(text).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
        }
    }
}
