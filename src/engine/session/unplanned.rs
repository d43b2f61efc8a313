//! Why a statement has no plan, in the words of those who ask.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use crate::engine::functions;
use crate::error::{Error, Kind, NO_SUBQUERY};

/// Why a plan cannot be carried out. Where it is sound and DataFusion's rules for subqueries cannot take it apart, what
/// they say is of columns that nobody wrote.
pub fn unplanned(error: DataFusionError, plan: LogicalPlan, context: &SessionContext) -> Error {
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

/// Whether expressions of a plan have subqueries.
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

/// The error for a function that stands where a value should.
pub fn unknown_function(name: &str, state: &SessionState) -> Error {
    if functions::find(name).is_some() {
        return Error::invalid(format!("{name} yields rows, not a value: CALL {name}(…), or SELECT … FROM {name}(…)"));
    }
    let names = state.scalar_functions().keys().chain(state.aggregate_functions().keys());
    if state.window_functions().contains_key(name) {
        return Error::invalid(format!("{name} counts over rows in an order: {name}(…) OVER (ORDER BY …)"));
    }
    Error::not_found("function", name, names.chain(state.window_functions().keys()).map(String::as_str))
}
