//! Geometry on the sky: unit vectors, convex polygons with their encoding, HTM pixels. Pure mathematics.
//!
//! Decisions are exact, and agree with the library `sphgeom` that the Butler uses.

pub mod htm;
pub mod hull;
pub mod polygon;
pub mod rings;

use robust::{Coord3D, orient3d};

/// A point on the unit sphere.
pub type Vector = [f64; 3];

/// The unit vector along a direction, rounded as `sphgeom` rounds it: the largest component is divided out first.
pub fn unit(v: Vector) -> Vector {
    let largest = (0..3).max_by(|a, b| v[*a].abs().total_cmp(&v[*b].abs()).then(b.cmp(a))).unwrap_or(0);
    let (i, j) = ((largest + 1) % 3, (largest + 2) % 3);
    let w = v[largest].abs();
    let (a, b) = (v[i] / w, v[j] / w);
    let n = (1.0 + (a * a + b * b)).sqrt();
    let mut out = [0.0; 3];
    out[i] = a / n;
    out[j] = b / n;
    out[largest] = 1.0_f64.copysign(v[largest]) / n;
    out
}

/// The unit vector at a longitude and latitude, degrees.
pub fn from_degrees(lon: f64, lat: f64) -> Vector {
    let ((sin_lon, cos_lon), (sin_lat, cos_lat)) = (lon.to_radians().sin_cos(), lat.to_radians().sin_cos());
    [cos_lon * cos_lat, sin_lon * cos_lat, sin_lat]
}

/// The sign of the determinant of three vectors, exact: 1 when they turn counter-clockwise seen from outside.
pub fn orientation(a: Vector, b: Vector, c: Vector) -> i8 {
    let point = |v: Vector| Coord3D { x: v[0], y: v[1], z: v[2] };
    let sign = orient3d(point(a), point(b), point(c), Coord3D { x: 0.0, y: 0.0, z: 0.0 });
    i8::from(sign > 0.0) - i8::from(sign < 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_exact() {
        let (x, y, z) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!((orientation(x, y, z), orientation(y, x, z), orientation(x, y, [1.0, 1.0, 0.0])), (1, -1, 0));
        let near = unit([1.0, 1.0, f64::MIN_POSITIVE]);
        assert_eq!(orientation(x, y, near), 1);
    }

    #[test]
    fn units_have_length_one() {
        let v = unit([3.0, -4.0, 12.0]);
        assert!((v.iter().map(|c| c * c).sum::<f64>() - 1.0).abs() < 1e-15);
        assert_eq!(unit([0.0, -2.0, 0.0]), [0.0, -1.0, 0.0]);
    }
}
