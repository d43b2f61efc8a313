//! Boxes of longitude and latitude.

use std::f64::consts::{FRAC_PI_2, PI};

use super::circle::{self, Circle, MAX_ASIN_ERROR, MAX_CHORD_ERROR, chord_of};
use super::interval::{Latitudes, Longitudes};
use super::relation::Relation;
use super::{Vector, distance2, dot, from_radians, latitude, longitude, negative};

/// A box of longitude and latitude, radians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LonLatBox {
    /// Interval of longitudes.
    pub lon: Longitudes,
    /// Interval of latitudes.
    pub lat: Latitudes,
}

impl LonLatBox {
    /// The empty box.
    pub const EMPTY: Self = Self { lon: Longitudes::EMPTY, lat: Latitudes::EMPTY };
    /// The full sphere.
    pub const FULL: Self = Self { lon: Longitudes::FULL, lat: Latitudes::FULL };

    /// Creates a box from intervals; latitudes beyond the poles are clipped.
    pub fn new(lon: Longitudes, lat: Latitudes) -> Self {
        let lat = lat.clipped(Latitudes::FULL);
        if lat.is_empty() {
            Self { lon: Longitudes::EMPTY, lat }
        } else if lon.is_empty() {
            Self::EMPTY
        } else {
            Self { lon, lat }
        }
    }

    /// Creates a box around a point from half its width and half its height (radians).
    pub fn around(lon: f64, lat: f64, width: f64, height: f64) -> Self {
        let lon = Longitudes { a: lon, b: lon }.dilated(width);
        Self::new(lon, Latitudes { a: lat - height, b: lat + height })
    }

    /// Returns true if the box contains no point.
    pub fn is_empty(self) -> bool {
        self.lat.is_empty()
    }

    fn is_full(self) -> bool {
        self == Self::FULL
    }

    /// Returns true if a point is inside or on the boundary.
    pub fn contains(self, v: Vector) -> bool {
        self.contains_lonlat(longitude(v), latitude(v))
    }

    fn contains_lonlat(self, lon: f64, lat: f64) -> bool {
        self.lat.contains(lat) && self.lon.contains(lon)
    }

    /// Returns true if two boxes have no point in common.
    pub(super) fn is_disjoint(self, other: Self) -> bool {
        self.lat.is_disjoint(other.lat) || self.lon.is_disjoint(other.lon)
    }

    /// Returns the relation to another box.
    pub fn relation(self, other: Self) -> Relation {
        let (lon, lat) = (self.lon.relation(other.lon), self.lat.relation(other.lat));
        (lon & lat).without(Relation::DISJOINT) | ((lon | lat) & Relation::DISJOINT)
    }

    /// Returns the relation to a circle.
    pub fn relation_to_circle(self, c: &Circle) -> Relation {
        let special = Relation::of_empty(self.is_empty(), c.is_empty());
        if let Some(relation) = special.or_else(|| Relation::of_full(self.is_full(), c.is_full())) {
            return relation;
        }
        let corners = self.corners();
        let Some(inside) = circle::side(c, &corners) else { return Relation::UNKNOWN };
        // The meridians at both ends, with their normals.
        let meridians = [(self.lon.a, [1, 0]), (self.lon.b, [3, 2])]
            .map(|(lon, [north, south])| (corners[north], corners[south], [-lon.sin(), lon.cos(), 0.0]));
        let centre = if inside { negative(c.centre) } else { c.centre };
        let (lon, lat) = (longitude(centre), latitude(centre));
        // The distance to the nearer of the two parallels.
        let nearest = || (lat - self.lat.a).abs().min((lat - self.lat.b).abs());
        let crosses = if inside {
            let limit = c.chord2 - MAX_CHORD_ERROR;
            meridians.iter().any(|(a, b, n)| circle::farthest(c.centre, *a, *b, *n) > limit)
                || (self.lon.contains(lon) && chord_of(PI - nearest()) > limit)
        } else {
            let limit = c.chord2 + MAX_CHORD_ERROR;
            meridians.iter().any(|(a, b, n)| circle::nearest(c.centre, *a, *b, *n) < limit)
                || (self.lon.contains(lon) && chord_of(nearest()) < limit)
        };
        circle::verdict(crosses, inside, || self.contains_lonlat(lon, lat))
    }

    fn corners(self) -> [Vector; 4] {
        let at = from_radians;
        [at(self.lon.a, self.lat.a), at(self.lon.a, self.lat.b), at(self.lon.b, self.lat.a), at(self.lon.b, self.lat.b)]
    }

    /// Returns a box that contains both boxes.
    #[must_use]
    pub fn expanded(self, other: Self) -> Self {
        Self { lon: self.lon.expanded(other.lon), lat: self.lat.expanded(other.lat) }
    }

    /// Returns a box that contains the intersection.
    #[must_use]
    pub fn clipped(self, other: Self) -> Self {
        Self::new(self.lon.clipped(other.lon), self.lat.clipped(other.lat))
    }

    /// Returns the area, steradian.
    pub fn area(self) -> f64 {
        if self.is_empty() { 0.0 } else { (self.lon.size() * (self.lat.b.sin() - self.lat.a.sin())).abs() }
    }

    /// Returns the centre of the intervals.
    pub fn centre(self) -> Vector {
        from_radians(self.lon.centre(), 0.5 * (self.lat.a + self.lat.b))
    }

    /// Returns a bounding circle.
    pub fn bounding_circle(self) -> Circle {
        if self.is_empty() {
            return Circle::EMPTY;
        }
        if self.is_full() {
            return Circle::FULL;
        }
        let width = self.lon.size();
        if width > PI {
            return self.circle_around_wide(width);
        }
        // The centre is on the central meridian, at the point with the smallest distance to the farthest corners, or at
        // the point with the same distance to all corners.
        let corners = self.corners();
        let half = (0.5 * width).cos();
        let along = |lat: f64| from_radians(self.lon.centre(), lat);
        let south = (self.lat.a.tan() / half).atan();
        let north = (self.lat.b.tan() / half).atan();
        let middle = (half * (0.5 * (self.lat.a + self.lat.b)).tan()).atan();
        let centre = if south <= middle && middle <= north {
            along(middle)
        } else if dot(along(south), corners[0]) > dot(along(north), corners[1]) {
            along(north)
        } else {
            along(south)
        };
        let farthest = corners.iter().map(|corner| distance2(centre, *corner)).fold(0.0, f64::max);
        Circle::from_chord(centre, farthest + 2.0 * MAX_CHORD_ERROR)
    }

    fn circle_around_wide(self, width: f64) -> Circle {
        let (mut centre, mut radius) = if self.lat.a.abs() <= self.lat.b.abs() {
            ([0.0, 0.0, 1.0], FRAC_PI_2 - self.lat.a)
        } else {
            ([-0.0, -0.0, -1.0], self.lat.b + FRAC_PI_2)
        };
        if !self.lon.is_full() && 0.5 * width < radius {
            radius = 0.5 * width;
            centre = from_radians(self.lon.centre(), 0.0);
        }
        Circle::new(centre, radius + 4.0 * MAX_ASIN_ERROR)
    }
}
