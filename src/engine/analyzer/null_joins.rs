//! Joins that treat NULLs as equal. A join of DataFusion 55 treats NULLs as equal for all keys or for none, and its
//! rules add keys and merge joins without regard to this. Therefore joins are optimized with keys that do not match
//! NULLs, and conditions with `IS NOT DISTINCT FROM` become keys after all rules have run.

use datafusion::common::NullEquality;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{can_hash, conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Operator};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// DataFusion's rule that extracts join keys from conditions, restricted to keys that do not match NULLs.
#[derive(Debug, Default)]
pub(crate) struct ExtractKeys(ExtractEquijoinPredicate);

impl OptimizerRule for ExtractKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(Join { filter: Some(_), null_equality: NullEquality::NullEqualsNothing, .. }) = &plan
        else {
            return Ok(Transformed::no(plan));
        };
        let extracted = self.0.rewrite(plan.clone(), config)?;
        match &extracted.data {
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNothing => Ok(extracted),
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// Uses `IS NOT DISTINCT FROM` conditions as keys of joins that have no other keys.
///
/// # Errors
/// A column that neither side of a join has.
pub(crate) fn with_null_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if join.on.is_empty() && join.filter.is_some() => keyed(join),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn keyed(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let mut rest = Vec::new();
    for condition in join.filter.iter().cloned().flat_map(split_conjunction_owned) {
        match keys(&condition, &join)? {
            Some(keys) => join.on.push(keys),
            None => rest.push(condition),
        }
    }
    if join.on.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    join.filter = conjunction(rest);
    join.null_equality = NullEquality::NullEqualsNull;
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

/// The left and the right key of an `IS NOT DISTINCT FROM` condition; `None` for other conditions.
fn keys(condition: &Expr, join: &Join) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right }) = condition else {
        return Ok(None);
    };
    let is_of = |expr: &Expr, side: &LogicalPlan| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| side.schema().has_column(column))
    };
    let (left, right) = if is_of(left, &join.left) && is_of(right, &join.right) {
        (left, right)
    } else if is_of(right, &join.left) && is_of(left, &join.right) {
        (right, left)
    } else {
        return Ok(None);
    };
    let types = (left.get_type(join.left.schema())?, right.get_type(join.right.schema())?);
    let is_hashed = types.0 == types.1 && can_hash(&types.0);
    Ok(is_hashed.then(|| (left.as_ref().clone(), right.as_ref().clone())))
}
