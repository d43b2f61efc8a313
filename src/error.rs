//! What can go wrong, told in one sentence that names the thing.
//!
//! Every room returns [`Error`]; the only crossings to and from other libraries' errors are here.

pub mod database;
mod engine;

use std::fmt;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is said of subqueries that DataFusion cannot take apart.
pub const NO_SUBQUERY: &str = "a subquery of this form is not supported here; a JOIN with it is";

/// So many names are told all when none is near.
const FEW: usize = 8;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A name, file or row that was asked for is not there.
    NotFound,
    /// Something is there already and may not be made twice.
    Exists,
    /// The same key is there with another value.
    Conflict,
    /// What was given cannot be right: a bad argument, file or statement.
    Invalid,
    /// Correct, but this program does not do it.
    Unsupported,
    /// A database or server did not answer.
    Unreachable,
    /// A database or server refused who asks.
    Denied,
    /// Another writer was in the way; the same again may succeed.
    Busy,
    /// What a decision rests on was changed by another writer meanwhile.
    Stale,
    /// An assertion of a script does not hold.
    Assertion,
    /// The operation was tried and did not succeed.
    Failed,
    /// The user stopped it.
    Interrupted,
    /// An invariant of this program is broken.
    Bug,
}

/// A place in a script: line and column count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLocation {
    /// Line in the text, from 1.
    pub line: u64,
    /// Column in the line, in characters, from 1.
    pub column: u64,
}

/// One sentence naming the thing, what can be done about it, and where it happened.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    location: Option<SourceLocation>,
    source: Option<Source>,
}

impl Error {
    /// An error saying `message`, one sentence without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), location: None, source: None }))
    }

    /// A bad argument, file or statement.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// A broken invariant of this program.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, format!("internal error: {}", message.into()))
    }

    /// No `what` (such as "collection") has the name; tells the nearest of the names that exist.
    pub fn not_found<'a>(what: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let mut near = hint(name, names.iter().copied());
        if near.is_empty() && (1..=FEW).contains(&names.len()) {
            near = format!("; there is {}", names.join(", "));
        }
        Self::new(Kind::NotFound, format!("no {what} named '{name}'{near}"))
    }

    /// The same error with the library error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error at a place of the statement, unless it has one.
    #[must_use]
    pub fn with_location(mut self, location: Option<SourceLocation>) -> Self {
        self.0.location = self.0.location.or(location);
        self
    }

    /// The same error, its sentence led by the thing being done (`reading x.yaml: …`).
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// What can be done about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where in the statement, when known.
    pub fn location(&self) -> Option<SourceLocation> {
        self.0.location
    }

    /// Whether a database says that a row refers to one that is not there.
    pub fn is_missing_reference(&self) -> bool {
        self.0.message.to_lowercase().contains("foreign key")
    }

    /// A copy without the source, for the second reader of a shared result.
    #[must_use]
    pub fn clone_without_source(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            message: self.0.message.clone(),
            location: self.0.location,
            source: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, "\n  caused by {source:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

/// Of these names the one most like `name`, when one is near enough to be a slip of the pen.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    names
        .into_iter()
        .map(|n| (strsim::jaro_winkler(&lower, &n.to_lowercase()), n))
        .filter(|(likeness, _)| *likeness > 0.78)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, n)| n)
}

/// The words `; did you mean 'x'?`, or nothing when no name is near.
pub fn hint<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, names).map_or_else(String::new, |n| format!("; did you mean '{n}'?"))
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            std::io::ErrorKind::AlreadyExists => Kind::Exists,
            _ => Kind::Failed,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        // Our own stores tell our own errors.
        if let Some(own) = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Self>()) {
            return own.clone_without_source();
        }
        let kind = match &error {
            object_store::Error::NotFound { .. } => Kind::NotFound,
            object_store::Error::AlreadyExists { .. } => Kind::Exists,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => Kind::Denied,
            object_store::Error::NotSupported { .. } => Kind::Unsupported,
            _ => Kind::Failed,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::error::DataFusionError;

    use super::*;

    #[test]
    fn names_the_nearest() {
        let names = ["exposure", "detector", "visit"];
        assert_eq!(nearest("exposre", names), Some("exposure"));
        assert_eq!(nearest("nothing_like_it", names), None);
        assert_eq!(
            Error::not_found("table", "detectr", names).message(),
            "no table named 'detectr'; did you mean 'detector'?"
        );
    }

    #[test]
    fn crosses_datafusion_and_back() {
        let there: DataFusionError = Error::new(Kind::Conflict, "exposure 7 differs").into();
        let back: Error = there.context("planning").into();
        assert_eq!((back.kind(), back.message()), (Kind::Conflict, "exposure 7 differs"));
    }
}
