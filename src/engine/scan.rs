//! Tables of a registry as DataFusion tables: one provider and one scan for all.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;

use super::pushdown::predicate;
use crate::error::Error;
use crate::registry::conn::Conn;
use crate::registry::schema::{Kind, Scanned, Table, arrow_schema};

/// A table of a registry, or a query that stands for one.
#[derive(Debug, Clone)]
pub struct RegistryTable {
    /// The registry's database.
    pub conn: Conn,
    /// What it yields.
    pub columns: Vec<Scanned>,
    /// Columns that only one row has the values of.
    pub keys: Vec<Vec<String>>,
    /// A table's name, or a subquery in parentheses.
    from: String,
    /// A column, and what stands for the table where that is not wanted.
    without: Option<(&'static str, String)>,
    schema: SchemaRef,
}

impl RegistryTable {
    /// A table as the Butler defines it.
    pub fn new(conn: Conn, table: &Table) -> Self {
        let from = conn.table(&table.name);
        let keys = std::iter::once(&table.primary_key).chain(&table.unique).filter(|key| !key.is_empty());
        Self { keys: keys.cloned().collect(), ..Self::query(conn, from, table.scanned()) }
    }

    /// What a subquery in parentheses yields.
    pub fn query(conn: Conn, from: String, columns: Vec<Scanned>) -> Self {
        let schema = arrow_schema(&columns);
        Self { conn, columns, keys: Vec::new(), from, without: None, schema }
    }

    /// What stands for the table where a column is not wanted.
    #[must_use]
    pub fn without(mut self, column: &'static str, from: String) -> Self {
        self.without = Some((column, from));
        self
    }

    /// The table's name, or a subquery in parentheses, that has the wanted columns and those of filters.
    pub fn from(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> &str {
        let Some((column, without)) = &self.without else { return &self.from };
        let projected = projection.is_none_or(|all| all.iter().any(|i| self.columns[*i].name == *column));
        let filtered = || filters.iter().any(|filter| filter.column_refs().iter().any(|c| c.name == *column));
        if projected || filtered() { &self.from } else { without }
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
        let dialect = self.conn.dialect();
        Ok(filters
            .iter()
            .map(|filter| match predicate(dialect, &self.columns, filter) {
                Ok(_) => TableProviderFilterPushDown::Exact,
                Err(_) => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let dialect = self.conn.dialect();
        let columns: Vec<Scanned> = match projection {
            Some(wanted) => wanted.iter().map(|i| self.columns[*i].clone()).collect(),
            None => self.columns.clone(),
        };
        let select: Vec<_> =
            columns.iter().map(|c| format!("{} AS {}", dialect.reads(c, ""), dialect.quote(&c.name))).collect();
        let select = if select.is_empty() { "1".to_owned() } else { select.join(", ") };
        let mut sql = format!("SELECT {select} FROM {} AS t", self.from(projection, filters));
        let said = |filter| {
            predicate(dialect, &self.columns, filter)
                .map_err(|said| Error::bug(format!("a filter that was accepted cannot be said: {said}")))
        };
        let predicates: Vec<_> = filters.iter().map(said).collect::<std::result::Result<_, _>>()?;
        if !predicates.is_empty() {
            sql.push_str(&format!(" WHERE {}", predicates.join(" AND ")));
        }
        if let Some(limit) = limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        Ok(Arc::new(RegistryScan::new(self.conn.clone(), sql, columns)))
    }
}

/// One query of a registry, as a leaf of a plan.
#[derive(Debug)]
pub struct RegistryScan {
    conn: Conn,
    sql: String,
    columns: Vec<Scanned>,
    properties: Arc<PlanProperties>,
}

impl RegistryScan {
    /// Where it is sent.
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// The text that is sent.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// A query whose columns come as these.
    pub fn new(conn: Conn, sql: String, columns: Vec<Scanned>) -> Self {
        let properties = single_partition(arrow_schema(&columns));
        Self { conn, sql, columns, properties }
    }
}

/// The properties of a plan that yields one bounded stream.
pub fn single_partition(schema: SchemaRef) -> Arc<PlanProperties> {
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

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        if !self.columns.is_empty() {
            let batches = self.conn.query(self.sql.clone(), self.columns.clone());
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches.map(|b| b.map_err(Into::into)))));
        }
        // Only the number of rows is wanted.
        let batches = self.conn.query(self.sql.clone(), vec![Scanned::plain("one", Kind::Int)]);
        let empty = Arc::clone(&schema);
        let counted = batches.map(move |batch| {
            let options = RecordBatchOptions::new().with_row_count(Some(batch?.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&empty), Vec::new(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }
}
