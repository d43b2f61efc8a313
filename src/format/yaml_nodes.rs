//! A streaming YAML reader: values with their lines and tags, without loading the complete document.

use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

use saphyr_parser::{BufferedInput, Event, Parser, ScalarStyle, Tag};

use super::yaml_chars::{Chars, Fault};
use crate::error::{Error, Result};
use crate::model::calendar;
use crate::model::time;

/// The maximum nesting depth of values.
const DEPTH: usize = 32;
/// The maximum total weight of anchors and aliases; a value weighs 1, plus 1 per 64 bytes of text.
const REPEATED: usize = 100_000;
/// The maximum number of keys of a mapping.
const KEYS: usize = 1000;

/// The tag of times as integers, which other formats than YAML have.
pub(crate) const TAI_NANOSECONDS: &str = "tai_nanoseconds";

/// A value of a YAML document.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line of the value, from 1.
    pub line: usize,
    /// The tag without exclamation marks, such as `uuid`.
    pub tag: Option<String>,
    /// The content of the value.
    pub value: Value,
}

/// The content of a YAML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A scalar as text, and whether it is plain (without quotes).
    Scalar(String, bool),
    /// A list.
    List(Vec<Node>),
    /// A mapping in document order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Returns the weight and the nesting depth of a value.
    fn size(&self) -> (usize, usize) {
        let below = |nodes: &mut dyn Iterator<Item = &Self>| {
            let sum = |(weight, levels): (usize, usize), node: &Self| {
                let (more, deep) = node.size();
                (weight + more, levels.max(deep))
            };
            let (weight, levels) = nodes.fold((1, 0), sum);
            (weight, levels + 1)
        };
        match &self.value {
            Value::Scalar(text, _) => (1 + text.len() / 64, 0),
            Value::List(items) => below(&mut items.iter()),
            Value::Map(entries) => below(&mut entries.iter().map(|(_, node)| node)),
        }
    }

    /// Creates the error `line …: {what}, not …` for this value.
    pub fn wrong(&self, what: &str) -> Error {
        let shown = match &self.value {
            Value::Scalar(text, _) => format!("'{}'", text.chars().take(40).collect::<String>()),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        };
        Error::invalid(format!("line {}: {what}, not {shown}", self.line))
    }

    /// Returns true for null.
    pub fn is_null(&self) -> bool {
        self.tag.is_none()
            && matches!(&self.value, Value::Scalar(text, true) if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns the text of a scalar that is not null.
    ///
    /// # Errors
    /// A value of another type.
    pub fn text(&self) -> Result<&str> {
        match &self.value {
            Value::Scalar(text, _) if !self.is_null() => Ok(text),
            _ => Err(self.wrong("expected a string")),
        }
    }

    /// Returns an integer.
    ///
    /// # Errors
    /// A value of another type.
    pub fn int(&self) -> Result<i64> {
        let text = self.text()?;
        // In YAML 1.1, a plain number with a leading zero is octal.
        let digits = text.trim_start_matches('-');
        if matches!(self.value, Value::Scalar(_, true))
            && digits.len() > 1
            && digits.starts_with('0')
            && !digits.contains('.')
        {
            let found = i64::from_str_radix(&text.replace('_', ""), 8).ok();
            return found.ok_or_else(|| self.wrong("expected an integer"));
        }
        let float = || text.parse::<f64>().ok().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64);
        let found = text.replace('_', "").parse().ok().or_else(float);
        found.ok_or_else(|| self.wrong("expected an integer"))
    }

    /// Returns a number.
    ///
    /// # Errors
    /// A value of another type.
    pub fn float(&self) -> Result<f64> {
        let text = self.text()?;
        let found = match text.trim_start_matches(['+', '-']).to_lowercase().as_str() {
            ".inf" => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
            ".nan" => Some(f64::NAN),
            _ => text.replace('_', "").parse().ok(),
        };
        found.ok_or_else(|| self.wrong("expected a number"))
    }

    /// Returns a boolean, in the notation of YAML 1.1.
    ///
    /// # Errors
    /// A value of another type.
    pub fn bool(&self) -> Result<bool> {
        match self.text()?.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(self.wrong("expected a boolean (true or false)")),
        }
    }

    /// Returns a time in TAI nanoseconds. As in the Butler, the text is TAI with the tag `!butler_time/tai/iso`, and
    /// UTC without a tag.
    ///
    /// # Errors
    /// A value of another type.
    pub fn time(&self) -> Result<i64> {
        let text = self.text()?;
        if self.tag.as_deref() == Some(TAI_NANOSECONDS) {
            return text.parse().map_err(|_| self.wrong("expected TAI nanoseconds"));
        }
        let tagged = self.tag.as_deref() == Some("butler_time/tai/iso");
        let plain = self.tag.is_none() && matches!(self.value, Value::Scalar(_, true)) && text.len() > 10;
        let found = match (tagged, plain) {
            (true, _) if !text.contains('T') => calendar::parse(text),
            (false, true) => time::parse_utc(text.trim_end_matches('Z')),
            _ => None,
        };
        found.ok_or_else(|| self.wrong("expected a time with the tag !butler_time/tai/iso"))
    }

    /// Returns the items of a list.
    ///
    /// # Errors
    /// A value of another type.
    pub fn list(self) -> Result<Vec<Self>> {
        match self.value {
            Value::List(items) => Ok(items),
            _ => Err(self.wrong("expected a list")),
        }
    }

    /// Returns the entries of a mapping.
    ///
    /// # Errors
    /// A value of another type.
    pub fn map(self) -> Result<Vec<(String, Self)>> {
        match self.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.wrong("expected a mapping")),
        }
    }
}

/// An event of the parser with its line.
type Step = (Event<'static>, usize);

/// A streaming reader of the values of a YAML text.
pub(crate) struct Nodes<R: Read> {
    parser: Parser<'static, BufferedInput<Chars<R>>>,
    fault: Fault,
    peeked: Option<Step>,
    anchors: HashMap<usize, Node>,
    repeated: usize,
}

impl<R: Read + 'static> Nodes<R> {
    /// Creates a reader of a YAML text.
    pub(crate) fn new(reader: R) -> Self {
        let fault = Fault::default();
        let chars = Chars::new(reader, Rc::clone(&fault));
        Self { parser: Parser::new_from_iter(chars), fault, peeked: None, anchors: HashMap::new(), repeated: 0 }
    }

    /// Reads the next event.
    ///
    /// # Errors
    /// Text that is not YAML or not UTF-8, or a failed read.
    pub(crate) fn step(&mut self) -> Result<Step> {
        if let Some(step) = self.peeked.take() {
            return Ok(step);
        }
        let next = self.parser.next_event();
        if let Some(fault) = self.fault.borrow_mut().take() {
            return Err(fault);
        }
        match next {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(e)) => Err(Error::invalid(format!("line {}: not YAML: {}", e.marker().line(), e.info()))),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// Returns the next event without consuming it.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub(crate) fn peek(&mut self) -> Result<&Step> {
        let step = self.step()?;
        Ok(self.peeked.insert(step))
    }

    /// Reads the next complete value.
    ///
    /// # Errors
    /// An event that does not start a value, or a value that is nested too deep.
    pub(crate) fn node(&mut self) -> Result<Node> {
        let step = self.step()?;
        self.value(step, 0)
    }

    fn value(&mut self, (event, line): Step, depth: usize) -> Result<Node> {
        if depth > DEPTH {
            return Err(Error::invalid(format!("line {line}: values are nested too deep")));
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = Value::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                (anchor, Node { line, tag: tag.as_deref().map(name), value })
            }
            Event::SequenceStart(anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.step()? {
                        (Event::SequenceEnd, _) => break,
                        step => items.push(self.value(step, depth + 1)?),
                    }
                }
                (anchor, Node { line, tag: tag.as_deref().map(name), value: Value::List(items) })
            }
            Event::MappingStart(anchor, tag) => {
                let mut entries: Vec<(String, Node)> = Vec::new();
                while let Some((key, line)) = self.key()? {
                    if entries.iter().any(|(there, _)| *there == key) {
                        return Err(twice(&key, line));
                    }
                    if entries.len() == KEYS {
                        return Err(Error::invalid(format!("line {line}: a mapping has more than {KEYS} keys")));
                    }
                    let step = self.step()?;
                    entries.push((key, self.value(step, depth + 1)?));
                }
                (anchor, Node { line, tag: tag.as_deref().map(name), value: Value::Map(entries) })
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor);
                let known =
                    known.ok_or_else(|| Error::invalid(format!("line {line}: an alias names no earlier value")))?;
                let (weight, levels) = known.size();
                if depth + levels > DEPTH {
                    return Err(Error::invalid(format!("line {line}: values are nested too deep")));
                }
                let known = known.clone();
                self.repeat(weight, line)?;
                return Ok(known);
            }
            _ => return Err(Error::invalid(format!("line {line}: expected a value"))),
        };
        if anchor > 0 {
            self.repeat(node.size().0, line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn repeat(&mut self, weight: usize, line: usize) -> Result<()> {
        self.repeated += weight;
        if self.repeated > REPEATED {
            return Err(Error::invalid(format!("line {line}: anchors and aliases repeat too much")));
        }
        Ok(())
    }

    /// Reads the next key of a mapping and its line; `None` at the end of the mapping.
    ///
    /// # Errors
    /// A key that is not a scalar.
    pub(crate) fn key(&mut self) -> Result<Option<(String, usize)>> {
        match self.step()? {
            (Event::MappingEnd, _) => Ok(None),
            (Event::Scalar(text, ..), line) => Ok(Some((text.into_owned(), line))),
            (_, line) => Err(Error::invalid(format!("line {line}: expected a key"))),
        }
    }
}

/// Creates the error of a duplicate key.
pub(crate) fn twice(key: &str, line: usize) -> Error {
    Error::invalid(format!("line {line}: duplicate key '{key}'"))
}

fn name(tag: &Tag) -> String {
    format!("{}{}", tag.handle.trim_matches('!'), tag.suffix.trim_start_matches('!'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<Node> {
        let mut nodes = Nodes::new(text.as_bytes());
        while !matches!(nodes.peek()?.0, Event::MappingStart(..) | Event::SequenceStart(..) | Event::StreamEnd) {
            nodes.step()?;
        }
        nodes.node()
    }

    #[test]
    fn values_keep_tags_lines_and_anchors() {
        let text =
            "a: !uuid 'x'\nb: &n !<lsst.sphgeom.ConvexPolygon>\n  encoded: 'é1'\nc: *n\nd: [1_000, ~, 2.0, .nan]\n";
        let entries = read(text).unwrap().map().unwrap();
        assert_eq!((entries[0].1.tag.as_deref(), entries[1].1.line), (Some("uuid"), 2));
        assert_eq!(entries[1].1.tag.as_deref(), Some("lsst.sphgeom.ConvexPolygon"));
        assert_eq!(entries[1].1, entries[2].1);
        let numbers = entries[3].1.clone().list().unwrap();
        assert_eq!((numbers[0].int().unwrap(), numbers[1].is_null(), numbers[2].int().unwrap()), (1000, true, 2));
        assert!(numbers[3].float().unwrap().is_nan());
    }

    #[test]
    fn faults_are_errors_with_their_line() {
        for (text, message) in [
            ("a: [1\nb: 2", "line"),
            ("a: 1\na: 2", "line 2: duplicate key 'a'"),
            ("a: *x", "line"),
            (
                "a: &a [1, 1, 1, 1]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: &d [*c, *c, *c, *c]\ne: &e [*d, *d, *d, *d]\n\
              f: &f [*e, *e, *e, *e]\ng: &g [*f, *f, *f, *f]\nh: &h [*g, *g, *g, *g]\ni: [*h, *h, *h, *h]",
                "repeat too much",
            ),
            ("- [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "line"),
        ] {
            assert!(read(text).unwrap_err().message().contains(message), "{text}");
        }
        let mut nodes = Nodes::new(&b"a: \xff\n"[..]);
        let error = std::iter::repeat_with(|| nodes.step().map(|_| ())).take(9).find_map(Result::err).unwrap();
        assert_eq!(error.message(), "the text is not UTF-8");
    }
}
