//! The Hierarchical Triangular Mesh (HTM): indices, pixels, and the pixels that a region touches.

use std::ops::Range;

use super::polygon::{Polygon, bounding_box, relation_to_circle};
use super::region::Region;
use super::relation::Relation;
use super::{Vector, distance2, norm, orientation, sum, unit};

const X: Vector = [1.0, 0.0, 0.0];
const Y: Vector = [0.0, 1.0, 0.0];
const Z: Vector = [0.0, 0.0, 1.0];
const NX: Vector = [-1.0, -0.0, -0.0];
const NY: Vector = [-0.0, -1.0, -0.0];
const NZ: Vector = [-0.0, -0.0, -1.0];

/// The eight root trixels, S0 to N3, with indices from 8.
const ROOTS: [[Vector; 3]; 8] =
    [[X, NZ, Y], [Y, NZ, NX], [NX, NZ, NY], [NY, NZ, X], [X, Z, NY], [NY, Z, NX], [NX, Z, Y], [Y, Z, X]];

/// The maximum level of an index.
pub const FINEST: u32 = 24;

/// Returns the pixels of a level that touch a region other than a union or intersection, as ascending ranges.
pub(super) fn cover(region: &Region, level: u32) -> Vec<Range<i64>> {
    let (relation, ball): (Relate<'_>, _) = match region {
        Region::Polygon(p) => (Box::new(|trixel| p.relation_of(trixel)), Some(Ball::around(p.vertices()))),
        Region::Circle(c) => (Box::new(|trixel| relation_to_circle(trixel, c)), None),
        Region::Box(b) => (Box::new(|trixel| bounding_box(trixel).relation(*b)), None),
        Region::Ellipse(e) => {
            let circle = e.bounding_circle();
            (Box::new(move |trixel| relation_to_circle(trixel, &circle).without(Relation::WITHIN)), None)
        }
        Region::Union(_) | Region::Intersection(_) => (Box::new(|_| Relation::UNKNOWN), None),
    };
    let mut search = Search { relation, ball, found: Vec::new() };
    for (index, trixel) in (8..).zip(ROOTS) {
        search.visit(index, trixel, level);
    }
    search.found
}

/// Returns the relation of a trixel to a region.
type Relate<'a> = Box<dyn Fn(&[Vector; 3]) -> Relation + 'a>;

/// A recursive search for the trixels that touch a region.
struct Search<'a> {
    relation: Relate<'a>,
    ball: Option<Ball>,
    found: Vec<Range<i64>>,
}

impl Search<'_> {
    fn visit(&mut self, index: i64, trixel: [Vector; 3], levels: u32) {
        if self.ball.as_ref().is_some_and(|ball| ball.is_far_from(&Ball::around(&trixel))) {
            return;
        }
        let relation = (self.relation)(&trixel);
        if relation.is(Relation::DISJOINT) {
            return;
        }
        if relation.is(Relation::WITHIN) || levels == 0 {
            push(&mut self.found, index << (2 * levels)..(index + 1) << (2 * levels));
            return;
        }
        for (child, trixel) in (0..).zip(children(trixel)) {
            self.visit(4 * index + child, trixel, levels - 1);
        }
    }
}

/// Appends a range, merging it with the last one if they touch.
fn push(ranges: &mut Vec<Range<i64>>, next: Range<i64>) {
    match ranges.last_mut() {
        Some(last) if last.end >= next.start => last.end = last.end.max(next.end),
        _ => ranges.push(next),
    }
}

/// Sorts ranges and merges ranges that touch.
pub(super) fn merged(mut ranges: Vec<Range<i64>>) -> Vec<Range<i64>> {
    ranges.sort_by_key(|r| r.start);
    let mut all = Vec::new();
    ranges.into_iter().for_each(|range| push(&mut all, range));
    all
}

/// Returns the intersection of two ascending lists of ranges.
pub(super) fn common(a: &[Range<i64>], b: &[Range<i64>]) -> Vec<Range<i64>> {
    let (mut all, mut i, mut j) = (Vec::new(), 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let both = x.start.max(y.start)..x.end.min(y.end);
        if !both.is_empty() {
            all.push(both);
        }
        if x.end < y.end { i += 1 } else { j += 1 }
    }
    all
}

/// Returns all pixels of a level.
pub(super) fn universe(level: u32) -> Vec<Range<i64>> {
    std::iter::once(8 << (2 * level)..16 << (2 * level)).collect()
}

/// Returns the pixel of a level that contains a point; on a boundary, the first of the pixels.
pub fn index(v: Vector, level: u32) -> i64 {
    let [x, y, z] = v;
    // A point in the plane of an edge belongs to the root trixel that begins at this edge.
    let root = match (z < 0.0, y > 0.0, y == 0.0) {
        (true, true, _) => 8 + i64::from(x <= 0.0),
        (true, _, true) => 8 + 2 * i64::from(x < 0.0),
        (true, ..) => 10 + i64::from(x >= 0.0),
        (false, true, _) => 15 - i64::from(x <= 0.0),
        (false, _, true) => 15 - 2 * i64::from(x < 0.0),
        (false, ..) => 12 + i64::from(x < 0.0),
    };
    let mut trixel = ROOTS[usize::try_from(root - 8).unwrap_or(0)];
    let mut index = root;
    for _ in 0..level {
        let all = children(trixel);
        // Tests the side of each corner child that faces the middle child.
        let child = (0..3).find(|i| orientation(v, all[*i][1], all[*i][2]) >= 0).unwrap_or(3);
        trixel = all[child];
        index = 4 * index + child as i64;
    }
    index
}

/// Returns the level of an index; `None` if the index is invalid.
pub fn level(index: i64) -> Option<u32> {
    let bits = index.checked_ilog2().filter(|bits| bits % 2 == 1 && *bits >= 3)?;
    Some((bits - 3) / 2).filter(|level| *level <= FINEST)
}

/// Returns the triangle of an index; `None` if the index is invalid.
pub fn pixel(index: i64) -> Option<Polygon> {
    let level = level(index)?;
    let digit = |at: u32| usize::try_from((index >> (2 * at)) & 3).unwrap_or(0);
    let mut trixel = ROOTS[usize::try_from((index >> (2 * level)) & 7).ok()?];
    for at in (0..level).rev() {
        trixel = children(trixel)[digit(at)];
    }
    Some(Polygon::new(trixel.to_vec()))
}

/// A ball around points of the sphere; comparing balls excludes most trixels quickly.
struct Ball {
    centre: Vector,
    radius: f64,
}

impl Ball {
    /// The maximum radius for which a ball is conclusive; the hull of the points may exceed larger balls.
    const WIDEST: f64 = 0.95;
    /// A margin above all rounding errors.
    const MARGIN: f64 = 1e-9;

    fn around(points: &[Vector]) -> Self {
        let total = points.iter().fold([0.0; 3], |s, p| sum(s, *p));
        let length = norm(total);
        let centre = [total[0] / length, total[1] / length, total[2] / length];
        let radius = points.iter().map(|p| distance2(centre, *p)).fold(0.0, f64::max).sqrt();
        Self { centre, radius: if length > 0.0 { radius } else { f64::INFINITY } }
    }

    /// Returns true if the contents of the two balls cannot touch.
    fn is_far_from(&self, other: &Self) -> bool {
        let reach = self.radius + other.radius + Self::MARGIN;
        self.radius < Self::WIDEST
            && other.radius < Self::WIDEST
            && distance2(self.centre, other.centre) > reach * reach
    }
}

fn children([v0, v1, v2]: [Vector; 3]) -> [[Vector; 3]; 4] {
    let middle = |a: Vector, b: Vector| unit(sum(a, b));
    let (m0, m1, m2) = (middle(v1, v2), middle(v2, v0), middle(v0, v1));
    [[v0, m2, m1], [v1, m0, m2], [v2, m1, m0], [m0, m1, m2]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::vectors::{bytes, cases, hex_bytes, numbers, text};

    fn envelope(polygon: Polygon, level: u32) -> Vec<i64> {
        Region::Polygon(polygon).envelope(level).into_iter().flatten().collect()
    }

    /// A square with this half-width (radians) around a point of the equator.
    fn square(longitude: f64, half: f64) -> Polygon {
        let corner = |dx: f64, dy: f64| {
            let (lon, lat) = (longitude + dx * half, dy * half);
            unit([lon.cos() * lat.cos(), lon.sin() * lat.cos(), lat.sin()])
        };
        Polygon::new(vec![corner(1.0, -1.0), corner(1.0, 1.0), corner(-1.0, 1.0), corner(-1.0, -1.0)])
    }

    #[test]
    fn whole_subtrees_are_taken_whole() {
        let touched = envelope(Polygon::new(vec![X, Y, Z]), 3);
        let inside = (15 << 6)..(16 << 6);
        assert!(inside.clone().all(|i| touched.contains(&i)));
        // Outside the octant, only trixels along its edges touch it.
        assert!(touched.len() > 64 && touched.iter().filter(|i| !inside.contains(i)).count() < 64);
        assert!(touched.is_sorted());
    }

    #[test]
    fn small_regions_touch_few_trixels_of_the_right_level() {
        let touched = envelope(square(0.7, 0.001), 7);
        assert!((1..=8).contains(&touched.len()), "{touched:?}");
        assert!(touched.iter().all(|i| (131_072..262_144).contains(i)));
        // At a vertex of the root trixels, all four are touched.
        assert_eq!(envelope(square(0.0, 0.001), 0), [8, 11, 12, 15]);
    }

    #[test]
    fn ranges_are_joined_and_cut() {
        assert_eq!(merged(vec![5..7, 1..2, 2..3, 6..9]), [1..3, 5..9]);
        assert_eq!(common(&[1..3, 5..9], &[2..6, 8..10]), [2..3, 5..6, 8..9]);
        for (index, is) in
            [(7, None), (8, Some(0)), (16, None), (32, Some(1)), (131_072, Some(7)), (0, None), (-8, None)]
        {
            assert_eq!(level(index), is, "{index}");
        }
    }

    #[test]
    fn envelopes_equal_those_of_sphgeom() {
        for case in cases("htm_envelopes.jsonl") {
            let region = Region::decode(&hex_bytes(&case["encoded_hex"])).unwrap();
            let ranges = case["htm7"].as_array().unwrap();
            let want: Vec<_> = ranges.iter().map(|r| r[0].as_i64().unwrap()..r[1].as_i64().unwrap()).collect();
            assert_eq!(region.envelope(7), want, "{}", case["kind"]);
        }
    }

    #[test]
    fn indices_and_pixels_equal_those_of_sphgeom() {
        for line in text("htm_points.csv").lines().skip(1) {
            let fields: Vec<_> = line.split(',').collect();
            let v: Vector = numbers(fields[3]).try_into().unwrap();
            assert_eq!(index(v, fields[4].parse().unwrap()), fields[5].parse::<i64>().unwrap(), "{line}");
        }
        for line in text("htm_trixels.csv").lines().skip(1) {
            let fields: Vec<_> = line.split(',').collect();
            let number = fields[1].parse().unwrap();
            assert_eq!(level(number), fields[0].parse().ok(), "{line}");
            assert_eq!(pixel(number).unwrap().encode(), bytes(fields[3]), "{line}");
        }
    }
}
