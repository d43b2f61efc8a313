//! Times and validity ranges, in integer nanoseconds since 1970-01-01 00:00:00 TAI, as in the registry.

use super::calendar;
use super::leap_seconds;
use crate::error::{Error, Result};

/// The length of a day in nanoseconds.
pub(crate) const DAY: i64 = 86_400_000_000_000;

/// The latest time, 2100-01-01 00:00:00 TAI; it represents an unbounded end, and later times are clamped to it.
pub(crate) const MAX: i64 = 4_102_444_800_000_000_000;

/// A half-open range of TAI nanoseconds; `0` and [`MAX`] represent unbounded sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timespan {
    /// The first time inside the range, TAI nanoseconds.
    pub begin: i64,
    /// The first time after the range, TAI nanoseconds.
    pub end: i64,
}

impl Timespan {
    /// The empty timespan.
    pub const EMPTY: Self = Self { begin: MAX, end: 0 };
    /// The timespan that contains all times.
    pub const ALL: Self = Self { begin: 0, end: MAX };

    /// Creates a timespan as the Butler does: bounds are clamped, reversed bounds give an empty timespan, and equal
    /// bounds give one nanosecond.
    pub fn new(begin: Option<i64>, end: Option<i64>) -> Self {
        let (begin, end) = (begin.unwrap_or(0).clamp(0, MAX), end.unwrap_or(MAX).clamp(0, MAX));
        match begin.cmp(&end) {
            std::cmp::Ordering::Less => Self { begin, end },
            std::cmp::Ordering::Equal => Self { begin, end: begin + 1 },
            std::cmp::Ordering::Greater => Self::EMPTY,
        }
    }

    /// Creates a timespan as the constructor of the Butler does. A timespan entirely before 1970 or after 2100 is
    /// refused, because both bounds would be clamped to the same time.
    ///
    /// # Errors
    /// A timespan outside the range of the registry.
    pub fn checked(begin: Option<i64>, end: Option<i64>) -> Result<Self> {
        let span = Self::new(begin, end);
        if span.end > MAX || span.end == MAX && span.begin == MAX - 1 {
            let begin = begin.map_or_else(|| "unbounded".to_owned(), calendar::format);
            return Err(Error::invalid(format!(
                "a timespan from {begin} on cannot be stored: the times of the registry end at 2100-01-01"
            )));
        }
        if begin.unwrap_or(0) <= 0
            && let Some(end) = end.filter(|end| *end <= 0)
        {
            return Err(Error::invalid(format!(
                "a timespan up to {} cannot be stored: the times of the registry begin at 1970-01-01",
                calendar::format(end)
            )));
        }
        Ok(span)
    }

    /// Returns the parts of this timespan that are outside another one.
    pub fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let whole = other.is_empty().then_some(self);
        let before = Self { begin: self.begin, end: self.end.min(other.begin) };
        let after = Self { begin: self.begin.max(other.end), end: self.end };
        whole.into_iter().chain([before, after].into_iter().filter(move |_| whole.is_none())).filter(|t| !t.is_empty())
    }

    /// Returns true if the timespan contains no time.
    pub fn is_empty(self) -> bool {
        self.begin >= self.end
    }
}

/// Converts a Modified Julian Date (TAI) to TAI nanoseconds, rounded as in `astropy` (nearest day first).
pub(crate) fn from_mjd(mjd: f64) -> i64 {
    let day = mjd.round_ties_even();
    (day as i64 - 40_587) * DAY + ((mjd - day) * 86_400e9).round_ties_even() as i64
}

/// Converts a two-part Julian Date (TAI) to TAI nanoseconds.
pub(crate) fn from_jd_pair(jd1: f64, jd2: f64) -> i64 {
    let whole = (jd1 - 2_440_588.0) + 0.5;
    let day = (whole + jd2).round_ties_even();
    let rest = (whole - day) + jd2;
    day as i64 * DAY + (rest * 86_400e9).round_ties_even() as i64
}

/// Parses a UTC date and time, including leap seconds (`23:59:60`), to TAI nanoseconds.
pub(crate) fn parse_utc(text: &str) -> Option<i64> {
    let clock = calendar::parse(text)?;
    let leap = text.trim().get(17..19) == Some("60");
    Some(if leap { utc_to_tai(clock - 1_000_000_000) + 1_000_000_000 } else { utc_to_tai(clock) })
}

/// Returns TAI − UTC in nanoseconds at a UTC time. Before 1972, UTC had another rate:
/// 4.2131700 s + (MJD − 39126) × 0.002592 s (from 1968 on; IERS).
fn offset(utc: i64) -> i64 {
    match leap_seconds::offset(utc) {
        Some(offset) => offset,
        None => {
            let mjd = 40_587.0 + utc as f64 / DAY as f64;
            ((4.213_170_0 + (mjd - 39_126.0) * 0.002_592) * 1e9).round() as i64
        }
    }
}

/// Converts a UTC time to TAI, both in nanoseconds.
pub(crate) fn utc_to_tai(utc: i64) -> i64 {
    utc + offset(utc)
}

/// Converts a TAI time to UTC, both in nanoseconds; during a leap second the result stays constant.
pub(crate) fn tai_to_utc(tai: i64) -> i64 {
    let guess = tai - offset(tai);
    let utc = tai - offset(guess);
    // Immediately before a leap second the later offset is not valid yet.
    if utc_to_tai(utc) > tai { tai - offset(utc - 1_000_000_000) } else { utc }
}

/// Returns the current time in TAI nanoseconds, rounded to microseconds as the Butler does for `ingest_date`.
pub(crate) fn now() -> i64 {
    let utc = chrono::Utc::now().timestamp_micros() * 1000;
    utc_to_tai(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_become_the_butlers_numbers() {
        assert_eq!(calendar::parse("1970-01-01T00:00:00"), Some(0));
        assert_eq!(parse_utc("2016-12-31T23:59:60"), Some(1_483_228_836_000_000_000));
        assert_eq!(parse_utc("2017-01-01T00:00:00"), Some(1_483_228_837_000_000_000));
        assert_eq!(calendar::parse("2024-11-21T03:10:00.123456789"), Some(1_732_158_600_123_456_789));
        assert_eq!(parse_utc("2024-11-21 03:10:00.123456789"), Some(1_732_158_637_123_456_789));
        assert_eq!(parse_utc("1970-01-01"), Some(8_000_082_000));
        assert_eq!(calendar::parse("2100-01-01"), Some(MAX));
        assert_eq!(calendar::parse("yesterday"), None);
        assert_eq!(calendar::day_start(20_241_108).map(|d| d + DAY / 2), Some(1_731_067_200_000_000_000));
        assert_eq!(calendar::day_start(20_241_399), None);
    }

    #[test]
    fn julian_dates_round_to_the_nearest_day_first() {
        for (mjd, ns) in [
            (61_245.803_389_779_4, 1_784_920_612_876_940_263),
            (60_313.702_644_604_535, 1_704_387_108_493_831_800),
            (60_627.302_735_469_91, 1_731_482_156_344_600_045),
        ] {
            assert_eq!(from_mjd(mjd), ns);
        }
        for (jd1, jd2, ns) in [
            (2_460_616.0, 0.487_207_592_592_592_6, 1_730_504_494_736_000_000),
            (2_460_644.0, -0.179_821_782_407_407_38, 1_732_866_063_398_000_000),
            (2_460_624.0, -0.225_910_613_313_317_3, 1_731_134_081_323_009_729),
        ] {
            assert_eq!(from_jd_pair(jd1, jd2), ns);
        }
    }

    #[test]
    fn utc_comes_back() {
        for tai in [1_483_228_835_999_999_999, 1_483_228_837_000_000_000, 1_732_158_637_123_456_789, 100_000_000_000] {
            assert!((utc_to_tai(tai_to_utc(tai)) - tai).abs() <= 1, "{tai}");
        }
    }

    #[test]
    fn timespans_follow_the_encoding() {
        assert_eq!(Timespan::new(Some(5), Some(5)), Timespan { begin: 5, end: 6 });
        assert_eq!(Timespan::new(Some(6), Some(5)), Timespan::EMPTY);
        assert_eq!(Timespan::new(None, None), Timespan::ALL);
        // The Butler refuses the same timespans.
        for (begin, end) in [(None, Some(0)), (Some(-9), Some(-5)), (Some(0), Some(-5)), (Some(MAX), None)] {
            assert!(Timespan::checked(begin, end).is_err(), "{begin:?} {end:?}");
        }
        for (begin, end) in [(Some(MAX + 1), Some(MAX + 2)), (Some(MAX - 1), Some(MAX - 1)), (Some(MAX), Some(MAX))] {
            assert!(Timespan::checked(begin, end).is_err(), "{begin:?} {end:?}");
        }
        assert_eq!(Timespan::checked(Some(-5), Some(MAX + 7)).unwrap(), Timespan::ALL);
        assert_eq!(Timespan::checked(Some(5), Some(-7)).unwrap(), Timespan::EMPTY);
        assert_eq!(Timespan::checked(Some(MAX + 5), Some(7)).unwrap(), Timespan::EMPTY);
    }

    #[test]
    fn formats_without_needless_digits() {
        assert_eq!(calendar::format(1_732_158_600_120_000_000), "2024-11-21T03:10:00.12");
        assert_eq!(calendar::day_of(1_732_158_600_000_000_000), 20_241_121);
    }
}
