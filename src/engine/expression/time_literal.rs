//! Time literals of the Butler's query expressions: `T'[format/]value[/scale]'`, with the formats and scales of astropy.

use crate::error::{Error, Kind, Result};
use crate::model::calendar;
use crate::model::time::{DAY, from_jd_pair, from_mjd, parse_utc, utc_to_tai};

const SECOND: i64 = 1_000_000_000;
/// Terrestrial Time minus TAI.
const TT: i64 = 32_184_000_000;

/// Formats of astropy that are not supported.
const OTHER_FORMATS: [&str; 10] = [
    "byear",
    "byear_str",
    "jyear",
    "jyear_str",
    "decimalyear",
    "plot_date",
    "ymdhms",
    "datetime64",
    "galexsec",
    "stardate",
];
/// Time scales of astropy that are not supported.
const OTHER_SCALES: [&str; 5] = ["tdb", "tcb", "tcg", "ut1", "local"];

/// Parses the inside of a time literal to TAI nanoseconds.
///
/// # Errors
/// `Kind::Invalid` for text that is not a time, `Kind::Unsupported` for formats and scales that only astropy knows.
pub(super) fn parse(text: &str) -> Result<i64> {
    let text = text.replace("+00:00", "");
    let wrong = || Error::invalid(format!("InvalidQueryError: '{text}' is not a time"));
    let parts: Vec<&str> = text.split('/').collect();
    let starts_value = |part: &str| part.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let (format, value, scale) = match *parts.as_slice() {
        [value] => (None, value, None),
        [value, scale] if starts_value(value) => (None, value, Some(scale)),
        [format, value] => (Some(format), value, None),
        [format, value, scale] => (Some(format), value, Some(scale)),
        _ => return Err(wrong()),
    };
    let number = (value.contains('.') && !value.contains([':', 'e', 'E', '_'])).then(|| value.parse::<f64>().ok());
    let number = number.flatten().filter(|n| n.is_finite() && n.abs() < 1e12);
    let format = match format {
        Some(format) => format.to_lowercase(),
        None => usual_format(value, number).to_owned(),
    };
    if OTHER_FORMATS.contains(&format.as_str()) {
        return Err(Error::new(Kind::Unsupported, format!("times of format '{format}' are not supported")));
    }
    let scale = match scale {
        Some(scale) => scale.to_lowercase(),
        None if matches!(format.as_str(), "iso" | "isot" | "fits" | "yday") => "utc".to_owned(),
        None => "tai".to_owned(),
    };
    if OTHER_SCALES.contains(&scale.as_str()) {
        return Err(Error::new(Kind::Unsupported, format!("time scale '{scale}' is not supported")));
    }
    if !["tai", "utc", "tt"].contains(&scale.as_str()) {
        return Err(wrong());
    }
    // Seconds from an epoch are an instant; the scale does not change it.
    let instant = match (format.as_str(), number) {
        ("unix", Some(n)) => Some(utc_to_tai(seconds(n))),
        ("unix_tai", Some(n)) => Some(seconds(n)),
        ("cxcsec", Some(n)) => Some(seconds(n) + from_mjd(50_814.0) - TT),
        ("gps", Some(n)) => Some(seconds(n) + from_mjd(44_244.0) + 19 * SECOND),
        _ => None,
    };
    if let Some(instant) = instant {
        return Ok(instant);
    }
    let has_time = value.contains(['T', 't']);
    let reading = match (format.as_str(), number) {
        ("mjd", Some(n)) => Some(from_mjd(n)),
        ("jd", Some(n)) => Some(from_jd_pair(n.round_ties_even(), n - n.round_ties_even())),
        ("iso", None) if !has_time => civil(value, &scale),
        ("isot" | "fits", None) if has_time || !value.contains(':') => {
            civil(value.strip_prefix("+0").unwrap_or(value), &scale)
        }
        ("yday", None) => yday(value).and_then(|iso| civil(&iso, &scale)),
        _ => None,
    };
    let reading = reading.ok_or_else(wrong)?;
    Ok(match (scale.as_str(), number) {
        ("utc", Some(_)) => utc_to_tai(reading),
        ("tt", _) => reading - TT,
        _ => reading,
    })
}

/// The format of a value without one.
fn usual_format(value: &str, number: Option<f64>) -> &'static str {
    match number {
        Some(_) => "mjd",
        None if value.starts_with('+') => "fits",
        None if value.contains('-') => {
            if value.contains(['T', 't']) {
                "isot"
            } else {
                "iso"
            }
        }
        None => "yday",
    }
}

/// Converts seconds to nanoseconds; the fraction keeps the precision of the number.
fn seconds(n: f64) -> i64 {
    let whole = n.trunc();
    whole as i64 * SECOND + ((n - whole) * 1e9).round_ties_even() as i64
}

/// Parses a civil date and time; one of UTC becomes TAI.
fn civil(value: &str, scale: &str) -> Option<i64> {
    let plain = value.chars().all(|c| c.is_ascii_digit() || "-: Tt.".contains(c));
    let value = value.replace('t', "T");
    match scale {
        _ if !plain => None,
        "utc" => parse_utc(&value),
        _ => calendar::parse(&value),
    }
}

/// Converts `year:day[:hours:minutes[:seconds]]` to a civil date and time.
fn yday(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, ':');
    let (year, day, rest) = (parts.next()?, parts.next()?.parse::<i64>().ok()?, parts.next());
    let start = calendar::parse(&format!("{year}-01-01"))?;
    let date = calendar::format(start.checked_add((day - 1).checked_mul(DAY)?)?);
    let date = date.split('T').next()?;
    if day < 1 || !date.starts_with(&format!("{year}-")) {
        return None;
    }
    Some(match rest {
        Some(time) => format!("{date}T{time}"),
        None => date.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_astropy() {
        for (text, tai) in [
            ("60617.0", 1_730_592_000_000_000_000),
            ("2024-11-03", 1_730_592_037_000_000_000),
            ("2024-11-03T00:00:00/tai", 1_730_592_000_000_000_000),
            ("isot/2024-11-03T00:00:00/TT", 1_730_591_967_816_000_000),
            ("jd/2460617.5/utc", 1_730_592_037_000_000_000),
            ("unix/1730592000.0", 1_730_592_037_000_000_000),
            ("unix/1730592000.0/tai", 1_730_592_037_000_000_000),
            ("unix_tai/1730592037.5", 1_730_592_037_500_000_000),
            ("2024:308:01:02", 1_730_595_757_000_000_000),
            ("yday/2024:308/tai", 1_730_592_000_000_000_000),
            ("+02024-11-03", 1_730_592_037_000_000_000),
            ("2024-11-03+00:00", 1_730_592_037_000_000_000),
        ] {
            assert_eq!(parse(text).unwrap(), tai, "{text}");
        }
        for text in [
            "60617",
            "2024-11",
            "2024-13-01",
            "bogus/1.0",
            "2024-11-03/bogus",
            "tomorrow",
            "2024-11-03T00:00:00Z",
            "iso/2024-11-03T00:00:00",
            "2024-11-03T00:00:00+01:00",
            "2024-11-03T",
            "2023:366",
            "byear/2000.0",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
