//! Refuses comparisons that DataFusion 55 coerces in an unexpected way, or refuses with an unclear message: numbers
//! with other types (dates become days since 1970), regions with strings, and TAI times with times in a time zone.
//! UNION and functions with several arguments are not checked.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, Subquery};
use datafusion::optimizer::AnalyzerRule;
use uuid::Uuid;

use crate::error::{Error, SourceLocation};

/// The analyzer rule; it runs before DataFusion's type coercion.
#[derive(Debug)]
pub(crate) struct CheckComparisonTypes;

impl AnalyzerRule for CheckComparisonTypes {
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
        Expr::ScalarFunction(call) if call.name() == "utc" => {
            if let Some(text) = call.args.first().and_then(text).filter(|text| has_zone(text)) {
                return Err(Error::invalid(format!("utc takes a TAI time, and '{text}' has a time zone")).into());
            }
        }
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

/// Checks the comparison of a value with the column of a subquery.
fn check_rows(expr: &Expr, subquery: &Subquery, schema: &DFSchema) -> Result<()> {
    let rows = subquery.subquery.schema();
    let Some(first) = rows.iter().next() else {
        return Err(Error::invalid("a subquery without columns has no values").into());
    };
    check((expr, schema), (&Expr::Column(Column::from(first)), rows.as_ref()))
}

/// The class of types of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypeClass {
    Number,
    Truth,
    Time,
    Length,
    Bytes,
    Text,
}

/// Checks the comparison of two operands; unknown types are accepted.
fn check(left: (&Expr, &dyn ExprSchema), right: (&Expr, &dyn ExprSchema)) -> Result<()> {
    let (Some(left_is), Some(right_is)) = (kind(left), kind(right)) else { return Ok(()) };
    for (one, other) in [(left, right), (right, left)] {
        check_zone(one, other.0)?;
        check_id(one, other.0)?;
    }
    let ((left, _), (right, _)) = (left, right);
    let differ = match (left_is, right_is) {
        (TypeClass::Number, TypeClass::Text) => text(right).is_some_and(is_no_number),
        (TypeClass::Text, TypeClass::Number) => text(left).is_some_and(is_no_number),
        (one, other) => {
            one != other
                && [one, other]
                    .into_iter()
                    .any(|is| matches!(is, TypeClass::Number | TypeClass::Bytes | TypeClass::Truth))
        }
    };
    if !differ {
        return Ok(());
    }
    let is_night = |expr: &Expr, is| is == TypeClass::Number && matches!(expr, Expr::Column(c) if c.name == "day_obs");
    let is_hinted = is_night(left, left_is) || is_night(right, right_is);
    let instead = if is_hinted { "; day_obs is written as 20241024" } else { "" };
    let (described, other) = (shown(left, left_is), shown(right, right_is));
    Err(Error::invalid(format!("cannot compare {described} with {other}{instead}"))
        .with_location(location(&[left, right]))
        .into())
}

/// Refuses the comparison of a column without time zone with a constant that has one, which would be converted to UTC.
fn check_zone((time, schema): (&Expr, &dyn ExprSchema), constant: &Expr) -> Result<()> {
    let is_plain = matches!(time.get_type(schema), Ok(DataType::Timestamp(_, None)));
    match (time, text(constant)) {
        (Expr::Column(column), Some(text)) if is_plain && has_zone(text) => {
            let instead = match column.name.ends_with("_utc") {
                true => "the column is UTC: omit the time zone",
                false => "omit the time zone, or use tai('…'): times of the registry are TAI",
            };
            let described = format!("'{text}' has a time zone and {time} has none; {instead}");
            Err(Error::invalid(described).with_location(location(&[time])).into())
        }
        _ => Ok(()),
    }
}

/// Refuses dataset ids in another notation than the canonical one, because ids are compared as strings. Nullable
/// columns, for example of files, may have other notations.
fn check_id((id, schema): (&Expr, &dyn ExprSchema), constant: &Expr) -> Result<()> {
    match (id, text(constant)) {
        (Expr::Column(column), Some(text)) if column.name == "dataset_id" && !id.nullable(schema)? => {
            match Uuid::parse_str(text) {
                Ok(uuid) if uuid.to_string() != text => {
                    let described = format!("write a dataset_id in lower case with dashes: '{uuid}'");
                    Err(Error::invalid(described).with_location(location(&[id])).into())
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The location of the first operand that has one.
fn location(sides: &[&Expr]) -> Option<SourceLocation> {
    let start = sides.iter().find_map(|side| side.spans()?.first())?.start;
    Some(SourceLocation { line: start.line, column: start.column })
}

/// Describes an operand and its type class.
fn shown(expr: &Expr, is: TypeClass) -> String {
    let shown = match text(expr) {
        Some(text) if is == TypeClass::Text => format!("'{text}'"),
        Some(text) => text.to_owned(),
        None if matches!(expr, Expr::Literal(..)) => expr.human_display().to_string(),
        None => expr.to_string(),
    };
    match is {
        TypeClass::Number => format!("{shown} (number)"),
        TypeClass::Truth => format!("{shown} (boolean)"),
        TypeClass::Time => format!("{shown} (date or time)"),
        TypeClass::Length => format!("{shown} (duration)"),
        TypeClass::Bytes => format!("{shown} (bytes)"),
        TypeClass::Text => format!("{shown} (text)"),
    }
}

fn kind((expr, schema): (&Expr, &dyn ExprSchema)) -> Option<TypeClass> {
    match expr.get_type(schema).ok()? {
        DataType::Boolean => Some(TypeClass::Truth),
        DataType::Duration(_) | DataType::Interval(_) => Some(TypeClass::Length),
        kind if kind.is_numeric() => Some(TypeClass::Number),
        kind if kind.is_temporal() => Some(TypeClass::Time),
        kind if kind.is_binary() => Some(TypeClass::Bytes),
        kind if kind.is_string() => Some(TypeClass::Text),
        _ => None,
    }
}

/// The string of a constant, also inside casts.
fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        Expr::Cast(cast) => text(&cast.expr),
        _ => None,
    }
}

fn is_no_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_err()
}

/// Whether a timestamp string has an offset, `Z` or the name of a time zone.
fn has_zone(text: &str) -> bool {
    let time = text.get(10..).unwrap_or_default();
    time.trim_start_matches(['T', 't']).contains(|c: char| c.is_ascii_alphabetic() || "+-".contains(c))
}
