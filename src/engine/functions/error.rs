//! The scalar function that ends a statement.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::error::{Error, Kind};

pub(super) fn functions() -> Vec<FunctionDef> {
    let signature = Signature::new(TypeSignature::Exact(vec![DataType::Utf8]), Volatility::Volatile);
    let function = ScalarUDF::new_from_impl(Fail { signature });
    vec![
        FunctionDef::scalar("error", "Ends the statement with an error, as in DuckDB.", function)
            .arg("message", ArgType::Text, "the message")
            .example("SELECT CASE WHEN count(*) > 0 THEN true ELSE error('no raws') END FROM raw"),
    ]
}

/// Fails with its argument as the message.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Fail {
    signature: Signature,
}

impl ScalarUDFImpl for Fail {
    fn name(&self) -> &str {
        "error"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let messages = ColumnarValue::values_to_arrays(&args.args)?;
        let messages = messages[0].as_string::<i32>();
        match (0..messages.len()).find(|row| messages.is_valid(*row)) {
            Some(row) => Err(Error::new(Kind::Failed, messages.value(row)).into()),
            None => Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None))),
        }
    }
}
