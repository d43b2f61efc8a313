//! Errors of SQLite and PostgreSQL.

use super::{Error, Kind};

/// Returns the kind of an SQLite result code. PostgreSQL codes (SQLSTATE) have five characters and are not matched.
fn sqlite_kind(code: &str) -> Kind {
    match code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|c| c & 0xff) {
        // SQLITE_BUSY and SQLITE_LOCKED: another writer held the lock during the entire timeout.
        Some(5 | 6) => Kind::Unreachable,
        Some(3 | 8 | 14 | 23) => Kind::Denied,
        _ => Kind::Failed,
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => Kind::Unreachable,
            // Two writers created the same table or schema.
            sqlx::Error::Database(e) if e.constraint().is_some_and(|name| name.starts_with("pg_")) => Kind::Busy,
            sqlx::Error::Database(e) if e.is_unique_violation() || e.is_foreign_key_violation() => Kind::Conflict,
            sqlx::Error::Database(e) => match e.code().as_deref() {
                // A value is too long, is NULL, or violates a check constraint.
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
        let message = match &error {
            sqlx::Error::Database(e) => plain(e.message()).to_owned(),
            other => other.to_string(),
        };
        let is_violated = matches!(&error, sqlx::Error::Database(e) if e.is_foreign_key_violation());
        Self::new(kind, message).with_foreign_key(is_violated).with_source(error)
    }
}

/// Unifies database messages that SQLite and PostgreSQL word differently.
pub fn plain(message: &str) -> &str {
    match message {
        "integer overflow" | "bigint out of range" => "a result is out of range for a 64-bit integer",
        message => message,
    }
}
