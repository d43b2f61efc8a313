//! The definition of `butler_where`. The session replaces its calls before planning (`engine/sql/butler_where`).

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::engine::sql::butler_where::NAME;
use crate::error::Error;

pub(super) fn functions() -> Vec<FunctionDef> {
    let function = ScalarUDF::new_from_impl(ButlerWhere { signature: Signature::variadic_any(Volatility::Stable) });
    vec![
        FunctionDef::scalar(
            NAME,
            "Whether a row of a dimension element or dataset type meets a query expression of the Butler.",
            function,
        )
        .arg("expression", ArgType::Text, "the expression, a literal")
        .notes(
            "The expression is translated to SQL and computed by the database. It refers to the table of an element or \
             dataset type in FROM; if there are several, the first argument names one: `butler_where(r, '…')`. \
             Collections are not searched, so that `collection` and `timespan` of datasets cannot be used.",
        )
        .example("SELECT count(*) FROM raw WHERE butler_where('instrument = ''LSSTComCam'' AND exposure.day_obs > 20241101')"),
    ]
}

/// Stands for a call in the list of functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ButlerWhere {
    signature: Signature,
}

impl ScalarUDFImpl for ButlerWhere {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(Error::invalid(format!("{NAME} is planned by Session::sql and Session::execute only")).into())
    }
}
