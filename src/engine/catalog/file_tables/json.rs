//! Whole numbers of JSON that the reader below us would round.

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Kind, Result};

/// So much of a file is looked at to tell whether it is an array.
const HEAD: u64 = 1024;
/// The digits of the smallest whole number that may be beyond 64 bits.
const DIGITS: usize = 19;

/// Whether a file is one array, not a value a line.
///
/// # Errors
/// A file that cannot be read.
pub async fn is_array(store: &dyn ObjectStore, file: &ObjectMeta) -> Result<bool> {
    if file.size == 0 {
        return Ok(false);
    }
    let head = store.get_range(&file.location, 0..HEAD.min(file.size)).await?;
    Ok(head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

/// Looks at the whole numbers of a file, and for more than its array.
///
/// # Errors
/// A number beyond 64 bits, and what comes after an array: the reader below us leaves it out.
pub async fn check(store: &dyn ObjectStore, file: &ObjectMeta, is_array: bool) -> Result<()> {
    let mut bytes = store.get(&file.location).await?.into_stream();
    let mut numbers = Numbers::default();
    let mut array = Array::default();
    while let Some(bytes) = bytes.try_next().await? {
        if is_array && array.has_more(&bytes) {
            let message = format!("'{}' has more after its first array", file.location);
            return Err(Error::invalid(message));
        }
        if let Some(number) = numbers.beyond(&bytes) {
            let message = format!(
                "'{}' holds the number {number}, which is beyond 64 bits and would be rounded: write it as a text",
                file.location
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
    }
    Ok(())
}

/// Where in a file the looking is.
#[derive(Debug, Default)]
struct Numbers {
    in_text: bool,
    escaped: bool,
    /// What may be a long number, as far as it has come.
    number: String,
}

impl Numbers {
    /// A whole number beyond 64 bits that ends in these bytes, which come after others.
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

/// Where in a file that is an array the looking is.
#[derive(Debug, Default)]
struct Array {
    in_text: bool,
    escaped: bool,
    depth: u32,
    begun: bool,
}

impl Array {
    /// Whether these bytes, which come after others, hold something after the array.
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
