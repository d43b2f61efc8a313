//! Spatial relations of two regions.

use std::ops::{BitAnd, BitOr};

/// A set of relations that are certain: [`DISJOINT`](Self::DISJOINT), [`CONTAINS`](Self::CONTAINS) and
/// [`WITHIN`](Self::WITHIN); a relation that is not set is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation(u8);

impl Relation {
    /// No relation is certain; the regions may have points in common.
    pub const UNKNOWN: Self = Self(0);
    /// The regions have no point in common.
    pub const DISJOINT: Self = Self(1);
    /// The first region contains the second.
    pub const CONTAINS: Self = Self(2);
    /// The first region is within the second.
    pub const WITHIN: Self = Self(4);
    /// The regions are equal.
    pub const EQUAL: Self = Self(6);

    /// Returns true if all relations of `other` are certain.
    pub fn is(self, other: Self) -> bool {
        self & other == other
    }

    /// Returns the relation with the regions exchanged.
    #[must_use]
    pub fn inverse(self) -> Self {
        (self & Self::DISJOINT) | Self((self & Self::CONTAINS).0 << 1) | Self((self & Self::WITHIN).0 >> 1)
    }

    /// Removes the relations of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether the regions have points in common; `None` if this is uncertain.
    pub fn overlap(self) -> Option<bool> {
        match self {
            r if r.is(Self::DISJOINT) => Some(false),
            r if r.is(Self::CONTAINS) || r.is(Self::WITHIN) => Some(true),
            _ => None,
        }
    }

    /// Returns the bits of `sphgeom`: 1 disjoint, 2 contains, 4 within.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns the relation if one or both regions are empty; `None` if neither is.
    pub(super) fn of_empty(first: bool, second: bool) -> Option<Self> {
        match (first, second) {
            (true, true) => Some(Self(7)),
            (true, false) => Some(Self::DISJOINT | Self::WITHIN),
            (false, true) => Some(Self::DISJOINT | Self::CONTAINS),
            (false, false) => None,
        }
    }

    /// Returns the relation if one or both regions are the full sphere; `None` if neither is.
    pub(super) fn of_full(first: bool, second: bool) -> Option<Self> {
        match (first, second) {
            (true, true) => Some(Self::EQUAL),
            (true, false) => Some(Self::CONTAINS),
            (false, true) => Some(Self::WITHIN),
            (false, false) => None,
        }
    }
}

impl BitAnd for Relation {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Relation {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
