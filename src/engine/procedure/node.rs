//! The logical node of a procedure.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};

use super::ProcedureCall;
use super::report::report_schema;

/// The logical node of a procedure. Two nodes are equal only if they are copies of the same call.
#[derive(Debug, Clone)]
pub(crate) struct ProcedureNode {
    pub(in crate::engine) id: u64,
    pub(in crate::engine) call: ProcedureCall,
    input: Option<LogicalPlan>,
    pub(in crate::engine) schema: DFSchemaRef,
}

/// Creates the logical node of a procedure that returns its report.
pub(crate) fn procedure_plan(call: ProcedureCall, input: Option<LogicalPlan>) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from_qualified_schema(call.function, &report_schema())?);
    Ok(new_node(call, input, schema))
}

/// Creates a logical node with a unique identifier.
pub(crate) fn new_node(call: ProcedureCall, input: Option<LogicalPlan>, schema: DFSchemaRef) -> LogicalPlan {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Atomic::Relaxed);
    LogicalPlan::Extension(Extension { node: Arc::new(ProcedureNode { id, call, input, schema }) })
}

/// The procedure calls of a plan and its subqueries, each once, with their inputs.
pub(crate) fn procedure_calls(plan: &LogicalPlan) -> Result<Vec<(ProcedureCall, Option<LogicalPlan>)>> {
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

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
