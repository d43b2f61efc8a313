//! Values that are bound to names of an expression.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use super::values::{Item, Scalar, Type};
use super::{literal, values};
use crate::error::{Error, Result};
use crate::model::time::Timespan;

/// The bound values of a call, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Binds(Vec<(String, ScalarValue)>);

impl Binds {
    /// The fields of a struct such as `{'day': 20241101}`; `None` for a value of another type.
    pub(in crate::engine) fn of(value: &ScalarValue) -> Option<Self> {
        let ScalarValue::Struct(fields) = value else { return None };
        let field = |(name, at): (&String, usize)| {
            Some((name.clone(), ScalarValue::try_from_array(fields.column(at), 0).ok()?))
        };
        let names: Vec<String> = fields.fields().iter().map(|f| f.name().clone()).collect();
        names.iter().zip(0..).map(field).collect::<Option<_>>().map(Self)
    }

    /// The value of a name; the case of letters matters only if two names differ in nothing else.
    pub(super) fn get(&self, name: &str) -> Option<&ScalarValue> {
        let exact = self.0.iter().find(|bind| bind.0 == name);
        let same = || self.0.iter().find(|bind| bind.0.eq_ignore_ascii_case(name));
        exact.or_else(same).map(|bind| &bind.1)
    }

    /// The names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|bind| bind.0.as_str())
    }
}

/// Converts a bound value.
///
/// # Errors
/// `Kind::Invalid` for NULL, for a list of several types, and for a type that no column of the Butler has.
pub(super) fn item(name: &str, value: &ScalarValue) -> Result<Item> {
    let list = match value {
        ScalarValue::List(list) => Some(list.value(0)),
        ScalarValue::LargeList(list) => Some(list.value(0)),
        ScalarValue::FixedSizeList(list) => Some(list.value(0)),
        _ => None,
    };
    if let Some(list) = list {
        let each = |at| scalar(name, &ScalarValue::try_from_array(&list, at)?);
        return Ok(Item::Sequence((0..list.len()).map(each).collect::<Result<_>>()?));
    }
    scalar(name, value).map(Item::Scalar)
}

fn scalar(name: &str, value: &ScalarValue) -> Result<Scalar> {
    let unsupported = || {
        let kind = value.data_type();
        Error::invalid(format!("InvalidQueryError: the bound value '{name}' has type {kind}, which no column has"))
    };
    if value.is_null() {
        return Err(Error::invalid(format!("InvalidQueryError: the bound value '{name}' is NULL; write NULL instead")));
    }
    let cast = |kind: &DataType| value.cast_to(kind).map_err(|_| unsupported());
    Ok(match value {
        // The Butler takes a boolean as an integer.
        ScalarValue::Boolean(Some(yes)) => Scalar::constant(Type::Int, i32::from(*yes).to_string()),
        ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) => {
            Scalar::constant(Type::Region, hexadecimal(bytes))
        }
        ScalarValue::Struct(fields) => {
            let bounds: Vec<Option<i64>> = fields.columns().iter().map(|bound| instant(bound)).collect();
            let [begin, end] = bounds.as_slice() else { return Err(unsupported()) };
            Scalar::timespan(Timespan::new(*begin, *end))
        }
        other if other.data_type().is_integer() => match cast(&DataType::Int64)? {
            ScalarValue::Int64(Some(n)) => Scalar::constant(Type::Int, n.to_string()),
            _ => return Err(unsupported()),
        },
        other if other.data_type().is_numeric() => match cast(&DataType::Float64)? {
            ScalarValue::Float64(Some(n)) if n.is_finite() => Scalar::constant(Type::Float, format!("{n:?}")),
            _ => return Err(unsupported()),
        },
        other if matches!(other.data_type(), DataType::Timestamp(_, None)) => {
            let array = other.to_array()?;
            Scalar::time(instant(&array).ok_or_else(unsupported)?)
        }
        other => {
            let text = other.try_as_str().flatten().ok_or_else(unsupported)?;
            Scalar { written: Some(text.to_owned()), ..Scalar::constant(Type::Text, literal(text)) }
        }
    })
}

/// The first value of an array of times, in nanoseconds.
fn instant(array: &dyn Array) -> Option<i64> {
    let nanoseconds = datafusion::arrow::compute::cast(array, &values::nanoseconds()).ok()?;
    let times = nanoseconds.as_primitive_opt::<datafusion::arrow::datatypes::TimestampNanosecondType>()?;
    times.is_valid(0).then(|| times.value(0))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{digits}'")
}
