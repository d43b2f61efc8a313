//! Regions of all shapes, and their encoding in the registry.

use std::ops::Range;

use super::Vector;
use super::circle::Circle;
use super::ellipse::Ellipse;
use super::htm;
use super::interval::{Latitudes, Longitudes};
use super::lonlat_box::LonLatBox;
use super::polygon::Polygon;
use super::relation::Relation;

/// A region on the sphere.
#[derive(Debug, Clone, PartialEq)]
pub enum Region {
    /// A convex polygon.
    Polygon(Polygon),
    /// A box of longitude and latitude.
    Box(LonLatBox),
    /// A circle.
    Circle(Circle),
    /// An ellipse.
    Ellipse(Ellipse),
    /// The union of regions.
    Union(Vec<Region>),
    /// The intersection of regions.
    Intersection(Vec<Region>),
}

/// The maximum nesting depth of unions and intersections.
const DEPTH: usize = 16;

impl Region {
    /// Decodes a region in the encoding of `sphgeom`: a letter for the shape, then little-endian doubles. `None` if the
    /// bytes are invalid.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode_below(bytes, DEPTH)
    }

    fn decode_below(bytes: &[u8], depth: usize) -> Option<Self> {
        let (letter, rest) = bytes.split_first()?;
        Some(match letter {
            b'p' => {
                let numbers = numbers(rest).filter(|n| n.len() >= 9 && n.len().is_multiple_of(3))?;
                let vertices = numbers.chunks(3).map(|v| [v[0], v[1], v[2]]).collect();
                Self::Polygon(Polygon::new(vertices))
            }
            b'b' => {
                let [west, east, south, north] = numbers(rest)?[..] else { return None };
                // A box with west > east contains longitude 0; this requires normalized angles.
                let normal = |angle: f64| (0.0..=std::f64::consts::TAU).contains(&angle);
                if west > east && !(normal(west) && normal(east)) {
                    return None;
                }
                let lat = Latitudes { a: south, b: north };
                Self::Box(LonLatBox::new(Longitudes::between(west, east), lat))
            }
            b'c' => {
                let [x, y, z, chord2, opening] = numbers(rest)?[..] else { return None };
                Self::Circle(Circle { centre: [x, y, z], chord2, opening })
            }
            b'e' => {
                Self::Ellipse(Ellipse::from_numbers(numbers(rest)?.first_chunk::<14>().filter(|_| rest.len() == 112)?))
            }
            b'u' => Self::union(operands(rest, depth)?),
            b'i' => Self::intersection(operands(rest, depth)?),
            _ => return None,
        })
    }

    /// Returns the union of regions; nested unions are flattened.
    pub fn union(regions: Vec<Self>) -> Self {
        let open = |region| if let Self::Union(inner) = region { inner } else { vec![region] };
        Self::Union(regions.into_iter().flat_map(open).collect())
    }

    /// Returns the intersection of regions; nested intersections are flattened.
    pub fn intersection(regions: Vec<Self>) -> Self {
        let open = |region| if let Self::Intersection(inner) = region { inner } else { vec![region] };
        Self::Intersection(regions.into_iter().flat_map(open).collect())
    }

    /// Encodes the region as `sphgeom` does.
    pub fn encode(&self) -> Vec<u8> {
        let (letter, numbers): (u8, Vec<f64>) = match self {
            Self::Polygon(p) => return p.encode(),
            Self::Box(b) => (b'b', vec![b.lon.a, b.lon.b, b.lat.a, b.lat.b]),
            Self::Circle(c) => (b'c', c.centre.into_iter().chain([c.chord2, c.opening]).collect()),
            Self::Ellipse(e) => (b'e', e.numbers().collect()),
            Self::Union(all) | Self::Intersection(all) => {
                let mut bytes = vec![if matches!(self, Self::Union(_)) { b'u' } else { b'i' }];
                for region in all {
                    let own = region.encode();
                    bytes.extend((own.len() as u64).to_le_bytes());
                    bytes.extend(own);
                }
                return bytes;
            }
        };
        std::iter::once(letter).chain(numbers.into_iter().flat_map(f64::to_le_bytes)).collect()
    }

    /// Returns true if a point is inside or on the boundary.
    pub fn contains(&self, v: Vector) -> bool {
        match self {
            Self::Polygon(p) => p.contains(v),
            Self::Box(b) => b.contains(v),
            Self::Circle(c) => c.contains(v),
            Self::Ellipse(e) => e.contains(v),
            Self::Union(all) => all.iter().any(|r| r.contains(v)),
            Self::Intersection(all) => all.iter().all(|r| r.contains(v)),
        }
    }

    /// Returns true if `sphgeom` regards the region as empty. It regards all polygons as empty; this affects only
    /// [`overlaps`](Self::overlaps) with an intersection without operands.
    fn is_empty(&self) -> bool {
        match self {
            Self::Polygon(_) => true,
            Self::Box(b) => b.is_empty(),
            Self::Circle(c) => c.is_empty(),
            Self::Ellipse(e) => e.is_empty(),
            Self::Union(all) => all.iter().all(Self::is_empty),
            Self::Intersection(all) => {
                let apart = |(i, a): (usize, &Self)| all[i + 1..].iter().any(|b| a.overlaps(b) == Some(false));
                !all.is_empty() && (all.iter().all(Self::is_empty) || all.iter().enumerate().any(apart))
            }
        }
    }

    /// Returns the relation to another region.
    pub fn relation(&self, other: &Self) -> Relation {
        const EDGES: Relation = Relation::DISJOINT;
        match (self, other) {
            (Self::Union(all), _) => {
                if all.is_empty() {
                    return Relation::DISJOINT;
                }
                let each: Vec<_> = all.iter().map(|r| r.relation(other)).collect();
                every(&each, Relation::DISJOINT) | every(&each, Relation::WITHIN) | some(&each, Relation::CONTAINS)
            }
            (Self::Intersection(all), _) => {
                let each: Vec<_> = all.iter().map(|r| r.relation(other)).collect();
                every(&each, Relation::CONTAINS) | some(&each, Relation::DISJOINT) | some(&each, Relation::WITHIN)
            }
            (Self::Polygon(a), Self::Polygon(b)) => a.relation(b),
            (Self::Polygon(a), Self::Circle(b)) => a.relation_to_circle(b),
            (Self::Polygon(a), Self::Box(b)) => a.bounding_box().relation(*b) & (EDGES | Relation::WITHIN),
            (Self::Polygon(a), Self::Ellipse(b)) => {
                a.relation_to_circle(&b.bounding_circle()) & (EDGES | Relation::CONTAINS)
            }
            (Self::Box(a), Self::Box(b)) => a.relation(*b),
            (Self::Box(a), Self::Circle(b)) => a.relation_to_circle(b),
            (Self::Circle(a), Self::Circle(b)) => a.relation(b),
            (Self::Ellipse(a), Self::Ellipse(b)) => a.bounding_circle().relation(&b.bounding_circle()) & EDGES,
            (Self::Ellipse(a), Self::Box(_) | Self::Circle(_)) => {
                Self::Circle(a.bounding_circle()).relation(other) & (EDGES | Relation::WITHIN)
            }
            (_, _) => other.relation(self).inverse(),
        }
    }

    /// Returns true if the regions have points in common; `None` if this is uncertain, which the Butler treats as true.
    pub fn overlaps(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Union(all), _) => {
                let each: Vec<_> = all.iter().map(|r| r.overlaps(other)).collect();
                if each.contains(&Some(true)) {
                    return Some(true);
                }
                if each.contains(&None) { None } else { Some(false) }
            }
            (Self::Intersection(all), _) if all.is_empty() => Some(!other.is_empty()),
            (Self::Intersection(all), _) => all.iter().any(|r| r.overlaps(other) == Some(false)).then_some(false),
            (_, Self::Union(_) | Self::Intersection(_)) => other.overlaps(self),
            // For these shapes the relation is exact: regions that are not disjoint overlap.
            (Self::Box(a), Self::Box(b)) => Some(!a.is_disjoint(*b)),
            (Self::Polygon(_) | Self::Circle(_) | Self::Box(_), Self::Circle(_))
            | (Self::Circle(_), Self::Polygon(_) | Self::Box(_))
            | (Self::Polygon(_), Self::Polygon(_)) => Some(!self.relation(other).is(Relation::DISJOINT)),
            _ => self.relation(other).overlap(),
        }
    }

    /// Returns a bounding circle.
    pub fn bounding_circle(&self) -> Circle {
        match self {
            Self::Polygon(p) => p.bounding_circle(),
            Self::Box(b) => b.bounding_circle(),
            Self::Circle(c) => *c,
            Self::Ellipse(e) => e.bounding_circle(),
            Self::Union(all) => all.iter().map(Self::bounding_circle).reduce(Circle::expanded).unwrap_or(Circle::EMPTY),
            Self::Intersection(all) => {
                all.iter().map(Self::bounding_circle).reduce(Circle::clipped).unwrap_or(Circle::FULL)
            }
        }
    }

    /// Returns a bounding box.
    pub fn bounding_box(&self) -> LonLatBox {
        match self {
            Self::Polygon(p) => p.bounding_box(),
            Self::Box(b) => *b,
            Self::Circle(_) | Self::Ellipse(_) => self.bounding_circle().bounding_box(),
            Self::Union(all) => {
                all.iter().map(Self::bounding_box).reduce(LonLatBox::expanded).unwrap_or(LonLatBox::EMPTY)
            }
            Self::Intersection(all) => {
                all.iter().map(Self::bounding_box).reduce(LonLatBox::clipped).unwrap_or(LonLatBox::FULL)
            }
        }
    }

    /// Returns the HTM pixels of a level that touch the region, as ascending ranges that do not touch each other.
    pub fn envelope(&self, level: u32) -> Vec<Range<i64>> {
        match self {
            Self::Union(all) => htm::merged(all.iter().flat_map(|r| r.envelope(level)).collect()),
            Self::Intersection(all) => {
                let each = all.iter().map(|r| r.envelope(level));
                each.reduce(|a, b| htm::common(&a, &b)).unwrap_or_else(|| htm::universe(level))
            }
            single => htm::cover(single, level),
        }
    }

    /// Returns the centre of the region; `None` for unions and intersections.
    pub fn centroid(&self) -> Option<Vector> {
        Some(match self {
            Self::Polygon(p) => p.centroid(),
            Self::Box(b) => b.centre(),
            Self::Circle(c) => c.centre,
            Self::Ellipse(e) => e.centre(),
            Self::Union(_) | Self::Intersection(_) => return None,
        })
    }

    /// Returns the area (steradian); `None` for ellipses, unions and intersections.
    pub fn area(&self) -> Option<f64> {
        match self {
            Self::Polygon(p) => Some(p.area()),
            Self::Box(b) => Some(b.area()),
            Self::Circle(c) => Some(c.area()),
            Self::Ellipse(_) | Self::Union(_) | Self::Intersection(_) => None,
        }
    }
}

impl From<Polygon> for Region {
    fn from(polygon: Polygon) -> Self {
        Self::Polygon(polygon)
    }
}

/// Returns `what` if it holds for all relations.
fn every(each: &[Relation], what: Relation) -> Relation {
    if each.iter().all(|r| r.is(what)) { what } else { Relation::UNKNOWN }
}

/// Returns `what` if it holds for at least one relation.
fn some(each: &[Relation], what: Relation) -> Relation {
    if each.iter().any(|r| r.is(what)) { what } else { Relation::UNKNOWN }
}

fn numbers(bytes: &[u8]) -> Option<Vec<f64>> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect())
}

/// Decodes the operands of a union or intersection; each is preceded by its length.
fn operands(mut bytes: &[u8], depth: usize) -> Option<Vec<Region>> {
    let depth = depth.checked_sub(1)?;
    let mut all = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let (own, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        all.push(Region::decode_below(own, depth)?);
        bytes = rest;
    }
    bytes.is_empty().then_some(all)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde_json::Value;

    use super::*;
    use crate::sphere::vectors::{cases, hex_bytes, vector};

    fn region(hex: &Value) -> Region {
        Region::decode(&hex_bytes(hex)).unwrap_or_else(|| panic!("{hex}"))
    }

    /// Returns true if two encodings are equal except for the last bits.
    fn near(a: &[u8], b: &[u8]) -> bool {
        let (x, y) = (numbers(&a[1..]).unwrap(), numbers(&b[1..]).unwrap());
        a[0] == b[0]
            && x.len() == y.len()
            && x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-11 || x.to_bits() == y.to_bits())
    }

    #[test]
    fn encodings_bounds_and_envelopes_equal_those_of_sphgeom() {
        for case in cases("regions.jsonl") {
            let encoded = hex_bytes(&case["encoded_hex"]);
            let region = region(&case["encoded_hex"]);
            assert_eq!(region.encode(), encoded, "{case}");
            let (circle, boxed) = (Region::Circle(region.bounding_circle()), Region::Box(region.bounding_box()));
            assert!(near(&circle.encode(), &hex_bytes(&case["bounding_circle"])), "{circle:?} {case}");
            assert!(near(&boxed.encode(), &hex_bytes(&case["bounding_box"])), "{boxed:?} {case}");
            let ranges = region.envelope(7);
            assert_eq!(ranges.iter().map(|r| r.end - r.start).sum::<i64>(), case["htm7_n"].as_i64().unwrap(), "{case}");
            if let Some(want) = case["htm7"].as_array() {
                let want: Vec<_> = want.iter().map(|r| r[0].as_i64().unwrap()..r[1].as_i64().unwrap()).collect();
                assert_eq!(ranges, want, "{case}");
            }
        }
    }

    #[test]
    fn relations_equal_those_of_sphgeom() {
        for case in cases("region_relate.jsonl") {
            let (a, b) = (region(&case["a"]), region(&case["b"]));
            assert_eq!(u64::from(a.relation(&b).bits()), case["relate"].as_u64().unwrap(), "{case}");
            assert_eq!(a.overlaps(&b), case["overlaps"].as_bool(), "{case}");
            let point = vector(&case["point"]);
            assert_eq!(a.contains(point), case["a_contains_point"], "{case}");
            assert_eq!(a.is_empty(), case["a_isEmpty"], "{case}");
        }
    }

    #[test]
    fn expressions_of_overlaps_equal_those_of_sphgeom() {
        let region = |text: &str| Region::decode(&BASE64_STANDARD.decode(text).unwrap()).unwrap();
        for case in cases("base64_overlaps.jsonl") {
            if let Some(parts) = case["union_concat"].as_str() {
                let parts = parts.split(':').filter(|p| !p.is_empty()).map(region).collect();
                assert_eq!(Region::union(parts).encode(), hex_bytes(&case["encoded_hex"]), "{case}");
                continue;
            }
            let terms = case["expr"].as_str().unwrap().split('|').filter_map(|term| term.split_once('&'));
            let terms: Vec<_> = terms.map(|(a, b)| region(a).overlaps(&region(b))).collect();
            let any = if terms.contains(&Some(true)) {
                Some(true)
            } else if terms.contains(&None) {
                None
            } else {
                Some(false)
            };
            assert_eq!(any, case["result"].as_bool(), "{case}");
        }
    }

    #[test]
    fn bytes_that_are_no_region_are_none() {
        let octant = Region::from(Polygon::new(vec![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]));
        let good = octant.encode();
        assert_eq!((good.len(), good[0]), (73, b'p'));
        assert_eq!(Region::decode(&good), Some(octant.clone()));
        for bad in [&good[..72], &[b'c'; 73], b"", b"x", b"u\x01", b"b"] {
            assert_eq!(Region::decode(bad), None, "{bad:?}");
        }
        let mut deep = octant;
        for turn in 0..40 {
            deep = if turn % 2 == 0 { Region::Union(vec![deep]) } else { Region::Intersection(vec![deep]) };
        }
        assert_eq!(Region::decode(&deep.encode()), None);
    }
}
