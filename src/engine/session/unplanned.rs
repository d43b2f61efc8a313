//! Error messages for statements that DataFusion cannot plan.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use crate::engine::functions;
use crate::error::{Error, Kind, NO_SUBQUERY};

/// Converts an error of the optimizer or the physical planner. If the plan passes the analyzer and has a subquery, the
/// subquery is not supported: the original message would name internal columns.
pub(super) fn unplanned(error: DataFusionError, plan: LogicalPlan, context: &SessionContext) -> Error {
    let is_of_planning = matches!(
        error.find_root(),
        DataFusionError::SchemaError(..) | DataFusionError::Plan(_) | DataFusionError::Internal(_)
    );
    if !is_of_planning || !has_subquery(&plan) {
        return error.into();
    }
    let state = context.state();
    match state.analyzer().execute_and_check(plan, &state.config_options().clone(), |_, _| {}) {
        Ok(_) => Error::new(Kind::Unsupported, NO_SUBQUERY).with_source(error),
        Err(_) => error.into(),
    }
}

/// Whether an expression of a plan has a subquery.
fn has_subquery(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let looked = plan.apply_with_subqueries(|node| {
        node.apply_subqueries(|_| {
            found = true;
            Ok(TreeNodeRecursion::Stop)
        })
    });
    found && looked.is_ok()
}

/// The error for an unknown scalar function: a table function, a window function, or a typing error.
pub(super) fn unknown_function(name: &str, state: &SessionState) -> Error {
    if functions::find(name).is_some() {
        return Error::invalid(format!(
            "{name} yields rows, not a value: use CALL {name}(…) or SELECT … FROM {name}(…)"
        ));
    }
    let names = state.scalar_functions().keys().chain(state.aggregate_functions().keys());
    if state.window_functions().contains_key(name) {
        return Error::invalid(format!("{name} is a window function: use {name}(…) OVER (ORDER BY …)"));
    }
    Error::not_found("function", name, names.chain(state.window_functions().keys()).map(String::as_str))
}
