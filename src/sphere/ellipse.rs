//! Ellipses on the sphere; they are only read from existing regions.

use std::f64::consts::FRAC_PI_2;

use super::circle::{Circle, MAX_ASIN_ERROR};
use super::{Vector, dot};

/// An ellipse: all points for which the sum of the distances to two foci is below a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// The rows of the rotation matrix that moves the centre to the pole.
    rows: [Vector; 3],
    /// The semi-axes minus π/2, and half the angle between the foci, radians.
    angles: [f64; 3],
    /// The absolute values of the tangents of the first two angles.
    tangents: [f64; 2],
}

impl Ellipse {
    /// Creates an ellipse from the numbers of its `sphgeom` encoding.
    pub(super) fn from_numbers(n: &[f64; 14]) -> Self {
        let rows = [0, 3, 6].map(|at| [n[at], n[at + 1], n[at + 2]]);
        Self { rows, angles: [n[9], n[10], n[11]], tangents: [n[12], n[13]] }
    }

    /// Returns the numbers of the `sphgeom` encoding.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f64> + '_ {
        self.rows.iter().flatten().chain(&self.angles).chain(&self.tangents).copied()
    }

    /// Returns the centre.
    pub fn centre(&self) -> Vector {
        self.rows[2]
    }

    /// Returns true if the ellipse contains no point.
    pub fn is_empty(&self) -> bool {
        FRAC_PI_2 + self.angles[0] < self.angles[2]
    }

    /// Returns true if a point is inside or on the boundary.
    pub fn contains(&self, v: Vector) -> bool {
        let c = self.centre();
        // Near the centre or its antipode, the difference vector is more accurate.
        let towards = match dot(v, c) {
            d if d > 0.5 => 1.0,
            d if d < -0.5 => -1.0,
            _ => 0.0,
        };
        let u = [0, 1, 2].map(|i| v[i] - towards * c[i]);
        let [x, y, z] = self.rows.map(|row| dot(row, u));
        let (x, y, z) = (x * self.tangents[0], y * self.tangents[1], z + towards);
        let d = (x * x + y * y) - z * z;
        if self.angles[0] > 0.0 { z >= 0.0 || d >= 0.0 } else { z >= 0.0 && d <= 0.0 }
    }

    /// Returns a bounding circle.
    pub fn bounding_circle(&self) -> Circle {
        let [a, b, _] = self.angles.map(|angle| FRAC_PI_2 + angle);
        Circle::new(self.centre(), a.max(b) + 2.0 * MAX_ASIN_ERROR)
    }
}
