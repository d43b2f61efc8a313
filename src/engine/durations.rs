//! Parts of a length of time. DataFusion 55 counts those of a Duration (a difference of two times) in 32 bits, and so
//! loses the fractions of seconds from 2.2 s on; those of an Interval are right, but for parts of seconds.

use datafusion::arrow::compute::kernels::cast_utils::IntervalUnit::{Microsecond, Millisecond, Nanosecond};
use datafusion::arrow::datatypes::{DataType, IntervalUnit as Interval};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use crate::error::{Error, Kind};

/// Has `date_part` and `extract` look at intervals.
#[derive(Debug)]
pub struct Durations;

impl FunctionRewrite for Durations {
    fn name(&self) -> &str {
        "durations"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(mut call) if call.name() == "date_part" && call.args.len() == 2 => {
                let kind = call.args[1].get_type(schema)?;
                if !matches!(kind, DataType::Duration(_) | DataType::Interval(_)) {
                    return Ok(Transformed::no(Expr::ScalarFunction(call)));
                }
                if let Expr::Literal(ScalarValue::Utf8(Some(part)), _) = &call.args[0]
                    && let Ok(Millisecond | Microsecond | Nanosecond) = part.parse()
                {
                    let said = format!("'{part}' of a length of time is not understood; epoch is its seconds");
                    return Err(Error::new(Kind::Unsupported, said).into());
                }
                let length = cast(call.args.remove(1), DataType::Interval(Interval::MonthDayNano));
                call.args.push(length);
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}
