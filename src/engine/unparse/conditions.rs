//! Conditions in SQL text: chains, conjunctions and equalities.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::{NotPushed, SqlExpr, Translated};
use crate::registry::schema::{ColumnType, arrow_type};

/// The operands of a chain of the operator `wanted`, in order; iterative, because chains can be long.
pub(super) fn chain(expr: &Expr, wanted: Operator) -> Vec<&Expr> {
    let (mut waiting, mut operands) = (vec![expr], Vec::new());
    while let Some(expr) = waiting.pop() {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == wanted => {
                waiting.extend([right.as_ref(), left.as_ref()])
            }
            operand => operands.push(operand),
        }
    }
    operands
}

/// Joins operands with an operator as a balanced tree: SQLite limits the depth of expressions to 1000.
pub(super) fn joined(operands: &[String], op: Operator) -> String {
    match operands {
        [] => String::new(),
        [one] => one.clone(),
        many => {
            let (left, right) = many.split_at(many.len().div_ceil(2));
            format!("({} {op} {})", joined(left, op), joined(right, op))
        }
    }
}

/// Up to this number, conditions are joined by AND without parentheses.
const FEW: usize = 100;

/// The conjunction of conditions.
pub(crate) fn all(conditions: &[String]) -> String {
    if conditions.len() > FEW { joined(conditions, Operator::And) } else { conditions.join(" AND ") }
}

/// The condition that two values are equal.
pub(crate) fn equal(one: &SqlExpr, other: &SqlExpr) -> Translated<String> {
    if class(one.kind) != class(other.kind) || one.kind == ColumnType::UtcTime {
        return Err(NotPushed::TwoTypes);
    }
    Ok(format!("({} = {})", one.text, other.text))
}

/// The comparison class of a type; only types of the same class are compared.
pub(super) fn class(kind: ColumnType) -> DataType {
    match kind {
        // Ids and strings have the same Arrow type, but not the same type in the database.
        ColumnType::Uuid => DataType::FixedSizeBinary(16),
        ColumnType::UtcTime => DataType::Timestamp(TimeUnit::Microsecond, None),
        kind => arrow_type(kind),
    }
}
