//! Scalar functions that convert between TAI, the time scale of the registry, and UTC.

use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, TimestampNanosecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::error::Error;
use crate::model::calendar::format;
use crate::model::time::{DAY, Timespan, tai_to_utc, utc_to_tai};

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::scalar(
            "utc",
            "Converts a TAI time to UTC.",
            scale("utc", |tai| if is_end(tai) { tai } else { tai_to_utc(tai) }),
        )
        .arg("time", ArgType::Time, "a TAI time; all times of the registry are TAI")
        .notes(
            "The program has a table of leap seconds; the environment variable `BUTLERSQL_LEAP_SECONDS` selects a newer \
                 `leap-seconds.list` of the IERS.",
        )
        .example("SELECT utc(timespan_begin) FROM exposure"),
        FunctionDef::scalar("tai", "Converts a UTC time to TAI.", scale("tai", utc_to_tai))
            .arg("time", ArgType::Time, "a UTC time")
            .example("SELECT tai('2024-11-21T03:10:00')"),
    ]
}

/// The range of converted times, in nanoseconds since 1970: before it, UTC had other rates; after it, 64 bits overflow.
const KNOWN: RangeInclusive<i64> = -699 * DAY..=i64::MAX - DAY;

fn scale(name: &'static str, convert: fn(i64) -> i64) -> ScalarUDF {
    let signature = Signature::new(TypeSignature::Exact(vec![time()]), Volatility::Immutable);
    ScalarUDF::new_from_impl(Scale { name, signature, convert })
}

/// Whether a time is the marker of an unbounded begin or end, which is the same in all scales.
fn is_end(tai: i64) -> bool {
    tai == Timespan::ALL.begin || tai == Timespan::ALL.end
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// A conversion of nanoseconds from one time scale to another.
#[derive(Debug)]
struct Scale {
    name: &'static str,
    signature: Signature,
    convert: fn(i64) -> i64,
}

impl PartialEq for Scale {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Scale {}
impl std::hash::Hash for Scale {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scale {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(time())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let times = arrays[0].as_primitive::<TimestampNanosecondType>();
        let converted: TimestampNanosecondArray = times.try_unary(|time| match KNOWN.contains(&time) {
            true => Ok((self.convert)(time)),
            false => Err(DataFusionError::from(Error::invalid(format!(
                "{}('{}') is out of range: UTC is known from 1968-02-02 to 2262-04-10",
                self.name,
                format(time)
            )))),
        })?;
        let array: ArrayRef = Arc::new(converted);
        Ok(ColumnarValue::Array(array))
    }
}
