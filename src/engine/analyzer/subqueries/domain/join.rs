//! Joins within a correlated subquery, computed for all rows of the domain.

use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit};

use super::{Dependent, Domain};
use crate::engine::analyzer::subqueries::{fresh, unsupported};

impl Domain<'_> {
    pub(super) fn join(&self, node: &LogicalPlan, join: &Join) -> Result<Dependent> {
        let (reads_left, reads_right) = (self.is_read_by(&join.left)?, self.is_read_by(&join.right)?);
        // A side that keeps rows without a match needs the keys of the domain.
        let (has_left, has_right) = match join.join_type {
            JoinType::Inner => (reads_left || !reads_right, reads_right),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, reads_right),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => (reads_left, true),
            JoinType::Full => (true, true),
            _ if join.null_aware => return Err(unsupported("a correlated subquery with this join is not supported")),
            JoinType::RightMark => return Err(unsupported("a correlated subquery with this join is not supported")),
        };
        let side = |plan: &LogicalPlan, is_dependent: bool| match is_dependent {
            true => self.each(plan),
            false => Ok(Dependent { plan: plan.clone(), keys: Vec::new(), rank: None }),
        };
        let (left, mut right) = (side(&join.left, has_left)?, side(&join.right, has_right)?);
        if join.join_type == JoinType::LeftMark && has_right {
            right = right.of_one_table(&join.right)?;
        }
        let is_right_kept =
            !has_left || matches!(join.join_type, JoinType::Right | JoinType::RightSemi | JoinType::RightAnti);
        let keys = if is_right_kept { right.keys.clone() } else { left.keys.clone() };
        let operator = match join.null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        let pairs = join.on.iter().cloned();
        let mut conditions: Vec<Expr> = pairs.map(|(left, right)| binary_expr(left, operator, right)).collect();
        if let Some(filter) = &join.filter {
            conditions.push(self.bound(filter.clone(), &keys)?);
        }
        if has_left && has_right {
            conditions.extend(self.equal(&left.keys, &right.keys));
        }
        let condition = conjunction(conditions).unwrap_or_else(|| lit(true));
        let joined = LogicalPlanBuilder::from(left.plan).join_on(right.plan, join.join_type, Some(condition))?;
        let joined = joined.build()?;
        let joined = Dependent { plan: joined, keys, rank: None };
        match join.join_type {
            JoinType::Full => {
                let either = left.keys.iter().zip(&right.keys);
                let either = either.map(|(left, right)| {
                    let sides = [left, right].map(|column| Expr::Column(column.clone()));
                    coalesce(sides.to_vec()).alias(fresh("key"))
                });
                let columns = node.schema().columns().into_iter().map(Expr::Column).chain(either).collect::<Vec<_>>();
                let plan = LogicalPlanBuilder::from(joined.plan).project(columns)?.build()?;
                let keys = plan.schema().columns().split_off(node.schema().fields().len());
                Ok(Dependent { plan, keys, rank: None })
            }
            _ => Ok(joined),
        }
    }
}
