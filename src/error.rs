//! What can go wrong, told in one sentence that names the thing.
//!
//! Every room returns [`Error`]; the only crossings to and from other libraries' errors are here.

use std::fmt;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
pub struct Place {
    /// Line in the text, from 1.
    pub line: u64,
    /// Column in the line, in characters, from 1.
    pub column: u64,
}

/// One sentence naming the thing, what can be done about it, and where it happened.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    said: String,
    at: Option<Place>,
    source: Option<Source>,
}

impl Error {
    /// An error saying `said`, one sentence without a full stop.
    pub fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, said: said.into(), at: None, source: None }))
    }

    /// A bad argument, file or statement.
    pub fn invalid(said: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, said)
    }

    /// A broken invariant of this program.
    pub fn bug(said: impl Into<String>) -> Self {
        Self::new(Kind::Bug, format!("internal error: {}", said.into()))
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
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error at a place of the statement, unless it has one.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.0.at = self.0.at.or(place);
        self
    }

    /// The same error, its sentence led by the thing being done (`reading x.yaml: …`).
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.said = format!("{doing}: {}", self.0.said);
        self
    }

    /// What can be done about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The sentence.
    pub fn said(&self) -> &str {
        &self.0.said
    }

    /// Where in the statement, when known.
    pub fn place(&self) -> Option<Place> {
        self.0.at
    }

    /// Whether a database says that a row refers to one that is not there.
    pub fn is_dangling(&self) -> bool {
        self.0.said.to_lowercase().contains("foreign key")
    }

    /// A copy without the source, for the second reader of a shared result.
    #[must_use]
    pub fn repeat(&self) -> Self {
        Self(Box::new(Inner { kind: self.0.kind, said: self.0.said.clone(), at: self.0.at, source: None }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.said)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.said)?;
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

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    /// Our own error comes back whole; others keep their first sentence and their place.
    fn from(error: DataFusionError) -> Self {
        let at = error.diagnostic().and_then(|d| d.span).map(|s| Place { line: s.start.line, column: s.start.column });
        let mut causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
        if let Some(ours) = causes.find_map(|cause| cause.downcast_ref::<Error>()) {
            return ours.repeat().at(at);
        }
        if let DataFusionError::SchemaError(inner, _) = error.find_root()
            && let SchemaError::FieldNotFound { field, valid_fields } = inner.as_ref()
        {
            if let Some(other) = valid_fields.iter().find(|known| known.name == field.name) {
                let said = format!("no column named '{}'; did you mean '{}'?", field.flat_name(), other.flat_name());
                return Self::new(Kind::NotFound, said).at(at);
            }
            let names = || valid_fields.iter().map(|c| c.name.as_str());
            let mut unknown = Self::not_found("column", &field.name, names());
            let slip = |known: &str| strsim::levenshtein(known, &field.name) <= 2;
            if field.relation.is_none() && !nearest(&field.name, names()).is_some_and(slip) {
                unknown.0.said.push_str(" (a text needs single quotes)");
            }
            return unknown.at(at);
        }
        let root = error.find_root();
        let kind = match root {
            DataFusionError::Internal(said) if !said.contains("failed to match any signature") => Kind::Bug,
            DataFusionError::NotImplemented(_) => Kind::Unsupported,
            DataFusionError::Internal(_)
            | DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..) => Kind::Invalid,
            _ => Kind::Failed,
        };
        let message = root.message();
        let mut lines = message.lines();
        let said = match lines.next().unwrap_or_default() {
            // What is wrong with it stands at the end.
            "regex parse error:" => {
                format!(
                    "no regular expression: {}",
                    lines.next_back().unwrap_or_default().trim_start_matches("error: ")
                )
            }
            said => plainer(said),
        };
        Self::new(kind, said).at(at).because(error)
    }
}

/// What DataFusion says, in the words of those who ask.
fn plainer(said: &str) -> String {
    // What a function says of the types it is given comes wrapped.
    if let Some((_, said)) = said.split_once("coercion failed with: Error during planning: ") {
        return said.split(" No function matches").next().unwrap_or(said).trim_end_matches('.').to_owned();
    }
    if let Some(rest) = said.strip_prefix("Cannot access field at argument 1: type ") {
        let kind = rest.split(" is not ").next().unwrap_or(rest);
        return format!(
            "no such column of a table in FROM (JOIN adds a table), and a value of type {kind} has no fields"
        );
    }
    if let Some((time, why)) = between(said, "Error parsing timestamp from '", "'")
        && why.starts_with(": ")
        && !why.contains("timezone")
    {
        return format!("'{time}' is no time; one is written '2024-10-24' or '2024-10-24 19:00:00'");
    }
    if let Some((value, rest)) = between(said, "Cannot cast string '", "' to value of ") {
        let kind = rest.trim_end_matches(" type");
        return format!("the text '{value}' cannot be read as {kind}");
    }
    if let Some((named, _)) = between(said, "require unique expression names but the expression \"", "\" at position") {
        let name = named.rsplit(" AS ").next().unwrap_or(named);
        return format!("two columns have the name '{name}'; AS gives another");
    }
    if let Some((name, _)) = between(said, "Function '", "' failed to match any signature") {
        return format!("{name} does not take values of this type");
    }
    if let Some((column, _)) = between(said, "While expanding wildcard, column \"", "\" must appear in the GROUP BY") {
        return format!("column '{column}' is neither in GROUP BY nor within an aggregate function");
    }
    said.trim_end_matches('.').to_owned()
}

/// What stands between two texts, and what comes after them.
fn between<'a>(said: &'a str, before: &str, after: &str) -> Option<(&'a str, &'a str)> {
    said.split_once(before)?.1.split_once(after)
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            std::io::ErrorKind::AlreadyExists => Kind::Exists,
            _ => Kind::Failed,
        };
        Self::new(kind, error.to_string()).because(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        // Our own stores tell our own errors.
        if let Some(own) = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Self>()) {
            return own.repeat();
        }
        let kind = match &error {
            object_store::Error::NotFound { .. } => Kind::NotFound,
            object_store::Error::AlreadyExists { .. } => Kind::Exists,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => Kind::Denied,
            object_store::Error::NotSupported { .. } => Kind::Unsupported,
            _ => Kind::Failed,
        };
        Self::new(kind, error.to_string()).because(error)
    }
}

/// What a result code of SQLite means; PostgreSQL's codes have five characters.
fn sqlite_kind(code: &str) -> Kind {
    match code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|c| c & 0xff) {
        // Another writer held the lock for all the time it was waited for.
        Some(5 | 6) => Kind::Unreachable,
        Some(3 | 8 | 14 | 23) => Kind::Denied,
        _ => Kind::Failed,
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => Kind::Unreachable,
            // Two writers made the same table or schema.
            sqlx::Error::Database(e) if e.constraint().is_some_and(|name| name.starts_with("pg_")) => Kind::Busy,
            sqlx::Error::Database(e) if e.is_unique_violation() || e.is_foreign_key_violation() => Kind::Conflict,
            sqlx::Error::Database(e) => match e.code().as_deref() {
                // A value too long, absent, or outside what a constraint allows.
                Some("22001" | "22003" | "23502" | "23514") => Kind::Invalid,
                Some("28P01" | "28000" | "42501") => Kind::Denied,
                Some("3D000" | "3F000") => Kind::NotFound,
                Some("57P03" | "53300") => Kind::Unreachable,
                Some("40001" | "40P01" | "42P07" | "42P06" | "42710") => Kind::Busy,
                Some(code) => sqlite_kind(code),
                None => Kind::Failed,
            },
            _ => Kind::Failed,
        };
        let said = match &error {
            sqlx::Error::Database(e) => e.message().to_owned(),
            other => other.to_string(),
        };
        Self::new(kind, said).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest() {
        let names = ["exposure", "detector", "visit"];
        assert_eq!(nearest("exposre", names), Some("exposure"));
        assert_eq!(nearest("nothing_like_it", names), None);
        assert_eq!(
            Error::not_found("table", "detectr", names).said(),
            "no table named 'detectr'; did you mean 'detector'?"
        );
    }

    #[test]
    fn crosses_datafusion_and_back() {
        let there: DataFusionError = Error::new(Kind::Conflict, "exposure 7 differs").into();
        let back: Error = there.context("planning").into();
        assert_eq!((back.kind(), back.said()), (Kind::Conflict, "exposure 7 differs"));
    }
}
