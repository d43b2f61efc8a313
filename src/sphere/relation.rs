//! How two regions lie to each other.

use std::ops::{BitAnd, BitOr};

/// What is certain of two regions: any of [`DISJOINT`](Self::DISJOINT), [`CONTAINS`](Self::CONTAINS) and
/// [`WITHIN`](Self::WITHIN); what is not set is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation(u8);

impl Relation {
    /// Nothing is certain: they may have points in common.
    pub const UNKNOWN: Self = Self(0);
    /// They have no point in common.
    pub const DISJOINT: Self = Self(1);
    /// The second lies in the first.
    pub const CONTAINS: Self = Self(2);
    /// The first lies in the second.
    pub const WITHIN: Self = Self(4);
    /// Both are the same.
    pub const EQUAL: Self = Self(6);

    /// Whether all of this is certain.
    pub fn is(self, other: Self) -> bool {
        self & other == other
    }

    /// With the two regions exchanged.
    #[must_use]
    pub fn inverse(self) -> Self {
        (self & Self::DISJOINT) | Self((self & Self::CONTAINS).0 << 1) | Self((self & Self::WITHIN).0 >> 1)
    }

    /// Without one kind of certainty.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the regions have points in common, if that is certain.
    pub fn overlap(self) -> Option<bool> {
        match self {
            r if r.is(Self::DISJOINT) => Some(false),
            r if r.is(Self::CONTAINS) || r.is(Self::WITHIN) => Some(true),
            _ => None,
        }
    }

    /// The bits of `sphgeom`: 1, 2 and 4.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// For sets of which one or both may be empty; nothing when neither is.
    pub(super) fn of_empty(first: bool, second: bool) -> Option<Self> {
        match (first, second) {
            (true, true) => Some(Self(7)),
            (true, false) => Some(Self::DISJOINT | Self::WITHIN),
            (false, true) => Some(Self::DISJOINT | Self::CONTAINS),
            (false, false) => None,
        }
    }

    /// For sets of which one or both may be the whole sphere; nothing when neither is.
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
