//! Limits the depth of expressions: chains of AND, OR and `||` become balanced trees, and deeper expressions are
//! refused, because planning is recursive and could overflow the stack.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, Visit, VisitMut, VisitorMut};

use crate::error::{Error, Kind, Result};

/// The maximum length of a chain of operators that are not associative, as in `a - b - c`; each level uses stack.
const DEPTH: usize = 500;

/// Balances chains of associative operators.
///
/// # Errors
/// `Kind::Unsupported` for a chain of other operators that is longer than the limit.
pub(crate) fn check_depth(what: &mut (impl Visit + VisitMut)) -> Result<()> {
    match VisitMut::visit(what, &mut Balance) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let message = format!("more than {DEPTH} operators in a row are not supported; split the expression");
            Err(Error::new(Kind::Unsupported, message))
        }
    }
}

struct Balance;

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::BinaryOp { op, left, .. } = expr else { return ControlFlow::Continue(()) };
        if !is_associative(op) {
            return if depth(expr) > DEPTH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        if !matches!(left.as_ref(), Expr::BinaryOp { op: inner, .. } if inner == op) {
            return ControlFlow::Continue(());
        }
        let op = op.clone();
        let mut operands = Vec::new();
        let mut rest = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        // The parser nests chains on the left.
        while let Expr::BinaryOp { left, op: inner, right } = rest {
            if inner != op {
                rest = Expr::BinaryOp { left, op: inner, right };
                break;
            }
            operands.push(*right);
            rest = *left;
        }
        operands.push(rest);
        operands.reverse();
        *expr = tree(operands, &op);
        ControlFlow::Continue(())
    }
}

fn is_associative(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat)
}

/// The number of operators nested on the left side.
fn depth(expr: &Expr) -> usize {
    let (mut depth, mut rest) = (0, expr);
    while let Expr::BinaryOp { left, .. } = rest {
        (depth, rest) = (depth + 1, left);
    }
    depth
}

/// Joins operands, in order, as a balanced tree.
fn tree(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while operands.len() > 1 {
        let mut pairs = operands.into_iter();
        let mut joined = Vec::new();
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
        operands = joined;
    }
    operands.pop().unwrap_or(Expr::Value(Value::Null.into()))
}
