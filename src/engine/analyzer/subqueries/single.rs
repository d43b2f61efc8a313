//! An aggregate that returns the value of the only row of a scalar subquery.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::filter;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};

use crate::error::{Error, Kind};

/// The value of the only row of a group. A second row is an error, as in PostgreSQL, but also if a CASE does not use
/// the value.
pub(super) fn single(value: Expr) -> Expr {
    AggregateUDF::from(Single { signature: Signature::any(1, Volatility::Immutable) }).call(vec![value])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Single {
    signature: Signature,
}

impl AggregateUDFImpl for Single {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Row { value: ScalarValue::try_from(arguments.return_type())?, rows: 0 }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = Field::new("value", arguments.return_type().clone(), true);
        Ok(vec![value.into(), Field::new("rows", DataType::UInt64, true).into()])
    }
}

#[derive(Debug)]
struct Row {
    value: ScalarValue,
    rows: u64,
}

impl Row {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        self.rows += values.len() as u64;
        if self.rows > 1 {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(Error::new(Kind::Invalid, message).into());
        }
        if !values.is_empty() {
            self.value = ScalarValue::try_from_array(values, 0)?;
        }
        Ok(())
    }
}

impl Accumulator for Row {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states[1].as_primitive::<UInt64Type>();
        let is_there: BooleanArray = rows.iter().map(|rows| Some(rows.unwrap_or(0) > 0)).collect();
        self.add(&filter(&states[0], &is_there)?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::UInt64(Some(self.rows))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) - size_of_val(&self.value) + self.value.size()
    }
}
