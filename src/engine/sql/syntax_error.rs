//! Syntax errors of the parser, with their location.

use datafusion::error::DataFusionError;

use crate::error::{Error, SourceLocation, hint};

/// Keywords at the start of statements, for the hint of a syntax error.
const STARTS: [&str; 12] =
    ["SELECT", "CALL", "WITH", "EXPLAIN", "COPY", "INSERT", "ASSERT", "DESCRIBE", "SHOW", "CREATE", "DROP", "SET"];

/// Converts a syntax error to its message and location.
pub(crate) fn syntax_error(error: impl Into<DataFusionError>) -> Error {
    let error = error.into();
    let DataFusionError::SQL(inner, _) = error.find_root() else {
        return Error::invalid(error.find_root().message().into_owned());
    };
    let text = inner.to_string();
    let text = text.trim_start_matches("sql parser error: ");
    let Some((message, location)) = text.rsplit_once(" at Line: ") else { return Error::invalid(text) };
    let word = message.strip_prefix("Expected: an SQL statement, found: ");
    let message = &match word {
        Some(word) => format!("no statement begins with '{word}'{}", hint(word, STARTS)),
        None => message.to_owned(),
    };
    let numbers: Vec<u64> = location.split(", Column: ").filter_map(|n| n.trim().parse().ok()).collect();
    match numbers.as_slice() {
        [line, column] => Error::invalid(message).with_location(Some(SourceLocation { line: *line, column: *column })),
        _ => Error::invalid(text),
    }
}
