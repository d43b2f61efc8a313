//! Convex hulls of points on the sphere, with the vertices in the order of `sphgeom`.

use super::polygon::Polygon;
use super::{Vector, negative, orientation, robust_cross, unit};

/// The convex polygon around points in general position; nothing for fewer than three points, or points that no half of
/// the sphere holds.
///
/// Points are added one after the other; the edges that a new point sees are replaced by it. The first vertex follows
/// from this order.
pub fn hull(points: &[Vector]) -> Option<Polygon> {
    let mut rest = points.iter().copied();
    let mut hull = triangle(&mut rest)?;
    for point in rest {
        let n = hull.len();
        let inside: Vec<bool> = (0..n).map(|j| orientation(point, hull[(j + n - 1) % n], hull[j]) > 0).collect();
        if inside.iter().all(|inside| *inside) {
            continue;
        }
        let from = (0..n).find(|j| !inside[*j] && inside[(j + n - 1) % n])?;
        let to = (0..n).find(|j| !inside[*j] && inside[(j + 1) % n])?;
        hull = match to.cmp(&from) {
            std::cmp::Ordering::Less => [&hull[to..from], &[point]].concat(),
            std::cmp::Ordering::Greater => [&hull[..from], &[point], &hull[to..]].concat(),
            std::cmp::Ordering::Equal if from == 0 => [&hull[..], &[point]].concat(),
            std::cmp::Ordering::Equal => [&hull[..from], &[point], &hull[from..]].concat(),
        };
    }
    Some(Polygon::new(hull))
}

/// The first three points that are not on one great circle, counter-clockwise; those before, which are, make the longest
/// arc.
fn triangle(points: &mut impl Iterator<Item = Vector>) -> Option<Vec<Vector>> {
    let mut from = points.next()?;
    let mut to = points.find(|p| *p != from)?;
    if to == negative(from) {
        return None;
    }
    let normal = unit(robust_cross(from, to));
    for point in points {
        match orientation(from, to, point) {
            1 => return Some(vec![from, to, point]),
            -1 => return Some(vec![to, from, point]),
            _ if point == from || point == to => continue,
            _ if point == negative(from) || point == negative(to) => return None,
            _ => {}
        }
        let along = |a, b| orientation(normal, a, b);
        let (before, after, arc) = (along(from, point), along(point, to), along(from, to));
        match () {
            () if before == after => {}
            () if arc == -after => to = point,
            () if arc == -before => from = point,
            // Three points around the sphere: some of the arcs between them are longer than half of it.
            () => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::from_degrees;

    #[test]
    fn inner_points_are_left_out() {
        let points = [(0.0, 0.0), (10.0, 0.0), (5.0, 5.0), (10.0, 10.0), (0.0, 10.0)].map(|(a, b)| from_degrees(a, b));
        let hull = hull(&points).unwrap();
        assert_eq!(hull.vertices().len(), 4);
        assert!(!hull.vertices().contains(&points[2]));
    }

    /// Vectors made by the real library, where they are at hand.
    #[test]
    fn hulls_equal_those_of_sphgeom() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reference/skymap/htm_envelopes.jsonl");
        let Ok(text) = std::fs::read_to_string(path) else { return eprintln!("skipped: {path} is not there") };
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
        };
        let vector = |value: &serde_json::Value| -> Vector {
            let bytes = bytes(value.as_str().unwrap());
            [0, 8, 16].map(|at| f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
        };
        let mut seen = 0;
        for line in text.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let (Some(input), Some(encoded)) = (case["input_hex"].as_array(), case["encoded_hex"].as_str()) else {
                continue;
            };
            let points: Vec<Vector> = input.iter().map(vector).collect();
            assert_eq!(hull(&points).unwrap().encode(), bytes(encoded), "{line}");
            seen += 1;
        }
        assert!(seen > 100, "{seen} cases");
    }
}
