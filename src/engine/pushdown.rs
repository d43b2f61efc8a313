//! Which parts of a query a registry can answer, as text for its database.
//!
//! Strict: only what is known to mean the same there is sent; the rest stays above.

use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::registry::dialect::Dialect;
use crate::registry::rows::Value;
use crate::registry::schema::{Kind, Scanned};

/// The predicate as the database writes it, or `None` when it cannot be said exactly.
pub fn predicate(dialect: Dialect, columns: &[Scanned], expr: &Expr) -> Option<String> {
    Writer { dialect, columns }.truth(expr)
}

struct Writer<'a> {
    dialect: Dialect,
    columns: &'a [Scanned],
}

impl Writer<'_> {
    fn truth(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                Some(format!("({} {op} {})", self.truth(left)?, self.truth(right)?))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.comparison(left, *op, right),
            // What is left of a predicate that the planner could decide.
            Expr::Literal(ScalarValue::Boolean(value), _) => {
                Some(if *value == Some(true) { "(1 = 1)" } else { "(1 = 0)" }.to_owned())
            }
            Expr::Not(inner) => Some(format!("(NOT {})", self.truth(inner)?)),
            Expr::IsNull(inner) => Some(format!("({} IS NULL)", self.column(inner)?.1)),
            Expr::IsNotNull(inner) => Some(format!("({} IS NOT NULL)", self.column(inner)?.1)),
            Expr::InList(InList { expr, list, negated }) => {
                let (column, text) = self.column(expr)?;
                let items: Option<Vec<_>> = list.iter().map(|item| self.literal(column, item)).collect();
                let not = if *negated { "NOT " } else { "" };
                Some(format!("({text} {not}IN ({}))", items?.join(", ")))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let (column, text) = self.ordered(expr)?;
                let (low, high) = (self.literal(column, low)?, self.literal(column, high)?);
                let not = if *negated { "NOT " } else { "" };
                Some(format!("({text} {not}BETWEEN {low} AND {high})"))
            }
            Expr::Column(_) => {
                let (column, text) = self.column(expr)?;
                (column.kind() == Kind::Bool).then_some(text)
            }
            _ => None,
        }
    }

    fn comparison(&self, left: &Expr, op: Operator, right: &Expr) -> Option<String> {
        let (column_side, op, literal_side) = match (left, right) {
            (Expr::Column(_), _) => (left, op, right),
            (_, Expr::Column(_)) => (right, op.swap()?, left),
            _ => return None,
        };
        let (column, text) = match op {
            Operator::Eq | Operator::NotEq => self.column(column_side)?,
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => self.ordered(column_side)?,
            _ => return None,
        };
        let op = if op == Operator::NotEq { "<>".to_owned() } else { op.to_string() };
        Some(format!("({text} {op} {})", self.literal(column, literal_side)?))
    }

    fn column(&self, expr: &Expr) -> Option<(&Scanned, String)> {
        let Expr::Column(name) = expr else { return None };
        let column = self.columns.iter().find(|c| c.name == name.name)?;
        Some((column, self.dialect.reads(column)))
    }

    /// A column whose order is the same in both worlds: texts compare byte by byte, ids not at all.
    fn ordered(&self, expr: &Expr) -> Option<(&Scanned, String)> {
        let (column, text) = self.column(expr)?;
        match (column.kind(), self.dialect) {
            (Kind::Uuid | Kind::Bytes | Kind::Bool, _) => None,
            (Kind::Text(_), Dialect::Postgres) => Some((column, format!("{text} COLLATE \"C\""))),
            // NaN is the largest float in PostgreSQL and in DataFusion, and cannot be in SQLite.
            _ => Some((column, text)),
        }
    }

    fn literal(&self, column: &Scanned, expr: &Expr) -> Option<String> {
        let Expr::Literal(value, _) = expr else { return None };
        let value = match value {
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
                Value::Text(text)
            }
            ScalarValue::Int64(Some(value)) | ScalarValue::TimestampNanosecond(Some(value), None) => Value::Int(*value),
            ScalarValue::Float64(Some(value)) => Value::Float(*value),
            ScalarValue::Boolean(Some(value)) => Value::Bool(*value),
            _ => return None,
        };
        let fits = match (column.kind(), value) {
            // A text that is not an id in its usual form never equals one.
            (Kind::Uuid, Value::Text(text)) => uuid::Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text),
            (Kind::Text(_), Value::Text(text)) => !text.contains('\0'),
            (Kind::Int | Kind::Small | Kind::Time, Value::Int(_)) => true,
            (Kind::Float, Value::Float(value)) => value.is_finite(),
            (Kind::Bool, Value::Bool(_)) => true,
            _ => false,
        };
        if !fits {
            return None;
        }
        self.dialect.literal(column.kind(), value)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn pushed(dialect: Dialect, expr: Expr) -> Option<String> {
        let columns = [
            Scanned::plain("exposure", Kind::Int),
            Scanned::plain("obs_id", Kind::Text(None)),
            Scanned::plain("id", Kind::Uuid),
            Scanned::plain("can_see_sky", Kind::Bool),
        ];
        predicate(dialect, &columns, &expr)
    }

    #[test]
    fn says_what_means_the_same_there() {
        let both = |e: Expr| [pushed(Dialect::Sqlite, e.clone()), pushed(Dialect::Postgres, e)];
        let same = |e: Expr, text: &str| assert_eq!(both(e), [Some(text.to_owned()), Some(text.to_owned())]);
        same(col("exposure").eq(lit(7_i64)), "(\"exposure\" = 7)");
        same(lit(7_i64).lt(col("exposure")), "(\"exposure\" > 7)");
        same(col("obs_id").in_list(vec![lit("it's")], true), "(\"obs_id\" NOT IN ('it''s'))");
        same(col("can_see_sky").and(col("obs_id").is_null()), "(\"can_see_sky\" AND (\"obs_id\" IS NULL))");
        assert_eq!(
            both(col("obs_id").gt(lit("x"))),
            [Some("(\"obs_id\" > 'x')".to_owned()), Some("(\"obs_id\" COLLATE \"C\" > 'x')".to_owned())]
        );
    }

    #[test]
    fn keeps_back_what_does_not() {
        for expr in [
            col("obs_id").like(lit("a%")),
            col("id").gt(lit("c9b72b48-0087-57a6-bd0c-2120836aedd4")),
            col("id").eq(lit("C9B72B48-0087-57a6-bd0c-2120836aedd4")),
            col("exposure").eq(lit(7.5)),
            col("exposure").eq(col("exposure")),
            col("exposure").eq(lit(ScalarValue::Int64(None))),
        ] {
            assert_eq!(pushed(Dialect::Sqlite, expr.clone()), None, "{expr}");
        }
    }
}
