//! Convex polygons on the sphere.

use std::f64::consts::FRAC_PI_2;

use super::circle::{self, Circle, MAX_CHORD_ERROR};
use super::interval::{Latitudes, Longitudes, normalized as normalized_angle};
use super::lonlat_box::LonLatBox;
use super::relation::Relation;
use super::{
    Vector, distance2, dot, from_radians, latitude, longitude, negative, normalized, orientation, robust_cross, unit,
};

/// A convex polygon; its vertices are counter-clockwise seen from outside the sphere.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon(Vec<Vector>);

impl Polygon {
    /// Creates a polygon from vertices, which must be counter-clockwise and convex.
    pub fn new(vertices: Vec<Vector>) -> Self {
        Self(vertices)
    }

    /// Encodes the polygon as `sphgeom` does: the letter `p`, then three little-endian doubles per vertex.
    pub fn encode(&self) -> Vec<u8> {
        let numbers = self.0.iter().flatten().flat_map(|n| n.to_le_bytes());
        std::iter::once(b'p').chain(numbers).collect()
    }

    /// Returns the vertices.
    pub fn vertices(&self) -> &[Vector] {
        &self.0
    }

    /// Returns true if a point is inside or on the boundary.
    pub fn contains(&self, v: Vector) -> bool {
        contains(&self.0, v)
    }

    /// Returns true if the polygon contains a box.
    ///
    /// The interior is on the left of all planes through an edge and the centre of the sphere. Along a parallel, the
    /// distance from such a plane is a cosine of the longitude, so that its minimum is known.
    pub fn contains_box(&self, b: LonLatBox) -> bool {
        b.is_empty()
            || edges(&self.0).all(|(from, to)| {
                let n = robust_cross(from, to);
                // The longitude with the minimum distance from the plane.
                let least = (-n[1]).atan2(-n[0]);
                let worst = if b.lon.contains(normalized_angle(least)) {
                    [b.lon.a, b.lon.b, least]
                } else {
                    [b.lon.a, b.lon.b, b.lon.a]
                };
                [b.lat.a, b.lat.b].iter().all(|lat| worst.iter().all(|lon| dot(n, from_radians(*lon, *lat)) >= 0.0))
            })
    }

    /// Returns the relation to another polygon.
    pub fn relation(&self, other: &Self) -> Relation {
        let inside = |a: &Self, b: &Self| {
            let inside = a.0.iter().map(|v| b.contains(*v));
            inside.fold((true, false), |(all, any), inside| (all && inside, any || inside))
        };
        let ((all_ours, any_ours), (all_theirs, any_theirs)) = (inside(self, other), inside(other, self));
        let certain = |yes: bool, what: Relation| if yes { what } else { Relation::UNKNOWN };
        if all_ours || all_theirs {
            return certain(all_ours, Relation::WITHIN) | certain(all_theirs, Relation::CONTAINS);
        }
        certain(!(any_ours || any_theirs || edges_cross(&self.0, &other.0)), Relation::DISJOINT)
    }

    /// Returns whether the polygon of these vertices is within this polygon or disjoint from it; faster than
    /// [`relation`](Self::relation).
    pub(super) fn relation_of(&self, other: &[Vector]) -> Relation {
        let (mut all_in, mut any_in) = (true, false);
        for vertex in other {
            let inside = contains(&self.0, *vertex);
            all_in &= inside;
            any_in |= inside;
        }
        if all_in {
            return Relation::WITHIN;
        }
        if any_in || self.0.iter().any(|vertex| contains(other, *vertex)) {
            return Relation::UNKNOWN;
        }
        // In most cases an edge of one polygon separates them.
        if has_outside(&self.0, other) || has_outside(other, &self.0) || !edges_cross(other, &self.0) {
            return Relation::DISJOINT;
        }
        Relation::UNKNOWN
    }

    /// Returns the relation to a circle.
    pub fn relation_to_circle(&self, c: &Circle) -> Relation {
        relation_to_circle(&self.0, c)
    }

    /// Returns the direction of the centre of mass.
    pub fn centroid(&self) -> Vector {
        let mut sum = [0.0; 3];
        for (a, b) in edges(&self.0) {
            let (normal, length) = normalized(robust_cross(a, b));
            let (sine, cosine) = (0.5 * length, dot(a, b));
            let angle = if sine == 0.0 && cosine == 0.0 { 0.0 } else { sine.atan2(cosine) };
            sum = [0, 1, 2].map(|i| sum[i] + normal[i] * angle);
        }
        unit(sum)
    }

    /// Returns the area (steradian): the spherical excess of the triangles from the first vertex.
    pub fn area(&self) -> f64 {
        let first = self.0[0];
        let excess = |(b, c): (Vector, Vector)| {
            let volume = dot(first, robust_cross(b, c)) / 2.0;
            2.0 * volume.atan2(1.0 + dot(first, b) + dot(b, c) + dot(c, first))
        };
        self.0[1..].windows(2).map(|pair| excess((pair[0], pair[1]))).sum()
    }

    /// Returns a bounding circle.
    pub fn bounding_circle(&self) -> Circle {
        let centre = self.centroid();
        let farthest = self.0.iter().map(|v| distance2(*v, centre)).fold(0.0, f64::max);
        Circle::from_chord(centre, farthest + 2.0 * MAX_CHORD_ERROR)
    }

    /// Returns a bounding box.
    pub fn bounding_box(&self) -> LonLatBox {
        bounding_box(&self.0)
    }
}

pub(super) fn edges(vertices: &[Vector]) -> impl Iterator<Item = (Vector, Vector)> + '_ {
    let before = vertices.iter().cycle().skip(vertices.len().saturating_sub(1));
    before.zip(vertices).map(|(a, b)| (*a, *b))
}

/// Returns true if a point is inside a polygon or on its boundary.
fn contains(vertices: &[Vector], point: Vector) -> bool {
    edges(vertices).all(|(from, to)| orientation(point, from, to) >= 0)
}

/// Returns true if all other vertices are on the outer side of an edge of a polygon.
fn has_outside(vertices: &[Vector], others: &[Vector]) -> bool {
    edges(vertices).any(|(from, to)| others.iter().all(|v| orientation(*v, from, to) < 0))
}

fn edges_cross(a: &[Vector], b: &[Vector]) -> bool {
    edges(a).any(|(from, to)| edges(b).any(|(c, d)| cross(from, to, c, d)))
}

/// Returns true if two edges cross at an interior point of both.
fn cross(a: Vector, b: Vector, c: Vector, d: Vector) -> bool {
    let turn = orientation(a, c, d);
    turn != 0 && orientation(b, d, c) == turn && orientation(c, b, a) == turn && orientation(d, a, b) == turn
}

/// Returns the relation of the polygon of these vertices to a circle.
pub(super) fn relation_to_circle(vertices: &[Vector], c: &Circle) -> Relation {
    let special = Relation::of_empty(false, c.is_empty()).or_else(|| Relation::of_full(false, c.is_full()));
    if let Some(relation) = special {
        return relation;
    }
    let Some(inside) = circle::side(c, vertices) else { return Relation::UNKNOWN };
    let mut arcs = edges(vertices).map(|(a, b)| (a, b, robust_cross(a, b)));
    let (crosses, centre) = if inside {
        let limit = c.chord2 - MAX_CHORD_ERROR;
        (arcs.any(|(a, b, n)| circle::farthest(c.centre, a, b, n) > limit), negative(c.centre))
    } else {
        let limit = c.chord2 + MAX_CHORD_ERROR;
        (arcs.any(|(a, b, n)| circle::nearest(c.centre, a, b, n) < limit), c.centre)
    };
    circle::verdict(crosses, inside, || contains(vertices, centre))
}

/// Returns a bounding box of the polygon of these vertices.
pub(super) fn bounding_box(vertices: &[Vector]) -> LonLatBox {
    /// About 0.1 milliarcseconds, above all rounding errors.
    const MARGIN: f64 = 5.0e-10;
    let pole = [0.0, 0.0, 1.0];
    let mut found = LonLatBox::EMPTY;
    let (mut all_left, mut all_right) = (true, true);
    for (a, b) in edges(vertices) {
        found = found.expanded(LonLatBox::around(longitude(b), latitude(b), MARGIN, MARGIN));
        let turn = orientation(pole, a, b);
        all_left &= turn >= 0;
        all_right &= turn <= 0;
        // An edge that contains the extreme latitude of its great circle exceeds the latitudes of its ends.
        let n = robust_cross(a, b);
        let top = [-n[0] * n[2], -n[1] * n[2], n[0] * n[0] + n[1] * n[1]];
        let beside = |v: Vector| v[1] * n[0] - v[0] * n[1];
        let (at_a, at_b) = (beside(a), beside(b));
        let reached = match top == [0.0; 3] {
            false if at_a > 0.0 && at_b < 0.0 => Some(latitude(top) + MARGIN),
            false if at_a < 0.0 && at_b > 0.0 => Some(latitude(negative(top)) - MARGIN),
            _ => None,
        };
        if let Some(lat) = reached {
            found = LonLatBox::new(found.lon, found.lat.expanded(Latitudes { a: lat, b: lat }));
        }
    }
    // A polygon around a pole contains all longitudes.
    let around = |lat: f64| LonLatBox::new(Longitudes::FULL, Latitudes { a: lat, b: lat });
    match (all_left, all_right) {
        (true, _) => found.expanded(around(FRAC_PI_2)),
        (_, true) => found.expanded(around(-FRAC_PI_2)),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_seen() {
        let octant = Polygon::new(vec![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        let inner = [[0.8, 0.4, 0.4], [0.4, 0.8, 0.4], [0.4, 0.4, 0.8]];
        for (other, relation) in [
            (inner, Relation::WITHIN),
            (inner.map(|v| v.map(|c| -c)), Relation::DISJOINT),
            ([[0.8, 0.4, 0.4], [0.4, 0.8, 0.4], [0.5, 0.5, -0.1]], Relation::UNKNOWN),
        ] {
            assert_eq!(octant.relation_of(&other), relation);
            assert_eq!(Polygon::new(other.to_vec()).relation(&octant), relation);
        }
    }

    #[test]
    fn an_octant_has_an_eighth_of_the_sphere() {
        let octant = Polygon::new(vec![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        assert!((octant.area() - FRAC_PI_2).abs() < 1e-15);
        let middle = octant.centroid();
        assert!(middle.iter().all(|c| (c - 3.0_f64.sqrt().recip()).abs() < 1e-15), "{middle:?}");
    }
}
