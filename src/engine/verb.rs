//! Verbs in plans: one logical node, one physical node that runs once, and the three faces that make it.
//!
//! `CALL verb(…)` and `FROM verb(…)` come through the planner of `relation`; the aggregate face is
//! rewritten by `aggregate`; `INSERT INTO collection."X"` makes the physical node itself.

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

use super::arguments::{Does, Function, Given};
use super::scan::single_partition;
use crate::error::{Error, Kind};
use crate::progress::{Progress, Silent};
use crate::registry::conn::Batches;
use crate::repo::change::{Line, Outcome};
use crate::repo::hand::Hand;
use crate::repo::{Access, Verb};

/// What the rows of an answer look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// A report: thing, outcome, detail, count.
    Report,
    /// One number: how many things changed (`count` of an INSERT, or the value of the aggregate).
    Count,
}

/// What a session's configuration carries to its plans: whom to tell of progress, and the deeds that run.
pub struct Link {
    /// Is told how far deeds have come.
    pub progress: Arc<dyn Progress>,
    running: Mutex<Vec<AbortHandle>>,
    /// How often the deeds that ran were stopped.
    stops: AtomicU64,
    failures: AtomicU64,
}

impl Link {
    /// A link that tells this display.
    pub fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, running: Mutex::default(), stops: AtomicU64::new(0), failures: AtomicU64::new(0) }
    }

    /// Stops the deeds that run or are about to; what they have applied stays, the open chunk is rolled back.
    pub fn cancel(&self) {
        self.stops.fetch_add(1, Atomic::SeqCst);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
    }

    /// How many things deeds could not do since this was last asked.
    pub fn take_failures(&self) -> u64 {
        self.failures.swap(0, Atomic::Relaxed)
    }

    /// A deed runs, whose statement began after so many stops.
    fn started(&self, task: AbortHandle, stops: u64) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|task| !task.is_finished());
        if self.stops.load(Atomic::SeqCst) != stops {
            task.abort();
        }
        running.push(task);
    }
}

/// A deed as it stands in a plan.
#[derive(Debug, Clone)]
pub struct Deed {
    /// The function.
    pub function: &'static str,
    /// What it was asked to do.
    pub verb: Arc<dyn Verb>,
    /// Where.
    pub access: Arc<Access>,
    /// What its answer looks like.
    pub face: Face,
}

/// The logical node of a deed. Two nodes are equal only if they are copies of one.
#[derive(Debug, Clone)]
pub struct DeedNode {
    pub(super) id: u64,
    pub(super) deed: Deed,
    input: Option<LogicalPlan>,
    pub(super) schema: DFSchemaRef,
}

/// The columns of a report.
pub fn report_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("thing", DataType::Utf8, false),
        Field::new("outcome", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, true),
        Field::new("count", DataType::Int64, false),
    ]))
}

/// A report as rows.
pub fn report(lines: &[Line]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(
        report_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(lines.iter().map(|l| l.thing.as_str()))),
            Arc::new(StringArray::from_iter_values(lines.iter().map(|l| l.outcome.word()))),
            Arc::new(lines.iter().map(|l| Some(l.detail.as_str()).filter(|d| !d.is_empty())).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(lines.iter().map(|l| i64::try_from(l.count).unwrap_or(i64::MAX)))),
        ],
    )?)
}

/// The node of a deed that answers with a report.
pub fn plan(deed: Deed, input: Option<LogicalPlan>) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from_qualified_schema(deed.function, &report_schema())?);
    Ok(node(deed, input, schema))
}

pub fn node(deed: Deed, input: Option<LogicalPlan>, schema: DFSchemaRef) -> LogicalPlan {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Atomic::Relaxed);
    LogicalPlan::Extension(Extension { node: Arc::new(DeedNode { id, deed, input, schema }) })
}

/// The deeds in a plan, subqueries included, each once, with their inputs.
pub fn deeds(plan: &LogicalPlan) -> Result<Vec<(Deed, Option<LogicalPlan>)>> {
    let mut found: Vec<(u64, Deed, Option<LogicalPlan>)> = Vec::new();
    plan.apply_with_subqueries(|part| {
        if let LogicalPlan::Extension(Extension { node }) = part
            && let Some(node) = (node.as_ref() as &dyn UserDefinedLogicalNode).as_any().downcast_ref::<DeedNode>()
            && !found.iter().any(|(id, ..)| *id == node.id)
        {
            found.push((node.id, node.deed.clone(), node.input.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found.into_iter().map(|(_, deed, input)| (deed, input)).collect())
}

impl PartialEq for DeedNode {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.input == other.input
    }
}
impl Eq for DeedNode {}
impl Hash for DeedNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}
impl PartialOrd for DeedNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.id.partial_cmp(&other.id)
    }
}

impl UserDefinedLogicalNodeCore for DeedNode {
    fn name(&self) -> &str {
        "Deed"
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
        write!(f, "Deed: {}", self.deed.function)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { input: inputs.into_iter().next(), ..self.clone() })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // A verb reads all columns of its rows, whatever is wanted of its report.
        Some(self.input.iter().map(|input| (0..input.schema().fields().len()).collect()).collect())
    }
}

/// What a deed has done, for every copy of it in a plan.
pub(super) type Cell = Arc<OnceCell<std::result::Result<Vec<Line>, Error>>>;

/// The physical node of a deed: runs it when first asked, whoever asks.
#[derive(Debug)]
pub struct DeedExec {
    deed: Deed,
    input: Option<Arc<dyn ExecutionPlan>>,
    cell: Cell,
    properties: Arc<PlanProperties>,
}

impl DeedExec {
    pub(super) fn new(deed: Deed, input: Option<Arc<dyn ExecutionPlan>>, schema: SchemaRef, cell: Cell) -> Self {
        Self { deed, input, cell, properties: single_partition(schema) }
    }

    /// The plan of an INSERT: answers with the count DataFusion expects.
    pub fn insert(deed: Deed, input: Arc<dyn ExecutionPlan>) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]));
        Self::new(deed, Some(input), schema, Cell::default())
    }
}

impl DisplayAs for DeedExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deed: {}", self.deed.function)
    }
}

impl ExecutionPlan for DeedExec {
    fn name(&self) -> &str {
        "Deed"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition; self.children().len()]
    }

    /// The order of the rows means something: the children of a chain, say.
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
            deed: self.deed.clone(),
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
        let (deed, cell, schema) = (self.deed.clone(), Arc::clone(&self.cell), self.schema());
        let out = Arc::clone(&schema);
        let link = context.session_config().get_extension::<Link>();
        let stops = link.as_ref().map_or(0, |link| link.stops.load(Atomic::SeqCst));
        let answer = async move {
            let face = deed.face;
            let run = || async {
                if link.as_ref().is_some_and(|link| link.stops.load(Atomic::SeqCst) != stops) {
                    return Err(Error::new(Kind::Interrupted, "interrupted"));
                }
                let progress =
                    link.as_ref().map_or_else(|| Arc::new(Silent) as Arc<dyn Progress>, |l| Arc::clone(&l.progress));
                // A task of its own: LIMIT or a dropped stream must not stop it half-way.
                let task = tokio::spawn(async move { perform(&deed, rows, false, progress).await });
                if let Some(link) = &link {
                    link.started(task.abort_handle(), stops);
                }
                match task.await {
                    Ok(done) => {
                        if let (Some(link), Ok(lines)) = (&link, &done) {
                            let failed = lines.iter().filter(|l| l.outcome == Outcome::Failed).map(|l| l.count).sum();
                            link.failures.fetch_add(failed, Atomic::Relaxed);
                        }
                        done
                    }
                    Err(e) if e.is_cancelled() => Err(Error::new(Kind::Interrupted, "interrupted")),
                    Err(e) => std::panic::resume_unwind(e.into_panic()),
                }
            };
            match cell.get_or_init(run).await {
                Ok(lines) => shape(face, lines, out),
                Err(error) => Err(error.clone_without_source().into()),
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(answer))))
    }
}

/// Does a deed, or in a dry run only finds out what it would do.
pub async fn perform(
    deed: &Deed,
    rows: Option<SendableRecordBatchStream>,
    dry: bool,
    progress: Arc<dyn Progress>,
) -> std::result::Result<Vec<Line>, Error> {
    if !dry {
        deed.access.check_writes()?;
        // A repository that is to be made is not there yet.
        if let Ok(repo) = deed.access.repo().await {
            repo.registry.check_writable()?;
        }
    }
    let rows = rows.map(|rows| -> Batches { rows.map(|b| b.map_err(Error::from)).boxed() });
    let mut hand = Hand::new(&deed.access, dry, progress);
    crate::repo::run(deed.verb.as_ref(), &deed.access, rows, &mut hand).await?;
    Ok(hand.report())
}

fn shape(face: Face, lines: &[Line], schema: SchemaRef) -> Result<RecordBatch> {
    if face == Face::Report {
        let batch = report(lines)?;
        return Ok(RecordBatch::try_new(schema, batch.columns().to_vec())?);
    }
    let changed = |l: &&Line| matches!(l.outcome, Outcome::Inserted | Outcome::Updated | Outcome::Removed);
    let count: u64 = lines.iter().filter(changed).map(|l| l.count).sum();
    let column: Arc<dyn datafusion::arrow::array::Array> = match schema.field(0).data_type() {
        DataType::UInt64 => Arc::new(UInt64Array::from(vec![count])),
        _ => Arc::new(Int64Array::from(vec![i64::try_from(count).unwrap_or(i64::MAX)])),
    };
    Ok(RecordBatch::try_new(schema, vec![column])?)
}

/// The constant an argument stands for.
pub fn constant(expr: Expr) -> Result<ScalarValue> {
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

/// The deed of a function that changes the repository.
pub fn deed(function: &'static Function, given: &Given, access: &Arc<Access>, face: Face) -> Result<Deed> {
    match function.does {
        Does::Verb(make) => Ok(Deed { function: function.name, verb: make(given)?, access: Arc::clone(access), face }),
        _ => Err(Error::bug(format!("{} changes nothing", function.name)).into()),
    }
}
