//! The physical node of a procedure, which runs the operation once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering as Atomic;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use tokio::sync::OnceCell;

use super::ProcedureCall;
use super::context::ProcedureContext;
use super::report::to_batch;
use crate::engine::catalog::registry_table::single_partition;
use crate::error::{Error, Kind};
use crate::progress::{Progress, Silent};
use crate::registry::db::Batches;
use crate::repo::changeset::applier;
use crate::repo::changeset::report::{ReportRow, Status};

/// The result of a procedure, shared by all copies of its node in a plan.
pub(in crate::engine) type ResultCell = Arc<OnceCell<std::result::Result<Vec<ReportRow>, Error>>>;

/// The physical node of a procedure: the first execution runs it, and all others share the result.
#[derive(Debug)]
pub(crate) struct ProcedureExec {
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
    pub(crate) fn insert(call: ProcedureCall, input: Arc<dyn ExecutionPlan>) -> Self {
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
                Err(error) => Err(error.clone().into()),
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(answer))))
    }
}

/// Runs a procedure and returns its report; a dry run collects the changes without applying them.
///
/// # Errors
/// A read-only session or repository, and errors of the operation.
pub(crate) async fn run_procedure(
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
