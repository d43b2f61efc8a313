//! A `sum` of integers and durations that fails on overflow, as in databases; DataFusion 55 wraps around. It uses
//! DataFusion's accumulators with DECIMAL(38, 0).

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use crate::error::{Error, Kind};

/// The type of the intermediate sums.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// The aggregate function that replaces DataFusion's `sum`.
pub(crate) fn sum() -> AggregateUDF {
    AggregateUDF::from(CheckedSum { plain: sum_udaf() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    plain: Arc<AggregateUDF>,
}

/// Whether a sum of this type may overflow.
fn wraps(kind: &DataType) -> bool {
    matches!(kind, DataType::Int64 | DataType::UInt64 | DataType::Duration(_))
}

/// The arguments for an accumulator of the wide type.
fn wide(args: AccumulatorArgs<'_>) -> AccumulatorArgs<'_> {
    AccumulatorArgs { return_field: Arc::new(Field::new(args.name, WIDE, true)), ..args }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.plain.coerce_types(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        match wraps(&kind) {
            true => Ok(Box::new(Narrowed { wide: self.plain.accumulator(wide(args))?, kind })),
            false => self.plain.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !wraps(args.return_field.data_type()) {
            return self.plain.state_fields(args);
        }
        let return_field = Arc::new(Field::new(args.name, WIDE, true));
        self.plain.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = args.return_field.data_type().clone();
        match wraps(&kind) {
            true => Ok(Box::new(NarrowedGroups { wide: self.plain.create_groups_accumulator(wide(args))?, kind })),
            false => self.plain.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        if !wraps(&kind) {
            return self.plain.create_sliding_accumulator(args);
        }
        if args.is_distinct {
            let message = "sum(DISTINCT …) over a moving window frame is not supported";
            return Err(Error::new(Kind::Unsupported, message).into());
        }
        Ok(Box::new(Narrowed { wide: self.plain.create_sliding_accumulator(wide(args))?, kind }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Converts values to the wide type.
fn widened(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let widen = |values: &ArrayRef| {
        let whole = match values.data_type() {
            DataType::Duration(_) => cast(values, &DataType::Int64)?,
            _ => Arc::clone(values),
        };
        Ok(cast(&whole, &WIDE)?)
    };
    values.iter().map(widen).collect()
}

fn no_room(value: i128) -> Error {
    Error::new(
        Kind::Failed,
        format!("the sum {value} is out of range for 64 bits; cast the argument to DECIMAL(38, 0)"),
    )
}

/// Converts sums to the result type.
///
/// # Errors
/// `Kind::Failed` for a sum that is out of range.
fn narrowed(sum: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    let sums = sum.as_primitive::<Decimal128Type>();
    let narrow = |value: Option<i128>| value.map(|v| i64::try_from(v).map_err(|_| no_room(v))).transpose();
    let narrow_unsigned = |value: Option<i128>| value.map(|v| u64::try_from(v).map_err(|_| no_room(v))).transpose();
    if *kind == DataType::UInt64 {
        let sums = sums.iter().map(narrow_unsigned).collect::<std::result::Result<UInt64Array, Error>>()?;
        return Ok(Arc::new(sums));
    }
    let sums = sums.iter().map(narrow).collect::<std::result::Result<Int64Array, Error>>()?;
    Ok(cast(&(Arc::new(sums) as ArrayRef), kind)?)
}

/// An accumulator of the wide type with a result of type `kind`.
#[derive(Debug)]
struct Narrowed {
    wide: Box<dyn Accumulator>,
    kind: DataType,
}

impl Accumulator for Narrowed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.wide.update_batch(&widened(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = narrowed(&self.wide.evaluate()?.to_array()?, &self.kind)?;
        ScalarValue::try_from_array(&sum, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.wide.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.wide.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.wide.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.wide.retract_batch(&widened(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.wide.supports_retract_batch()
    }
}

/// A groups accumulator of the wide type with results of type `kind`.
struct NarrowedGroups {
    wide: Box<dyn GroupsAccumulator>,
    kind: DataType,
}

impl GroupsAccumulator for NarrowedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.wide.update_batch(&widened(values)?, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        narrowed(&self.wide.evaluate(emit_to)?, &self.kind)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.wide.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.wide.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.wide.convert_to_state(&widened(values)?, opt_filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.wide.size()
    }
}
