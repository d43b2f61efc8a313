//! Comparisons of numbers with what is none. DataFusion 55 takes dates for days since 1970, and where it refuses it does
//! not say what. UNION and functions of several values are not looked at.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, Subquery};
use datafusion::optimizer::AnalyzerRule;

use crate::error::{Error, Place};

/// Refuses them; before DataFusion's own rules, which give both sides one type.
#[derive(Debug)]
pub struct Comparable;

impl AnalyzerRule for Comparable {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            if let LogicalPlan::Join(join) = node {
                let (ours, theirs) = (join.left.schema(), join.right.schema());
                join.on.iter().try_for_each(|(left, right)| check((left, ours.as_ref()), (right, theirs.as_ref())))?;
            }
            node.apply_expressions(|expr| expr.apply(|expr| look(expr, &schema)))
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "comparable"
    }
}

fn look(expr: &Expr, schema: &DFSchema) -> Result<TreeNodeRecursion> {
    let pair = |left, right| check((left, schema), (right, schema));
    match expr {
        Expr::BinaryExpr(compared) if is_comparison(compared.op) => pair(&compared.left, &compared.right)?,
        Expr::Between(between) => {
            pair(&between.expr, &between.low)?;
            pair(&between.expr, &between.high)?;
        }
        Expr::InList(listed) => listed.list.iter().try_for_each(|one| pair(&listed.expr, one))?,
        Expr::InSubquery(found) => check_rows(&found.expr, &found.subquery, schema)?,
        Expr::SetComparison(found) => check_rows(&found.expr, &found.subquery, schema)?,
        Expr::Case(case) => {
            if let Some(compared) = &case.expr {
                case.when_then_expr.iter().try_for_each(|(when, _)| pair(compared, when))?;
            }
        }
        _ => {}
    }
    Ok(TreeNodeRecursion::Continue)
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Whether a value may be compared with those of a subquery.
fn check_rows(expr: &Expr, subquery: &Subquery, schema: &DFSchema) -> Result<()> {
    let rows = subquery.subquery.schema();
    let Some(first) = rows.iter().next() else {
        return Err(Error::invalid("a subquery without columns has no values").into());
    };
    check((expr, schema), (&Expr::Column(Column::from(first)), rows.as_ref()))
}

/// What a side is, of the kinds that may be confused with numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Number,
    Truth,
    Time,
    Length,
    /// Text that is no number.
    Text,
}

/// Whether two sides may be compared, where their types are known.
fn check(left: (&Expr, &dyn ExprSchema), right: (&Expr, &dyn ExprSchema)) -> Result<()> {
    let (Some(left_is), Some(right_is)) = (kind(left), kind(right)) else { return Ok(()) };
    if left_is == right_is || !(left_is == Is::Number || right_is == Is::Number) {
        return Ok(());
    }
    let ((left, _), (right, _)) = (left, right);
    let is_night = |expr: &Expr, is| is == Is::Number && matches!(expr, Expr::Column(c) if c.name == "day_obs");
    let is_hinted = is_night(left, left_is) || is_night(right, right_is);
    let instead = if is_hinted { "; day_obs is written as 20241024" } else { "" };
    let (said, other) = (shown(left, left_is), shown(right, right_is));
    let start = [left, right].into_iter().find_map(|side| side.spans()?.first()).map(|span| span.start);
    let place = start.map(|start| Place { line: start.line, column: start.column });
    Err(Error::invalid(format!("{said} and {other}: they cannot be compared{instead}")).at(place).into())
}

/// A side, and what it is.
fn shown(expr: &Expr, is: Is) -> String {
    let shown = match expr {
        Expr::Literal(..) => expr.human_display().to_string(),
        Expr::Cast(cast) if matches!(*cast.expr, Expr::Literal(..)) => expr.human_display().to_string(),
        other => other.to_string(),
    };
    match is {
        Is::Number => format!("{shown} is a number"),
        Is::Truth => format!("{shown} is true or false"),
        Is::Time => format!("{shown} is a date or time"),
        Is::Length => format!("{shown} is a length of time"),
        Is::Text => format!("'{shown}' is text"),
    }
}

fn kind((expr, schema): (&Expr, &dyn ExprSchema)) -> Option<Is> {
    match expr.get_type(schema).ok()? {
        DataType::Boolean => Some(Is::Truth),
        kind if kind.is_numeric() => Some(Is::Number),
        DataType::Duration(_) | DataType::Interval(_) => Some(Is::Length),
        kind if kind.is_temporal() => Some(Is::Time),
        kind if kind.is_string() => match expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text.trim().parse::<f64>().is_err() => Some(Is::Text),
            _ => None,
        },
        _ => None,
    }
}
