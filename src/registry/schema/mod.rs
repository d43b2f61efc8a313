//! Table definitions as values: columns, keys, foreign keys, indexes. Independent of the database.

pub(crate) mod butler_tables;
pub(crate) mod ddl;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// Text; a length of at most 32 characters is declared.
    Text(Option<u32>),
    /// 64-bit integer.
    Int,
    /// 16-bit integer.
    Small,
    /// 64-bit float.
    Float,
    /// Boolean.
    Bool,
    /// UUID; text with dashes in SQL and Arrow.
    Uuid,
    /// Bytes, stored as base64 text (digests, and regions in the encoding of sphgeom).
    Bytes,
    /// A time in TAI nanoseconds.
    Time,
    /// A time that version 1 of the datasets manager stores as a UTC timestamp; TAI nanoseconds in SQL and Arrow.
    UtcTime,
    /// A timespan (validity range); two columns in SQL and Arrow, `…_begin` and `…_end`, in TAI nanoseconds.
    Span,
}

/// A column of a table definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// Column name.
    pub name: String,
    /// Column type.
    pub kind: ColumnType,
    /// True for NOT NULL.
    pub required: bool,
    /// The stored column of which this column is an alias.
    pub alias_of: Option<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    /// Referenced table.
    pub table: String,
    /// Referencing columns of this table.
    pub source: Vec<String>,
    /// Referenced columns.
    pub target: Vec<String>,
    /// True for ON DELETE CASCADE.
    pub cascade: bool,
}

/// A table definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TableDef {
    /// Table name.
    pub name: String,
    /// Columns, in order.
    pub columns: Vec<Column>,
    /// Primary key columns.
    pub primary_key: Vec<String>,
    /// Unique constraints, each a list of columns.
    pub unique: Vec<Vec<String>>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Additional indexes, each a list of columns.
    pub indexes: Vec<Vec<String>>,
    /// The column that the database numbers.
    pub identity_column: Option<String>,
}

/// A column of a query result; a timespan gives two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadColumn {
    /// Name in SQL and Arrow.
    pub name: String,
    /// How the column is read.
    pub source: ColumnSource,
    /// True if values may be NULL.
    pub nullable: bool,
}

/// How a column is read from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColumnSource {
    /// The column itself: type and name.
    Plain(ColumnType, String),
    /// The begin of a timespan column, TAI nanoseconds.
    Begin(String),
    /// The end of a timespan column, TAI nanoseconds.
    End(String),
}

impl ReadColumn {
    /// Creates a nullable column that is read as it is.
    pub(crate) fn plain(name: &str, kind: ColumnType) -> Self {
        Self { name: name.to_owned(), source: ColumnSource::Plain(kind, name.to_owned()), nullable: true }
    }

    /// Returns the type of the values.
    pub(crate) fn kind(&self) -> ColumnType {
        match &self.source {
            ColumnSource::Plain(kind, _) => *kind,
            ColumnSource::Begin(_) | ColumnSource::End(_) => ColumnType::Time,
        }
    }

    /// Returns the Arrow field.
    pub(crate) fn arrow(&self) -> Field {
        Field::new(&self.name, arrow_type(self.kind()), self.nullable)
    }
}

/// Returns the Arrow schema of result columns.
pub(crate) fn arrow_schema(columns: &[ReadColumn]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(ReadColumn::arrow).collect::<Vec<_>>()))
}

/// Returns the Arrow type of a column type.
pub(crate) fn arrow_type(kind: ColumnType) -> DataType {
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
    /// Creates a table definition without columns.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Returns the column with this name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Returns the columns as they are read.
    pub(crate) fn read_columns(&self) -> Vec<ReadColumn> {
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
