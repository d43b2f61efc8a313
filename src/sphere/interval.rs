//! Intervals of longitude and latitude, radians.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use super::relation::Relation;

/// Longitudes from `a` eastward to `b`, both in [0, 2π]; the interval contains 0 if `a > b`, and is empty if `a` or `b`
/// is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Longitudes {
    /// The western end, radians.
    pub a: f64,
    /// The eastern end, radians.
    pub b: f64,
}

/// Normalizes an angle to [0, 2π].
pub(crate) fn normalized(angle: f64) -> f64 {
    if angle < 0.0 {
        angle % TAU + TAU
    } else if angle > TAU {
        angle % TAU
    } else {
        angle
    }
}

/// Returns the eastward distance from one longitude to another.
fn eastward(from: f64, to: f64) -> f64 {
    if to < from { TAU + (to - from) } else { to - from }
}

impl Longitudes {
    /// The empty interval of longitudes.
    pub const EMPTY: Self = Self { a: f64::NAN, b: f64::NAN };
    /// The interval of all longitudes.
    pub const FULL: Self = Self { a: 0.0, b: TAU };

    /// Creates an interval between two angles; the full interval if they differ by 2π or more.
    pub fn between(a: f64, b: f64) -> Self {
        let is_normalized = |angle: f64| (0.0..=TAU).contains(&angle);
        if a.is_nan() || b.is_nan() {
            Self::EMPTY
        } else if !(is_normalized(a) && is_normalized(b)) && b - a >= TAU {
            Self::FULL
        } else {
            Self { a: normalized(a), b: normalized(b) }
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.a.is_nan() || self.b.is_nan()
    }

    pub(super) fn is_full(self) -> bool {
        self == Self::FULL
    }

    fn wraps(self) -> bool {
        self.a > self.b
    }

    pub(super) fn centre(self) -> f64 {
        let middle = 0.5 * (self.a + self.b);
        match (self.wraps(), middle < PI) {
            (false, _) => middle,
            (true, true) => middle + PI,
            (true, false) => middle - PI,
        }
    }

    pub(super) fn size(self) -> f64 {
        eastward(self.a, self.b)
    }

    pub(super) fn contains(self, x: f64) -> bool {
        x.is_nan() || if self.wraps() { x <= self.b || self.a <= x } else { self.a <= x && x <= self.b }
    }

    pub(super) fn is_disjoint(self, x: Self) -> bool {
        if x.is_empty() || self.is_empty() {
            return true;
        }
        match (self.wraps(), x.wraps()) {
            (true, true) => false,
            (false, true) => x.a > self.b && x.b < self.a,
            (true, false) => self.a > x.b && self.b < x.a,
            (false, false) => x.b < self.a || x.a > self.b,
        }
    }

    pub(super) fn relation(self, x: Self) -> Relation {
        if let Some(relation) = Relation::of_empty(self.is_empty(), x.is_empty()) {
            return relation;
        }
        if self == x {
            return Relation::EQUAL;
        }
        let (holds_begin, holds_end) = (self.a <= x.a, self.b >= x.b);
        let (in_begin, in_end) = (self.a >= x.a, self.b <= x.b);
        let disjoint = if self.is_disjoint(x) { Relation::DISJOINT } else { Relation::UNKNOWN };
        match (self.wraps(), x.wraps()) {
            (true, false) if x.is_full() => Relation::WITHIN,
            (true, false) if holds_begin || holds_end => Relation::CONTAINS,
            (false, true) if self.is_full() => Relation::CONTAINS,
            (false, true) if in_begin || in_end => Relation::WITHIN,
            (true, false) | (false, true) => disjoint,
            _ if holds_begin && holds_end => Relation::CONTAINS,
            _ if in_begin && in_end => Relation::WITHIN,
            _ => disjoint,
        }
    }

    /// Returns the shorter of the two intervals that contain both intervals.
    pub(super) fn expanded(self, x: Self) -> Self {
        if x.is_empty() {
            return self;
        }
        match (self.contains(x.a), self.contains(x.b)) {
            (true, true) if self.wraps() != x.wraps() => Self::FULL,
            (true, true) => self,
            (true, false) => Self { b: x.b, ..self },
            (false, true) => Self { a: x.a, ..self },
            _ if self.is_empty() || x.contains(self.a) => x,
            _ if eastward(self.b, x.a) < eastward(x.b, self.a) => Self { b: x.b, ..self },
            _ => Self { a: x.a, ..self },
        }
    }

    /// Returns an interval that contains the intersection.
    pub(super) fn clipped(self, x: Self) -> Self {
        if x.is_empty() {
            return Self::EMPTY;
        }
        match (self.contains(x.a), self.contains(x.b)) {
            (true, true) if self.size() >= x.size() => x,
            (true, true) => self,
            (true, false) => Self { a: x.a, ..self },
            (false, true) => Self { b: x.b, ..self },
            _ if !x.contains(self.a) => Self::EMPTY,
            _ => self,
        }
    }

    /// Extends the interval by an angle (not negative) at both ends.
    pub(super) fn dilated(self, x: f64) -> Self {
        if self.is_empty() || self.is_full() || x == 0.0 || x.is_nan() {
            return self;
        }
        let (mut a, mut b) = (self.a - x, self.b + x);
        if x >= PI || (self.wraps() && a <= b) {
            return Self::FULL;
        }
        if !self.wraps() {
            for (outside, turn) in [(a < 0.0, [TAU, 0.0]), (b > TAU, [0.0, -TAU])] {
                if outside {
                    (a, b) = (a + turn[0], b + turn[1]);
                    if a <= b {
                        return Self::FULL;
                    }
                }
            }
        }
        Self::between(a, b)
    }
}

/// Latitudes from `a` to `b`; empty if `a > b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latitudes {
    /// The southern end, radians.
    pub a: f64,
    /// The northern end, radians.
    pub b: f64,
}

impl Latitudes {
    /// The empty interval of latitudes.
    pub const EMPTY: Self = Self { a: 1.0, b: 0.0 };
    /// The interval of all latitudes.
    pub const FULL: Self = Self { a: -FRAC_PI_2, b: FRAC_PI_2 };

    pub(super) fn is_empty(self) -> bool {
        // `a > b` is not used, because an interval with NaN is empty.
        !matches!(self.a.partial_cmp(&self.b), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal))
    }

    pub(super) fn contains(self, x: f64) -> bool {
        (self.a <= x && x <= self.b) || x.is_nan()
    }

    pub(super) fn is_disjoint(self, x: Self) -> bool {
        self.is_empty() || x.is_empty() || self.a > x.b || self.b < x.a
    }

    pub(super) fn relation(self, x: Self) -> Relation {
        if let Some(relation) = Relation::of_empty(self.is_empty(), x.is_empty()) {
            return relation;
        }
        match () {
            () if self == x => Relation::EQUAL,
            () if self.is_disjoint(x) => Relation::DISJOINT,
            () if self.a <= x.a && self.b >= x.b => Relation::CONTAINS,
            () if x.a <= self.a && x.b >= self.b => Relation::WITHIN,
            () => Relation::UNKNOWN,
        }
    }

    pub(super) fn expanded(self, x: Self) -> Self {
        match (self.is_empty(), x.is_empty()) {
            (true, _) => x,
            (_, true) => self,
            _ => Self { a: self.a.min(x.a), b: self.b.max(x.b) },
        }
    }

    pub(super) fn clipped(self, x: Self) -> Self {
        match (self.is_empty(), x.is_empty()) {
            (_, true) => x,
            (true, _) => self,
            _ => Self { a: self.a.max(x.a), b: self.b.min(x.b) },
        }
    }
}
