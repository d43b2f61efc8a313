//! Columns of the tables of Rucio.

use std::sync::Arc;

use chrono::NaiveDateTime;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::stream::{StreamExt, TryStreamExt};

use crate::error::Result;
use crate::registry::db::Batches;
use crate::rucio::catalog::List;

/// Number of rows in a batch.
const ROWS: usize = 2048;

pub(super) const TEXT: DataType = DataType::Utf8;
pub(super) const INT: DataType = DataType::Int64;
pub(super) const BOOL: DataType = DataType::Boolean;
pub(super) const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

pub(super) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

pub(super) fn texts<'a, S: Into<Option<&'a str>>>(values: impl Iterator<Item = S>) -> ArrayRef {
    Arc::new(values.map(Into::into).collect::<StringArray>())
}

pub(super) fn owned(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(super) fn ints(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(super) fn bools(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}

/// Times of Rucio, which are UTC, such as `Mon, 30 Nov 2026 05:08:34 UTC`.
pub(super) fn times<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let parse = |text: &str| {
        let time = NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S UTC");
        let time = time.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"));
        Some(time.ok()?.and_utc().timestamp_micros())
    };
    Arc::new(values.map(|text| text.and_then(parse)).collect::<TimestampMicrosecondArray>())
}

/// Puts the items of a list into batches.
pub(super) fn batches<T: Send + 'static>(list: List<T>, make: fn(&[T]) -> Result<RecordBatch>) -> Batches {
    let chunks = list.try_chunks(ROWS).map_err(|e| e.1);
    chunks.and_then(move |items| std::future::ready(make(&items))).boxed()
}
