//! Validates JSON files: DataFusion's reader would round large integers, and ignores data after an array.

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Kind, Result};

/// Bytes at the start of a file that are searched for the opening bracket of an array.
const HEAD: u64 = 1024;
/// Number of digits from which an integer may exceed 64 bits.
const DIGITS: usize = 19;

/// Whether a file is one JSON array, not newline-delimited JSON.
///
/// # Errors
/// A file that cannot be read.
pub(super) async fn is_array(store: &dyn ObjectStore, file: &ObjectMeta) -> Result<bool> {
    if file.size == 0 {
        return Ok(false);
    }
    let head = store.get_range(&file.location, 0..HEAD.min(file.size)).await?;
    Ok(head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

/// Validates the integers of a file, and that no data follows its array.
///
/// # Errors
/// `Kind::Unsupported` for an integer beyond 64 bits, `Kind::Invalid` for data after an array.
pub(super) async fn check(store: &dyn ObjectStore, file: &ObjectMeta, is_array: bool) -> Result<()> {
    let mut bytes = store.get(&file.location).await?.into_stream();
    let mut numbers = Numbers::default();
    let mut array = Array::default();
    while let Some(bytes) = bytes.try_next().await? {
        if is_array && array.has_more(&bytes) {
            let message = format!("'{}' has data after its first array", file.location);
            return Err(Error::invalid(message));
        }
        if let Some(number) = numbers.beyond(&bytes) {
            let message = format!(
                "'{}' holds the number {number}, which is beyond 64 bits and would be rounded: write it as a string",
                file.location
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
    }
    Ok(())
}

/// The state of the scan for large integers, kept between chunks.
#[derive(Debug, Default)]
struct Numbers {
    in_text: bool,
    escaped: bool,
    /// The digits of the current number so far.
    number: String,
}

impl Numbers {
    /// Scans the next chunk; returns the first integer beyond 64 bits that ends in it.
    fn beyond(&mut self, bytes: &[u8]) -> Option<String> {
        for byte in bytes {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E' => self.number.push(char::from(*byte)),
                _ if self.number.is_empty() => {}
                _ => {
                    let number = std::mem::take(&mut self.number);
                    if number.len() >= DIGITS && is_whole(&number) && number.parse::<i64>().is_err() {
                        return Some(number);
                    }
                }
            }
        }
        None
    }
}

/// The state of the scan for data after an array, kept between chunks.
#[derive(Debug, Default)]
struct Array {
    in_text: bool,
    escaped: bool,
    depth: u32,
    begun: bool,
}

impl Array {
    /// Scans the next chunk; returns whether it contains data after the array.
    fn has_more(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'[' | b'{' if self.depth > 0 || !self.begun => {
                    self.depth += 1;
                    self.begun = true;
                }
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                byte => return self.begun && self.depth == 0 && !byte.is_ascii_whitespace(),
            }
            self.begun && self.depth == 0 && self.in_text
        })
    }
}

fn is_whole(number: &str) -> bool {
    number.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beyond(parts: &[&str]) -> Option<String> {
        let mut numbers = Numbers::default();
        parts.iter().find_map(|part| numbers.beyond(part.as_bytes()))
    }

    #[test]
    fn finds_more_than_an_array() {
        let more = |parts: &[&str]| {
            let mut array = Array::default();
            parts.iter().any(|part| array.has_more(part.as_bytes()))
        };
        assert!(!more(&["[{\"a\": \"]\\\"\", \"b\": [1]},", " {}]\n "]));
        for text in ["[{\"a\":1}]\n[{\"a\":2}]", "[1] x", "[1],\"lost\"", "[] \"x\"", "[[1]] 2"] {
            assert!(more(&[text]), "{text}");
        }
    }

    #[test]
    fn finds_numbers_that_would_be_rounded() {
        assert_eq!(beyond(&["{\"u\": 18446744073709551615}"]).as_deref(), Some("18446744073709551615"));
        assert_eq!(beyond(&["[-92233720368", "54775809, 1]"]).as_deref(), Some("-9223372036854775809"));
        for fits in ["{\"a\": -9223372036854775808}", "{\"a\": 0.12345678901234567890}", "{\"a\": 1e30}"] {
            assert_eq!(beyond(&[fits]), None, "{fits}");
        }
        assert_eq!(beyond(&["{\"18446744073709551615\": \"a\\\" 18446744073709551615 \"}"]), None);
    }
}
