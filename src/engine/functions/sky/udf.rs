//! Scalar functions of regions on the sky.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Float64Builder, Int64Array, Int64Builder, ListBuilder,
    StructBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{ScalarValue, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::functions::string::contains as contains_text;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::values::{Ints, Numbers, Regions, check_frame, corners, points};
use crate::engine::functions::definition::FunctionDef;
pub use crate::engine::sql::adql::{OneIsTrue, PairsAsArguments};
use crate::error::{Error, Result as OwnResult};
use crate::sphere::circle::Circle;
use crate::sphere::hull::hull;
use crate::sphere::lonlat_box::LonLatBox;
use crate::sphere::region::Region;
use crate::sphere::relation::Relation;
use crate::sphere::{Vector, angle, healpix, htm, latitude, longitude};

/// The computation of a region function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
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

/// Upper limit of the estimated number of pixels of all envelopes of one batch.
const MOST_PIXELS: f64 = 16_777_216.0;

/// A scalar function that is called `name` and computes `op`.
pub fn function(name: &'static str, op: Op) -> ScalarUDF {
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

fn vertex() -> Fields {
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
        let array = self.compute(&args, rows)?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

impl Sky {
    fn compute(&self, args: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
        let each = 0..rows;
        Ok(match self.op {
            Op::Point | Op::Circle | Op::Box => {
                let (at, sizes) = points(args, rows)?;
                let sizes = sizes.iter().map(|size| Numbers::of(size, rows)).collect::<Result<Vec<_>>>()?;
                let region = |row: usize| -> OwnResult<Option<Vec<u8>>> {
                    let sizes: Option<Vec<f64>> = sizes.iter().map(|size| size.get(row)).collect();
                    let (Some(at), Some(sizes)) = (at.get(row)?, sizes) else { return Ok(None) };
                    if let Some(size) = sizes.iter().find(|size| !(0.0..=360.0).contains(*size)) {
                        return Err(Error::invalid(format!(
                            "{size} is not a size in degrees: it must be between 0 and 360"
                        )));
                    }
                    Ok(Some(shape(at, &sizes).encode()))
                };
                binary(each.map(region).collect::<OwnResult<Vec<_>>>()?)
            }
            Op::Polygon => {
                let corners = corners(args, rows)?;
                let region = |row: usize| -> OwnResult<Option<Vec<u8>>> {
                    let points: Option<Vec<Vector>> =
                        corners.iter().map(|corner| corner.get(row)).collect::<OwnResult<_>>()?;
                    let Some(points) = points else { return Ok(None) };
                    let polygon = hull(&points).ok_or_else(|| {
                        Error::invalid(
                            "these points have no convex polygon: they lie on one great circle or not in one hemisphere",
                        )
                    })?;
                    Ok(Some(polygon.encode()))
                };
                binary(each.map(region).collect::<OwnResult<Vec<_>>>()?)
            }
            Op::Overlaps | Op::Contains => {
                let (a, b) = (Regions::of(&args[0], rows)?, Regions::of(&args[1], rows)?);
                let overlaps = self.op == Op::Overlaps;
                let both = |row: usize| -> OwnResult<Option<bool>> {
                    let (Some(a), Some(b)) = (a.get(row)?, b.get(row)?) else { return Ok(None) };
                    Ok(if overlaps { Some(meet(&a, &b)) } else { within(&a, &b) })
                };
                Arc::new(BooleanArray::from(each.map(both).collect::<OwnResult<Vec<_>>>()?))
            }
            Op::Area | Op::CentroidRa | Op::CentroidDec => {
                let regions = Regions::of(&args[0], rows)?;
                let value = |row: usize| -> OwnResult<Option<f64>> {
                    let Some(region) = regions.get(row)? else { return Ok(None) };
                    Ok(match self.op {
                        Op::Area => region.area().map(|area| area.to_degrees().to_degrees()),
                        Op::CentroidRa => region.centroid().map(|v| longitude(v).to_degrees()),
                        _ => region.centroid().map(|v| latitude(v).to_degrees()),
                    })
                };
                Arc::new(each.map(value).collect::<OwnResult<Float64Array>>()?)
            }
            Op::Separation => {
                let (first, rest) = points(args, rows)?;
                let (second, _) = points(rest, rows)?;
                let apart = |row: usize| -> OwnResult<Option<f64>> {
                    let both = first.get(row)?.zip(second.get(row)?);
                    Ok(both.map(|(a, b)| angle(a, b).to_degrees()))
                };
                Arc::new(each.map(apart).collect::<OwnResult<Float64Array>>()?)
            }
            Op::Vertices => vertices(&Regions::of(&args[0], rows)?, rows)?,
            Op::HtmIndex | Op::HealpixIndex => {
                let (at, level) = points(args, rows)?;
                let levels = Ints::of(&level[0], rows)?;
                let htm = self.op == Op::HtmIndex;
                let index = |row: usize| -> OwnResult<Option<i64>> {
                    let (Some(at), Some(level)) = (at.get(row)?, levels.get(row)) else { return Ok(None) };
                    let level = checked(level, if htm { htm::FINEST } else { healpix::FINEST })?;
                    Ok(Some(if htm { htm::index(at, level) } else { healpix::index(at, level) }))
                };
                Arc::new(each.map(index).collect::<OwnResult<Int64Array>>()?)
            }
            Op::HtmEnvelope | Op::HealpixEnvelope => {
                envelopes(self.op, &Regions::of(&args[0], rows)?, &Ints::of(&args[1], rows)?, rows)?
            }
            Op::HtmRegion => {
                let indices = Ints::of(&args[0], rows)?;
                let region = |row: usize| -> OwnResult<Option<Vec<u8>>> {
                    let Some(index) = indices.get(row) else { return Ok(None) };
                    let pixel =
                        htm::pixel(index).ok_or_else(|| Error::invalid(format!("{index} is not an HTM pixel")))?;
                    Ok(Some(pixel.encode()))
                };
                binary(each.map(region).collect::<OwnResult<Vec<_>>>()?)
            }
            Op::HealpixRegion => {
                let (indices, levels) = (Ints::of(&args[0], rows)?, Ints::of(&args[1], rows)?);
                let region = |row: usize| -> OwnResult<Option<Vec<u8>>> {
                    let (Some(index), Some(level)) = (indices.get(row), levels.get(row)) else { return Ok(None) };
                    let pixel = healpix::pixel(checked(level, healpix::FINEST)?, index);
                    let unknown = || Error::invalid(format!("{index} is not a HEALPix pixel of level {level}"));
                    Ok(Some(pixel.ok_or_else(unknown)?.encode()))
                };
                binary(each.map(region).collect::<OwnResult<Vec<_>>>()?)
            }
        })
    }
}

fn binary(values: Vec<Option<Vec<u8>>>) -> ArrayRef {
    Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>())
}

/// The region around `at` with 0, 1 or 2 sizes in degrees: a point, a circle (radius) or a box (width and height).
fn shape(at: Vector, sizes: &[f64]) -> Region {
    match sizes {
        [] => Region::Circle(Circle::new(at, 0.0)),
        [radius] => Region::Circle(Circle::new(at, radius.to_radians())),
        sizes => {
            let half = |at: usize| sizes.get(at).copied().unwrap_or_default().to_radians() / 2.0;
            Region::Box(LonLatBox::around(longitude(at), latitude(at), half(0), half(1)))
        }
    }
}

/// Whether two regions overlap; true also when their bounds do not decide it.
fn meet(a: &Region, b: &Region) -> bool {
    match (a, b) {
        (Region::Circle(point), other) | (other, Region::Circle(point)) if point.is_point() => {
            other.contains(point.centre)
        }
        _ => a.overlaps(b) != Some(false),
    }
}

/// Whether `inner` lies within `outer`; `None` when only bounds are compared and they do not decide it.
fn within(inner: &Region, outer: &Region) -> Option<bool> {
    match (inner, outer) {
        (Region::Circle(point), _) if point.is_point() => return Some(outer.contains(point.centre)),
        (Region::Box(inner), Region::Polygon(outer)) => return Some(outer.contains_box(*inner)),
        _ => {}
    }
    let relation = inner.relation(outer);
    let exact = |region: &Region| matches!(region, Region::Polygon(_) | Region::Box(_) | Region::Circle(_));
    let outside = || inner.centroid().is_some_and(|middle| !outer.contains(middle));
    match () {
        () if relation.is(Relation::WITHIN) => Some(true),
        () if relation.is(Relation::DISJOINT) || outside() => Some(false),
        // A polygon and a box are compared by bounding boxes only, but the bounding box of a box is exact.
        () if exact(inner) && exact(outer) => Some(false),
        () => None,
    }
}

fn checked(level: i64, finest: u32) -> OwnResult<u32> {
    let found = u32::try_from(level).ok().filter(|level| *level <= finest);
    found.ok_or_else(|| Error::invalid(format!("pixel level {level} is out of range: levels are 0 to {finest}")))
}

fn vertices(regions: &Regions, rows: usize) -> Result<ArrayRef> {
    let fields = vertex();
    let mut lists = ListBuilder::new(StructBuilder::from_fields(fields, 0));
    for row in 0..rows {
        let region = regions.get(row)?;
        let Some(Region::Polygon(polygon)) = region.as_deref() else {
            lists.append(false);
            continue;
        };
        for v in polygon.vertices() {
            for (at, value) in [longitude(*v), latitude(*v)].into_iter().enumerate() {
                if let Some(builder) = lists.values().field_builder::<Float64Builder>(at) {
                    builder.append_value(value.to_degrees());
                }
            }
            lists.values().append(true);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn envelopes(op: Op, regions: &Regions, levels: &Ints, rows: usize) -> Result<ArrayRef> {
    type Pixels = fn(&Region, u32) -> Vec<i64>;
    let (roots, finest, pixels): (f64, _, Pixels) = match op {
        Op::HtmEnvelope => (8.0, htm::FINEST, |region, level| region.envelope(level).into_iter().flatten().collect()),
        _ => (12.0, healpix::FINEST, |region, level| healpix::envelope(region, level).into_iter().collect()),
    };
    let mut lists = ListBuilder::new(Int64Builder::new());
    let mut most = 0.0;
    for row in 0..rows {
        let (Some(region), Some(level)) = (regions.get(row)?, levels.get(row)) else {
            lists.append(false);
            continue;
        };
        let level = checked(level, finest)?;
        // The estimate from the area of the bounding circle is checked before the envelope is computed.
        let share = region.bounding_circle().area() / (4.0 * std::f64::consts::PI);
        most += share * roots * 4.0_f64.powi(level as i32);
        if most > MOST_PIXELS {
            let message = format!("regions touch more than {MOST_PIXELS} pixels of level {level} in one batch");
            return Err(Error::invalid(message).into());
        }
        lists.values().append_slice(&pixels(&region, level));
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}
