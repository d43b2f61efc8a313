//! Parts of URIs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that Python's `urllib.parse.quote` leaves unquoted, so that URIs equal those of the Butler.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// Percent-encodes a path for a URI.
pub(crate) fn quoted(path: &str) -> String {
    utf8_percent_encode(path, QUOTED).to_string()
}
