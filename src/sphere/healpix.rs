//! HEALPix pixels in nested order (Górski et al. 2005, ApJ 622, 759), with the indices and rounding of `healpix`.

use std::collections::BTreeSet;
use std::f64::consts::{FRAC_PI_2, TAU};

use super::circle::Circle;
use super::hull::hull;
use super::polygon::Polygon;
use super::region::Region;
use super::relation::Relation;
use super::{Vector, cross, dot, unit};

/// The maximum level of an index.
pub const FINEST: u32 = 17;

/// Row of the centre of each of the twelve base pixels, in units of half a base pixel.
const ROWS: [f64; 12] = [2., 2., 2., 2., 3., 3., 3., 3., 4., 4., 4., 4.];
/// Column of the centre of each of the twelve base pixels, in units of half a base pixel.
const COLUMNS: [f64; 12] = [1., 3., 5., 7., 0., 2., 4., 6., 1., 3., 5., 7.];

/// Above this absolute value of z, the distance from the polar axis is more accurate than z.
const POLAR: f64 = 0.99;

/// Returns the pixel of a level that contains a point.
pub fn index(v: Vector, level: u32) -> i64 {
    let length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
    let (z, aside) = (v[2] / length, (v[0] * v[0] + v[1] * v[1]).sqrt() / length);
    let lon = if v[0] == 0.0 && v[1] == 0.0 { 0.0 } else { v[1].atan2(v[0]) };
    let quarters = {
        let turned = lon / FRAC_PI_2;
        if turned < 0.0 { (turned + 4.0) % 4.0 } else { turned % 4.0 }
    };
    let side = 1_i64 << level;
    let n = side as f64;
    let (face, x, y) = if z.abs() <= 2.0 / 3.0 {
        let (a, b) = (n * (0.5 + quarters), n * (z * 0.75));
        // The indices of the descending and the ascending edge lines (towards east).
        let (down, up) = ((a - b) as i64, (a + b) as i64);
        let (from, to) = (down >> level, up >> level);
        let face = match from.cmp(&to) {
            std::cmp::Ordering::Equal => from | 4,
            std::cmp::Ordering::Less => from,
            std::cmp::Ordering::Greater => to + 8,
        };
        (face, up & (side - 1), side - (down & (side - 1)) - 1)
    } else {
        let quarter = (quarters as i64).min(3);
        let within = quarters - quarter as f64;
        let away = if z.abs() < POLAR {
            n * (3.0 * (1.0 - z.abs())).sqrt()
        } else {
            n * aside / ((1.0 + z.abs()) / 3.0).sqrt()
        };
        let down = ((within * away) as i64).min(side - 1);
        let up = (((1.0 - within) * away) as i64).min(side - 1);
        if z >= 0.0 { (quarter, side - up - 1, side - down - 1) } else { (quarter + 8, down, up) }
    };
    join(level, face, x, y)
}

/// Returns the convex polygon around a pixel, from four points of each side; `None` if the level has no such pixel.
pub fn pixel(level: u32, index: i64) -> Option<Polygon> {
    const STEPS: u32 = 4;
    if level > FINEST || !(0..12 << (2 * level)).contains(&index) {
        return None;
    }
    let ((face, x, y), n) = (split(level, index), side(level));
    let (x, y, half) = ((x as f64 + 0.5) / n, (y as f64 + 0.5) / n, 0.5 / n);
    let step = 1.0 / (f64::from(STEPS) * n);
    let moved = |i: u32| f64::from(i) * step;
    let sides = (0..STEPS)
        .map(|i| (x + half - moved(i), y + half))
        .chain((0..STEPS).map(|i| (x - half, y + half - moved(i))))
        .chain((0..STEPS).map(|i| (x - half + moved(i), y - half)))
        .chain((0..STEPS).map(|i| (x + half, y - half + moved(i))));
    hull(&sides.map(|(x, y)| point(face, x, y)).collect::<Vec<_>>())
}

/// The number of levels by which envelope pixels are subdivided.
const FINER: u32 = 4;

/// Returns the pixels of a level that a region touches, as `sphgeom` 29 does: the pixels that contain a pixel four
/// levels finer whose centre is inside the region, or a neighbour of such a pixel. A region between these centres has
/// no pixels. Ellipses, and polygons that `healpix` refuses because of a flat corner, are replaced by their bounding
/// circle.
pub fn envelope(region: &Region, level: u32) -> BTreeSet<i64> {
    let by_circle = match region {
        Region::Polygon(p) => has_flat_corner(p.vertices()),
        Region::Ellipse(_) => true,
        _ => false,
    };
    let mut found = BTreeSet::new();
    match region {
        Region::Circle(point) if point.is_point() => {
            take(level, level + FINER, index(point.centre, level + FINER), &mut found)
        }
        _ => {
            let circle = by_circle.then(|| Region::Circle(region.bounding_circle()));
            (0..12).for_each(|face| descend(circle.as_ref().unwrap_or(region), level, 0, face, &mut found));
        }
    }
    found
}

/// Returns true if three successive vertices are on a great circle, within the tolerance of the `healpix` library.
fn has_flat_corner(vertices: &[Vector]) -> bool {
    const FLAT: f64 = 1e-10;
    let at = |i: usize| vertices[i % vertices.len()];
    let height = |i| dot(unit(cross(at(i), at(i + 1))), at(i + 2)).abs();
    !(0..vertices.len()).all(|i| height(i) > FLAT)
}

/// Searches a pixel of level `at` recursively down to the level of the subdivision.
fn descend(region: &Region, level: u32, at: u32, pixel: i64, found: &mut BTreeSet<i64>) {
    /// An upper limit of the distance of a point of a pixel from its centre, in units of its side.
    const REACH: f64 = 1.1;
    let middle = middle(at, pixel);
    if at == level + FINER {
        if region.contains(middle) {
            take(level, at, pixel, found);
        }
        return;
    }
    let relation = region.relation(&Region::Circle(Circle::new(middle, REACH / side(at))));
    if at >= level && relation.is(Relation::CONTAINS) {
        take(level, at, pixel, found);
    } else if !relation.is(Relation::DISJOINT) {
        (0..4).for_each(|child| descend(region, level, at + 1, 4 * pixel + child, found));
    }
}

/// Adds the pixels of a level that contain a pixel of level `at` (not coarser) or one of its neighbours.
fn take(level: u32, at: u32, pixel: i64, found: &mut BTreeSet<i64>) {
    let (face, x, y) = split(at, pixel);
    let finer = at - level;
    let near = |c: i64| (c - 1) >> finer..=(c + 1) >> finer;
    let sides = 0..1_i64 << level;
    if [near(x), near(y)].iter().all(|c| sides.contains(c.start()) && sides.contains(c.end())) {
        found.extend(near(x).flat_map(|x| near(y).map(move |y| join(level, face, x, y))));
    } else {
        found.extend(around(at, pixel).iter().map(|fine| fine >> (2 * finer)));
    }
}

/// Returns a pixel and its neighbours at sides and corners: the pixels of points close to its corners.
fn around(level: u32, pixel: i64) -> BTreeSet<i64> {
    const DIRECTIONS: u32 = 16;
    let ((face, x, y), n) = (split(level, pixel), side(level));
    let (x, y) = (x as f64, y as f64);
    let corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)];
    let close = corners.iter().flat_map(|(dx, dy)| {
        let corner = point(face, (x + dx) / n, (y + dy) / n);
        let east = if corner[2].abs() < POLAR { [-corner[1], corner[0], 0.0] } else { [0.0, -corner[2], corner[1]] };
        let east = unit(east);
        let north = cross(corner, east);
        (0..DIRECTIONS).map(move |i| {
            let (sin, cos) = (TAU * (f64::from(i) + 0.5) / f64::from(DIRECTIONS)).sin_cos();
            std::array::from_fn(|c| corner[c] + 0.1 / n * (cos * east[c] + sin * north[c]))
        })
    });
    close.map(|v| index(v, level)).collect()
}

/// Returns the number of pixels along a side of a base pixel.
fn side(level: u32) -> f64 {
    f64::from(1_u32 << level)
}

/// Splits an index into the base pixel and the x and y position within it.
fn split(level: u32, index: i64) -> (i64, i64, i64) {
    let within = index & ((1 << (2 * level)) - 1);
    (index >> (2 * level), gather(within), gather(within >> 1))
}

/// Returns the index of a pixel from the base pixel and the position within it.
fn join(level: u32, face: i64, x: i64, y: i64) -> i64 {
    (face << (2 * level)) + spread(x) + 2 * spread(y)
}

/// Returns the centre of a pixel.
fn middle(level: u32, index: i64) -> Vector {
    let ((face, x, y), n) = (split(level, index), side(level));
    point(face, (x as f64 + 0.5) / n, (y as f64 + 0.5) / n)
}

/// Returns the point of a base pixel at coordinates from 0 to 1.
fn point(face: i64, x: f64, y: f64) -> Vector {
    let face = face as usize;
    let row = ROWS[face] - x - y;
    let (width, z, aside) = if row < 1.0 {
        let below = row * row / 3.0;
        (row, 1.0 - below, Some((below * (2.0 - below)).sqrt()))
    } else if row > 3.0 {
        let width = 4.0 - row;
        let above = width * width / 3.0;
        (width, above - 1.0, Some((above * (2.0 - above)).sqrt()))
    } else {
        (1.0, (2.0 - row) * 2.0 / 3.0, None)
    };
    let column = COLUMNS[face] * width + x - y;
    let column = column.rem_euclid(8.0);
    let lon = if width < 1e-15 { 0.0 } else { (0.5 * FRAC_PI_2 * column) / width };
    let aside = aside.filter(|_| z.abs() > POLAR).unwrap_or_else(|| ((1.0 - z) * (1.0 + z)).sqrt());
    [aside * lon.cos(), aside * lon.sin(), z]
}

/// Moves the bits of a number to the even positions.
fn spread(number: i64) -> i64 {
    (0..32).map(|bit| (number >> bit & 1) << (2 * bit)).sum()
}

/// Collects the bits at the even positions of a number.
fn gather(number: i64) -> i64 {
    (0..32).map(|bit| (number >> (2 * bit) & 1) << bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::vectors::{cases, hex_bytes, numbers, text};

    #[test]
    fn the_base_pixels_are_where_they_should_be() {
        assert_eq!(
            [[0.7, 0.7, 0.1], [-0.7, 0.7, 0.7], [1.0, 0.0, 0.0], [0.5, 0.5, -0.8]].map(|v| index(v, 0)),
            [0, 1, 4, 8]
        );
        assert!(pixel(0, 12).is_none() && pixel(18, 0).is_none() && pixel(3, -1).is_none());
        for at in 0..768 {
            assert_eq!(index(pixel(3, at).unwrap().centroid(), 3), at);
        }
    }

    #[test]
    fn pixels_have_eight_neighbours_but_where_three_meet() {
        for level in 1..5 {
            let all: Vec<_> = (0..12 << (2 * level)).map(|pixel| around(level, pixel)).collect();
            let count = |n: usize| all.iter().filter(|set| set.len() == n).count();
            assert_eq!((count(8), count(9)), (24, all.len() - 24), "level {level}");
            for (pixel, others) in (0..).zip(&all) {
                assert!(others.iter().all(|other| all[*other as usize].contains(&pixel)), "{level} {pixel}");
            }
        }
    }

    #[test]
    fn envelopes_equal_those_of_sphgeom() {
        for case in cases("healpix_regions.jsonl").iter().filter(|case| case["op"] == "envelope") {
            let region = Region::decode(&hex_bytes(&case["region"])).unwrap();
            let ranges = case["ranges"].as_array().unwrap();
            let want: Vec<_> = ranges.iter().flat_map(|r| r[0].as_i64().unwrap()..r[1].as_i64().unwrap()).collect();
            let level = u32::try_from(case["level"].as_u64().unwrap()).unwrap();
            assert_eq!(envelope(&region, level).into_iter().collect::<Vec<_>>(), want, "{case}");
        }
    }

    #[test]
    fn indices_and_pixels_equal_those_of_the_library() {
        for line in text("healpix.csv").lines().skip(1) {
            let fields: Vec<_> = line.split(',').collect();
            let v = numbers(fields[2]);
            assert_eq!(
                index([v[0], v[1], v[2]], fields[3].parse().unwrap()),
                fields[4].parse::<i64>().unwrap(),
                "{line}"
            );
        }
        for case in cases("healpix_regions.jsonl") {
            let (level, index) = (case["level"].as_u64().unwrap(), case["index"].as_i64());
            let Some(index) = index else { continue };
            let ours = pixel(u32::try_from(level).unwrap(), index).unwrap();
            let want = numbers(&case["encoded_hex"].as_str().unwrap()[2..]);
            let want = Polygon::new(want.chunks(3).map(|v| [v[0], v[1], v[2]]).collect());
            // Points that are almost collinear with others may or may not be vertices.
            assert!(
                (ours.area() / want.area() - 1.0).abs() < 1e-9,
                "{} {} {ours:?} {want:?}",
                ours.area(),
                want.area()
            );
            let (a, b) = (ours.centroid(), want.centroid());
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{case}");
        }
    }
}
