//! Convex hulls of points on the sphere, with vertices in the order of `sphgeom`.

use super::polygon::Polygon;
use super::{Vector, negative, orientation, robust_cross, unit};

/// Returns the convex hull of points in general position; `None` for fewer than three points, or for points that do not
/// fit into a hemisphere.
///
/// Points are added one by one; each new point replaces the edges that are visible from it. The first vertex of the
/// result follows from this order.
pub(crate) fn hull(points: &[Vector]) -> Option<Polygon> {
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

/// Returns the first three points that are not on one great circle, counter-clockwise; earlier points on the same great
/// circle are reduced to their longest arc.
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
            // The points extend around the sphere, so that an arc would be longer than half a great circle.
            () => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::from_degrees;
    use crate::sphere::vectors::{bytes, cases, vector};

    #[test]
    fn inner_points_are_left_out() {
        let points = [(0.0, 0.0), (10.0, 0.0), (5.0, 5.0), (10.0, 10.0), (0.0, 10.0)].map(|(a, b)| from_degrees(a, b));
        let hull = hull(&points).unwrap();
        assert_eq!(hull.vertices().len(), 4);
        assert!(!hull.vertices().contains(&points[2]));
    }

    #[test]
    fn hulls_equal_those_of_sphgeom() {
        for case in cases("htm_envelopes.jsonl") {
            let (Some(input), Some(encoded)) = (case["input_hex"].as_array(), case["encoded_hex"].as_str()) else {
                continue;
            };
            let points: Vec<Vector> = input.iter().map(vector).collect();
            assert_eq!(hull(&points).unwrap().encode(), bytes(encoded), "{case}");
        }
    }
}
