//! The rows that a procedure returns.

use std::sync::Arc;

use datafusion::arrow::array::{Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

use crate::repo::changeset::report::{ReportRow, Status};

/// The output columns of a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OutputMode {
    /// The report, one row for each kind, status and name; see [`report_schema`].
    Report,
    /// The number of changed items, as the `count` of an INSERT or the value of the aggregate.
    Count,
}

/// The columns of a report.
pub(super) fn report_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("kind", DataType::Utf8, false),
        Field::new("status", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("count", DataType::Int64, false),
    ]))
}

/// Converts a report to a record batch.
pub(super) fn report(lines: &[ReportRow]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(
        report_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(lines.iter().map(|l| l.kind.as_str()))),
            Arc::new(StringArray::from_iter_values(lines.iter().map(|l| l.status.word()))),
            Arc::new(lines.iter().map(|l| Some(l.name.as_str()).filter(|d| !d.is_empty())).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(lines.iter().map(|l| i64::try_from(l.count).unwrap_or(i64::MAX)))),
        ],
    )?)
}

pub(super) fn to_batch(mode: OutputMode, lines: &[ReportRow], schema: SchemaRef) -> Result<RecordBatch> {
    if mode == OutputMode::Report {
        let batch = report(lines)?;
        return Ok(RecordBatch::try_new(schema, batch.columns().to_vec())?);
    }
    let changed = |l: &&ReportRow| matches!(l.status, Status::Inserted | Status::Updated | Status::Removed);
    let count: u64 = lines.iter().filter(changed).map(|l| l.count).sum();
    let column: Arc<dyn Array> = match schema.field(0).data_type() {
        DataType::UInt64 => Arc::new(UInt64Array::from(vec![count])),
        _ => Arc::new(Int64Array::from(vec![i64::try_from(count).unwrap_or(i64::MAX)])),
    };
    Ok(RecordBatch::try_new(schema, vec![column])?)
}
