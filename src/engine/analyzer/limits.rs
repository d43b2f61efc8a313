//! Long statements: chains of AND, OR and `||` become trees of little depth, and what stays deep is refused, before it
//! meets code that calls itself once a level.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, Visit, VisitMut, VisitorMut};

use crate::error::{Error, Kind, Result};

/// How many operators may follow each other that cannot be taken in another order, as in `a - b - c`: each takes a part of
/// the stack of those who compute.
const DEPTH: usize = 500;

/// Balances chains of operators that can be taken in any order.
///
/// # Errors
/// A longer chain of other operators than can be planned.
pub fn check_depth(what: &mut (impl Visit + VisitMut)) -> Result<()> {
    match VisitMut::visit(what, &mut Balance) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let message = format!("more than {DEPTH} operators follow each other; split the expression");
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
        // The chain hangs on the left.
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

/// How many operators hang on the left of each other.
fn depth(expr: &Expr) -> usize {
    let (mut depth, mut rest) = (0, expr);
    while let Expr::BinaryOp { left, .. } = rest {
        (depth, rest) = (depth + 1, left);
    }
    depth
}

/// The operands in their order, as a tree.
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
