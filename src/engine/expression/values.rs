//! Values in an expression, with their types.

use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::parser::{Node, NodeKind};
use super::translator::Translator;
use super::{literal, time_literal};
use crate::error::Result;
use crate::model::calendar;
use crate::model::time::{MAX, Timespan};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Float,
    Text,
    Bool,
    Time,
    Timespan,
    Region,
    Uuid,
    Hash,
    IngestDate,
}

impl Type {
    /// The name of the type in messages, as in the Butler.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "string",
            Self::Bool => "bool",
            Self::Time => "datetime",
            Self::Timespan => "timespan",
            Self::Region => "region",
            Self::Uuid => "uuid",
            Self::Hash => "hash",
            Self::IngestDate => "ingest_date",
        }
    }

    /// Whether the type is a number.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }
}

/// A value that is written as SQL.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The type.
    pub kind: Type,
    /// The SQL; of a timespan, its begin.
    pub text: String,
    /// The SQL of the end of a timespan.
    pub end: String,
    /// The element of a column that is not a key, or `dataset`.
    pub owner: Option<String>,
    /// Whether it is computed from constants only.
    pub is_constant: bool,
    /// The text of a constant of type text, without quotes.
    pub written: Option<String>,
}

impl Scalar {
    /// A constant.
    pub(super) fn constant(kind: Type, text: String) -> Self {
        Self { kind, text, end: String::new(), owner: None, is_constant: true, written: None }
    }

    /// A column.
    pub(super) fn column(kind: Type, text: String, owner: Option<&str>) -> Self {
        Self { owner: owner.map(str::to_owned), is_constant: false, ..Self::constant(kind, text) }
    }

    /// A time in TAI nanoseconds, within the times of the registry.
    pub(super) fn time(instant: i64) -> Self {
        Self::constant(Type::Time, timestamp(instant.clamp(0, MAX)))
    }

    /// A timespan.
    pub(super) fn timespan(span: Timespan) -> Self {
        Self { end: timestamp(span.end), ..Self::constant(Type::Timespan, timestamp(span.begin)) }
    }
}

/// A time as SQL.
fn timestamp(instant: i64) -> String {
    format!("TIMESTAMP '{}'", calendar::format(instant))
}

/// The type of times.
pub(super) fn nanoseconds() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// A node as a value.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// `NULL`.
    Null,
    /// Begin, end (inclusive) and stride.
    Range(i64, i64, i64),
    /// A bound list.
    Sequence(Vec<Scalar>),
    /// One value.
    Scalar(Scalar),
}

impl Item {
    /// The name of the type in messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Range(..) => "range",
            Self::Sequence(_) => "sequence",
            Self::Scalar(scalar) => scalar.kind.name(),
        }
    }
}

impl Translator<'_> {
    /// Translates a node that is a value.
    pub(super) fn value(&mut self, node: &Node) -> Result<Item> {
        let scalar = match &node.kind {
            NodeKind::Number(text) => self.number(text, node.at)?,
            NodeKind::Text(text) => {
                Scalar { written: Some(text.clone()), ..Scalar::constant(Type::Text, literal(text)) }
            }
            NodeKind::Time(text) => Scalar::time(time_literal::parse(text).map_err(|e| self.located(&e, node.at))?),
            NodeKind::Range(begin, end, stride) => return Ok(Item::Range(*begin, *end, *stride)),
            NodeKind::Name(name) => return self.name(name, node.at),
            NodeKind::Bind(name) => return self.bound(name, node.at),
            NodeKind::Sign(minus, inner) => self.signed(*minus, inner)?,
            NodeKind::Arithmetic(op, left, right) => self.arithmetic(op, left, right)?,
            NodeKind::Pair(begin, end) => self.timespan(begin, end, node.at)?,
            NodeKind::Call(name, arguments) => self.call(name, arguments, node.at)?,
            NodeKind::Logical(..) | NodeKind::Not(_) | NodeKind::Compare(..) | NodeKind::In(..) => {
                return Err(self.error("a condition is not a value", node.at));
            }
        };
        Ok(Item::Scalar(scalar))
    }

    /// Translates a node that is one value.
    pub(super) fn scalar(&mut self, node: &Node) -> Result<Scalar> {
        match self.value(node)? {
            Item::Scalar(scalar) => Ok(scalar),
            other => Err(self.error(format!("expected a value, not a {}", other.type_name()), node.at)),
        }
    }

    /// Adds an offset to an error without location.
    pub(super) fn located(&self, error: &crate::error::Error, at: usize) -> crate::error::Error {
        super::error_at(error.message().to_owned(), self.text, at)
    }

    fn number(&self, text: &str, at: usize) -> Result<Scalar> {
        let digits = text.bytes().all(|c| c.is_ascii_digit());
        if digits {
            let number = text.parse::<i64>().map_err(|_| self.error(format!("{text} is too large"), at))?;
            return Ok(Scalar::constant(Type::Int, number.to_string()));
        }
        let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
        let number = number.ok_or_else(|| self.error(format!("{text} is not a number"), at))?;
        Ok(Scalar::constant(Type::Float, format!("{number:?}")))
    }

    fn signed(&mut self, minus: bool, inner: &Node) -> Result<Scalar> {
        let value = self.scalar(inner)?;
        if !value.kind.is_number() {
            return Err(self.error(format!("a sign needs a number, not a {}", value.kind.name()), inner.at));
        }
        let text = if minus { format!("(- {})", value.text) } else { value.text };
        Ok(Scalar { text, owner: None, ..value })
    }

    fn arithmetic(&mut self, op: &str, left: &Node, right: &Node) -> Result<Scalar> {
        let (a, b) = (self.scalar(left)?, self.scalar(right)?);
        if a.kind != b.kind || !a.kind.is_number() || op == "%" && a.kind != Type::Int {
            let message = format!("operator {op} does not take {} and {}", a.kind.name(), b.kind.name());
            return Err(self.error(message, left.at));
        }
        let text = match (op, a.kind) {
            // The Butler divides integers without rounding, and still counts the result as an integer.
            ("/", _) => format!("(CAST({} AS DOUBLE) / {})", a.text, b.text),
            _ => format!("({} {op} {})", a.text, b.text),
        };
        Ok(Scalar { is_constant: a.is_constant && b.is_constant, ..Scalar::column(a.kind, text, None) })
    }

    fn timespan(&mut self, begin: &Node, end: &Node, at: usize) -> Result<Scalar> {
        let mut bound = |node: &Node, open: i64| match self.value(node)? {
            Item::Null => Ok(Some(timestamp(open))),
            Item::Scalar(scalar) if scalar.kind == Type::Time && scalar.is_constant => Ok(Some(scalar.text)),
            _ => Ok::<_, crate::error::Error>(None),
        };
        let (Some(begin), Some(end)) = (bound(begin, 0)?, bound(end, MAX)?) else {
            let message = "a timespan (begin, end) needs two times, such as T'2024-11-03', or NULL";
            return Err(self.error(message, at));
        };
        let instant = |text: &str| calendar::parse(text.trim_start_matches("TIMESTAMP ").trim_matches('\''));
        Ok(Scalar::timespan(Timespan::new(instant(&begin), instant(&end))))
    }
}
