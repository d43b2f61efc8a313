//! Rewrites conditions that DataFusion 55 evaluates wrongly or plans slowly: IN lists with computed items, and CASE
//! with many branches.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;

use super::{balanced, rewrite};

/// A CASE with more branches is rewritten; DataFusion's planning time is quadratic in their number.
const MANY: usize = 8;
/// A CASE is rewritten if its results change between true and false at most this often.
const TURNS: usize = 8;

/// Rewrites IN lists with computed items to comparisons, and CASE with many branches to AND and OR.
#[derive(Debug)]
pub(super) struct Conditions;

impl AnalyzerRule for Conditions {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &mut |expr, schema| expr.transform_up(|expr| simplified(expr, schema)))
    }

    fn name(&self) -> &str {
        "conditions"
    }
}

fn simplified(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let found = match &expr {
        Expr::InList(listed) => compared(listed),
        Expr::Case(case) if case.when_then_expr.len() > MANY => {
            branches(case, schema)?.or_else(|| in_order(case, schema))
        }
        Expr::Case(case) => in_order(case, schema),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Eq | Operator::NotEq), right }) => {
            match (left.as_ref(), right.as_ref()) {
                (Expr::Case(case), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Case(case))
                    if case.when_then_expr.len() > MANY =>
                {
                    match equal(case, value, *op == Operator::Eq) {
                        Some(case) => branches(&case, schema)?.or(Some(Expr::Case(case))),
                        None => None,
                    }
                }
                _ => None,
            }
        }
        _ => None,
    };
    Ok(match found {
        Some(found) => Transformed::yes(found),
        None => Transformed::no(expr),
    })
}

/// Rewrites an IN list with computed items to comparisons; DataFusion may evaluate such a list once, without rows.
fn compared(listed: &InList) -> Option<Expr> {
    if listed.list.iter().all(is_constant) || listed.expr.is_volatile() {
        return None;
    }
    let value = || listed.expr.as_ref().clone();
    let items = listed.list.iter().cloned();
    match listed.negated {
        true => balanced(items.map(|item| value().not_eq(item)).collect(), &Expr::and),
        false => balanced(items.map(|item| value().eq(item)).collect(), &Expr::or),
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_constant(&cast.expr),
        _ => false,
    }
}

/// Protects a CASE whose later branches may fail: `CASE true WHEN …` is a form that DataFusion does not rewrite to AND
/// and OR, which would evaluate guarded branches.
fn in_order(case: &Case, schema: &DFSchema) -> Option<Expr> {
    let outputs = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
    let is_turned = outputs().all(|output| is_constant(output))
        || outputs().all(|output| output.get_type(schema).is_ok_and(|kind| kind == DataType::Boolean));
    let mut guarded = case.when_then_expr.iter().skip(1).map(|(when, _)| when).chain(outputs());
    if case.expr.is_some() || !is_turned || !guarded.any(|expr| may_fail(expr).unwrap_or(true)) {
        return None;
    }
    Some(Expr::Case(Case { expr: Some(Box::new(lit(true))), ..case.clone() }))
}

/// Rewrites a comparison of a CASE of constants with a constant to a CASE of boolean constants.
fn equal(case: &Case, value: &ScalarValue, is_equal: bool) -> Option<Case> {
    let compare = |then: &Expr| match then {
        Expr::Literal(then, _) if !then.is_null() && !value.is_null() && then.data_type() == value.data_type() => {
            Some(Box::new(lit((then == value) == is_equal)))
        }
        _ => None,
    };
    // Equality of float constants differs from SQL equality of floats.
    if value.data_type().is_floating() {
        return None;
    }
    Some(Case {
        expr: case.expr.clone(),
        when_then_expr: case
            .when_then_expr
            .iter()
            .map(|(when, then)| Some((when.clone(), compare(then)?)))
            .collect::<Option<_>>()?,
        else_expr: match &case.else_expr {
            Some(otherwise) => Some(compare(otherwise)?),
            None => None,
        },
    })
}

/// Rewrites a CASE of boolean constants to AND and OR; conditions of consecutive branches with the same result are
/// joined by OR.
fn branches(case: &Case, schema: &DFSchema) -> Result<Option<Expr>> {
    let mut runs: Vec<(bool, Vec<Expr>)> = Vec::new();
    for (when, then) in &case.when_then_expr {
        let Expr::Literal(ScalarValue::Boolean(Some(then)), _) = then.as_ref() else { return Ok(None) };
        let asked = match &case.expr {
            Some(base) => base.as_ref().clone().eq(when.as_ref().clone()),
            None => when.as_ref().clone(),
        };
        if may_fail(&asked)? {
            return Ok(None);
        }
        let asked = if nullable(&asked, schema)? { asked.is_true() } else { asked };
        match runs.last_mut().filter(|run| run.0 == *then) {
            Some(run) => run.1.push(asked),
            None => runs.push((*then, vec![asked])),
        }
    }
    if runs.len() > TURNS || case.expr.as_ref().is_some_and(|base| base.is_volatile()) {
        return Ok(None);
    }
    let mut otherwise = match case.else_expr.as_deref() {
        None => lit(ScalarValue::Boolean(None)),
        Some(otherwise @ Expr::Literal(ScalarValue::Boolean(_), _)) => otherwise.clone(),
        Some(_) => return Ok(None),
    };
    while let Some((then, asked)) = runs.pop() {
        let Some(any) = balanced(asked, &Expr::or) else { return Ok(None) };
        otherwise = if then { any.or(otherwise) } else { Expr::Not(Box::new(any)).and(otherwise) };
    }
    Ok(Some(otherwise))
}

/// Whether the evaluation of a condition may fail; AND and OR do not prevent its evaluation for any row.
fn may_fail(condition: &Expr) -> Result<bool> {
    condition.exists(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { op, .. }) => {
                use Operator as O;
                !matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::And | O::Or)
            }
            Expr::Column(_) | Expr::Literal(..) | Expr::Not(_) | Expr::Between(_) | Expr::InList(_) | Expr::Like(_) => {
                false
            }
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) => false,
            _ => true,
        })
    })
}

fn nullable(expr: &Expr, schema: &dyn ExprSchema) -> Result<bool> {
    expr.nullable(schema)
}
