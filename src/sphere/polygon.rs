//! Convex polygons, and their encoding in the registry.

use super::{Vector, orientation};

/// A convex polygon; its vertices turn counter-clockwise seen from outside the sphere.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon(Vec<Vector>);

/// How a polygon lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// They have no point in common.
    Disjoint,
    /// The first lies in the second.
    Within,
    /// They may have points in common.
    Unknown,
}

impl Polygon {
    /// From `sphgeom`'s encoding: the letter `p`, then three little-endian doubles a vertex. `None` for other bytes,
    /// also those of other shapes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"p").filter(|rest| rest.len() >= 72 && rest.len() % 24 == 0)?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(f64::from_le_bytes);
        let vertex = |bytes: &[u8]| Some([number(&bytes[..8])?, number(&bytes[8..16])?, number(&bytes[16..])?]);
        rest.chunks(24).map(vertex).collect::<Option<_>>().map(Self)
    }

    /// In `sphgeom`'s encoding.
    pub fn encode(&self) -> Vec<u8> {
        let numbers = self.0.iter().flatten().flat_map(|n| n.to_le_bytes());
        std::iter::once(b'p').chain(numbers).collect()
    }

    /// Of these vertices, which must turn counter-clockwise.
    pub fn new(vertices: Vec<Vector>) -> Self {
        Self(vertices)
    }

    /// Its vertices.
    pub fn vertices(&self) -> &[Vector] {
        &self.0
    }

    /// How another polygon lies to this one.
    pub fn relation(&self, other: &[Vector]) -> Relation {
        let (mut all_in, mut any_in) = (true, false);
        for vertex in other {
            let inside = contains(&self.0, *vertex);
            all_in &= inside;
            any_in |= inside;
        }
        if all_in {
            return Relation::Within;
        }
        if any_in || self.0.iter().any(|vertex| contains(other, *vertex)) {
            return Relation::Unknown;
        }
        let crossing = edges(other).any(|(a, b)| edges(&self.0).any(|(c, d)| cross(a, b, c, d)));
        if crossing { Relation::Unknown } else { Relation::Disjoint }
    }
}

fn edges(vertices: &[Vector]) -> impl Iterator<Item = (Vector, Vector)> + '_ {
    let before = vertices.iter().cycle().skip(vertices.len().saturating_sub(1));
    before.zip(vertices).map(|(a, b)| (*a, *b))
}

/// Whether a point lies in a polygon or on its edge.
fn contains(vertices: &[Vector], point: Vector) -> bool {
    edges(vertices).all(|(from, to)| orientation(point, from, to) >= 0)
}

/// Whether two edges cross at a point inside both.
fn cross(a: Vector, b: Vector, c: Vector, d: Vector) -> bool {
    let turn = orientation(a, c, d);
    turn != 0 && orientation(b, d, c) == turn && orientation(c, b, a) == turn && orientation(d, a, b) == turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_come_back_and_other_bytes_do_not() {
        let octant = Polygon::new(vec![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        let bytes = octant.encode();
        assert_eq!((bytes.len(), bytes[0]), (73, b'p'));
        assert_eq!(Polygon::decode(&bytes), Some(octant));
        assert_eq!(Polygon::decode(&bytes[..72]), None);
        assert_eq!(Polygon::decode(&[b'c'; 73]), None);
    }

    #[test]
    fn relations_are_seen() {
        let octant = Polygon::new(vec![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        let inner = [[0.8, 0.4, 0.4], [0.4, 0.8, 0.4], [0.4, 0.4, 0.8]];
        assert_eq!(octant.relation(&inner), Relation::Within);
        assert_eq!(octant.relation(&inner.map(|v| v.map(|c| -c))), Relation::Disjoint);
        assert_eq!(octant.relation(&[[0.8, 0.4, 0.4], [0.4, 0.8, 0.4], [0.5, 0.5, -0.1]]), Relation::Unknown);
    }
}
