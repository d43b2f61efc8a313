//! Errors of DataFusion and Arrow, rephrased in terms of the user's statement.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::datafusion_text::Text;
use super::{Error, Kind, SourceLocation, nearest};

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
                return Self::new(Kind::NotFound, message).with_location(at).with_source(error);
            }
            let names = || valid_fields.iter().map(|c| c.name.as_str());
            let mut unknown = Self::not_found("column", &field.name, names());
            let slip = |known: &str| strsim::levenshtein(known, &field.name) <= 2;
            if field.relation.is_none() && !nearest(&field.name, names()).is_some_and(slip) {
                unknown.0.message.push_str(" (string literals use single quotes)");
            }
            return unknown.with_location(at).with_source(error);
        }
        let root = error.find_root();
        let kind = match root {
            DataFusionError::Internal(text) if !matches!(Text::of(text), Text::WrongTypes(_)) => Kind::Bug,
            DataFusionError::NotImplemented(_) => Kind::Unsupported,
            DataFusionError::Internal(_)
            | DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..) => Kind::Invalid,
            _ => Kind::Failed,
        };
        let text = root.message().into_owned();
        if matches!(root, DataFusionError::ResourcesExhausted(_)) {
            let message = "the statement exceeds the memory limit: SET datafusion.runtime.memory_limit = '16G' raises it \
                           to 16 GiB";
            return Self::new(kind, message).with_location(at).with_source(error);
        }
        let text = Text::of(&text);
        let kind = if text == Text::Internal { Kind::Unsupported } else { kind };
        Self::new(kind, text.rephrased()).with_location(at).with_source(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}
