//! Translates expressions to the SQL of a database.

mod conditions;
mod not_pushed;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::expr::{AggregateFunction, Alias, Case, InList, Like};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator, SortExpr};
use datafusion::scalar::ScalarValue;

pub(super) use self::conditions::{all, equal};
use self::conditions::{chain, class, joined};
pub(super) use self::not_pushed::NotPushed;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::rows::Value;
use crate::registry::schema::{ColumnType, ReadColumn, arrow_type};

/// A translation, or the reason why an expression is not pushed down.
pub(super) type Translated<T> = Result<T, NotPushed>;

/// An SQL expression and its type.
#[derive(Debug, Clone)]
pub(super) struct SqlExpr {
    /// The SQL text.
    pub text: String,
    /// The type of the value.
    pub kind: ColumnType,
    /// Whether it is a column, not a computed value.
    pub plain: bool,
}

/// Translates a predicate on the columns of one table; an error is the reason why it is not pushed down.
pub(super) fn predicate(dialect: Dialect, columns: &[ReadColumn], expr: &Expr) -> Translated<String> {
    let find = |column: &Column| {
        let column = columns.iter().find(|c| c.name == column.name)?;
        Some(SqlExpr { text: dialect.select_expr(column, ""), kind: column.kind(), plain: true })
    };
    SqlExprWriter { dialect, find: &find }.predicate(expr)
}

/// Translates expressions over a set of columns.
pub(super) struct SqlExprWriter<'a> {
    /// The SQL dialect of the database.
    pub dialect: Dialect,
    /// Resolves a column to its SQL expression.
    pub find: &'a dyn Fn(&Column) -> Option<SqlExpr>,
}

impl SqlExprWriter<'_> {
    /// Translates an expression that yields a value.
    pub(super) fn value(&self, expr: &Expr) -> Translated<SqlExpr> {
        match expr {
            Expr::Column(column) => (self.find)(column).ok_or_else(|| NotPushed::Column(column.clone())),
            Expr::Alias(Alias { expr, .. }) => self.value(expr),
            Expr::Literal(value, _) => self.constant(value).ok_or_else(|| NotPushed::expr(expr)),
            Expr::Cast(Cast { expr: inner, field }) => {
                let inner = self.value(inner)?;
                match (inner.kind, field.data_type()) {
                    (kind, to) if arrow_type(kind) == *to => Ok(inner),
                    (ColumnType::Int | ColumnType::Small, DataType::Float64) => Ok(SqlExpr {
                        text: format!("CAST({} AS DOUBLE PRECISION)", inner.text),
                        kind: ColumnType::Float,
                        plain: false,
                    }),
                    _ => Err(NotPushed::expr(expr)),
                }
            }
            Expr::Case(case) => self.case(case, expr),
            _ => Ok(SqlExpr { text: self.predicate(expr)?, kind: ColumnType::Bool, plain: false }),
        }
    }

    /// Translates a constant, with a cast to its type.
    fn constant(&self, value: &ScalarValue) -> Option<SqlExpr> {
        let (kind, name) = match value {
            ScalarValue::Utf8(_) => (ColumnType::Text(None), "TEXT"),
            ScalarValue::Int64(_) => (ColumnType::Int, "BIGINT"),
            ScalarValue::Float64(_) => (ColumnType::Float, "DOUBLE PRECISION"),
            ScalarValue::TimestampNanosecond(_, None) => (ColumnType::Time, "BIGINT"),
            _ => return None,
        };
        let text = if value.is_null() { "NULL".to_owned() } else { self.literal(kind, value)? };
        Some(SqlExpr { text: format!("CAST({text} AS {name})"), kind, plain: false })
    }

    fn case(&self, case: &Case, expr: &Expr) -> Translated<SqlExpr> {
        let (mut text, mut kind) = ("CASE".to_owned(), None);
        let mut result = |then: &Expr| {
            let cell = self.value(then)?;
            let same = kind.is_none_or(|kind| class(kind) == class(cell.kind));
            // Types whose stored form differs from the displayed form are not mixed with constants.
            let mixed =
                matches!(cell.kind, ColumnType::Uuid | ColumnType::Bytes | ColumnType::UtcTime | ColumnType::Bool);
            kind = Some(cell.kind);
            if same && !mixed { Ok(cell.text) } else { Err(NotPushed::expr(expr)) }
        };
        for (when, then) in &case.when_then_expr {
            let condition = match &case.expr {
                Some(base) => self.comparison(base, Operator::Eq, when)?,
                None => self.predicate(when)?,
            };
            text.push_str(&format!(" WHEN {condition} THEN {}", result(then)?));
        }
        if let Some(otherwise) = case.else_expr.as_deref().filter(|e| !matches!(e, Expr::Literal(v, _) if v.is_null()))
        {
            text.push_str(&format!(" ELSE {}", result(otherwise)?));
        }
        Ok(SqlExpr { text: format!("{text} END"), kind: kind.ok_or_else(|| NotPushed::expr(expr))?, plain: false })
    }

    /// Translates a condition.
    pub(super) fn predicate(&self, expr: &Expr) -> Translated<String> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
                let operands =
                    chain(expr, *op).into_iter().map(|part| self.predicate(part)).collect::<Translated<Vec<_>>>()?;
                Ok(joined(&operands, *op))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.comparison(left, *op, right),
            // A predicate that the planner simplified to a constant.
            Expr::Literal(ScalarValue::Boolean(Some(value)), _) => {
                Ok(if *value { "(1 = 1)" } else { "(1 = 0)" }.to_owned())
            }
            Expr::Literal(ScalarValue::Boolean(None), _) => Ok("(1 = NULL)".to_owned()),
            Expr::Not(inner) => Ok(format!("(NOT {})", self.predicate(inner)?)),
            Expr::IsNull(inner) => Ok(format!("({} IS NULL)", self.value(inner)?.text)),
            Expr::IsNotNull(inner) => Ok(format!("({} IS NOT NULL)", self.value(inner)?.text)),
            Expr::InList(InList { expr: inner, list, negated }) => {
                let cell = self.value(inner)?;
                let items: Option<Vec<_>> = list.iter().map(|item| self.typed(cell.kind, item)).collect();
                let not = if *negated { "NOT " } else { "" };
                Ok(format!("({} {not}IN ({}))", cell.text, items.ok_or_else(|| NotPushed::expr(expr))?.join(", ")))
            }
            Expr::Between(Between { expr: inner, negated, low, high }) => {
                let (kind, text) = self.ordered(inner)?;
                let (low, high) = (self.typed(kind, low), self.typed(kind, high));
                let (low, high) = low.zip(high).ok_or_else(|| NotPushed::expr(expr))?;
                let not = if *negated { "NOT " } else { "" };
                Ok(format!("({text} {not}BETWEEN {low} AND {high})"))
            }
            Expr::Like(like) => self.like(like).ok_or_else(|| NotPushed::expr(expr)),
            Expr::Column(_) => {
                let cell = self.value(expr)?;
                if cell.kind == ColumnType::Bool { Ok(cell.text) } else { Err(NotPushed::expr(expr)) }
            }
            _ => Err(NotPushed::expr(expr)),
        }
    }

    fn comparison(&self, left: &Expr, op: Operator, right: &Expr) -> Translated<String> {
        let whole = || NotPushed::Comparison(Box::new((left.clone(), op, right.clone())));
        let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
        let (left, op, right) = match (is_literal(left), is_literal(right)) {
            (true, false) => (right, op.swap().ok_or_else(whole)?, left),
            (false, _) => (left, op, right),
            (true, true) => return Err(whole()),
        };
        let equality = matches!(op, Operator::Eq | Operator::NotEq);
        if !equality && !matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) {
            return Err(whole());
        }
        let side = |expr: &Expr| match equality {
            true => self.value(expr).map(|cell| (cell.kind, cell.text)),
            false => self.ordered(expr),
        };
        let (kind, text) = side(left)?;
        let other = match is_literal(right) {
            true => self.typed(kind, right).ok_or_else(whole)?,
            false => {
                let (other, text) = side(right)?;
                if class(other) != class(kind) || kind == ColumnType::UtcTime {
                    return Err(whole());
                }
                text
            }
        };
        let op = if op == Operator::NotEq { "<>".to_owned() } else { op.to_string() };
        Ok(format!("({text} {op} {other})"))
    }

    /// Translates a value whose order is the same in the database and in DataFusion; strings compare by bytes.
    fn ordered(&self, expr: &Expr) -> Translated<(ColumnType, String)> {
        let cell = self.value(expr)?;
        match cell.kind {
            ColumnType::Uuid | ColumnType::Bytes | ColumnType::Bool | ColumnType::UtcTime => {
                Err(NotPushed::Order(Box::new(expr.clone())))
            }
            kind @ ColumnType::Text(_) => Ok((kind, self.dialect.binary_collation(&cell.text))),
            // NaN is the largest float in PostgreSQL and in DataFusion; SQLite cannot store it.
            kind => Ok((kind, cell.text)),
        }
    }

    fn like(&self, like: &Like) -> Option<String> {
        let cell = self.value(&like.expr).ok()?;
        let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = &*like.pattern else { return None };
        if !matches!(cell.kind, ColumnType::Text(_)) || like.case_insensitive || like.escape_char.is_some() {
            return None;
        }
        if pattern.contains(['\\', '\0']) {
            return None;
        }
        Some(self.dialect.like(&cell.text, like.negated, pattern))
    }

    fn typed(&self, kind: ColumnType, expr: &Expr) -> Option<String> {
        let Expr::Literal(value, _) = expr else { return None };
        self.literal(kind, value)
    }

    /// Translates a constant that is compared with a value of type `kind`.
    fn literal(&self, kind: ColumnType, value: &ScalarValue) -> Option<String> {
        let value = match value {
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
                Value::Text(text)
            }
            ScalarValue::Int64(Some(value)) | ScalarValue::TimestampNanosecond(Some(value), None) => Value::Int(*value),
            ScalarValue::Float64(Some(value)) => Value::Float(*value),
            ScalarValue::Boolean(Some(value)) => Value::Bool(*value),
            _ => return None,
        };
        let fits = match (kind, value) {
            // A string that is not a canonical UUID never equals an id.
            (ColumnType::Uuid, Value::Text(text)) => uuid::Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text),
            (ColumnType::Text(_), Value::Text(text)) => !text.contains('\0'),
            (ColumnType::Int | ColumnType::Small | ColumnType::Time, Value::Int(_)) => true,
            (ColumnType::Float, Value::Float(value)) => value.is_finite(),
            (ColumnType::Bool, Value::Bool(_)) => true,
            _ => false,
        };
        if fits { self.dialect.literal(kind, value) } else { None }
    }

    /// Translates a sort key.
    pub(super) fn sort(&self, sort: &SortExpr) -> Translated<String> {
        let cell = self.value(&sort.expr)?;
        let text = match cell.kind {
            // Base64 text and bytes sort differently.
            ColumnType::Bytes | ColumnType::UtcTime => return Err(NotPushed::Order(Box::new(sort.expr.clone()))),
            ColumnType::Text(_) => self.dialect.binary_collation(&cell.text),
            _ => cell.text,
        };
        let direction = if sort.asc { "ASC" } else { "DESC" };
        let nulls = if sort.nulls_first { "FIRST" } else { "LAST" };
        Ok(format!("{text} {direction} NULLS {nulls}"))
    }

    /// Translates an aggregate.
    pub(super) fn aggregate(&self, expr: &Expr) -> Translated<SqlExpr> {
        if let Expr::Alias(Alias { expr, .. }) = expr {
            return self.aggregate(expr);
        }
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
            return Err(NotPushed::expr(expr));
        };
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(NotPushed::expr(expr));
        }
        let filter = match &params.filter {
            Some(filter) => format!(" FILTER (WHERE {})", self.predicate(filter)?),
            None => String::new(),
        };
        let [argument] = &params.args[..] else { return Err(NotPushed::expr(expr)) };
        let distinct = if params.distinct { "DISTINCT " } else { "" };
        if func.name() == "count" {
            let counted = match argument {
                Expr::Literal(value, _) if !value.is_null() && !params.distinct => "*".to_owned(),
                argument => self.value(argument)?.text,
            };
            return Ok(SqlExpr {
                text: format!("count({distinct}{counted}){filter}"),
                kind: ColumnType::Int,
                plain: false,
            });
        }
        let cell = self.value(argument)?;
        let text = match (func.name(), cell.kind) {
            // PostgreSQL returns the sum of integers as NUMERIC.
            ("sum", ColumnType::Int | ColumnType::Small) => {
                format!("CAST(sum({distinct}{}){filter} AS BIGINT)", cell.text)
            }
            ("sum" | "avg" | "min" | "max", ColumnType::Float)
            | ("min" | "max", ColumnType::Int | ColumnType::Small | ColumnType::Time) => {
                format!("{}({distinct}{}){filter}", func.name(), cell.text)
            }
            ("min" | "max", ColumnType::Text(_)) => {
                format!("{}({}){filter}", func.name(), self.dialect.binary_collation(&cell.text))
            }
            _ => return Err(NotPushed::expr(expr)),
        };
        Ok(SqlExpr { text, kind: cell.kind, plain: false })
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn pushed(dialect: Dialect, expr: Expr) -> Option<String> {
        let columns = [
            ReadColumn::plain("exposure", ColumnType::Int),
            ReadColumn::plain("obs_id", ColumnType::Text(None)),
            ReadColumn::plain("id", ColumnType::Uuid),
            ReadColumn::plain("can_see_sky", ColumnType::Bool),
        ];
        predicate(dialect, &columns, &expr).ok()
    }

    #[test]
    fn says_what_means_the_same_there() {
        let both = |e: Expr| [pushed(Dialect::Sqlite, e.clone()), pushed(Dialect::Postgres, e)];
        let same = |e: Expr, text: &str| assert_eq!(both(e), [Some(text.to_owned()), Some(text.to_owned())]);
        let each = |e: Expr, texts: [&str; 2]| assert_eq!(both(e), texts.map(|text| Some(text.to_owned())));
        same(col("exposure").eq(lit(7_i64)), "(\"exposure\" = 7)");
        same(lit(7_i64).lt(col("exposure")), "(\"exposure\" > 7)");
        same(col("exposure").eq(col("exposure")), "(\"exposure\" = \"exposure\")");
        same(col("obs_id").in_list(vec![lit("it's")], true), "(\"obs_id\" NOT IN ('it''s'))");
        same(col("can_see_sky").and(col("obs_id").is_null()), "(\"can_see_sky\" AND (\"obs_id\" IS NULL))");
        each(col("obs_id").gt(lit("x")), ["(\"obs_id\" > 'x')", "(\"obs_id\" COLLATE \"C\" > 'x')"]);
        each(col("obs_id").like(lit("a[_%")), ["(\"obs_id\" GLOB 'a[[]?*')", "(\"obs_id\" LIKE 'a[_%')"]);
    }

    #[test]
    fn long_conditions_have_little_depth() {
        let conditions = (0..5000_i64).map(|i| col("exposure").eq(lit(i)).and(col("obs_id").eq(lit("x"))));
        let text = pushed(Dialect::Sqlite, conditions.reduce(Expr::or).unwrap()).unwrap();
        let (mut depth, mut deepest) = (0, 0);
        for c in text.chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            deepest = deepest.max(depth);
        }
        assert!(depth == 0 && deepest < 20, "{deepest}");
        let unknown = col("can_see_sky").or(lit(ScalarValue::Boolean(None))).is_null();
        assert_eq!(pushed(Dialect::Postgres, unknown).as_deref(), Some("((\"can_see_sky\" OR (1 = NULL)) IS NULL)"));
    }

    #[test]
    fn keeps_back_what_does_not() {
        for expr in [
            col("obs_id").ilike(lit("a%")),
            col("obs_id").like(lit("a\\%")),
            col("id").gt(lit("c9b72b48-0087-57a6-bd0c-2120836aedd4")),
            col("id").eq(lit("C9B72B48-0087-57a6-bd0c-2120836aedd4")),
            col("id").eq(col("obs_id")),
            col("exposure").eq(lit(7.5)),
            col("exposure").eq(lit(ScalarValue::Int64(None))),
            (col("exposure") / lit(2_i64)).eq(lit(1_i64)),
        ] {
            assert_eq!(pushed(Dialect::Sqlite, expr.clone()), None, "{expr}");
        }
    }
}
