//! Errors of DataFusion and Arrow, rephrased in terms of the user's statement.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::{Error, Kind, NO_SUBQUERY, SourceLocation, nearest};

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    /// Unwraps an error of this crate unchanged; other errors keep the first line of their message and their location.
    fn from(error: DataFusionError) -> Self {
        let at = error
            .diagnostic()
            .and_then(|d| d.span)
            .map(|s| SourceLocation { line: s.start.line, column: s.start.column });
        let mut causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
        if let Some(ours) = causes.find_map(|cause| cause.downcast_ref::<Error>()) {
            return ours.clone().with_location(at);
        }
        if let DataFusionError::SchemaError(inner, _) = error.find_root()
            && let SchemaError::FieldNotFound { field, valid_fields } = inner.as_ref()
        {
            if let Some(other) = valid_fields.iter().find(|known| known.name == field.name) {
                let message = format!("no column named '{}'; did you mean '{}'?", field.flat_name(), other.flat_name());
                return Self::new(Kind::NotFound, message).with_location(at);
            }
            let names = || valid_fields.iter().map(|c| c.name.as_str());
            let mut unknown = Self::not_found("column", &field.name, names());
            let slip = |known: &str| strsim::levenshtein(known, &field.name) <= 2;
            if field.relation.is_none() && !nearest(&field.name, names()).is_some_and(slip) {
                unknown.0.message.push_str(" (string literals use single quotes)");
            }
            return unknown.with_location(at);
        }
        let root = error.find_root();
        let kind = match root {
            DataFusionError::Internal(message) if !message.contains("failed to match any signature") => Kind::Bug,
            DataFusionError::NotImplemented(_) => Kind::Unsupported,
            DataFusionError::Internal(_)
            | DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..) => Kind::Invalid,
            _ => Kind::Failed,
        };
        let text = root.message();
        let mut lines = text.lines();
        let message = match lines.next().unwrap_or_default() {
            _ if INTERNALS.iter().any(|word| text.contains(word)) => {
                return Self::new(Kind::Unsupported, NO_SUBQUERY).with_location(at).with_source(error);
            }
            // The last line of the message describes the error.
            "regex parse error:" => {
                format!(
                    "invalid regular expression: {}",
                    lines.next_back().unwrap_or_default().trim_start_matches("error: ")
                )
            }
            _ if matches!(root, DataFusionError::ResourcesExhausted(_)) => {
                "the statement exceeds the memory limit: SET datafusion.runtime.memory_limit = '16G' raises it to \
                 16 GiB"
                    .to_owned()
            }
            message => rephrased(message),
        };
        Self::new(kind, message).with_location(at).with_source(error)
    }
}

/// Internal names of plans, of DataFusion and of this crate; a message that contains one is replaced.
const INTERNALS: [&str; 13] = [
    "__correlated_sq",
    "__scalar_sq",
    "__listed_",
    "__value_",
    "__domain_",
    "__key_",
    "__rank_",
    "__subquery_",
    "OuterReferenceColumn",
    "outer_ref(",
    "InSubquery",
    "Physical plan does not support logical expression",
    "Correlated scalar subquery can only be used in",
];

/// Rephrases a message of DataFusion in terms of the user's statement.
fn rephrased(message: &str) -> String {
    // DataFusion wraps the message of a function about its argument types.
    if let Some((_, message)) = message.split_once("coercion failed with: Error during planning: ") {
        return message.split(" No function matches").next().unwrap_or(message).trim_end_matches('.').to_owned();
    }
    if let Some(rest) = message.strip_prefix("Cannot access field at argument 1: type ") {
        let kind = rest.split(" is not ").next().unwrap_or(rest);
        return format!("no such column in the FROM clause, and a value of type {kind} has no fields");
    }
    if let Some((time, why)) = between(message, "Error parsing timestamp from '", "'")
        && why.starts_with(": ")
        && !why.contains("timezone")
    {
        return format!("'{time}' is not a valid time; write '2024-10-24' or '2024-10-24 19:00:00'");
    }
    if let Some((value, rest)) = between(message, "Cannot cast string '", "' to value of ") {
        let kind = rest.trim_end_matches(" type");
        return format!("the text '{value}' cannot be read as {kind}");
    }
    if let Some((named, _)) =
        between(message, "require unique expression names but the expression \"", "\" at position")
    {
        let name = named.rsplit(" AS ").next().unwrap_or(named);
        return format!("two columns have the name '{name}'; AS gives another");
    }
    if let Some((name, _)) = between(message, "Function '", "' failed to match any signature") {
        return format!("{name} does not take values of this type");
    }
    if let Some((column, _)) = between(message, "While expanding wildcard, column \"", "\" must appear in the GROUP BY")
    {
        return format!("column '{column}' is neither in GROUP BY nor within an aggregate function");
    }
    if message.starts_with("Plan: [") {
        return "this statement cannot be planned; split it into several statements".to_owned();
    }
    if let Some((_, operation)) = message.split_once("Overflow happened on: ") {
        return format!("out of range for a 64-bit integer: {operation}");
    }
    if let Some((_, written)) = message.split_once("Unsupported ast node ") {
        let node = written.split(['(', ' ', '{']).next().unwrap_or_default();
        return format!("an expression of the kind {node} is not supported");
    }
    message.trim_end_matches('.').to_owned()
}

/// Returns the text between `before` and `after`, and the text that follows.
fn between<'a>(message: &'a str, before: &str, after: &str) -> Option<(&'a str, &'a str)> {
    message.split_once(before)?.1.split_once(after)
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}
