//! Procedures in plans: one logical node, and one physical node that runs the operation once.
//!
//! `CALL procedure(…)` and `FROM procedure(…)` are planned by `relation`, and the aggregate form by `aggregate`;
//! `INSERT INTO collection."X"` creates the physical node directly.

pub(super) mod aggregate_call;
mod context;
mod exec;
mod node;
mod report;

use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

pub(super) use self::context::ProcedureContext;
pub(in crate::engine) use self::exec::ResultCell;
pub(super) use self::exec::{ProcedureExec, run_procedure};
pub(super) use self::node::{ProcedureNode, new_node, procedure_calls, procedure_plan};
pub(super) use self::report::OutputMode;
use crate::engine::functions::args::Args;
use crate::engine::functions::definition::{FunctionDef, FunctionKind};
use crate::error::Error;
use crate::repo::Operation;
use crate::repo::RepositoryHandle;

/// A call of a procedure in a plan.
#[derive(Debug, Clone)]
pub(super) struct ProcedureCall {
    /// The name of the procedure.
    pub function: &'static str,
    /// The operation, with its arguments.
    pub operation: Arc<dyn Operation>,
    /// The repository that it changes.
    pub handle: Arc<RepositoryHandle>,
    /// The output columns.
    pub mode: OutputMode,
}

/// Evaluates a constant expression.
///
/// # Errors
/// `Kind::Invalid` if the expression is not a constant.
pub(super) fn fold_constant(expr: Expr) -> Result<ScalarValue> {
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
pub(super) fn bind_procedure(
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
