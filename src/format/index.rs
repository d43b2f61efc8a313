//! Metadata files for raws: the `_index.json` of a folder, and the sidecar of one file.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::python_json;

/// The maximum size in bytes of an index or sidecar.
pub const LIMIT: u64 = 64 << 20;

/// A JSON object.
pub type Object = Map<String, Value>;

/// The kind of metadata (`__CONTENT__`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Translated properties, with the same meaning for all instruments.
    Translated,
    /// Raw header keys, as the instrument writes them.
    Metadata,
}

/// The metadata of the raw files of a folder.
#[derive(Debug)]
pub struct Index {
    /// The kind of metadata of all files.
    pub content: Content,
    /// Values shared by all files; they take precedence over the values of a file.
    pub common: Object,
    /// Values of each file, by name relative to the index.
    pub files: Object,
}

/// Reads an `_index.json`.
///
/// # Errors
/// Text that is not a JSON object, has no `__COMMON__`, or has an entry of a file that is not an object.
pub fn parse_index(bytes: &[u8]) -> Result<Index> {
    let mut files = object(bytes)?;
    let content = content(&mut files)?.unwrap_or(Content::Metadata);
    let common = match files.remove("__COMMON__") {
        Some(Value::Object(common)) => common,
        Some(_) => return Err(Error::invalid("'__COMMON__' is not an object")),
        None => return Err(Error::invalid("'__COMMON__' is missing")),
    };
    match files.iter().find(|(_, value)| !value.is_object()) {
        Some((name, _)) => Err(Error::invalid(format!("the entry of '{name}' is not an object"))),
        None => Ok(Index { content, common, files }),
    }
}

/// Reads the sidecar of one file.
///
/// # Errors
/// Text that is not a JSON object.
pub fn parse_sidecar(bytes: &[u8]) -> Result<(Content, Object)> {
    let mut values = object(bytes)?;
    let translated = values.contains_key("observation_id") && values.contains_key("instrument");
    let implied = if translated { Content::Translated } else { Content::Metadata };
    Ok((content(&mut values)?.unwrap_or(implied), values))
}

fn object(bytes: &[u8]) -> Result<Object> {
    python_json::parse(bytes).map_err(|e| Error::invalid(format!("not a JSON object: {e}")).with_source(e))
}

fn content(values: &mut Object) -> Result<Option<Content>> {
    match values.remove("__CONTENT__") {
        None => Ok(None),
        Some(Value::String(word)) if word == "translated" => Ok(Some(Content::Translated)),
        Some(Value::String(word)) if word == "metadata" => Ok(Some(Content::Metadata)),
        Some(other) => Err(Error::invalid(format!("'__CONTENT__' is neither 'translated' nor 'metadata': {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_are_refused() {
        for (text, message) in [
            ("[1]", "not a JSON object"),
            ("{\"a.fits\": {}}", "'__COMMON__' is missing"),
            ("{\"__COMMON__\": 1}", "'__COMMON__' is not an object"),
            ("{\"__COMMON__\": {}, \"a.fits\": 3}", "the entry of 'a.fits' is not an object"),
            ("{\"__COMMON__\": {}, \"__CONTENT__\": \"x\"}", "'__CONTENT__' is neither"),
        ] {
            let error = parse_index(text.as_bytes()).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
        }
        // Neither a number nor a Python constant.
        assert!(parse_index(br#"{"__COMMON__": {"a": nan}}"#).is_err());
        let deep = "[".repeat(1 << 20);
        assert!(parse_index(deep.as_bytes()).is_err());
    }

    #[test]
    fn content_is_declared_or_inferred() {
        let index = parse_index(br#"{"__COMMON__": {"a": 1}, "x.fits": {"b": 2}}"#).unwrap();
        assert_eq!((index.content, index.files.len()), (Content::Metadata, 1));
        let sidecar = br#"{"observation_id": "x", "instrument": "LSSTComCam"}"#;
        assert_eq!(parse_sidecar(sidecar).unwrap().0, Content::Translated);
    }
}
