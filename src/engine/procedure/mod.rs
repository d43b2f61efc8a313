//! Procedures in plans: one logical node, and one physical node that runs the operation once.
//!
//! `CALL procedure(…)` and `FROM procedure(…)` are planned by `relation`, and the aggregate form by `aggregate`;
//! `INSERT INTO collection."X"` creates the physical node directly.

pub mod aggregate_call;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{Distribution, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use crate::engine::catalog::registry_table::single_partition;
use crate::engine::functions::definition::{Args, FunctionDef, FunctionKind};
use crate::error::{Error, Kind};
use crate::progress::{Progress, Silent};
use crate::registry::db::conn::Batches;
use crate::repo::Operation;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::applier;
use crate::repo::changeset::report::{ReportRow, Status};

/// The output columns of a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputMode {
    /// The report, one row for each kind, status and name; see [`report_schema`].
    Report,
    /// The number of changed items, as the `count` of an INSERT or the value of the aggregate.
    Count,
}

/// The state that a session shares with its plans: the progress display, and the procedures that run.
pub struct ProcedureContext {
    /// Receives the progress of procedures.
    pub progress: Arc<dyn Progress>,
    running: Mutex<Vec<AbortHandle>>,
    /// The number of calls of [`Self::cancel`].
    cancel_generation: AtomicU64,
    failures: AtomicU64,
}

impl ProcedureContext {
    /// A context that reports progress to `progress`.
    pub fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, running: Mutex::default(), cancel_generation: AtomicU64::new(0), failures: AtomicU64::new(0) }
    }

    /// Cancels all running and pending procedures. Committed changes stay; the open transaction is rolled back.
    pub fn cancel(&self) {
        self.cancel_generation.fetch_add(1, Atomic::SeqCst);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
    }

    /// Returns the number of items that failed since the last call, and resets it.
    pub fn take_failures(&self) -> u64 {
        self.failures.swap(0, Atomic::Relaxed)
    }

    /// Registers a running task; aborts it if [`Self::cancel`] was called after its statement started.
    fn started(&self, task: AbortHandle, cancel_generation: u64) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|task| !task.is_finished());
        if self.cancel_generation.load(Atomic::SeqCst) != cancel_generation {
            task.abort();
        }
        running.push(task);
    }
}

/// A call of a procedure in a plan.
#[derive(Debug, Clone)]
pub struct ProcedureCall {
    /// The name of the procedure.
    pub function: &'static str,
    /// The operation, with its arguments.
    pub operation: Arc<dyn Operation>,
    /// The repository that it changes.
    pub handle: Arc<RepositoryHandle>,
    /// The output columns.
    pub mode: OutputMode,
}

/// The logical node of a procedure. Two nodes are equal only if they are copies of the same call.
#[derive(Debug, Clone)]
pub struct ProcedureNode {
    pub(in crate::engine) id: u64,
    pub(in crate::engine) call: ProcedureCall,
    input: Option<LogicalPlan>,
    pub(in crate::engine) schema: DFSchemaRef,
}

/// The columns of a report.
pub fn report_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("kind", DataType::Utf8, false),
        Field::new("status", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("count", DataType::Int64, false),
    ]))
}

/// Converts a report to a record batch.
pub fn report(lines: &[ReportRow]) -> Result<RecordBatch> {
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

/// Creates the logical node of a procedure that returns its report.
pub fn procedure_plan(call: ProcedureCall, input: Option<LogicalPlan>) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from_qualified_schema(call.function, &report_schema())?);
    Ok(new_node(call, input, schema))
}

/// Creates a logical node with a unique identifier.
pub fn new_node(call: ProcedureCall, input: Option<LogicalPlan>, schema: DFSchemaRef) -> LogicalPlan {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Atomic::Relaxed);
    LogicalPlan::Extension(Extension { node: Arc::new(ProcedureNode { id, call, input, schema }) })
}

/// The procedure calls of a plan and its subqueries, each once, with their inputs.
pub fn procedure_calls(plan: &LogicalPlan) -> Result<Vec<(ProcedureCall, Option<LogicalPlan>)>> {
    let mut found: Vec<(u64, ProcedureCall, Option<LogicalPlan>)> = Vec::new();
    plan.apply_with_subqueries(|part| {
        if let LogicalPlan::Extension(Extension { node }) = part
            && let Some(node) = (node.as_ref() as &dyn UserDefinedLogicalNode).as_any().downcast_ref::<ProcedureNode>()
            && !found.iter().any(|(id, ..)| *id == node.id)
        {
            found.push((node.id, node.call.clone(), node.input.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found.into_iter().map(|(_, call, input)| (call, input)).collect())
}

impl PartialEq for ProcedureNode {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.input == other.input
    }
}
impl Eq for ProcedureNode {}
impl Hash for ProcedureNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}
impl PartialOrd for ProcedureNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.id.partial_cmp(&other.id)
    }
}

impl UserDefinedLogicalNodeCore for ProcedureNode {
    fn name(&self) -> &str {
        "Procedure"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.input.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Procedure: {}", self.call.function)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { input: inputs.into_iter().next(), ..self.clone() })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // A procedure reads all columns of its input, even if the query selects none of its report.
        Some(self.input.iter().map(|input| (0..input.schema().fields().len()).collect()).collect())
    }
}

/// The result of a procedure, shared by all copies of its node in a plan.
pub(in crate::engine) type ResultCell = Arc<OnceCell<std::result::Result<Vec<ReportRow>, Error>>>;

/// The physical node of a procedure: the first execution runs it, and all others share the result.
#[derive(Debug)]
pub struct ProcedureExec {
    call: ProcedureCall,
    input: Option<Arc<dyn ExecutionPlan>>,
    cell: ResultCell,
    properties: Arc<PlanProperties>,
}

impl ProcedureExec {
    pub(in crate::engine) fn new(
        call: ProcedureCall,
        input: Option<Arc<dyn ExecutionPlan>>,
        schema: SchemaRef,
        cell: ResultCell,
    ) -> Self {
        Self { call, input, cell, properties: single_partition(schema) }
    }

    /// The plan of an INSERT, which returns one `count` row as DataFusion expects.
    pub fn insert(call: ProcedureCall, input: Arc<dyn ExecutionPlan>) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]));
        Self::new(call, Some(input), schema, ResultCell::default())
    }
}

impl DisplayAs for ProcedureExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Procedure: {}", self.call.function)
    }
}

impl ExecutionPlan for ProcedureExec {
    fn name(&self) -> &str {
        "Procedure"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition; self.children().len()]
    }

    /// The order of the input rows is significant, for example for the children of a chain.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true; self.children().len()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.input.iter().collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            call: self.call.clone(),
            input: children.into_iter().next(),
            cell: Arc::clone(&self.cell),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.as_ref().map(|input| input.execute(0, Arc::clone(&context))).transpose()?;
        let (call, cell, schema) = (self.call.clone(), Arc::clone(&self.cell), self.schema());
        let out = Arc::clone(&schema);
        let procedures = context.session_config().get_extension::<ProcedureContext>();
        let cancel_generation =
            procedures.as_ref().map_or(0, |procedures| procedures.cancel_generation.load(Atomic::SeqCst));
        let answer = async move {
            let mode = call.mode;
            let run = || async {
                if procedures
                    .as_ref()
                    .is_some_and(|procedures| procedures.cancel_generation.load(Atomic::SeqCst) != cancel_generation)
                {
                    return Err(Error::new(Kind::Interrupted, "interrupted"));
                }
                let progress = procedures
                    .as_ref()
                    .map_or_else(|| Arc::new(Silent) as Arc<dyn Progress>, |l| Arc::clone(&l.progress));
                // A separate task: a LIMIT or a dropped stream must not stop the procedure before its end.
                let task = tokio::spawn(async move { run_procedure(&call, rows, false, progress).await });
                if let Some(procedures) = &procedures {
                    procedures.started(task.abort_handle(), cancel_generation);
                }
                match task.await {
                    Ok(done) => {
                        if let (Some(procedures), Ok(lines)) = (&procedures, &done) {
                            let failed = lines.iter().filter(|l| l.status == Status::Failed).map(|l| l.count).sum();
                            procedures.failures.fetch_add(failed, Atomic::Relaxed);
                        }
                        done
                    }
                    Err(e) if e.is_cancelled() => Err(Error::new(Kind::Interrupted, "interrupted")),
                    Err(e) => std::panic::resume_unwind(e.into_panic()),
                }
            };
            match cell.get_or_init(run).await {
                Ok(lines) => to_batch(mode, lines, out),
                Err(error) => Err(error.clone_without_source().into()),
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(answer))))
    }
}

/// Runs a procedure and returns its report; a dry run collects the changes without applying them.
///
/// # Errors
/// A read-only session or repository, and errors of the operation.
pub async fn run_procedure(
    call: &ProcedureCall,
    rows: Option<SendableRecordBatchStream>,
    dry: bool,
    progress: Arc<dyn Progress>,
) -> std::result::Result<Vec<ReportRow>, Error> {
    if !dry {
        call.handle.check_writable()?;
        // `create_repository` runs before the repository exists.
        if let Ok(repo) = call.handle.repo().await {
            repo.registry.check_writable()?;
        }
    }
    let rows = rows.map(|rows| -> Batches { rows.map(|b| b.map_err(Error::from)).boxed() });
    applier::run(call.operation.as_ref(), &call.handle, rows, dry, progress).await
}

fn to_batch(mode: OutputMode, lines: &[ReportRow], schema: SchemaRef) -> Result<RecordBatch> {
    if mode == OutputMode::Report {
        let batch = report(lines)?;
        return Ok(RecordBatch::try_new(schema, batch.columns().to_vec())?);
    }
    let changed = |l: &&ReportRow| matches!(l.status, Status::Inserted | Status::Updated | Status::Removed);
    let count: u64 = lines.iter().filter(changed).map(|l| l.count).sum();
    let column: Arc<dyn datafusion::arrow::array::Array> = match schema.field(0).data_type() {
        DataType::UInt64 => Arc::new(UInt64Array::from(vec![count])),
        _ => Arc::new(Int64Array::from(vec![i64::try_from(count).unwrap_or(i64::MAX)])),
    };
    Ok(RecordBatch::try_new(schema, vec![column])?)
}

/// Evaluates a constant expression.
///
/// # Errors
/// `Kind::Invalid` if the expression is not a constant.
pub fn fold_constant(expr: Expr) -> Result<ScalarValue> {
    let shown = expr.to_string();
    let simplifier = ExprSimplifier::new(SimplifyContext::default());
    let empty = DFSchema::empty();
    let folded = simplifier.simplify(simplifier.coerce(expr, &empty)?)?;
    let mut inner = &folded;
    while let Expr::Alias(alias) = inner {
        inner = &alias.expr;
    }
    match inner {
        Expr::Literal(value, _) => Ok(value.clone()),
        _ => Err(Error::invalid(format!("an argument must be a constant, not {shown}")).into()),
    }
}

/// Binds the arguments of a procedure to an operation.
pub fn bind_procedure(
    function: &'static FunctionDef,
    args: &Args,
    handle: &Arc<RepositoryHandle>,
    mode: OutputMode,
) -> Result<ProcedureCall> {
    match function.kind {
        FunctionKind::Operation(make) => {
            Ok(ProcedureCall { function: function.name, operation: make(args)?, handle: Arc::clone(handle), mode })
        }
        _ => Err(Error::bug(format!("{} is not a procedure", function.name)).into()),
    }
}
