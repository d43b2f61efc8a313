//! EXISTS, where whether there is a row is known, or only an aggregate's HAVING decides.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, LogicalPlan, Projection, SkipType, Subquery, lit,
};

use super::{fresh, is_correlated, refused};

/// An aggregate of all rows, with what HAVING asks of it.
pub struct Ungrouped<'a> {
    pub aggregate: &'a LogicalPlan,
    pub having: Option<&'a Expr>,
}

/// The aggregate without GROUP BY that a query is of, if nothing else changes how many rows there are.
pub fn ungrouped(plan: &LogicalPlan) -> Option<Ungrouped<'_>> {
    match plan {
        LogicalPlan::Projection(Projection { input, .. }) => ungrouped(input),
        LogicalPlan::SubqueryAlias(alias) => ungrouped(&alias.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => ungrouped(&sort.input),
        LogicalPlan::Distinct(Distinct::All(input)) => ungrouped(input),
        LogicalPlan::Limit(limit) => match (limit.get_skip_type(), limit.get_fetch_type()) {
            (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(Some(1..)))) => ungrouped(&limit.input),
            _ => None,
        },
        LogicalPlan::Filter(filter) => match filter.input.as_ref() {
            aggregate @ LogicalPlan::Aggregate(Aggregate { group_expr, .. }) if group_expr.is_empty() => {
                Some(Ungrouped { aggregate, having: Some(&filter.predicate) })
            }
            _ => None,
        },
        aggregate @ LogicalPlan::Aggregate(Aggregate { group_expr, .. }) if group_expr.is_empty() => {
            Some(Ungrouped { aggregate, having: None })
        }
        _ => None,
    }
}

/// EXISTS, decided where it can be.
pub fn existence(exists: Exists) -> Result<Expr> {
    let Exists { subquery, negated } = exists;
    let found = match known_existence(&subquery.subquery)? {
        Some(there) => return Ok(lit(there != negated)),
        None => ungrouped(&subquery.subquery),
    };
    match found {
        Some(Ungrouped { having: Some(having), aggregate }) if !subquery.outer_ref_columns.is_empty() => {
            let holds = having.clone().alias(fresh("having"));
            let holds = LogicalPlan::Projection(Projection::try_new(vec![holds], Arc::new(aggregate.clone()))?);
            let holds = Expr::ScalarSubquery(Subquery { subquery: Arc::new(holds), ..subquery }).is_true();
            Ok(if negated { Expr::Not(Box::new(holds)) } else { holds })
        }
        _ => Ok(Expr::Exists(Exists { subquery, negated })),
    }
}

/// Whether a query has a row, where that is known without asking.
fn known_existence(plan: &LogicalPlan) -> Result<Option<bool>> {
    match plan {
        LogicalPlan::Projection(Projection { input, .. }) => known_existence(input),
        LogicalPlan::SubqueryAlias(alias) => known_existence(&alias.input),
        LogicalPlan::Sort(sort) => known_existence(&sort.input),
        LogicalPlan::Distinct(Distinct::All(input)) => known_existence(input),
        LogicalPlan::Limit(limit) => match (limit.get_skip_type()?, limit.get_fetch_type()?) {
            (_, FetchType::Literal(Some(0))) => Ok(Some(false)),
            (SkipType::Literal(0), FetchType::Literal(_)) => known_existence(&limit.input),
            // Of a single row none is left.
            (SkipType::Literal(_), FetchType::Literal(_)) if known_existence(&limit.input)?.is_some() => {
                Ok(Some(false))
            }
            _ if is_correlated(&limit.input)? => Err(refused("OFFSET in a correlated EXISTS is not supported")),
            _ => Ok(None),
        },
        plan => Ok(ungrouped(plan).filter(|found| found.having.is_none()).map(|_| true)),
    }
}
