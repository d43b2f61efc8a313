//! Checked arithmetic of integers and times: an overflow is an error, as in databases. DataFusion 55 wraps around.

use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

use super::rewrite;

/// Replaces `+`, `-` and `*` of integers and times by functions that fail on overflow.
#[derive(Debug)]
pub(super) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &mut |expr, schema| expr.transform_up(|expr| checked(expr, schema)))
    }

    fn name(&self) -> &str {
        "checked_arithmetic"
    }
}

fn checked(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (left, op, right) = match &expr {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Plus | Operator::Minus | Operator::Multiply),
            right,
        }) => (left.as_ref().clone(), *op, right.as_ref().clone()),
        Expr::Negative(inner) if !matches!(inner.as_ref(), Expr::Literal(..)) => {
            let Ok(kind) = inner.get_type(schema) else { return Ok(Transformed::no(expr)) };
            if !kind.is_signed_integer() {
                return Ok(Transformed::no(expr));
            }
            (Expr::Literal(ScalarValue::new_zero(&kind)?, None), Operator::Minus, inner.as_ref().clone())
        }
        _ => return Ok(Transformed::no(expr)),
    };
    let (Ok(one), Ok(other), Ok(result)) = (left.get_type(schema), right.get_type(schema), expr.get_type(schema))
    else {
        return Ok(Transformed::no(expr));
    };
    let wraps = |kind: &DataType| kind.is_integer() || matches!(kind, DataType::Timestamp(..) | DataType::Duration(_));
    if !(wraps(&one) && wraps(&other)) || result.is_null() {
        return Ok(Transformed::no(expr));
    }
    let function = ScalarUDF::from(Checked { op, result, signature: Signature::any(2, Volatility::Immutable) });
    Ok(Transformed::yes(function.call(vec![left, right])))
}

/// The checked function of an operator, with its result type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    result: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "add",
            Operator::Minus => "subtract",
            _ => "multiply",
        }
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.schema_name(args)
    }

    /// The text of the operator expression.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let named: Vec<_> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(named.join(&format!(" {} ", self.op)))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        // The field has the type of the operator, which the plan already uses.
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.result.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return datafusion::common::internal_err!("{} takes two values", self.name());
        };
        match self.op {
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            _ => apply(left, right, mul),
        }
    }
}
