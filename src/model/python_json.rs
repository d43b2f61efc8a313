//! JSON as written by Python: floats may be `NaN`, `Infinity` and `-Infinity`, which are not part of JSON.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Parses JSON text of Python; [`constant`] decodes the constants that are not part of JSON.
///
/// # Errors
/// Text that is not JSON, even with these constants.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes).or_else(|e| match constants_quoted(bytes) {
        Some(quoted) => serde_json::from_slice(&quoted),
        None => Err(e),
    })
}

/// The prefix of a string that represents a constant. In JSON files this character occurs only as an escape sequence.
const CONSTANT: char = '\0';

/// The constants that Python writes for non-finite floats.
const CONSTANTS: [(&str, f64); 3] = [("-Infinity", f64::NEG_INFINITY), ("Infinity", f64::INFINITY), ("NaN", f64::NAN)];

/// Returns the float that a constant represents; `None` for other values.
pub(crate) fn constant(value: &Value) -> Option<f64> {
    let name = value.as_str()?.strip_prefix(CONSTANT)?;
    CONSTANTS.iter().find(|known| known.0 == name).map(|known| known.1)
}

/// Replaces the constants by strings that [`constant`] decodes; `None` if the text contains no constants.
fn constants_quoted(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at, mut in_text, mut found) = (Vec::with_capacity(bytes.len() + 64), 0, false, false);
    while let Some(&byte) = bytes.get(at) {
        let constant = CONSTANTS.iter().map(|known| known.0).find(|name| bytes[at..].starts_with(name.as_bytes()));
        if let Some(name) = constant.filter(|_| !in_text) {
            out.extend(format!("\"\\u0000{name}\"").bytes());
            (at, found) = (at + name.len(), true);
            continue;
        }
        in_text ^= byte == b'"';
        out.push(byte);
        if in_text && byte == b'\\' {
            out.extend(bytes.get(at + 1));
            at += 1;
        }
        at += 1;
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_of_python_are_floats() {
        let text = br#"{"__COMMON__": {"a": NaN, "b": [-Infinity, 1], "c": "NaN \\\" Infinity", "d": Infinity}}"#;
        let value: Value = parse(text).unwrap();
        let common = &value["__COMMON__"];
        assert!(constant(&common["a"]).unwrap().is_nan());
        assert_eq!(constant(&common["b"][0]), Some(f64::NEG_INFINITY));
        assert_eq!((constant(&common["c"]), common["c"].as_str()), (None, Some("NaN \\\" Infinity")));
        assert_eq!(constant(&common["d"]), Some(f64::INFINITY));
    }
}
