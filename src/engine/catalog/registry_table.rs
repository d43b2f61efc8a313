//! The table provider and the physical scan of registry tables and queries.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions, Statistics,
};
use futures::StreamExt;

use crate::engine::unparse::{all, predicate};
use crate::registry::db::conn::Conn;
use crate::registry::schema::{ColumnType, ReadColumn, TableDef, arrow_schema};

/// A table of a registry, or a query that is used as a table.
#[derive(Debug, Clone)]
pub(crate) struct RegistryTable {
    /// The connection to the registry database.
    pub conn: Conn,
    /// The columns of the table.
    pub columns: Vec<ReadColumn>,
    /// The unique keys.
    pub keys: Vec<Vec<String>>,
    /// The table name, or a subquery in parentheses.
    from: String,
    /// The physical table that provides the row estimate.
    pub row_count_table: Option<String>,
    /// Whether it has only a part of the rows of its physical tables.
    pub is_filtered_subset: bool,
    /// An expensive column, and the source that replaces `from` in queries that do not use it.
    slim_source: Option<(&'static str, String)>,
    schema: SchemaRef,
}

impl RegistryTable {
    /// A physical table of the registry.
    pub(crate) fn new(conn: Conn, table: &TableDef) -> Self {
        let from = conn.table(&table.name);
        let keys = std::iter::once(&table.primary_key).chain(&table.unique).filter(|key| !key.is_empty());
        let columns = table.read_columns();
        Self { keys: keys.cloned().collect(), ..Self::query(conn, from, columns).row_count_table(&table.name) }
    }

    /// A query as a table; `from` is a subquery in parentheses or a table name.
    pub(crate) fn query(conn: Conn, from: String, columns: Vec<ReadColumn>) -> Self {
        let schema = arrow_schema(&columns);
        let (keys, row_count_table, is_filtered_subset, slim_source) = Default::default();
        Self { conn, columns, keys, from, row_count_table, is_filtered_subset, slim_source, schema }
    }

    /// Sets the physical table that provides the row estimate.
    #[must_use]
    pub(crate) fn row_count_table(mut self, table: &str) -> Self {
        self.row_count_table = Some(self.conn.table(table));
        self
    }

    /// Marks the table as a part of the rows of its physical tables.
    #[must_use]
    pub(crate) fn filtered_subset(mut self) -> Self {
        self.is_filtered_subset = true;
        self
    }

    /// Sets the source for queries that do not use `column`.
    #[must_use]
    pub(crate) fn slim_source(mut self, column: &'static str, from: String) -> Self {
        self.slim_source = Some((column, from));
        self
    }

    /// The SQL of a filter; `None` if it cannot be pushed down.
    fn pushable_sql(&self, filter: &Expr) -> Option<String> {
        let dialect = self.conn.dialect();
        predicate(dialect, &self.columns, filter).ok().filter(|text| dialect.beyond(text, 1).is_none())
    }

    /// The table name or subquery that has the projected columns and the columns of the filters.
    pub(crate) fn from(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> &str {
        let Some((column, slim_source)) = &self.slim_source else { return &self.from };
        let projected = projection.is_none_or(|all| all.iter().any(|i| self.columns[*i].name == *column));
        let filtered = || filters.iter().any(|filter| filter.column_refs().iter().any(|c| c.name == *column));
        if projected || filtered() { &self.from } else { slim_source }
    }
}

#[async_trait]
impl TableProvider for RegistryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let is_pushable = |filter: &&Expr| self.pushable_sql(filter).is_some();
        Ok(filters
            .iter()
            .map(|filter| match is_pushable(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let dialect = self.conn.dialect();
        let translated: Vec<(&Expr, Option<String>)> =
            filters.iter().map(|filter| (filter, self.pushable_sql(filter))).collect();
        // Filters may have changed after they were reported as Exact: a FilterExec applies the ones without SQL.
        let not_pushable: Vec<Expr> =
            translated.iter().filter(|(_, text)| text.is_none()).map(|(f, _)| (*f).clone()).collect();
        if let Some(filter) = conjunction(not_pushable) {
            let others: Vec<Expr> =
                translated.iter().filter(|(_, text)| text.is_some()).map(|(f, _)| (*f).clone()).collect();
            let rows = self.scan(state, None, &others, None).await?;
            let schema = DFSchema::try_from(self.schema())?;
            let filter = state.create_physical_expr(normalized(filter)?, &schema)?;
            let rows = FilterExecBuilder::new(filter, rows).apply_projection(projection.cloned())?.with_fetch(limit);
            return Ok(Arc::new(rows.build()?));
        }
        let columns: Vec<ReadColumn> = match projection {
            Some(wanted) => wanted.iter().map(|i| self.columns[*i].clone()).collect(),
            None => self.columns.clone(),
        };
        let select: Vec<_> =
            columns.iter().map(|c| format!("{} AS {}", dialect.select_expr(c, ""), dialect.quote(&c.name))).collect();
        let select = if select.is_empty() { "1".to_owned() } else { select.join(", ") };
        let mut sql = format!("SELECT {select} FROM {} AS t", self.from(projection, filters));
        let predicates: Vec<String> = translated.into_iter().filter_map(|(_, text)| text).collect();
        if !predicates.is_empty() {
            sql.push_str(&format!(" WHERE {}", all(&predicates)));
        }
        if let Some(limit) = limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        let estimate = Estimate { table: self.row_count_table.clone(), rows: limit };
        Ok(Arc::new(RegistryScan::new(self.conn.clone(), sql, columns, estimate).with_row_estimate().await))
    }
}

/// Removes table qualifiers from the columns of a filter.
fn normalized(filter: Expr) -> Result<Expr> {
    let plain = |expr| match expr {
        Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
        other => Transformed::no(other),
    };
    Ok(filter.transform(|expr| Ok(plain(expr)))?.data)
}

/// An estimate of the number of rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Estimate {
    /// The table with a similar number of rows, until the database is queried for it.
    pub table: Option<String>,
    /// The estimated number of rows, or an upper limit.
    pub rows: Option<usize>,
}

/// The physical node of one query of a registry database.
#[derive(Debug, Clone)]
pub(crate) struct RegistryScan {
    conn: Conn,
    sql: String,
    columns: Vec<ReadColumn>,
    estimate: Estimate,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl RegistryScan {
    /// The connection that executes the query.
    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// The SQL text.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// A scan of the query `sql`, which returns `columns`.
    pub(crate) fn new(conn: Conn, sql: String, columns: Vec<ReadColumn>, estimate: Estimate) -> Self {
        let properties = single_partition(arrow_schema(&columns));
        Self { conn, sql, columns, estimate, metrics: ExecutionPlanMetricsSet::new(), properties }
    }

    /// Completes the row estimate with statistics of the database; errors leave it unknown.
    pub(crate) async fn with_row_estimate(mut self) -> Self {
        if let Some(table) = self.estimate.table.take() {
            match self.conn.estimated_rows(&table).await {
                Ok(rows) => self.estimate.rows = self.estimate.rows.into_iter().chain(rows).min(),
                Err(error) => tracing::debug!("no row estimate for {table}: {error}"),
            }
        }
        self
    }
}

/// The properties of a plan with one bounded partition.
pub(crate) fn single_partition(schema: SchemaRef) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl DisplayAs for RegistryScan {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryScan: {}", self.sql)
    }
}

impl ExecutionPlan for RegistryScan {
    fn name(&self) -> &str {
        "RegistryScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// Provides the number of rows, from which DataFusion chooses the build side of a hash join.
    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let rows = self.estimate.rows.map_or(Precision::Absent, Precision::Inexact);
        Ok(Arc::new(Statistics::new_unknown(&self.schema()).with_num_rows(rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        let row_count_table = move |batch: &crate::error::Result<RecordBatch>| {
            rows.add(batch.as_ref().map_or(0, RecordBatch::num_rows));
        };
        if !self.columns.is_empty() {
            let batches = self.conn.query(self.sql.clone(), self.columns.clone()).inspect(row_count_table);
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches.map(|b| b.map_err(Into::into)))));
        }
        // The query uses no column, only the number of rows.
        let batches =
            self.conn.query(self.sql.clone(), vec![ReadColumn::plain("one", ColumnType::Int)]).inspect(row_count_table);
        let empty = Arc::clone(&schema);
        let row_count_table = batches.map(move |batch| {
            let options = RecordBatchOptions::new().with_row_count(Some(batch?.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&empty), Vec::new(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, row_count_table)))
    }
}
