//! The error type of the crate: a kind, a message of one sentence, and a location in the script if known.
//!
//! Every room returns [`Error`]. Errors of other libraries are converted only in this module and its children.

pub(crate) mod database;
pub(crate) mod datafusion_text;
mod engine;

use std::fmt;
use std::sync::Arc;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The message for subqueries that DataFusion cannot decorrelate.
pub(crate) const NO_SUBQUERY: &str = "subqueries of this form are not supported; use a JOIN instead";

/// If no name is similar, a message lists all names, up to this number.
const FEW: usize = 8;

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// The class of an error; it determines the exit code and whether a retry is useful.
///
/// ```
/// use butlersql::{Error, Kind};
///
/// fn may_retry(error: &Error) -> bool {
///     matches!(error.kind(), Kind::Busy | Kind::Stale | Kind::Unreachable)
/// }
///
/// assert!(may_retry(&Error::new(Kind::Busy, "the registry is locked")));
/// assert!(!may_retry(&Error::invalid("'x' is not a time")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A name, file or row does not exist.
    NotFound,
    /// An object with this name exists already and cannot be created again.
    Exists,
    /// A row with the same key exists with other values, or a constraint of the database is violated.
    Conflict,
    /// An argument, a file or a statement is invalid.
    Invalid,
    /// The request is valid, but this program does not support it.
    Unsupported,
    /// A database or server does not answer.
    Unreachable,
    /// A database, a server or the file system denies access.
    Denied,
    /// A concurrent writer caused a conflict; a retry may succeed.
    Busy,
    /// A concurrent writer changed data that the operation was based on; the operation must be planned again.
    Stale,
    /// An `ASSERT` of a script does not hold.
    Assertion,
    /// The operation failed for another reason.
    Failed,
    /// The user interrupted the statement.
    Interrupted,
    /// An internal error: an invariant of this program is violated.
    Bug,
}

/// A location in a script; lines and columns are counted from 1, as editors do.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> butlersql::Result<()> {
/// let session = butlersql::Session::open("repo")?;
/// let error = session.sql("SELECT 1,\n  nothing(2)").await.unwrap_err();
/// assert_eq!(error.location(), Some(butlersql::SourceLocation { line: 2, column: 3 }));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLocation {
    /// Line of the text, from 1.
    pub line: u64,
    /// Column of the line in characters, from 1.
    pub column: u64,
}

/// An error: its kind, a message of one sentence, the name that it is about, its location in the script, the details
/// that a database gives, and the error that caused it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> butlersql::Result<()> {
/// let session = butlersql::Session::open("repo")?;
/// let error = session.sql("SELECT lenght('abc')").await.unwrap_err();
/// assert_eq!(error.kind(), butlersql::Kind::NotFound);
/// assert_eq!(error.message(), "no function named 'lenght'; did you mean 'length'?");
/// assert_eq!(error.subject(), Some("lenght"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    subject: Option<String>,
    location: Option<SourceLocation>,
    detail: Option<String>,
    hint: Option<String>,
    violates_foreign_key: bool,
    source: Option<Source>,
}

impl Error {
    /// Creates an error with a message, which is one sentence without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            subject: None,
            location: None,
            detail: None,
            hint: None,
            violates_foreign_key: false,
            source: None,
        }))
    }

    /// Creates an error of [`Kind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Creates an error of [`Kind::Bug`]; the message gets the prefix `internal error: `.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, format!("internal error: {}", message.into()))
    }

    /// Creates an error of [`Kind::NotFound`]: no `what` (such as "collection") has this name. The message suggests the
    /// most similar of the existing names, or lists them all if they are few.
    pub fn not_found<'a>(what: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let mut near = hint(name, names.iter().copied());
        if near.is_empty() && (1..=FEW).contains(&names.len()) {
            near = format!("; available: {}", names.join(", "));
        }
        Self::new(Kind::NotFound, format!("no {what} named '{name}'{near}")).with_subject(name)
    }

    /// Sets the name that the error is about; it is looked up in the statement to find the location.
    #[must_use]
    pub fn with_subject(mut self, name: &str) -> Self {
        self.0.subject = Some(name.to_owned());
        self
    }

    /// Sets the DETAIL and HINT of a database.
    #[must_use]
    pub fn with_details(mut self, detail: Option<&str>, hint: Option<&str>) -> Self {
        self.0.detail = detail.map(str::to_owned);
        self.0.hint = hint.map(str::to_owned);
        self
    }

    /// Attaches the library error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Sets the location in the script, unless the error already has one.
    #[must_use]
    pub fn with_location(mut self, location: Option<SourceLocation>) -> Self {
        self.0.location = self.0.location.or(location);
        self
    }

    /// Places a location that is relative to a text in the script, where the text starts at `start`. Without a start, the
    /// error has no location.
    #[must_use]
    pub(crate) fn within(mut self, start: Option<SourceLocation>) -> Self {
        self.0.location = self.0.location.zip(start).map(|(own, start)| match own.line {
            1 => SourceLocation { line: start.line, column: start.column + own.column - 1 },
            line => SourceLocation { line: start.line + line - 1, column: own.column },
        });
        self
    }

    /// Prepends the current activity to the message (`reading x.yaml: …`).
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the message, one sentence without a full stop.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the name that the error is about, if there is one.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// Returns the DETAIL of a database, if it gives one.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Returns the HINT of a database, if it gives one.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the location in the script, if known.
    pub fn location(&self) -> Option<SourceLocation> {
        self.0.location
    }

    /// Marks the error as a violated foreign key, or as not.
    #[must_use]
    pub fn with_foreign_key(mut self, is_violated: bool) -> Self {
        self.0.violates_foreign_key = is_violated;
        self
    }

    /// Returns true if a database reports a violated foreign key: the referenced row does not exist.
    pub fn is_missing_reference(&self) -> bool {
        self.0.violates_foreign_key
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

/// Returns the name most similar to `name`, if the similarity suggests a typing error.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    names
        .into_iter()
        .map(|n| (strsim::jaro_winkler(&lower, &n.to_lowercase()), n))
        .filter(|(likeness, _)| *likeness > 0.78)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, n)| n)
}

/// Returns `; did you mean 'x'?`, or an empty string if no name is similar.
pub(crate) fn hint<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
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
        // The object stores of this crate wrap errors of this crate.
        if let Some(own) = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Self>()) {
            return own.clone();
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
