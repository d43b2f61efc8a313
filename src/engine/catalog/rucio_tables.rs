//! Tables of Rucio. A scan asks only for what the query needs, and yields rows as they arrive.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::{self, TryStreamExt};

use crate::error;
use crate::registry::db::Batches;
use crate::rucio::Client;

/// What a query needs of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// The columns; others may be NULL.
    pub columns: BTreeSet<String>,
    /// A glob (`*`) for the column `name`, of an equality or LIKE.
    pub name: Option<String>,
    /// The value of the column `type`.
    pub did_type: Option<String>,
}

impl Wanted {
    /// Whether one of these columns is needed.
    pub(crate) fn any(&self, columns: &[&str]) -> bool {
        columns.iter().any(|column| self.columns.contains(*column))
    }
}

/// The rows of a table of Rucio.
#[async_trait]
pub(crate) trait RucioRows: fmt::Debug + Send + Sync {
    /// The columns.
    fn schema(&self) -> SchemaRef;

    /// Asks for the rows; all columns are there, in the order of the schema.
    ///
    /// # Errors
    /// A DID, rule or storage element that does not exist; server errors.
    async fn rows(&self, client: Arc<Client>, wanted: Wanted) -> error::Result<Batches>;
}

/// A table of Rucio.
#[derive(Debug)]
pub(crate) struct RucioTable(pub Arc<dyn RucioRows>);

#[async_trait]
impl TableProvider for RucioTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match text_filter(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let columns = match projection {
            Some(wanted) => wanted.iter().map(|at| schema.field(*at).name().clone()).collect(),
            None => schema.fields().iter().map(|field| field.name().clone()).collect(),
        };
        let mut wanted = Wanted { columns, ..Wanted::default() };
        for (column, value, is_pattern) in filters.iter().filter_map(text_filter) {
            match column {
                "name" => wanted.name = if is_pattern { glob(value) } else { literal_glob(value) }.or(wanted.name),
                _ => wanted.did_type = Some(value.to_owned()).filter(|_| !is_pattern).or(wanted.did_type),
            }
        }
        let scan = Arc::new(RucioScan { table: Arc::clone(&self.0), wanted, schema: Arc::clone(&schema) });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![scan], projection, [], false, limit)?))
    }
}

/// The column, the text and whether it is a pattern, of `column = 'text'` and `column LIKE 'pattern'`.
fn text_filter(filter: &Expr) -> Option<(&str, &str, bool)> {
    let column = |expr: &'_ Expr| match expr {
        Expr::Column(column) if column.name == "name" => Some("name"),
        Expr::Column(column) if column.name == "type" => Some("type"),
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (column(left), column(right)) {
            (Some(name), None) => Some((name, text(right)?, false)),
            (None, Some(name)) => Some((name, text(left)?, false)),
            _ => None,
        },
        Expr::Like(like) if !like.negated && !like.case_insensitive && like.escape_char.is_none() => {
            Some((column(&like.expr)?, text(&like.pattern)?, true))
        }
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Some(text),
        _ => None,
    }
}

/// The glob that matches at least what a LIKE pattern matches; `None` for a pattern with escapes or a star. Rucio has no
/// sign for one character.
fn glob(pattern: &str) -> Option<String> {
    (!pattern.contains(['\\', '*'])).then(|| wider(&pattern.replace(['%', '_'], "*")))
}

/// The glob of one name; `None` for a name with a star.
fn literal_glob(name: &str) -> Option<String> {
    (!name.contains('*')).then(|| wider(name))
}

/// Widens a glob where the server would read it as another value: it takes `true` and `false` anywhere for Python's
/// words, and text without a sign of arithmetic for a number or a date.
pub(crate) fn wider(glob: &str) -> String {
    let glob = ["true", "TRUE", "false", "FALSE"].iter().fold(glob.to_owned(), |glob, word| glob.replace(word, "*"));
    let is_text = glob.contains(|c: char| c.is_ascii_alphabetic()) && glob.contains(['*', '/']);
    if is_text { glob } else { format!("{glob}*") }
}

/// A scan of a table.
#[derive(Debug)]
struct RucioScan {
    table: Arc<dyn RucioRows>,
    wanted: Wanted,
    schema: SchemaRef,
}

impl PartitionStream for RucioScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, wanted, schema) = (Arc::clone(&self.table), self.wanted.clone(), Arc::clone(&self.schema));
        let out = Arc::clone(&schema);
        let ask = async move {
            let rows = table.rows(Client::of_environment()?, wanted).await?;
            Ok::<_, error::Error>(rows.and_then(move |batch| {
                let schema = Arc::clone(&out);
                async move { Ok(RecordBatch::try_new(schema, batch.columns().to_vec())?) }
            }))
        };
        let batches = stream::once(ask).try_flatten().map_err(DataFusionError::from);
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn filters_become_globs_that_match_at_least_as_much() {
        assert_eq!(glob("Dataset/%_x"), Some("Dataset/**x".to_owned()));
        assert_eq!(glob("a*%"), None);
        assert_eq!(glob("a\\%"), None);
        assert_eq!(literal_glob("a%_b"), Some("a%_b*".to_owned()));
        assert_eq!(literal_glob("a*"), None);
        assert_eq!(literal_glob("Dataset/true/x"), Some("Dataset/*/x".to_owned()));
        assert_eq!(literal_glob("20241108"), Some("20241108*".to_owned()));
        assert_eq!(literal_glob("Dataset/x"), Some("Dataset/x".to_owned()));
        assert_eq!(text_filter(&col("name").eq(lit("x"))), Some(("name", "x", false)));
        assert_eq!(text_filter(&lit("x").eq(col("type"))), Some(("type", "x", false)));
        assert_eq!(text_filter(&col("name").like(lit("x%"))), Some(("name", "x%", true)));
        for other in [col("name").not_like(lit("x%")), col("rse").eq(lit("x")), col("name").gt(lit("x"))] {
            assert_eq!(text_filter(&other), None);
        }
    }
}
