//! The rows that a procedure takes from a subquery.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema};
use futures::TryStreamExt;

use crate::error::{Error, Result};
use crate::registry::db::Batches;

/// The rows that an operation takes, read to the end before it plans.
///
/// # Errors
/// No rows were given, or the query fails.
pub(crate) async fn read_rows(rows: Option<Batches>) -> Result<RecordBatch> {
    let batches: Vec<RecordBatch> =
        rows.ok_or_else(|| Error::invalid("rows are required: give a subquery in parentheses"))?.try_collect().await?;
    let Some(first) = batches.first() else {
        return Ok(RecordBatch::new_empty(Arc::new(Schema::empty())));
    };
    Ok(concat_batches(&first.schema(), &batches)?)
}

/// The texts of the column of this name, else of the first column.
///
/// # Errors
/// As for [`read_rows`].
pub(crate) async fn read_texts(rows: Option<Batches>, name: &str) -> Result<Vec<String>> {
    let rows = read_rows(rows).await?;
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let column = rows.schema_ref().index_of(name).unwrap_or(0);
    let texts = cast(rows.column(column), &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().flatten().map(str::to_owned).collect())
}
