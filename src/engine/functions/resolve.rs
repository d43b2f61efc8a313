//! Table functions that read files or the registry to be planned. Planning is synchronous, so they are resolved before.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{TableFactor, Visit, Visitor};
use tokio::sync::OnceCell;

use crate::engine::catalog::repository::RepositoryCatalog;
use crate::engine::functions::call::{bind_args, function_call};
use crate::engine::functions::definition::{Args, FunctionDef, FunctionKind, OpenTable, TableReader};
use crate::engine::procedure::fold_constant;
use crate::error::{Error, Result, SourceLocation};

/// A call of a table function, and its table.
struct Resolved {
    function: &'static str,
    args: Args,
    table: Arc<dyn TableProvider>,
}

tokio::task_local! {
    /// The tables of the statement that is being planned.
    static RESOLVED: Vec<Resolved>;
}

/// Returns the table of a call that was resolved before planning.
pub(super) fn resolved(function: &str, args: &Args) -> Option<Arc<dyn TableProvider>> {
    let find = |all: &Vec<Resolved>| {
        let found = all.iter().find(|call| call.function == function && call.args == *args)?;
        Some(Arc::clone(&found.table))
    };
    RESOLVED.try_with(find).ok().flatten()
}

/// Plans a statement after its table functions are resolved.
///
/// # Errors
/// A file that does not exist or has another format, and errors of the registry; with the location of the call.
pub(crate) async fn with_resolved<T>(
    repository: &RepositoryCatalog,
    statement: &Statement,
    planning: impl Future<Output = T>,
) -> Result<T> {
    let mut factors = Factors::default();
    factors.visit(statement);
    let mut all: Vec<Resolved> = Vec::new();
    for factor in factors.0 {
        let Some((function, args, location)) = bound_call(repository, factor) else { continue };
        if all.iter().any(|call| call.function == function.name && call.args == args) {
            continue;
        }
        let named = |e: Error| e.with_location(location);
        let table = match &function.kind {
            FunctionKind::Query(text) => {
                let text = text(&args, &repository.snapshot()?.repo.registry.universe).map_err(named)?;
                repository.view(&text).await.map_err(named)?
            }
            FunctionKind::Read(reader) => read_table(reader, &args, location).await.map_err(named)?,
            FunctionKind::Operation(_) | FunctionKind::Search(_) | FunctionKind::Scalar(_) => continue,
        };
        all.push(Resolved { function: function.name, args, table });
    }
    Ok(RESOLVED.scope(all, planning).await)
}

/// Returns the call in FROM with its arguments. Calls with wrong arguments are left to the planner, which reports them.
fn bound_call(
    repository: &RepositoryCatalog,
    factor: TableFactor,
) -> Option<(&'static FunctionDef, Args, Option<SourceLocation>)> {
    let call = function_call(factor).ok()?;
    let function = call.function()?;
    let state = repository.state().ok()?;
    let bound = bind_args(function, call.args, &mut |expr| {
        fold_constant(state.create_logical_expr(&expr.to_string(), &DFSchema::empty())?)
    });
    Some((function, bound.ok()?.args, call.location))
}

/// The relations in FROM clauses of a statement.
#[derive(Default)]
struct Factors(Vec<TableFactor>);

impl Factors {
    fn visit(&mut self, statement: &Statement) {
        let _ = match statement {
            Statement::Statement(ast) => ast.visit(self),
            Statement::CopyTo(copy) => match &copy.source {
                CopyToSource::Query(query) => query.visit(self),
                CopyToSource::Relation(_) => ControlFlow::Continue(()),
            },
            Statement::Explain(explain) => {
                self.visit(&explain.statement);
                ControlFlow::Continue(())
            }
            Statement::CreateExternalTable(_) | Statement::Reset(_) => ControlFlow::Continue(()),
        };
    }
}

impl Visitor for Factors {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.0.push(factor.clone());
        ControlFlow::Continue(())
    }
}

/// Returns the table of a reader, whose rows are read when it is scanned.
async fn read_table(
    reader: &Arc<dyn TableReader>,
    args: &Args,
    location: Option<SourceLocation>,
) -> Result<Arc<dyn TableProvider>> {
    let (schema, rows) = match reader.open(args).await? {
        OpenTable::Columns(schema) => (schema, OnceCell::new()),
        OpenTable::Rows(rows) => (rows.schema(), OnceCell::new_with(Some(rows))),
    };
    let scan = ReaderScan { reader: Arc::clone(reader), args: args.clone(), location, schema, rows: Arc::new(rows) };
    Ok(Arc::new(StreamingTable::try_new(Arc::clone(&scan.schema), vec![Arc::new(scan)])?))
}

/// The rows of a reader, which are read once.
#[derive(Clone)]
struct ReaderScan {
    reader: Arc<dyn TableReader>,
    args: Args,
    /// The location of the call, for errors.
    location: Option<SourceLocation>,
    schema: SchemaRef,
    rows: Arc<OnceCell<RecordBatch>>,
}

impl fmt::Debug for ReaderScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderScan").field("args", &self.args).finish_non_exhaustive()
    }
}

impl ReaderScan {
    async fn read(&self) -> Result<RecordBatch> {
        let read = || async {
            let rows = self.reader.rows(&self.args).await.map_err(|e| e.with_location(self.location))?;
            // The columns of the table may be NULL in other files.
            Ok::<_, Error>(RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())?)
        };
        self.rows.get_or_try_init(read).await.cloned()
    }
}

impl PartitionStream for ReaderScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = self.clone();
        let rows = futures::stream::once(async move { scan.read().await.map_err(DataFusionError::from) });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
