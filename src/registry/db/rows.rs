//! Converts between database rows and Arrow arrays, one column at a time, for both databases.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Float64Array,
    Float64Builder, Int64Array, Int64Builder, RecordBatch, StringArray, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampNanosecondType};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::error::{Error, Kind, Result};
use crate::model::time;
use crate::registry::schema::{Column, ColumnType, ReadColumn, TableDef, arrow_schema, arrow_type};

/// Number of rows in a batch of a scan.
pub(crate) const BATCH: usize = 8192;

/// Builds record batches from the values of a scan.
pub(crate) struct BatchBuilder {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    rows: usize,
}

/// Builds the array of one column.
pub(crate) struct ColumnBuilder {
    kind: ColumnType,
    builder: TypedBuilder,
}

enum TypedBuilder {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Bytes(BinaryBuilder),
    Time(TimestampNanosecondBuilder),
}

impl BatchBuilder {
    /// Creates a builder for these columns.
    pub(crate) fn new(columns: &[ReadColumn]) -> Self {
        let cell = |c: &ReadColumn| ColumnBuilder { kind: c.kind(), builder: TypedBuilder::new(c.kind()) };
        Self { schema: arrow_schema(columns), columns: columns.iter().map(cell).collect(), rows: 0 }
    }

    /// Returns the column builders; each takes one value before [`Self::end_row`].
    pub(crate) fn columns(&mut self) -> &mut [ColumnBuilder] {
        &mut self.columns
    }

    /// Completes a row.
    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// Returns the number of rows since the last batch.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the rows since the last batch as a batch.
    ///
    /// # Errors
    /// A NULL in a column that is not nullable.
    pub(crate) fn take(&mut self) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|c| c.builder.finish()).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

impl TypedBuilder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Text(_) | ColumnType::Uuid => Self::Text(StringBuilder::new()),
            ColumnType::Int | ColumnType::Small => Self::Int(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float64Builder::new()),
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Bytes => Self::Bytes(BinaryBuilder::new()),
            ColumnType::Time | ColumnType::UtcTime | ColumnType::Span => Self::Time(TimestampNanosecondBuilder::new()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(b) => ArrayBuilder::finish(b),
            Self::Int(b) => ArrayBuilder::finish(b),
            Self::Float(b) => ArrayBuilder::finish(b),
            Self::Bool(b) => ArrayBuilder::finish(b),
            Self::Bytes(b) => ArrayBuilder::finish(b),
            Self::Time(b) => ArrayBuilder::finish(b),
        }
    }
}

impl ColumnBuilder {
    /// Returns the column type.
    pub(crate) fn kind(&self) -> ColumnType {
        self.kind
    }

    /// Appends NULL.
    pub(crate) fn null(&mut self) {
        match &mut self.builder {
            TypedBuilder::Text(b) => b.append_null(),
            TypedBuilder::Int(b) => b.append_null(),
            TypedBuilder::Float(b) => b.append_null(),
            TypedBuilder::Bool(b) => b.append_null(),
            TypedBuilder::Bytes(b) => b.append_null(),
            TypedBuilder::Time(b) => b.append_null(),
        }
    }

    /// Appends an integer; Boolean, float and timestamp columns (TAI nanoseconds) convert it.
    pub(crate) fn int(&mut self, value: i64) {
        match &mut self.builder {
            TypedBuilder::Int(b) => b.append_value(value),
            TypedBuilder::Time(b) => b.append_value(value),
            TypedBuilder::Bool(b) => b.append_value(value != 0),
            TypedBuilder::Float(b) => b.append_value(value as f64),
            TypedBuilder::Text(b) => b.append_value(value.to_string()),
            TypedBuilder::Bytes(b) => b.append_null(),
        }
    }

    /// Appends a float.
    pub(crate) fn float(&mut self, value: f64) {
        match &mut self.builder {
            TypedBuilder::Float(b) => b.append_value(value),
            _ => self.int(value as i64),
        }
    }

    /// Appends a UUID, as text.
    pub(crate) fn uuid(&mut self, id: uuid::Uuid) {
        if let TypedBuilder::Text(b) = &mut self.builder {
            b.append_value(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        }
    }

    /// Appends bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if let TypedBuilder::Bytes(b) = &mut self.builder {
            b.append_value(bytes);
        }
    }

    /// Appends text from the database; columns of other types parse it as base64 bytes, a UUID or a UTC time.
    ///
    /// # Errors
    /// Text that the column type cannot parse.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("text that is not UTF-8", bytes))?;
        match (self.kind, &mut self.builder) {
            (ColumnType::Uuid, _) => {
                self.uuid(uuid::Uuid::try_parse(text).map_err(|_| wrong("a malformed id", bytes))?)
            }
            (ColumnType::UtcTime, TypedBuilder::Time(b)) => {
                b.append_value(time::parse_utc(text).ok_or_else(|| wrong("a malformed time", bytes))?);
            }
            (_, TypedBuilder::Text(b)) => b.append_value(text),
            (_, TypedBuilder::Bytes(b)) => {
                b.append_value(BASE64_STANDARD.decode(text).map_err(|_| wrong("bytes that are not base64", bytes))?);
            }
            _ => return Err(wrong("text where a number should be", bytes)),
        }
        Ok(())
    }
}

fn wrong(what: &str, bytes: &[u8]) -> Error {
    let shown: String = String::from_utf8_lossy(bytes).chars().take(40).collect();
    Error::new(Kind::Failed, format!("the registry holds {what}: '{shown}'"))
}

/// A table column with the values to write to it.
pub(crate) struct BoundColumn<'a> {
    /// The column of the table.
    pub column: &'a Column,
    /// The values; for a timespan, two arrays.
    pub values: ColumnValues,
}

/// The values of one column to write.
pub(crate) enum ColumnValues {
    /// Text and UUIDs.
    Text(StringArray),
    /// Integers, and times in TAI nanoseconds.
    Int(Int64Array),
    /// Floats.
    Float(Float64Array),
    /// Booleans.
    Bool(BooleanArray),
    /// Bytes.
    Bytes(BinaryArray),
    /// Begins and ends of timespans, TAI nanoseconds.
    Span(Int64Array, Int64Array),
}

/// One value to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// NULL.
    Null,
    /// Text or a UUID.
    Text(&'a str),
    /// An integer, or a time in TAI nanoseconds.
    Int(i64),
    /// A float.
    Float(f64),
    /// A Boolean.
    Bool(bool),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Begin and end of a timespan, TAI nanoseconds.
    Span(i64, i64),
}

/// Binds the columns of a batch to the columns of a table, and casts values of other types.
///
/// # Errors
/// `Kind::NotFound` for a column that the table does not have, or values that cannot be cast.
pub(crate) fn bind_columns<'a>(table: &'a TableDef, batch: &RecordBatch) -> Result<Vec<BoundColumn<'a>>> {
    let mut all = Vec::new();
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let name = field.name();
        if let Some(column) = table.column(name) {
            all.push(BoundColumn { column, values: values(column.kind, array)? });
            continue;
        }
        let Some(base) = name.strip_suffix("_begin") else {
            match name.strip_suffix("_end").and_then(|base| table.column(base)) {
                Some(_) => continue,
                None => return Err(Error::not_found("column", name, table.columns.iter().map(|c| c.name.as_str()))),
            }
        };
        let end = batch.column_by_name(&format!("{base}_end"));
        let (Some(column), Some(end)) = (table.column(base), end) else {
            return Err(Error::invalid(format!("column '{name}' of table '{}' needs its end column", table.name)));
        };
        let int = |array: &ArrayRef| Ok::<_, Error>(instants(array)?.as_primitive::<Int64Type>().clone());
        all.push(BoundColumn { column, values: ColumnValues::Span(int(array)?, int(end)?) });
    }
    Ok(all)
}

/// Casts values to another type; a value that cannot be cast is an error, not NULL.
///
/// # Errors
/// The first value that cannot be cast.
pub(crate) fn strict_cast(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, wanted, &options)?)
}

fn instants(array: &ArrayRef) -> Result<ArrayRef> {
    let time = strict_cast(array, &arrow_type(ColumnType::Time))?;
    let raw = time.as_primitive::<TimestampNanosecondType>();
    Ok(Arc::new(raw.reinterpret_cast::<Int64Type>()))
}

fn values(kind: ColumnType, array: &ArrayRef) -> Result<ColumnValues> {
    Ok(match kind {
        ColumnType::Time | ColumnType::UtcTime | ColumnType::Span => {
            ColumnValues::Int(instants(array)?.as_primitive().clone())
        }
        _ => {
            let array = strict_cast(array, &arrow_type(kind))?;
            match kind {
                ColumnType::Text(_) | ColumnType::Uuid => ColumnValues::Text(array.as_string::<i32>().clone()),
                ColumnType::Int | ColumnType::Small => ColumnValues::Int(array.as_primitive().clone()),
                ColumnType::Float => ColumnValues::Float(array.as_primitive().clone()),
                ColumnType::Bool => ColumnValues::Bool(array.as_boolean().clone()),
                _ => ColumnValues::Bytes(array.as_binary::<i32>().clone()),
            }
        }
    })
}

impl ColumnValues {
    /// Returns the value in a row.
    pub(crate) fn at(&self, row: usize) -> Value<'_> {
        match self {
            Self::Text(a) if a.is_valid(row) => Value::Text(a.value(row)),
            Self::Int(a) if a.is_valid(row) => Value::Int(a.value(row)),
            Self::Float(a) if a.is_valid(row) => Value::Float(a.value(row)),
            Self::Bool(a) if a.is_valid(row) => Value::Bool(a.value(row)),
            Self::Bytes(a) if a.is_valid(row) => Value::Bytes(a.value(row)),
            Self::Span(a, b) if a.is_valid(row) && b.is_valid(row) => Value::Span(a.value(row), b.value(row)),
            _ => Value::Null,
        }
    }
}

/// Encodes bytes as the registry stores them: base64 text.
pub(crate) fn encode_bytes(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Creates a batch of named, nullable columns.
///
/// # Errors
/// Columns of different lengths.
pub(crate) fn record_batch<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
}

/// Returns the column with this name.
///
/// # Errors
/// A missing column, which is a bug of the caller.
pub(crate) fn required_column(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    rows.column_by_name(name).cloned().ok_or_else(|| Error::bug(format!("rows without column '{name}'")))
}

/// Returns an array of the same integer in every row.
pub(crate) fn constant_int(value: i64, rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from_value(value, rows))
}

/// Returns an array of the same time in every row, TAI nanoseconds.
pub(crate) fn constant_instant(value: i64, rows: usize) -> ArrayRef {
    Arc::new(arrow::array::TimestampNanosecondArray::from_value(value, rows))
}

/// Returns an array of the same text in every row.
pub(crate) fn constant_text(value: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)))
}

/// Returns a text array of these values.
pub(crate) fn text_column<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Returns the distinct texts of a column, sorted.
///
/// # Errors
/// A column that is not text, which is a bug of the caller.
pub(crate) fn distinct_texts(array: &ArrayRef) -> Result<Vec<String>> {
    let texts = array.as_string_opt::<i32>().ok_or_else(|| Error::bug("a text column of another type"))?;
    let all: std::collections::BTreeSet<&str> = texts.iter().flatten().collect();
    Ok(all.into_iter().map(str::to_owned).collect())
}
