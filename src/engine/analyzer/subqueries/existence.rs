//! Simplifies EXISTS: removes nodes that do not affect whether the subquery has a row.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{Distinct, Expr, FetchType, LogicalPlan, Projection, SkipType, lit};

use super::correlated;

/// Simplifies EXISTS, to a constant if the result is known without execution.
pub(super) fn existence(exists: Exists) -> Result<Expr> {
    let Exists { subquery, negated } = exists;
    let mut plan = &subquery.subquery;
    loop {
        plan = match plan.as_ref() {
            LogicalPlan::Projection(Projection { input, .. }) => input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Sort(sort) if sort.fetch != Some(0) => &sort.input,
            LogicalPlan::Distinct(Distinct::All(input)) => input,
            LogicalPlan::Limit(limit) => match (limit.get_skip_type()?, limit.get_fetch_type()?) {
                (_, FetchType::Literal(Some(0))) => return Ok(lit(negated)),
                (SkipType::Literal(0), FetchType::Literal(_)) => &limit.input,
                (SkipType::Literal(_), FetchType::Literal(_)) if has_single_row(&limit.input) => {
                    return Ok(lit(negated));
                }
                _ => break,
            },
            plan if has_single_row(plan) => return Ok(lit(!negated)),
            _ => break,
        }
    }
    Ok(Expr::Exists(Exists { subquery: correlated(Arc::clone(plan), subquery.spans), negated }))
}

/// Whether a query always has exactly one row.
pub(super) fn has_single_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(Projection { input, .. }) => has_single_row(input),
        LogicalPlan::SubqueryAlias(alias) => has_single_row(&alias.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => has_single_row(&sort.input),
        LogicalPlan::Distinct(Distinct::All(input)) => has_single_row(input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// Whether a query has at most one row.
pub(super) fn has_no_two_rows(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(Projection { input, .. }) => has_no_two_rows(input),
        LogicalPlan::Filter(filter) => has_no_two_rows(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => has_no_two_rows(&alias.input),
        LogicalPlan::Sort(sort) => has_no_two_rows(&sort.input),
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || has_no_two_rows(&limit.input)
        }
        plan => has_single_row(plan),
    }
}
