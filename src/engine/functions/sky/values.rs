//! Typed access to the arguments of region functions, row by row.

use std::borrow::Cow;

use datafusion::arrow::array::{Array, AsArray, BinaryArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{ScalarValue, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use crate::error::{Error, Result as OwnResult};
use crate::sphere::region::Region;
use crate::sphere::{Vector, from_degrees};

/// A region argument: one constant, or a column of encoded regions.
pub(super) enum Regions {
    One(Option<Region>),
    Each(BinaryArray),
}

impl Regions {
    pub(in crate::engine) fn of(value: &ColumnarValue, rows: usize) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Scalar(ScalarValue::Binary(bytes)) => Self::One(bytes.as_deref().map(decode).transpose()?),
            other => Self::Each(other.to_array(rows)?.as_binary().clone()),
        })
    }

    pub(in crate::engine) fn get(&self, row: usize) -> OwnResult<Option<Cow<'_, Region>>> {
        match self {
            Self::One(region) => Ok(region.as_ref().map(Cow::Borrowed)),
            Self::Each(array) if array.is_null(row) => Ok(None),
            Self::Each(array) => decode(array.value(row)).map(|region| Some(Cow::Owned(region))),
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> OwnResult<Region> {
    Region::decode(bytes).ok_or_else(|| Error::invalid("these bytes are not a region in the encoding of sphgeom"))
}

/// A column of numbers.
pub(super) struct Numbers(Float64Array);

impl Numbers {
    pub(in crate::engine) fn of(value: &ColumnarValue, rows: usize) -> Result<Self> {
        Ok(Self(value.to_array(rows)?.as_primitive::<Float64Type>().clone()))
    }

    /// The number in `row`; `None` for NULL and NaN.
    pub(super) fn get(&self, row: usize) -> Option<f64> {
        self.0.is_valid(row).then(|| self.0.value(row)).filter(|value| !value.is_nan())
    }
}

/// A column of integers.
pub(super) struct Ints(Int64Array);

impl Ints {
    pub(in crate::engine) fn of(value: &ColumnarValue, rows: usize) -> Result<Self> {
        Ok(Self(value.to_array(rows)?.as_primitive::<Int64Type>().clone()))
    }

    pub(in crate::engine) fn get(&self, row: usize) -> Option<i64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// A column of points: right ascension and declination in degrees, or the centroid of a region.
pub(super) enum Points {
    Angles(Numbers, Numbers),
    Middles(Regions),
}

impl Points {
    pub(in crate::engine) fn get(&self, row: usize) -> OwnResult<Option<Vector>> {
        match self {
            Self::Angles(ra, dec) => match (ra.get(row), dec.get(row)) {
                (Some(_), Some(dec)) if !(-90.0..=90.0).contains(&dec) => {
                    Err(Error::invalid(format!("{dec} is not a declination: it must be between -90 and 90 degrees")))
                }
                (Some(ra), Some(_)) if ra.is_infinite() => Err(Error::invalid("a right ascension is not finite")),
                (Some(ra), Some(dec)) => Ok(Some(from_degrees(ra.rem_euclid(360.0), dec))),
                _ => Ok(None),
            },
            Self::Middles(regions) => Ok(regions.get(row)?.and_then(|region| region.centroid())),
        }
    }
}

/// Splits `args` into the leading point (two numbers or a region) and the remaining arguments.
pub(super) fn points(args: &[ColumnarValue], rows: usize) -> Result<(Points, &[ColumnarValue])> {
    Ok(match args {
        [region, rest @ ..] if region.data_type() == DataType::Binary => {
            (Points::Middles(Regions::of(region, rows)?), rest)
        }
        [ra, dec, rest @ ..] => (Points::Angles(Numbers::of(ra, rows)?, Numbers::of(dec, rows)?), rest),
        _ => return Err(plan_datafusion_err!("the first arguments must be two numbers or a region")),
    })
}

/// The vertices of a polygon, each from two numbers.
pub(super) fn corners(args: &[ColumnarValue], rows: usize) -> Result<Vec<Points>> {
    args.chunks(2).map(|pair| points(pair, rows).map(|(point, _)| point)).collect()
}

/// Refuses coordinate frames other than ICRS; an empty name is accepted.
pub(super) fn check_frame(frame: &ColumnarValue, rows: usize) -> Result<()> {
    let frames = frame.to_array(rows)?;
    let other = frames.as_string::<i32>().iter().flatten().find(|f| !(f.is_empty() || f.eq_ignore_ascii_case("ICRS")));
    match other {
        Some(other) => Err(Error::invalid(format!("coordinate frame '{other}' is not supported; use 'ICRS'")).into()),
        None => Ok(()),
    }
}
