//! Dates and times as text, in nanoseconds since 1970, without conversion of the time scale.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Timelike};

/// Parses a date and time (`2024-11-21`, `2024-11-21T03:10:00.5`, or with a blank instead of `T`) to nanoseconds since
/// 1970, without conversion of the time scale.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let reading = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .into_iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    reading.and_utc().timestamp_nanos_opt()
}

/// Parses a date and time in the forms of [`parse`], or in the short form of file names (`20241121`,
/// `20241121T031000`).
pub(crate) fn parse_stem(text: &str) -> Option<i64> {
    let short = || {
        NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S")
            .ok()
            .or_else(|| NaiveDate::parse_from_str(text, "%Y%m%d").ok()?.and_hms_opt(0, 0, 0))?
            .and_utc()
            .timestamp_nanos_opt()
    };
    parse(text).or_else(short)
}

/// Returns the start of a `YYYYMMDD` day in nanoseconds since 1970, without conversion of the time scale.
pub(crate) fn day_start(day: i64) -> Option<i64> {
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(day / 10_000).ok()?,
        u32::try_from(day / 100 % 100).ok()?,
        u32::try_from(day % 100).ok()?,
    )?;
    date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_nanos_opt()
}

/// Returns the `YYYYMMDD` day of a time in nanoseconds, without conversion of the time scale.
pub(crate) fn day_of(clock: i64) -> i64 {
    DateTime::from_timestamp_nanos(clock).format("%Y%m%d").to_string().parse().unwrap_or_default()
}

/// Formats a time in nanoseconds, with as many decimal places as necessary, without conversion of the time scale.
pub(crate) fn format(clock: i64) -> String {
    let time = DateTime::from_timestamp_nanos(clock);
    let text = time.format("%Y-%m-%dT%H:%M:%S").to_string();
    match time.nanosecond() {
        0 => text,
        nanos => format!("{text}.{nanos:09}").trim_end_matches('0').to_owned(),
    }
}
