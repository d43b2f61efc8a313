//! Errors of HTTP connections.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

/// Finds a TLS error in an error; the error inside an I/O error is not its `source`.
pub(crate) fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let held = || Some(error.downcast_ref::<std::io::Error>()?.get_ref()? as &(dyn std::error::Error + 'static));
    error.downcast_ref().or_else(|| tls_error(held()?))
}

/// Returns the pause that a `Retry-After` header requests, in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    let until = |value: &str| (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - Utc::now()).to_std().ok();
    value.parse().ok().map(Duration::from_secs).or_else(|| until(value))
}
