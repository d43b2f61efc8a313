//! Recognizes correlated subqueries that DataFusion 55 executes correctly: only conditions in WHERE read the outer
//! query, and no node above them depends on the number or the order of rows.

use std::collections::BTreeSet;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator, Projection};

use super::domain::outer_references;
use super::subquery;

/// Whether a plan reads columns of any outer query.
pub(super) fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    outer_references(plan, &mut |_| found = true)?;
    Ok(found)
}

/// Whether DataFusion can pull the correlated conditions out of a subquery of EXISTS or IN.
pub(super) fn has_plain_rows(plan: &LogicalPlan, outer: &DFSchema) -> Result<bool> {
    is_plain(plan, &|condition| may_be_taken_out(condition, outer))
}

/// Whether DataFusion can do so for a scalar subquery: an aggregate without GROUP BY, with conditions of equality.
pub(super) fn has_plain_value(plan: &LogicalPlan, outer: &DFSchema) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(Projection { input, expr, .. }) => {
            Ok(!expr.iter().any(reads_elsewhere) && names_are_new(expr, input)? && has_plain_value(input, outer)?)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let is_alone = aggregate.group_expr.is_empty() && !aggregate.aggr_expr.iter().any(reads_elsewhere);
            let equal = |condition: &Expr| may_be_taken_out(condition, outer) && is_equality(condition);
            Ok(is_alone && is_plain(&aggregate.input, &equal)?)
        }
        _ => Ok(false),
    }
}

fn is_plain(plan: &LogicalPlan, is_taken_out: &dyn Fn(&Expr) -> bool) -> Result<bool> {
    if !is_correlated(plan)? {
        return Ok(true);
    }
    match plan {
        LogicalPlan::Projection(Projection { input, expr, .. }) => {
            Ok(expr.iter().all(is_column) && names_are_new(expr, input)? && is_plain(input, is_taken_out)?)
        }
        LogicalPlan::Filter(Filter { input, predicate, .. }) => {
            let mut conditions =
                split_conjunction(predicate).into_iter().filter(|condition| condition.contains_outer());
            // DataFusion resolves pulled-out conditions without table names: column names must be unique.
            let names: BTreeSet<_> = input.schema().fields().iter().map(|field| field.name()).collect();
            let is_clear = names.len() == input.schema().fields().len();
            Ok(is_clear && conditions.all(is_taken_out) && is_plain(input, is_taken_out)?)
        }
        _ => Ok(false),
    }
}

/// Whether no alias is the name of a column below it; pulled-out conditions would read the alias.
fn names_are_new(exprs: &[Expr], input: &LogicalPlan) -> Result<bool> {
    let mut renamed = BTreeSet::new();
    for expr in exprs {
        if let Expr::Alias(alias) = expr {
            let is_same = matches!(alias.expr.as_ref(), Expr::Column(column) if column.name == alias.name);
            if !is_same {
                renamed.insert(alias.name.as_str());
            }
        }
    }
    let is_taken =
        input.exists(|plan| Ok(plan.schema().fields().iter().any(|field| renamed.contains(field.name().as_str()))))?;
    Ok(!is_taken)
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Alias(alias) => is_column(&alias.expr),
        _ => false,
    }
}

/// Whether a condition reads only the subquery and the query that directly contains it.
fn may_be_taken_out(condition: &Expr, outer: &DFSchema) -> bool {
    let is_of_neither = condition.exists(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Ok(!outer.has_column(column)),
        other => Ok(subquery(other).is_some()),
    });
    !is_of_neither.unwrap_or(true)
}

fn is_equality(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    matches!(
        (left.as_ref(), right.as_ref()),
        (Expr::Column(_), Expr::OuterReferenceColumn(..)) | (Expr::OuterReferenceColumn(..), Expr::Column(_))
    )
}

fn reads_elsewhere(expr: &Expr) -> bool {
    expr.contains_outer() || expr.exists(|expr| Ok(subquery(expr).is_some())).unwrap_or(true)
}
