//! Circles on the sphere, and the relations of their boundaries to points and arcs.

use std::f64::consts::{FRAC_PI_2, PI};

use super::lonlat_box::LonLatBox;
use super::relation::Relation;
use super::{Vector, angle, cross, distance2, dot, latitude, longitude, norm, orthogonal, unit};

/// The maximum error of an angle computed by an arc sine, radians.
pub(super) const MAX_ASIN_ERROR: f64 = 1.5e-8;
/// The maximum error of a squared chord length.
pub(super) const MAX_CHORD_ERROR: f64 = 2.5e-15;

/// A circle: all points within an opening angle of its centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circle {
    /// Unit vector of the centre.
    pub centre: Vector,
    /// Squared chord length from the centre to the boundary; negative for the empty circle, 4 or more for the full
    /// sphere.
    pub chord2: f64,
    /// Opening angle from the centre to the boundary, radians.
    pub opening: f64,
}

/// Returns the squared chord length of an angle (radians).
pub(super) fn chord_of(angle: f64) -> f64 {
    if angle < 0.0 {
        return -1.0;
    }
    if angle >= PI {
        return 4.0;
    }
    let s = (0.5 * angle).sin();
    4.0 * s * s
}

impl Circle {
    /// The empty circle.
    pub const EMPTY: Self = Self { centre: [0.0, 0.0, 1.0], chord2: -1.0, opening: -1.0 };
    /// The full sphere.
    pub const FULL: Self = Self { centre: [0.0, 0.0, 1.0], chord2: 4.0, opening: PI };

    /// Creates a circle from its centre and its opening angle (radians).
    pub fn new(centre: Vector, opening: f64) -> Self {
        Self { centre, chord2: chord_of(opening), opening }
    }

    /// Creates a circle from its centre and its squared chord length.
    pub fn from_chord(centre: Vector, chord2: f64) -> Self {
        let opening = if chord2 < 0.0 {
            -1.0
        } else if chord2 >= 4.0 {
            PI
        } else {
            2.0 * (0.5 * chord2.sqrt()).asin()
        };
        Self { centre, chord2, opening }
    }

    /// Returns true if the circle contains no point.
    pub fn is_empty(&self) -> bool {
        self.chord2.is_nan() || self.chord2 < 0.0
    }

    pub(super) fn is_full(&self) -> bool {
        self.chord2 >= 4.0
    }

    /// Returns true if the circle is a single point.
    pub fn is_point(&self) -> bool {
        self.chord2 == 0.0
    }

    /// Returns true if a point is inside or on the boundary.
    pub fn contains(&self, v: Vector) -> bool {
        self.is_full() || distance2(v, self.centre) <= self.chord2
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.is_empty() && other.is_empty()) || (self.is_full() && other.is_full()) || self == other
    }

    /// Returns the relation to another circle.
    pub fn relation(&self, other: &Self) -> Relation {
        let special = Relation::of_empty(self.is_empty(), other.is_empty());
        if let Some(relation) = special.or_else(|| Relation::of_full(self.is_full(), other.is_full())) {
            return relation;
        }
        if self.is_same(other) {
            return Relation::EQUAL;
        }
        let (apart, slack) = (angle(self.centre, other.centre), 4.0 * MAX_ASIN_ERROR);
        match () {
            () if apart > self.opening + other.opening + slack => Relation::DISJOINT,
            () if apart + other.opening + slack <= self.opening => Relation::CONTAINS,
            () if apart + self.opening + slack <= other.opening => Relation::WITHIN,
            () => Relation::UNKNOWN,
        }
    }

    /// Returns a bounding box.
    pub fn bounding_box(&self) -> LonLatBox {
        let (lon, lat) = (longitude(self.centre), latitude(self.centre));
        let height = self.opening + 2.0 * MAX_ASIN_ERROR;
        LonLatBox::around(lon, lat, half_width(height, lat) + MAX_ASIN_ERROR, height)
    }

    /// Returns a circle that contains both circles.
    #[must_use]
    pub fn expanded(self, other: Self) -> Self {
        if self.is_empty() || other.is_full() {
            return other;
        }
        if other.is_empty() || self.is_full() {
            return self;
        }
        let (apart, slack) = (angle(self.centre, other.centre), 4.0 * MAX_ASIN_ERROR);
        if apart + other.opening + slack <= self.opening {
            return self;
        }
        if apart + self.opening + slack <= other.opening {
            return other;
        }
        let opening = 0.5 * (apart + self.opening + other.opening);
        if opening + 2.0 * MAX_ASIN_ERROR >= PI {
            return Self::FULL;
        }
        // The centre moves towards the centre of the other circle.
        let normal = orthogonal(self.centre, other.centre);
        let turn = opening - self.opening;
        let aside = cross(normal, self.centre);
        let moved = [0, 1, 2].map(|i| self.centre[i] * turn.cos() + aside[i] * turn.sin());
        Self::new(unit(moved), opening + MAX_ASIN_ERROR)
    }

    /// Returns a circle that contains the intersection: the smaller of the two circles.
    #[must_use]
    pub fn clipped(self, other: Self) -> Self {
        if self.is_empty() || other.is_full() {
            return self;
        }
        if self.is_full() || other.is_empty() {
            return other;
        }
        let apart = angle(self.centre, other.centre);
        if apart > self.opening + other.opening + 4.0 * MAX_ASIN_ERROR {
            return Self::EMPTY;
        }
        if other.opening < self.opening { other } else { self }
    }

    /// Returns the area, steradian.
    pub fn area(&self) -> f64 {
        PI * self.chord2.clamp(0.0, 4.0)
    }
}

/// Returns half the longitude range (radians) of a circle, from its opening angle and the latitude of its centre.
fn half_width(opening: f64, latitude: f64) -> f64 {
    if opening <= 0.0 {
        return 0.0;
    }
    if latitude.abs() + opening >= FRAC_PI_2 {
        return PI;
    }
    (opening.sin() / latitude.cos()).abs().min(1.0).asin()
}

/// Returns true if all points are inside a circle, false if all are outside, `None` if the points are on both sides or
/// too close to the boundary.
pub(super) fn side(c: &Circle, points: &[Vector]) -> Option<bool> {
    let mut side = None;
    for point in points {
        let d = distance2(*point, c.centre);
        if (d - c.chord2).abs() < MAX_CHORD_ERROR {
            return None;
        }
        let inside = d < c.chord2;
        if *side.get_or_insert(inside) != inside {
            return None;
        }
    }
    side
}

/// Returns the squared chord length from `v` to the nearest interior point of the arc from `a` to `b` (with normal
/// `n`); 4 if an end point is nearest.
pub(super) fn nearest(v: Vector, a: Vector, b: Vector, n: Vector) -> f64 {
    let vxn = cross(v, n);
    if !(dot(vxn, a) > 0.0 && dot(vxn, b) < 0.0) {
        return 4.0;
    }
    let (s, c) = (dot(v, n).abs(), norm(vxn));
    let theta = if c == 0.0 { FRAC_PI_2 } else { (s / c).atan() };
    chord_of(theta)
}

/// Returns the squared chord length from `v` to the farthest interior point of the arc from `a` to `b` (with normal
/// `n`); 0 if an end point is farthest.
pub(super) fn farthest(v: Vector, a: Vector, b: Vector, n: Vector) -> f64 {
    let vxn = cross(v, n);
    if !(dot(vxn, a) < 0.0 && dot(vxn, b) > 0.0) {
        return 0.0;
    }
    chord_of(dot(v, n).abs().atan2(-norm(vxn)))
}

/// Returns the relation of a region to a circle. `crosses`: the boundaries intersect; `inside`: the vertices of the
/// region are inside the circle; `holds`: the region contains the centre of the circle or, if `inside`, its antipode,
/// because a circle that is almost the full sphere can leave a hole inside the region.
pub(super) fn verdict(crosses: bool, inside: bool, holds: impl FnOnce() -> bool) -> Relation {
    match (crosses, inside, !crosses && holds()) {
        (true, ..) | (_, true, true) => Relation::UNKNOWN,
        (_, true, false) => Relation::WITHIN,
        (_, false, true) => Relation::CONTAINS,
        (_, false, false) => Relation::DISJOINT,
    }
}
