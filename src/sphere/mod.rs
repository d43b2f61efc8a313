//! Geometry on the sphere: unit vectors, regions and their encoding, HTM and HEALPix pixels. Angles are in radians
//! unless documented otherwise.
//!
//! Results agree with the library `sphgeom`, which the Butler uses; relations of polygons and points agree exactly.

pub(crate) mod circle;
pub(crate) mod ellipse;
pub mod healpix;
pub mod htm;
pub(crate) mod hull;
pub(crate) mod interval;
pub(crate) mod lonlat_box;
pub(crate) mod polygon;
pub mod region;
pub(crate) mod relation;
pub(crate) mod rings;
pub(crate) mod skypix;

use std::f64::consts::{FRAC_PI_2, TAU};

use robust::{Coord3D, orient3d};

/// A vector; for points, a unit vector.
pub(crate) type Vector = [f64; 3];

/// Normalizes a vector with the rounding of `sphgeom`: it is first divided by its largest component.
pub(crate) fn unit(v: Vector) -> Vector {
    normalized(v).0
}

/// Returns the normalized vector and the length of the original vector.
fn normalized(v: Vector) -> (Vector, f64) {
    let [x, y, z] = [v[0].abs(), v[1].abs(), v[2].abs()];
    let (largest, i, j) = if x >= y && x >= z {
        (0, 1, 2)
    } else if y >= z {
        (1, 2, 0)
    } else {
        (2, 0, 1)
    };
    let w = v[largest].abs();
    let (a, b) = (v[i] / w, v[j] / w);
    let n = (1.0 + (a * a + b * b)).sqrt();
    let mut out = [0.0; 3];
    out[i] = a / n;
    out[j] = b / n;
    out[largest] = 1.0_f64.copysign(v[largest]) / n;
    (out, n * w)
}

/// Returns the unit vector at a longitude and latitude in degrees.
pub(crate) fn from_degrees(lon: f64, lat: f64) -> Vector {
    from_radians(lon.to_radians(), lat.to_radians())
}

/// Returns the unit vector at a longitude and latitude in radians.
pub(crate) fn from_radians(lon: f64, lat: f64) -> Vector {
    let ((sin_lon, cos_lon), (sin_lat, cos_lat)) = (lon.sin_cos(), lat.sin_cos());
    [cos_lon * cos_lat, sin_lon * cos_lat, sin_lat]
}

/// Returns the longitude of a direction in [0, 2π); 0 at the poles.
pub(crate) fn longitude(v: Vector) -> f64 {
    let lon = if v[0] * v[0] + v[1] * v[1] == 0.0 { 0.0 } else { v[1].atan2(v[0]) };
    if lon < 0.0 { lon + TAU } else { lon }
}

/// Returns the latitude of a direction, radians.
pub(crate) fn latitude(v: Vector) -> f64 {
    if v[2] == 0.0 { 0.0 } else { v[2].atan2((v[0] * v[0] + v[1] * v[1]).sqrt()).clamp(-FRAC_PI_2, FRAC_PI_2) }
}

#[inline]
fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline]
fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Returns twice the cross product, with high accuracy for points that are close together.
fn robust_cross(a: Vector, b: Vector) -> Vector {
    cross(sum(b, a), difference(b, a))
}

#[inline]
fn sum(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[inline]
fn difference(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[inline]
fn norm(v: Vector) -> f64 {
    dot(v, v).sqrt()
}

fn negative(v: Vector) -> Vector {
    [-v[0], -v[1], -v[2]]
}

/// Returns the squared chord length between two points.
#[inline]
fn distance2(a: Vector, b: Vector) -> f64 {
    let d = difference(a, b);
    dot(d, d)
}

/// Returns the angle between two directions, radians.
pub(crate) fn angle(a: Vector, b: Vector) -> f64 {
    let (sine, cosine) = (norm(cross(a, b)), dot(a, b));
    if sine == 0.0 && cosine == 0.0 { 0.0 } else { sine.atan2(cosine) }
}

/// Returns a unit vector perpendicular to two others.
fn orthogonal(a: Vector, b: Vector) -> Vector {
    match robust_cross(a, b) {
        [0.0, 0.0, 0.0] if a[0].abs() > a[1].abs() => unit([-a[2], 0.0, a[0]]),
        [0.0, 0.0, 0.0] => unit([0.0, a[2], -a[1]]),
        normal => unit(normal),
    }
}

/// Returns the exact sign of the determinant of three unit vectors: 1 if they are counter-clockwise seen from outside.
#[inline]
pub(crate) fn orientation(a: Vector, b: Vector, c: Vector) -> i8 {
    /// An upper limit of the rounding error of the simple formula.
    const DOUBT: f64 = 1e-14;
    let plain = dot(a, cross(b, c));
    if plain.abs() > DOUBT {
        return if plain > 0.0 { 1 } else { -1 };
    }
    exact_orientation(a, b, c)
}

fn exact_orientation(a: Vector, b: Vector, c: Vector) -> i8 {
    let point = |v: Vector| Coord3D { x: v[0], y: v[1], z: v[2] };
    let sign = orient3d(point(a), point(b), point(c), Coord3D { x: 0.0, y: 0.0, z: 0.0 });
    i8::from(sign > 0.0) - i8::from(sign < 0.0)
}

#[cfg(test)]
mod tests {
    use super::vectors::{cases, numbers, vector};
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

    #[test]
    fn turns_units_and_hulls_equal_those_of_sphgeom() {
        for case in cases("orientation.jsonl") {
            let sign = orientation(vector(&case["a"]), vector(&case["b"]), vector(&case["c"]));
            assert_eq!(i64::from(sign), case["sign"].as_i64().unwrap(), "{case}");
        }
        let radians = |hex: &serde_json::Value| numbers(hex.as_str().unwrap())[0];
        for case in cases("unit_vectors.jsonl") {
            let ours = match case["op"].as_str().unwrap() {
                "normalize" => unit(vector(&case["xyz_hex"])),
                _ => from_radians(radians(&case["lon_hex"]), radians(&case["lat_hex"])),
            };
            assert_eq!(ours.map(f64::to_bits), vector(&case["out_hex"]).map(f64::to_bits), "{case}");
        }
        for case in cases("hull_errors.jsonl") {
            let points: Vec<Vector> = case["input_hex"].as_array().unwrap().iter().map(vector).collect();
            assert!(hull::hull(&points).is_none(), "{case}");
        }
    }
}

/// Test vectors of the original libraries, stored outside the project; tests without them compare nothing.
#[cfg(test)]
pub(crate) mod vectors {
    use serde_json::Value;

    use super::Vector;

    fn path(file: &str) -> String {
        format!("{}/../shared/reference/skymap/{file}", env!("CARGO_MANIFEST_DIR"))
    }

    /// Reads a file and decompresses it according to its name; `None` if it does not exist.
    pub(crate) fn text(file: &str) -> String {
        let path = path(file);
        let found = if file.ends_with(".gz") {
            let packed = std::process::Command::new("gzip").args(["-dc", &path]).output();
            packed
                .ok()
                .filter(|packed| packed.status.success())
                .and_then(|packed| String::from_utf8(packed.stdout).ok())
        } else {
            std::fs::read_to_string(&path).ok()
        };
        found.unwrap_or_else(|| {
            eprintln!("skipped: {path} is not there");
            String::new()
        })
    }

    /// Parses the lines of a JSON Lines file.
    pub(crate) fn cases(file: &str) -> Vec<Value> {
        text(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Decodes hexadecimal digits to bytes.
    pub(crate) fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    /// Decodes hexadecimal digits to doubles.
    pub(crate) fn numbers(hex: &str) -> Vec<f64> {
        bytes(hex).as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
    }

    /// Decodes a JSON string of hexadecimal digits to bytes.
    pub(crate) fn hex_bytes(hex: &Value) -> Vec<u8> {
        bytes(hex.as_str().unwrap())
    }

    /// Decodes a JSON value of hexadecimal digits to a vector.
    pub(crate) fn vector(hex: &Value) -> Vector {
        numbers(hex.as_str().unwrap()).try_into().unwrap()
    }
}
