//! Analyzer rules that rewrite or refuse logical plans that DataFusion 55 would execute wrongly.

pub(super) mod comparison_types;
mod conditions;
pub(super) mod date_part;
mod dependencies;
mod far_times;
mod limits;
pub(super) mod null_joins;
mod overflow;
pub(super) mod permissions;
mod subqueries;
pub(super) mod sum;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

pub(super) use self::dependencies::without_no_keys;
pub(super) use self::limits::check_depth;

type Rule = Arc<dyn AnalyzerRule + Send + Sync>;

/// The rules that run before DataFusion's rules, and thus before type coercion.
pub(super) fn before_types() -> Vec<Rule> {
    vec![Arc::new(subqueries::Subqueries), Arc::new(far_times::FarTimes)]
}

/// The rules that run after DataFusion's rules.
pub(super) fn after_types() -> Vec<Rule> {
    vec![Arc::new(overflow::CheckedArithmetic), Arc::new(conditions::Conditions), Arc::new(dependencies::Keys)]
}

/// Rewrites the expressions of a plan and its subqueries; columns keep their names.
fn rewrite(
    plan: LogicalPlan,
    expression: &mut dyn FnMut(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        schema.merge(node.schema());
        let names = NamePreserver::new(&node);
        let rewritten = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expression(expr, &schema)?;
            Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
        })?;
        if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
    });
    Ok(rewritten?.data)
}

/// Joins conditions as a balanced tree; `None` if there are none.
fn balanced(mut conditions: Vec<Expr>, join: &dyn Fn(Expr, Expr) -> Expr) -> Option<Expr> {
    while conditions.len() > 1 {
        let mut pairs = conditions.into_iter();
        let mut joined = Vec::new();
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                Some(right) => join(left, right),
                None => left,
            });
        }
        conditions = joined;
    }
    conditions.pop()
}
