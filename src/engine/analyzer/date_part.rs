//! `date_part` and `extract` of durations: days, hours of the day, minutes of the hour, whole seconds of the minute,
//! and the total in seconds (`epoch`). DataFusion 55 computes parts of a Duration (the difference of two times) in 32
//! bits, and so loses fractions of seconds from 2.2 s on; it loses all fractions of seconds of an Interval.

use datafusion::arrow::compute::kernels::cast_utils::IntervalUnit;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};

use crate::error::{Error, Kind};

const SECOND: i64 = 1_000_000_000;

/// Rewrites `date_part` and `extract` of durations, or refuses unsupported parts.
#[derive(Debug)]
pub(crate) struct DatePartUnits;

impl FunctionRewrite for DatePartUnits {
    fn name(&self) -> &str {
        "durations"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
        let ("date_part", [Expr::Literal(ScalarValue::Utf8(Some(part)), _), length]) = (call.name(), &call.args[..])
        else {
            return Ok(Transformed::no(expr));
        };
        let unit = part.parse();
        match length.get_type(schema)? {
            DataType::Duration(_) => {}
            DataType::Interval(_)
                if !matches!(
                    unit,
                    Ok(IntervalUnit::Millisecond | IntervalUnit::Microsecond | IntervalUnit::Nanosecond)
                ) =>
            {
                return Ok(Transformed::no(expr));
            }
            DataType::Interval(_) => return Err(unsupported(part)),
            _ => return Ok(Transformed::no(expr)),
        }
        let count = cast(cast(length.clone(), DataType::Duration(TimeUnit::Nanosecond)), DataType::Int64);
        let whole = match unit {
            _ if part.eq_ignore_ascii_case("epoch") => {
                return Ok(Transformed::yes(cast(count, DataType::Float64) / lit(1e9)));
            }
            Ok(IntervalUnit::Day) => count / lit(86_400 * SECOND),
            Ok(IntervalUnit::Hour) => count / lit(3_600 * SECOND) % lit(24_i64),
            Ok(IntervalUnit::Minute) => count / lit(60 * SECOND) % lit(60_i64),
            Ok(IntervalUnit::Second) => count / lit(SECOND) % lit(60_i64),
            _ => return Err(unsupported(part)),
        };
        Ok(Transformed::yes(cast(whole, DataType::Int32)))
    }
}

fn unsupported(part: &str) -> datafusion::error::DataFusionError {
    let message = format!("'{part}' of a duration is not supported; epoch returns its seconds");
    Error::new(Kind::Unsupported, message).into()
}
