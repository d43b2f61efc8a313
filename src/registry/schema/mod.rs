//! Tables as values: columns, keys, foreign keys, indexes. Nothing here knows a database.

pub mod butler_tables;
pub mod ddl;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
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
    pub kind: ColumnType,
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
pub struct TableDef {
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
    pub identity_column: Option<String>,
}

/// One column as it is read: a span gives two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadColumn {
    /// Name in SQL and Arrow.
    pub name: String,
    /// How it is read.
    pub source: ColumnSource,
    /// Whether NULL may come.
    pub nullable: bool,
}

/// How a column is read from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// As it is.
    Plain(ColumnType, String),
    /// The begin of a span.
    Begin(String),
    /// The end of a span.
    End(String),
}

impl ReadColumn {
    /// A plain column.
    pub fn plain(name: &str, kind: ColumnType) -> Self {
        Self { name: name.to_owned(), source: ColumnSource::Plain(kind, name.to_owned()), nullable: true }
    }

    /// What values come out.
    pub fn kind(&self) -> ColumnType {
        match &self.source {
            ColumnSource::Plain(kind, _) => *kind,
            ColumnSource::Begin(_) | ColumnSource::End(_) => ColumnType::Time,
        }
    }

    /// The column as Arrow.
    pub fn arrow(&self) -> Field {
        Field::new(&self.name, arrow_type(self.kind()), self.nullable)
    }
}

/// The Arrow schema of columns that are read.
pub fn arrow_schema(columns: &[ReadColumn]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(ReadColumn::arrow).collect::<Vec<_>>()))
}

/// The Arrow type of a column's values.
pub fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Text(_) | ColumnType::Uuid => DataType::Utf8,
        ColumnType::Int | ColumnType::Small => DataType::Int64,
        ColumnType::Float => DataType::Float64,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Bytes => DataType::Binary,
        ColumnType::Time | ColumnType::UtcTime | ColumnType::Span => DataType::Timestamp(TimeUnit::Nanosecond, None),
    }
}

impl TableDef {
    /// An empty table of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The columns as they are read.
    pub fn read_columns(&self) -> Vec<ReadColumn> {
        let mut all = Vec::new();
        for column in &self.columns {
            let source = column.alias_of.clone().unwrap_or_else(|| column.name.clone());
            let mut add = |name: String, source| all.push(ReadColumn { name, source, nullable: !column.required });
            if column.kind == ColumnType::Span {
                add(format!("{}_begin", column.name), ColumnSource::Begin(source.clone()));
                add(format!("{}_end", column.name), ColumnSource::End(source));
            } else {
                add(column.name.clone(), ColumnSource::Plain(column.kind, source));
            }
        }
        all
    }

    pub(in crate::registry) fn push(&mut self, name: &str, kind: ColumnType, required: bool) -> &mut Self {
        self.columns.push(Column { name: name.to_owned(), kind, required, alias_of: None });
        self
    }

    pub(in crate::registry) fn primary_key(&mut self, name: &str, kind: ColumnType) -> &mut Self {
        self.primary_key.push(name.to_owned());
        self.push(name, kind, true)
    }

    pub(in crate::registry) fn not_null(&mut self, name: &str, kind: ColumnType) -> &mut Self {
        self.push(name, kind, true)
    }

    pub(in crate::registry) fn nullable(&mut self, name: &str, kind: ColumnType) -> &mut Self {
        self.push(name, kind, false)
    }

    pub(in crate::registry) fn identity(&mut self, name: &str) -> &mut Self {
        self.identity_column = Some(name.to_owned());
        self.primary_key(name, ColumnType::Int)
    }

    pub(in crate::registry) fn foreign_key(
        &mut self,
        table: &str,
        source: &[&str],
        target: &[&str],
        cascade: bool,
    ) -> &mut Self {
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
