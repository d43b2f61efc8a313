//! The computation of region functions.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Float64Builder, Int64Array, Int64Builder, ListBuilder,
    StructBuilder,
};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::udf::{Op, vertex};
use super::values::{Ints, Numbers, Regions, corners, points};
use crate::error::{Error, Result as OwnResult};
use crate::sphere::circle::Circle;
use crate::sphere::hull::hull;
use crate::sphere::lonlat_box::LonLatBox;
use crate::sphere::region::Region;
use crate::sphere::relation::Relation;
use crate::sphere::{Vector, angle, healpix, htm, latitude, longitude};

/// Upper limit of the estimated number of pixels of all envelopes of one batch.
const MOST_PIXELS: f64 = 16_777_216.0;

impl Op {
    /// Computes the function for rows of arguments; constants have one row.
    pub(super) fn compute(self, args: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
        let each = 0..rows;
        Ok(match self {
            Op::Point | Op::Circle | Op::Box | Op::Polygon | Op::HtmRegion | Op::HealpixRegion => {
                binary(self.regions(args, rows)?)
            }
            Op::Overlaps | Op::Contains => {
                let (a, b) = (Regions::of(&args[0], rows)?, Regions::of(&args[1], rows)?);
                let overlaps = self == Op::Overlaps;
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
                    Ok(match self {
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
                let htm = self == Op::HtmIndex;
                let index = |row: usize| -> OwnResult<Option<i64>> {
                    let (Some(at), Some(level)) = (at.get(row)?, levels.get(row)) else { return Ok(None) };
                    let level = checked(level, if htm { htm::FINEST } else { healpix::FINEST })?;
                    Ok(Some(if htm { htm::index(at, level) } else { healpix::index(at, level) }))
                };
                Arc::new(each.map(index).collect::<OwnResult<Int64Array>>()?)
            }
            Op::HtmEnvelope | Op::HealpixEnvelope => {
                envelopes(self, &Regions::of(&args[0], rows)?, &Ints::of(&args[1], rows)?, rows)?
            }
        })
    }

    /// Computes the encoded regions of a function that returns regions.
    fn regions(self, args: &[ColumnarValue], rows: usize) -> OwnResult<Vec<Option<Vec<u8>>>> {
        let each = 0..rows;
        match self {
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
                each.map(region).collect()
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
                each.map(region).collect()
            }
            Op::HtmRegion => {
                let indices = Ints::of(&args[0], rows)?;
                let region = |row: usize| -> OwnResult<Option<Vec<u8>>> {
                    let Some(index) = indices.get(row) else { return Ok(None) };
                    let pixel =
                        htm::pixel(index).ok_or_else(|| Error::invalid(format!("{index} is not an HTM pixel")))?;
                    Ok(Some(pixel.encode()))
                };
                each.map(region).collect()
            }
            Op::HealpixRegion => {
                let (indices, levels) = (Ints::of(&args[0], rows)?, Ints::of(&args[1], rows)?);
                let region = |row: usize| -> OwnResult<Option<Vec<u8>>> {
                    let (Some(index), Some(level)) = (indices.get(row), levels.get(row)) else { return Ok(None) };
                    let pixel = healpix::pixel(checked(level, healpix::FINEST)?, index);
                    let unknown = || Error::invalid(format!("{index} is not a HEALPix pixel of level {level}"));
                    Ok(Some(pixel.ok_or_else(unknown)?.encode()))
                };
                each.map(region).collect()
            }
            _ => Err(Error::bug("a function that returns no regions")),
        }
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
    a.overlaps(b) != Some(false)
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
