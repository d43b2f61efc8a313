//! Tables as values: columns, keys, foreign keys, indexes. Nothing here knows a database.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text; short text (at most 32 characters) has its length declared.
    Text(Option<u32>),
    /// 64-bit integer.
    Int,
    /// 16-bit integer.
    Small,
    /// 64-bit float.
    Float,
    /// Truth value.
    Bool,
    /// UUID; in SQL and Arrow its usual text with dashes.
    Uuid,
    /// Bytes, kept as base64 text (regions in sphgeom's encoding, digests).
    Bytes,
    /// An instant, TAI nanoseconds.
    Time,
    /// An instant kept as a UTC timestamp by version 1 of the datasets manager; TAI in SQL and Arrow.
    UtcTime,
    /// A validity range; in SQL and Arrow two columns, `…_begin` and `…_end`.
    Span,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether NULL is refused.
    pub required: bool,
    /// The column this one only shows under another name.
    pub alias_of: Option<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Table referred to.
    pub table: String,
    /// Columns of this table.
    pub source: Vec<String>,
    /// Columns of the other.
    pub target: Vec<String>,
    /// Whether rows go with the row they refer to.
    pub cascade: bool,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Primary key.
    pub primary_key: Vec<String>,
    /// Unique constraints.
    pub unique: Vec<Vec<String>>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Indexes beside those of the keys.
    pub indexes: Vec<Vec<String>>,
    /// The column the database numbers.
    pub auto: Option<String>,
}

/// One column as it is read: a span gives two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Name in SQL and Arrow.
    pub name: String,
    /// How it is read.
    pub reading: Reading,
    /// Whether NULL may come.
    pub nullable: bool,
}

/// How a column is read from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// As it is.
    Plain(Kind, String),
    /// The begin of a span.
    Begin(String),
    /// The end of a span.
    End(String),
}

impl Scanned {
    /// A plain column.
    pub fn plain(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), reading: Reading::Plain(kind, name.to_owned()), nullable: true }
    }

    /// What values come out.
    pub fn kind(&self) -> Kind {
        match &self.reading {
            Reading::Plain(kind, _) => *kind,
            Reading::Begin(_) | Reading::End(_) => Kind::Time,
        }
    }

    /// The column as Arrow.
    pub fn arrow(&self) -> Field {
        Field::new(&self.name, arrow_type(self.kind()), self.nullable)
    }
}

/// The Arrow schema of columns that are read.
pub fn arrow_schema(columns: &[Scanned]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Scanned::arrow).collect::<Vec<_>>()))
}

/// The Arrow type of a column's values.
pub fn arrow_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text(_) | Kind::Uuid => DataType::Utf8,
        Kind::Int | Kind::Small => DataType::Int64,
        Kind::Float => DataType::Float64,
        Kind::Bool => DataType::Boolean,
        Kind::Bytes => DataType::Binary,
        Kind::Time | Kind::UtcTime | Kind::Span => DataType::Timestamp(TimeUnit::Nanosecond, None),
    }
}

impl Table {
    /// An empty table of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The columns as they are read.
    pub fn scanned(&self) -> Vec<Scanned> {
        let mut all = Vec::new();
        for column in &self.columns {
            let source = column.alias_of.clone().unwrap_or_else(|| column.name.clone());
            let mut add = |name: String, reading| all.push(Scanned { name, reading, nullable: !column.required });
            if column.kind == Kind::Span {
                add(format!("{}_begin", column.name), Reading::Begin(source.clone()));
                add(format!("{}_end", column.name), Reading::End(source));
            } else {
                add(column.name.clone(), Reading::Plain(column.kind, source));
            }
        }
        all
    }

    pub(super) fn push(&mut self, name: &str, kind: Kind, required: bool) -> &mut Self {
        self.columns.push(Column { name: name.to_owned(), kind, required, alias_of: None });
        self
    }

    pub(super) fn key(&mut self, name: &str, kind: Kind) -> &mut Self {
        self.primary_key.push(name.to_owned());
        self.push(name, kind, true)
    }

    pub(super) fn need(&mut self, name: &str, kind: Kind) -> &mut Self {
        self.push(name, kind, true)
    }

    pub(super) fn may(&mut self, name: &str, kind: Kind) -> &mut Self {
        self.push(name, kind, false)
    }

    pub(super) fn numbered(&mut self, name: &str) -> &mut Self {
        self.auto = Some(name.to_owned());
        self.key(name, Kind::Int)
    }

    pub(super) fn refers(&mut self, table: &str, source: &[&str], target: &[&str], cascade: bool) -> &mut Self {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        self.foreign_keys.push(ForeignKey {
            table: table.to_owned(),
            source: own(source),
            target: own(target),
            cascade,
        });
        self
    }
}
