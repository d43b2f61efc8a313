//! Spatial syntax that is not standard SQL: points as pairs, and ADQL comparisons of a predicate with 1 or 0.

use std::ops::ControlFlow;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, FunctionArg, FunctionArgExpr, FunctionArguments, VisitorMut,
};

/// Flattens the points of `polygon((1, 2), (3, 4), …)`, the syntax of Butler expressions, to separate arguments.
pub(crate) struct PairsAsArguments;

impl VisitorMut for PairsAsArguments {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(function) = expr
            && function.name.to_string().eq_ignore_ascii_case("polygon")
            && let FunctionArguments::List(list) = &mut function.args
        {
            let open = |arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Tuple(pair))) if pair.len() == 2 => {
                    pair.into_iter().map(|part| FunctionArg::Unnamed(FunctionArgExpr::Expr(part))).collect()
                }
                other => vec![other],
            };
            list.args = std::mem::take(&mut list.args).into_iter().flat_map(open).collect();
        }
        ControlFlow::Continue(())
    }
}

/// Plans `CONTAINS(…) = 1` and `= 0`, the syntax of ADQL, as the predicate or its negation.
#[derive(Debug)]
pub(crate) struct OneIsTrue;

impl ExprPlanner for OneIsTrue {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_ours = |side: &Expr| matches!(side, Expr::ScalarFunction(f) if matches!(f.name(), "contains" | "overlaps" | "intersects"));
        let number = |side: &Expr| match side {
            Expr::Literal(ScalarValue::Int64(Some(n @ (0 | 1))), _) => Some(*n == 1),
            _ => None,
        };
        let (call, one) = match (number(&expr.left), number(&expr.right)) {
            (None, Some(one)) if is_ours(&expr.left) => (&expr.left, one),
            (Some(one), None) if is_ours(&expr.right) => (&expr.right, one),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(match (&expr.op, one) {
            (BinaryOperator::Eq, true) | (BinaryOperator::NotEq, false) => PlannerResult::Planned(call.clone()),
            (BinaryOperator::Eq, false) | (BinaryOperator::NotEq, true) => PlannerResult::Planned(!call.clone()),
            _ => PlannerResult::Original(expr),
        })
    }
}
