//! Table functions that read files or the registry to be planned. Planning is synchronous, so they are resolved before.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{ExprWithAlias, FunctionArg, FunctionArgExpr, TableFactor, Visit, Visitor};
use futures::TryStreamExt;
use futures::stream;
use tokio::sync::OnceCell;

use crate::engine::catalog::repositories::Repositories;
use crate::engine::catalog::repository::RepositoryCatalog;
use crate::engine::functions::args::Args;
use crate::engine::functions::call::{BoundCall, bind_args, function_call};
use crate::engine::functions::definition::{
    FunctionDef, FunctionKind, OpenTable, QueryContext, QueryText, REPOSITORY, TableReader,
};
use crate::engine::procedure::fold_constant;
use crate::engine::sql::tokens::location_of;
use crate::error::{Error, Kind, Result, SourceLocation};
use crate::model::collection::Collections;
use crate::repo::search;

/// A call of a table function, and its table.
struct Resolved {
    function: &'static str,
    args: Args,
    /// The subquery of the call.
    rows: Option<String>,
    table: Arc<dyn TableProvider>,
}

tokio::task_local! {
    /// The tables of the statement that is being planned.
    static RESOLVED: Vec<Resolved>;
}

/// Returns the table of a call that was resolved before planning.
pub(super) fn resolved(function: &str, args: &Args, rows: Option<&str>) -> Option<Arc<dyn TableProvider>> {
    let find = |all: &Vec<Resolved>| {
        let found =
            all.iter().find(|call| call.function == function && call.args == *args && call.rows.as_deref() == rows)?;
        Some(Arc::clone(&found.table))
    };
    RESOLVED.try_with(find).ok().flatten()
}

/// Plans a statement after its table functions are resolved.
///
/// # Errors
/// A file that does not exist or has another format, and errors of the registry; with the location of the call.
pub(crate) async fn with_resolved<T>(
    repositories: &Repositories,
    statement: &Statement,
    planning: impl Future<Output = T>,
) -> Result<T> {
    let own = repositories.chosen(None)?;
    let mut factors = Factors::default();
    factors.visit(statement);
    let mut all: Vec<Resolved> = Vec::new();
    for factor in factors.0 {
        let condition = condition_location(&factor);
        let Some((function, BoundCall { args, rows }, location)) = bound_call(&own, factor) else { continue };
        let rows = rows.map(|rows| rows.to_string());
        if all.iter().any(|call| call.function == function.name && call.args == args && call.rows == rows) {
            continue;
        }
        let named = |e: Error| e.with_location(location);
        let table = match &function.kind {
            FunctionKind::Query(text) => {
                let repository = repositories.chosen(args.text(REPOSITORY).as_deref()).map_err(named)?;
                let text = query_text(&repository, (function, *text), (&args, rows.as_deref()), condition)
                    .await
                    .map_err(named)?;
                repository.view(&text).await.map_err(named)?
            }
            FunctionKind::Read(reader) => read_table(reader, &args).await.map_err(named)?,
            FunctionKind::Operation(_) | FunctionKind::Search(_) | FunctionKind::Table(_) | FunctionKind::Scalar(_) => {
                continue;
            }
        };
        all.push(Resolved { function: function.name, args, rows, table });
    }
    Ok(RESOLVED.scope(all, planning).await)
}

/// Expands a call to its query; an error in an expression has the location of its character.
async fn query_text(
    repository: &RepositoryCatalog,
    (function, text): (&FunctionDef, QueryText),
    (args, rows): (&Args, Option<&str>),
    condition: Option<SourceLocation>,
) -> Result<String> {
    let known = repository.snapshot()?;
    let collections = match function.arguments.iter().any(|a| a.name == "collections") {
        true => search::collections(&known.repo).await?,
        false => Collections::default(),
    };
    let context =
        QueryContext { universe: &known.repo.registry.universe, types: &known.types, collections: &collections, rows };
    text(args, &context).map_err(|e| e.within(condition))
}

/// The location of the first character in the literal of the argument `where` of a call.
fn condition_location(factor: &TableFactor) -> Option<SourceLocation> {
    let args = match factor {
        TableFactor::Function { args, .. } => args,
        TableFactor::Table { args: Some(args), .. } => &args.args,
        _ => return None,
    };
    let literal = args.iter().find_map(|arg| match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } if name.value == "where" => Some(value),
        FunctionArg::ExprNamed { name, arg: FunctionArgExpr::Expr(value), .. } if name.to_string() == "where" => {
            Some(value)
        }
        _ => None,
    })?;
    let start = location_of(literal)?;
    Some(SourceLocation { column: start.column + 1, ..start })
}

/// Returns the call in FROM with its arguments. Calls with wrong arguments are left to the planner, which reports them.
fn bound_call(
    repository: &RepositoryCatalog,
    factor: TableFactor,
) -> Option<(&'static FunctionDef, BoundCall, Option<SourceLocation>)> {
    let call = function_call(factor).ok()?;
    let function = call.function()?;
    let state = repository.state().ok()?;
    let bound = bind_args(function, call.args, &mut |expr| {
        let expr = ExprWithAlias { expr, alias: None };
        fold_constant(state.create_logical_expr_from_sql_expr(expr, &DFSchema::empty())?)
    });
    let bound = bound.ok()?;
    bound.args.check_complete(function.name, &function.arguments).ok()?;
    Some((function, bound, call.location))
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
async fn read_table(reader: &Arc<dyn TableReader>, args: &Args) -> Result<Arc<dyn TableProvider>> {
    let schema = match reader.open(args).await? {
        OpenTable::Columns(schema) => schema,
        OpenTable::Rows(rows) => return Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)),
    };
    let scan = ReaderScan { reader: Arc::clone(reader), args: args.clone(), schema, last: Mutex::default() };
    Ok(Arc::new(StreamingTable::try_new(Arc::clone(&scan.schema), vec![Arc::new(scan)])?))
}

/// The rows that one execution of a plan reads.
type Rows = Arc<OnceCell<RecordBatch>>;

/// A scan of a reader. Each execution of a plan reads the rows once, however often the plan contains the scan.
struct ReaderScan {
    reader: Arc<dyn TableReader>,
    args: Args,
    schema: SchemaRef,
    /// The last execution, and its rows.
    last: Mutex<Option<(Weak<TaskContext>, Rows)>>,
}

impl fmt::Debug for ReaderScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderScan").field("args", &self.args).finish_non_exhaustive()
    }
}

impl ReaderScan {
    /// Returns the rows of an execution, which may not be read yet.
    fn rows_of(&self, context: &Arc<TaskContext>) -> Rows {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, rows)) = &*last
            && known.upgrade().is_some_and(|known| Arc::ptr_eq(&known, context))
        {
            return Arc::clone(rows);
        }
        let rows = Rows::default();
        *last = Some((Arc::downgrade(context), Arc::clone(&rows)));
        rows
    }
}

/// Reads the rows, and checks that the table still has the columns that it was planned with.
async fn read(reader: &dyn TableReader, args: &Args, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = reader.rows(args).await?;
    let columns = |schema: &SchemaRef| {
        schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
    };
    if columns(&rows.schema()) != columns(schema) {
        return Err(Error::new(Kind::Conflict, "the columns of a file changed after the statement was planned"));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), rows.columns().to_vec())?)
}

impl PartitionStream for ReaderScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (reader, args, schema) = (Arc::clone(&self.reader), self.args.clone(), Arc::clone(&self.schema));
        let (rows, size) = (self.rows_of(&context), context.session_config().batch_size());
        let read = async move {
            let rows = rows.get_or_try_init(|| read(reader.as_ref(), &args, &schema)).await?.clone();
            let starts = (0..rows.num_rows()).step_by(size);
            let batches = starts.map(move |at| Ok(rows.slice(at, size.min(rows.num_rows() - at))));
            Ok::<_, Error>(stream::iter(batches))
        };
        let batches = stream::once(read).map_err(DataFusionError::from).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
