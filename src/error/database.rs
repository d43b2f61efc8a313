//! Errors of SQLite and PostgreSQL.

use sqlx::postgres::PgDatabaseError;

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
        let sqlx::Error::Database(of_database) = &error else {
            let message = error.to_string();
            return Self::new(kind, message).with_source(error);
        };
        let is_violated = of_database.is_foreign_key_violation();
        let postgres = of_database.try_downcast_ref::<PgDatabaseError>();
        let details = (postgres.and_then(PgDatabaseError::detail), postgres.and_then(PgDatabaseError::hint));
        let own = Self::new(kind, plain(of_database.code().as_deref(), of_database.message()));
        own.with_details(details.0, details.1).with_foreign_key(is_violated).with_source(error)
    }
}

/// Unifies messages that SQLite and PostgreSQL word differently, and PostgreSQL in the language of the server.
pub(crate) fn plain(code: Option<&str>, message: &str) -> String {
    match (code, message) {
        (Some("22003"), message) if message.starts_with("bigint") => OUT_OF_RANGE.to_owned(),
        (Some("22012"), _) => "division by zero".to_owned(),
        (_, "integer overflow") => OUT_OF_RANGE.to_owned(),
        (_, message) => message.to_owned(),
    }
}

const OUT_OF_RANGE: &str = "a result is out of range for a 64-bit integer";
