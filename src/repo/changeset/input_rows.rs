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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use futures::StreamExt;

    use super::*;

    fn rows(columns: Vec<(&str, ArrayRef)>) -> Option<Batches> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Some(futures::stream::iter([Ok(batch.clone()), Ok(batch)]).boxed())
    }

    #[tokio::test]
    async fn texts_are_of_the_named_column_or_the_first() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let both = || rows(vec![("n", Arc::clone(&numbers)), ("name", Arc::clone(&names))]);
        assert_eq!(read_texts(both(), "name").await.unwrap(), ["a", "b", "a", "b"]);
        // NULL is no text.
        assert_eq!(read_texts(both(), "other").await.unwrap(), ["1", "1"]);
        assert_eq!(read_rows(both()).await.unwrap().num_rows(), 4);
    }

    #[tokio::test]
    async fn no_rows_and_no_subquery_differ() {
        let none = futures::stream::empty().boxed();
        assert!(read_texts(Some(none), "name").await.unwrap().is_empty());
        let error = read_texts(None, "name").await.unwrap_err();
        assert_eq!(error.message(), "rows are required: give a subquery in parentheses");
    }
}
