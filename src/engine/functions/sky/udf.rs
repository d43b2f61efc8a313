//! Scalar functions of regions on the sky.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{ScalarValue, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::functions::string::contains as contains_text;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::values::check_frame;
use crate::engine::functions::definition::FunctionDef;
pub(crate) use crate::engine::sql::adql::{OneIsTrue, PairsAsArguments};

/// The computation of a region function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Point,
    Circle,
    Box,
    Polygon,
    Overlaps,
    Contains,
    Area,
    CentroidRa,
    CentroidDec,
    Vertices,
    Separation,
    HtmIndex,
    HtmEnvelope,
    HtmRegion,
    HealpixIndex,
    HealpixEnvelope,
    HealpixRegion,
}

/// A scalar function that is called `name` and computes `op`.
pub(crate) fn function(name: &'static str, op: Op) -> ScalarUDF {
    ScalarUDF::new_from_impl(Sky { name, op, signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sky {
    name: &'static str,
    op: Op,
    signature: Signature,
}

/// Argument kind: a number.
const N: char = 'N';
/// Argument kind: an integer.
const I: char = 'I';
/// Argument kind: a region.
const R: char = 'R';

impl Op {
    /// The accepted lists of argument kinds; empty for `Polygon`, whose number of arguments varies.
    fn shapes(self) -> &'static [&'static [char]] {
        match self {
            Self::Point => &[&[N, N]],
            Self::Circle => &[&[N, N, N], &[R, N]],
            Self::Box => &[&[N, N, N, N], &[R, N, N]],
            Self::Polygon => &[],
            Self::Overlaps | Self::Contains => &[&[R, R]],
            Self::Area | Self::CentroidRa | Self::CentroidDec | Self::Vertices => &[&[R]],
            Self::Separation => &[&[N, N, N, N], &[R, R]],
            Self::HtmIndex | Self::HealpixIndex => &[&[N, N, I], &[R, I]],
            Self::HtmEnvelope | Self::HealpixEnvelope => &[&[R, I]],
            Self::HtmRegion => &[&[I]],
            Self::HealpixRegion => &[&[I, I]],
        }
    }

    /// Whether the first argument may be the name of a coordinate frame.
    fn takes_frame(self) -> bool {
        self == Self::Polygon || self.shapes().iter().any(|shape| shape[0] == N)
    }

    fn returns(self) -> DataType {
        match self {
            Self::Point | Self::Circle | Self::Box | Self::Polygon | Self::HtmRegion | Self::HealpixRegion => {
                DataType::Binary
            }
            Self::Overlaps | Self::Contains => DataType::Boolean,
            Self::Area | Self::CentroidRa | Self::CentroidDec | Self::Separation => DataType::Float64,
            Self::Vertices => list(DataType::Struct(vertex())),
            Self::HtmIndex | Self::HealpixIndex => DataType::Int64,
            Self::HtmEnvelope | Self::HealpixEnvelope => list(DataType::Int64),
        }
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The fields of a vertex, in degrees.
pub(super) fn vertex() -> Fields {
    Fields::from(["ra", "dec"].map(|name| Field::new(name, DataType::Float64, true)).to_vec())
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The name of an argument's type in error messages.
fn word(kind: &DataType) -> String {
    match kind {
        kind if is_text(kind) => "text".to_owned(),
        kind if kind.is_integer() => "integer".to_owned(),
        kind if kind.is_numeric() => "number".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "region".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::List(_) => "list".to_owned(),
        DataType::Struct(_) => "pair".to_owned(),
        other => other.to_string(),
    }
}

/// The type that an argument of kind `kind` is coerced to; `None` if the given type does not fit.
fn coerced(kind: char, given: &DataType) -> Option<DataType> {
    let null = *given == DataType::Null;
    match kind {
        N if null || given.is_numeric() => Some(DataType::Float64),
        I if null || given.is_integer() => Some(DataType::Int64),
        R if null || matches!(given, DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            Some(DataType::Binary)
        }
        _ => None,
    }
}

impl ScalarUDFImpl for Sky {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.op.returns())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let has_frame = self.op.takes_frame() && given.first().is_some_and(is_text);
        let (frame, rest) = given.split_at(usize::from(has_frame));
        let frame = frame.iter().map(|_| DataType::Utf8);
        // `contains` of two strings is DataFusion's string function.
        let text_or_null = |kind: &DataType| is_text(kind) || *kind == DataType::Null;
        if self.op == Op::Contains && given.len() == 2 && given.iter().any(is_text) && given.iter().all(text_or_null) {
            return Ok(vec![DataType::Utf8; 2]);
        }
        let rest: Option<Vec<DataType>> = if self.op == Op::Polygon {
            let points = rest.len() >= 6 && rest.len().is_multiple_of(2);
            points.then(|| rest.iter().map(|kind| coerced(N, kind)).collect()).flatten()
        } else {
            let fits = |shape: &&[char]| {
                (shape.len() == rest.len())
                    .then(|| shape.iter().zip(rest).map(|(kind, given)| coerced(*kind, given)).collect())
                    .flatten()
            };
            self.op.shapes().iter().find_map(fits)
        };
        let rest = rest.ok_or_else(|| {
            let given: Vec<_> = given.iter().map(word).collect();
            let takes = crate::engine::functions::find(self.name).map(FunctionDef::signature).unwrap_or_default();
            plan_datafusion_err!("{takes} does not take ({})", given.join(", "))
        })?;
        Ok(frame.chain(rest).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.op == Op::Contains && args.args.iter().all(|a| is_text(&a.data_type())) {
            return contains_text().invoke_with_args(args);
        }
        let rows = args.number_rows;
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { rows };
        let mut args = args.args;
        if args.first().is_some_and(|a| self.op.takes_frame() && is_text(&a.data_type())) {
            check_frame(&args.remove(0), rows)?;
        }
        let array = self.op.compute(&args, rows)?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}
