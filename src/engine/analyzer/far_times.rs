//! Comparisons with times outside the years 1677 to 2262, such as 9999-12-31 for "no end". A column of nanoseconds
//! cannot store them, so they are later or earlier than all its values.

use datafusion::arrow::compute::kernels::cast_utils::{string_to_datetime, string_to_timestamp_nanos};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;

use super::rewrite;

/// Rewrites comparisons with such times.
#[derive(Debug)]
pub(super) struct FarTimes;

impl AnalyzerRule for FarTimes {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &mut |expr, schema| expr.transform_up(|expr| Ok(compared(expr, schema))))
    }

    fn name(&self) -> &str {
        "far_times"
    }
}

/// The side on which a constant is outside the range of nanosecond timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Far {
    Past,
    Future,
}

fn compared(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let found = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compare(left, *op, right, schema),
        Expr::Between(Between { expr: time, negated, low, high }) if far(low).or(far(high)).is_some() => {
            let side = |bound: &Expr, op| {
                let plain = || Expr::BinaryExpr(BinaryExpr::new(time.clone(), op, Box::new(bound.clone())));
                compare(time, op, bound, schema).unwrap_or_else(plain)
            };
            let inside = side(low, Operator::GtEq).and(side(high, Operator::LtEq));
            is_nanoseconds(time, schema).then(|| if *negated { Expr::Not(Box::new(inside)) } else { inside })
        }
        Expr::InList(InList { expr: time, list, negated }) if list.iter().any(|item| far(item).is_some()) => {
            let near: Vec<Expr> = list.iter().filter(|item| far(item).is_none()).cloned().collect();
            is_nanoseconds(time, schema).then(|| match near.is_empty() {
                true => known(time, *negated),
                false => time.as_ref().clone().in_list(near, *negated),
            })
        }
        _ => None,
    };
    match found {
        Some(found) => Transformed::yes(found),
        None => Transformed::no(expr),
    }
}

/// Rewrites a comparison of a nanosecond column with a time outside its range; `None` for other comparisons.
fn compare(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let (time, op, far) = match (far(left), far(right)) {
        (None, Some(far)) => (left, op, far),
        (Some(far), None) => (right, op.swap()?, far),
        _ => return None,
    };
    if !is_nanoseconds(time, schema) {
        return None;
    }
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    match op {
        Lt | LtEq => Some(known(time, far == Far::Future)),
        Gt | GtEq => Some(known(time, far == Far::Past)),
        NotEq => Some(known(time, true)),
        Eq => Some(known(time, false)),
        IsDistinctFrom => Some(lit(true)),
        IsNotDistinctFrom => Some(lit(false)),
        _ => None,
    }
}

/// A condition that is `holds` for all times, and NULL for NULL.
fn known(time: &Expr, holds: bool) -> Expr {
    let (one, other) = (time.clone(), time.clone());
    if holds { one.eq(other) } else { one.not_eq(other) }
}

fn is_nanoseconds(time: &Expr, schema: &DFSchema) -> bool {
    matches!(time.get_type(schema), Ok(DataType::Timestamp(TimeUnit::Nanosecond, _)))
}

/// The side on which a constant is out of range; `None` for other expressions.
fn far(expr: &Expr) -> Option<Far> {
    let seconds = match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => seconds(text)?,
        Expr::Literal(ScalarValue::Date32(Some(days)), _) => i64::from(*days) * 86_400,
        Expr::Literal(ScalarValue::Date64(Some(millis)) | ScalarValue::TimestampMillisecond(Some(millis), _), _) => {
            millis / 1000
        }
        Expr::Literal(ScalarValue::TimestampSecond(Some(seconds), _), _) => *seconds,
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), _), _) => micros / 1_000_000,
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Date32 | DataType::Timestamp(..)) => {
            return far(&cast.expr);
        }
        _ => return None,
    };
    let limit = i64::MAX / 1_000_000_000;
    match seconds {
        later if later > limit => Some(Far::Future),
        earlier if earlier < -limit => Some(Far::Past),
        _ => None,
    }
}

/// The seconds since 1970 of a string with a time that is out of range for nanoseconds.
fn seconds(text: &str) -> Option<i64> {
    if string_to_timestamp_nanos(text).is_ok() {
        return None;
    }
    string_to_datetime(&chrono::Utc, text).ok().map(|time| time.timestamp())
}
