//! ASSERT: checks a condition.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Spanned};
use futures::TryStreamExt;

use super::{Answer, Session, one};
use crate::engine::sql::identifier_case;
use crate::engine::sql::statement::{Assertion, Parsed, parse};
use crate::engine::sql::tokens::tokenize;
use crate::error::{Error, Kind, Result, SourceLocation};

impl Session {
    /// Checks a condition; the error has the values of a comparison.
    pub(super) async fn assert(&self, assertion: Assertion) -> Result<Answer> {
        if let Ok(known) = self.repository.snapshot() {
            identifier_case::check_names(&assertion.condition, &known)?;
        }
        // The condition is executed as a filter, where EXISTS is supported.
        let holds = self.rows_of(&format!("SELECT 1 WHERE ({})", assertion.condition)).await?;
        if holds.iter().any(|batch| batch.num_rows() > 0) {
            let schema = Arc::new(Schema::empty());
            return Ok(one(RecordBatch::new_empty(schema)));
        }
        let mut message = format!("assertion does not hold: {}", assertion.condition);
        if let Some((left, right)) = &assertion.sides {
            let (left, right) = (self.value(left).await?, self.value(right).await?);
            message.push_str(&format!(" (left is {left}, right is {right})"));
        }
        if let Some(prefix) = &assertion.message {
            message = format!("{}: {message}", self.value(prefix).await?);
        }
        let start = assertion.condition.span().start;
        let location = (start.line > 0).then_some(SourceLocation { line: start.line, column: start.column });
        Err(Error::new(Kind::Assertion, message).with_location(location))
    }

    /// The rows of an internal query; locations in it are removed from errors.
    async fn rows_of(&self, query: &str) -> Result<Vec<RecordBatch>> {
        let elsewhere = |error: Error| Error::new(error.kind(), error.message());
        let Parsed::Query(statement) = parse(tokenize(query)?)? else {
            return Err(Error::bug(format!("'{query}' is not a query")));
        };
        let answer = self.query(statement).await.map_err(elsewhere)?;
        answer.rows.try_collect().await.map_err(|e| elsewhere(e.into()))
    }

    /// Evaluates an expression to a single value.
    async fn value(&self, expr: &Expr) -> Result<ScalarValue> {
        let rows = self.rows_of(&format!("SELECT {expr}")).await?;
        match rows.iter().find(|b| b.num_rows() > 0) {
            Some(batch) => Ok(ScalarValue::try_from_array(batch.column(0), 0)?),
            None => Err(Error::invalid(format!("{expr} has no value"))),
        }
    }
}
