//! The Hierarchical Triangular Mesh: which pixels a region touches.

use super::polygon::{Polygon, Relation};
use super::{Vector, unit};

const X: Vector = [1.0, 0.0, 0.0];
const Y: Vector = [0.0, 1.0, 0.0];
const Z: Vector = [0.0, 0.0, 1.0];
const NX: Vector = [-1.0, 0.0, 0.0];
const NY: Vector = [0.0, -1.0, 0.0];
const NZ: Vector = [0.0, 0.0, -1.0];

/// The eight root trixels, S0 to N3, with indices from 8.
const ROOTS: [[Vector; 3]; 8] =
    [[X, NZ, Y], [Y, NZ, NX], [NX, NZ, NY], [NY, NZ, X], [X, Z, NY], [NY, Z, NX], [NX, Z, Y], [Y, Z, X]];

/// The indices at a level of all trixels that touch a polygon, ascending.
pub fn envelope(polygon: &Polygon, level: u32) -> Vec<i64> {
    let mut found = Vec::new();
    let cap = Cap::around(polygon.vertices());
    for (index, trixel) in (8..).zip(ROOTS) {
        visit(polygon, &cap, index, trixel, level, &mut found);
    }
    found
}

fn visit(polygon: &Polygon, cap: &Cap, index: i64, trixel: [Vector; 3], levels: u32, found: &mut Vec<i64>) {
    if cap.is_far_from(&Cap::around(&trixel)) {
        return;
    }
    match polygon.relation(&trixel) {
        Relation::Disjoint => {}
        Relation::Within => found.extend(index << (2 * levels)..(index + 1) << (2 * levels)),
        Relation::Unknown if levels == 0 => found.push(index),
        Relation::Unknown => {
            for (child, trixel) in (0..).zip(children(trixel)) {
                visit(polygon, cap, 4 * index + child, trixel, levels - 1, found);
            }
        }
    }
}

/// A circle on the sphere around points; most trixels are seen to be far from a region by circles alone.
struct Cap {
    centre: Vector,
    radius: f64,
}

impl Cap {
    /// Caps wider than this say nothing, as the points' hull may lie outside.
    const WIDEST: f64 = 1.0;
    /// More than all rounding, radians.
    const MARGIN: f64 = 1e-9;

    fn around(points: &[Vector]) -> Self {
        let sum = points.iter().fold([0.0; 3], |s, p| [s[0] + p[0], s[1] + p[1], s[2] + p[2]]);
        let length = (sum[0] * sum[0] + sum[1] * sum[1] + sum[2] * sum[2]).sqrt();
        let centre = sum.map(|c| c / length);
        let radius = points.iter().map(|p| angle(&centre, p)).fold(0.0, f64::max);
        Self { centre, radius: if length > 0.0 { radius } else { f64::INFINITY } }
    }

    /// Whether nothing inside one cap can touch anything inside the other.
    fn is_far_from(&self, other: &Self) -> bool {
        self.radius < Self::WIDEST
            && other.radius < Self::WIDEST
            && angle(&self.centre, &other.centre) > self.radius + other.radius + Self::MARGIN
    }
}

/// The angle between two unit vectors, radians.
fn angle(a: &Vector, b: &Vector) -> f64 {
    let chord = ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2)).sqrt();
    2.0 * (chord / 2.0).min(1.0).asin()
}

fn children([v0, v1, v2]: [Vector; 3]) -> [[Vector; 3]; 4] {
    let middle = |a: Vector, b: Vector| unit([a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
    let (m0, m1, m2) = (middle(v1, v2), middle(v2, v0), middle(v0, v1));
    [[v0, m2, m1], [v1, m0, m2], [v2, m1, m0], [m0, m1, m2]]
}

/// Whether an index is a pixel of a skypix dimension such as `htm7` or `healpix9`; any is of other dimensions.
pub fn is_pixel(dimension: &str, index: i64) -> bool {
    let name = dimension.trim_end_matches(|c: char| c.is_ascii_digit());
    let Ok(level) = dimension[name.len()..].parse::<u32>() else { return true };
    match (name, 4_i64.checked_pow(level)) {
        ("htm", Some(pixels)) => (8 * pixels..16 * pixels).contains(&index),
        ("healpix", Some(pixels)) => (0..12 * pixels).contains(&index),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square of this half-width (radians) around a point of the equator.
    fn square(longitude: f64, half: f64) -> Polygon {
        let corner = |dx: f64, dy: f64| {
            let (lon, lat) = (longitude + dx * half, dy * half);
            unit([lon.cos() * lat.cos(), lon.sin() * lat.cos(), lat.sin()])
        };
        Polygon::new(vec![corner(1.0, -1.0), corner(1.0, 1.0), corner(-1.0, 1.0), corner(-1.0, -1.0)])
    }

    #[test]
    fn whole_subtrees_are_taken_whole() {
        let octant = Polygon::new(vec![X, Y, Z]);
        let touched = envelope(&octant, 3);
        let inside = (15 << 6)..(16 << 6);
        assert!(inside.clone().all(|i| touched.contains(&i)));
        // Beyond the octant itself, only trixels along its edges touch it.
        assert!(touched.len() > 64 && touched.iter().filter(|i| !inside.contains(i)).count() < 64);
        assert!(touched.is_sorted());
    }

    #[test]
    fn small_regions_touch_few_trixels_of_the_right_level() {
        let touched = envelope(&square(0.7, 0.001), 7);
        assert!((1..=8).contains(&touched.len()), "{touched:?}");
        assert!(touched.iter().all(|i| (131_072..262_144).contains(i)));
        // Where four root trixels meet, all of them are touched.
        assert_eq!(envelope(&square(0.0, 0.001), 0), [8, 11, 12, 15]);
    }

    /// Vectors made by the real library, where they are at hand.
    #[test]
    fn envelopes_equal_those_of_sphgeom() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reference/skymap/htm_envelopes.jsonl");
        let Ok(text) = std::fs::read_to_string(path) else { return eprintln!("skipped: {path} is not there") };
        for line in text.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let hex = case["encoded_hex"].as_str().unwrap();
            let bytes: Vec<u8> =
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
            let polygon = Polygon::decode(&bytes).unwrap();
            let ranges = case["htm7"].as_array().unwrap();
            let want: Vec<i64> = ranges.iter().flat_map(|r| r[0].as_i64().unwrap()..r[1].as_i64().unwrap()).collect();
            assert_eq!(envelope(&polygon, 7), want, "{}", case["kind"]);
        }
    }
}
