//! Opens database connections from the URL of a configuration.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use url::Url;

use crate::error::{Error, Kind, Result};
use crate::registry::db::conn::Conn;
use crate::registry::db::credentials;
use crate::registry::db::pool::{Pool, is_full};
use crate::registry::db::sqlite;

/// How long SQLite waits for another writer, as in the Butler.
const BUSY: Duration = Duration::from_secs(300);
/// How long one attempt to get a connection from the pool may take.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a server that has reached its connection limit.
const FULL: Duration = Duration::from_secs(300);
/// How long an unused connection is kept open.
const IDLE: Duration = Duration::from_secs(5);
/// Maximum number of connections to a server.
const CONNECTIONS: u32 = 32;
/// Size of the command queue of an SQLite connection. sqlx locks a connection before it notifies the connection's
/// thread, possibly late; with a full queue both would wait for each other.
const COMMANDS: usize = 1 << 20;
/// Page cache of an SQLite read connection: a negative number of KiB.
const READING: &str = "-8192";
/// Page cache of the SQLite write connection: a negative number of KiB.
const WRITING: &str = "-65536";

/// How a database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// For reading.
    Read,
    /// For reading and writing.
    Write,
    /// For reading and writing; the database is created.
    Create,
}

/// The database address of a registry.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    /// A URL as SQLAlchemy writes it, such as `sqlite:////data/gen3.sqlite3`.
    pub url: String,
    /// Schema of a PostgreSQL database.
    pub namespace: Option<String>,
    /// User, password, host, port and database; used where the URL has none.
    pub parts: [Option<String>; 5],
}

impl Database {
    /// Returns the URL without passwords.
    pub(crate) fn display(&self) -> String {
        redacted(&self.url)
    }

    /// Returns the path of an SQLite database.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let (scheme, rest) = self.url.split_once(':')?;
        scheme.starts_with("sqlite").then(|| rest.strip_prefix("///").map(PathBuf::from)).flatten()
    }
}

impl Conn {
    /// Opens a database.
    ///
    /// # Errors
    /// An invalid or unsupported URL, `Kind::NotFound` for a missing SQLite file, `Kind::Unreachable` or `Kind::Denied`
    /// when the database cannot be opened.
    pub(crate) async fn open(database: &Database, mode: OpenMode) -> Result<Self> {
        let (scheme, rest) = database.url.split_once(':').unwrap_or((&database.url, ""));
        match (scheme.split('+').next().unwrap_or_default(), &database.namespace) {
            ("sqlite", None) => match rest.strip_prefix("///") {
                Some(path) => open_sqlite(path, mode).await,
                None => Err(Error::invalid(format!("the registry URL '{}' has no file", database.display()))),
            },
            ("sqlite", Some(name)) => {
                Err(Error::invalid(format!("an SQLite registry has no namespaces, but '{name}' is configured")))
            }
            ("postgresql", _) => open_postgres(database).await,
            (other, _) => {
                let message = format!("the registry database '{other}' is neither sqlite nor postgresql");
                Err(Error::new(Kind::Unsupported, message))
            }
        }
    }
}

async fn open_sqlite(path: &str, mode: OpenMode) -> Result<Conn> {
    if mode != OpenMode::Create && !std::path::Path::new(path).exists() {
        return Err(Error::new(Kind::NotFound, format!("the registry database '{path}' does not exist")));
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(mode == OpenMode::Read)
        .create_if_missing(mode == OpenMode::Create)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .command_buffer_size(COMMANDS);
    if mode == OpenMode::Read {
        recover(path, &options).await;
    }
    let limits = SqlitePoolOptions::new().acquire_timeout(BUSY);
    let reading = options.clone().pragma("cache_size", READING);
    let readers = limits.clone().max_connections(CONNECTIONS).connect_with(reading).await;
    let readers = readers.map_err(|e| match Error::from(e) {
        error if error.kind() == Kind::Denied && sqlite::has_journal(path) => {
            Error::new(Kind::Denied, sqlite::left_journal(path)).with_source(error)
        }
        error => error.context(format_args!("opening the registry database '{path}'")),
    })?;
    // `EXTRA` syncs the folder after the journal is deleted, so that a commit survives a power failure.
    let writing = options.synchronous(SqliteSynchronous::Extra).pragma("cache_size", WRITING);
    let writer = limits.max_connections(1).connect_lazy_with(writing);
    Ok(Conn::Sqlite { readers, writer })
}

/// Rolls back the transaction of a killed writer, which read-only connections cannot do. Errors are only logged:
/// without write access, the next query reports the journal.
async fn recover(path: &str, options: &SqliteConnectOptions) {
    if !sqlite::has_journal(path) {
        return;
    }
    let recovered = async {
        let mut writing = options.clone().read_only(false).connect().await?;
        // Reading a table triggers the rollback, and has no effect while another writer is active.
        writing.execute("SELECT count(*) FROM sqlite_master").await?;
        writing.close().await
    };
    if let Err(error) = recovered.await {
        tracing::info!("the journal of '{path}' stays: {error}");
    }
}

async fn open_postgres(database: &Database) -> Result<Conn> {
    let bad = |e: String| Error::invalid(format!("invalid registry URL: {e}"));
    // A user without a host is not a valid URL, but SQLAlchemy accepts it (`postgresql://me@/db?host=/run/pg`).
    let host = database.parts[2].as_deref().unwrap_or("localhost");
    let text = database.url.replacen("@/", &format!("@{host}/"), 1);
    let mut parsed = Url::parse(&text).map_err(|e| bad(e.to_string()))?;
    // Old configurations name a Python driver (`postgresql+psycopg2`).
    parsed.set_scheme("postgresql").map_err(|()| bad("no PostgreSQL scheme".to_owned()))?;
    complete(&mut parsed, &database.parts).ok_or_else(|| bad("the configured parts do not fit".to_owned()))?;
    let options = PgConnectOptions::from_str(parsed.as_str()).map_err(|e| bad(e.to_string()))?;
    let options = credentials::fill(options.application_name("butlersql"), &parsed)?;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT).idle_timeout(IDLE);
    let pool = pool.after_connect(|conn, _| {
        // Literals are written for this setting. A server of version 14 or later checks every 500 ms whether the client
        // is still connected while a query runs.
        let watch = "SET standard_conforming_strings = on; SELECT set_config(name, '500', false) FROM pg_settings \
             WHERE name = 'client_connection_check_interval'";
        Box::pin(async move {
            if let Err(error) = conn.execute(watch).await {
                tracing::info!("the server does not watch its clients: {error}");
            }
            Ok(())
        })
    });
    // The pool retries while a server refuses connections; a single connection attempt returns the cause.
    let connecting = pool.clone().connect_with(options.clone());
    let opened = match tokio::time::timeout(Duration::from_secs(1), connecting).await {
        Ok(opened) => opened,
        Err(_) => match connected(&options).await {
            Ok(()) => Ok(pool.connect_lazy_with(options)),
            Err(error) => Err(error),
        },
    };
    let opened = opened.map_err(|e| {
        let message = Error::from(e);
        let kind = if message.kind() == Kind::Failed { Kind::Unreachable } else { message.kind() };
        Error::new(
            kind,
            format!("cannot open the registry database {}: {}", redacted(parsed.as_str()), message.message()),
        )
        .with_source(message)
    })?;
    Ok(Conn::Postgres(Pool::new(opened), database.namespace.clone()))
}

/// Opens and closes one connection, and retries while the server has reached its connection limit.
async fn connected(options: &PgConnectOptions) -> sqlx::Result<()> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => return connection.close().await,
            Err(error) if is_full(&error) && begun.elapsed() < FULL => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Sets the parts that a URL does not have.
fn complete(url: &mut Url, parts: &[Option<String>; 5]) -> Option<()> {
    let [username, password, host, port, database] = parts;
    if let Some(host) = host.as_ref().filter(|_| url.host_str().is_none_or(str::is_empty)) {
        url.set_host(Some(host)).ok()?;
    }
    if let Some(name) = username.as_ref().filter(|_| url.username().is_empty()) {
        url.set_username(name).ok()?;
    }
    if let Some(password) = password.as_ref().filter(|_| url.password().is_none()) {
        url.set_password(Some(password)).ok()?;
    }
    if let Some(port) = port.as_ref().filter(|_| url.port().is_none()) {
        url.set_port(Some(port.parse().ok()?)).ok()?;
    }
    if let Some(database) = database.as_ref().filter(|_| url.path().trim_matches('/').is_empty()) {
        url.set_path(database);
    }
    Some(())
}

/// Removes passwords from a URL or a malformed URL: after the user name and in parameters.
fn redacted(url: &str) -> String {
    let split = url.split_once('?').map_or((url, None), |(address, after)| (address, Some(after)));
    let (address, parameters) = match split {
        // The question mark belongs to a password.
        (address, Some(after)) if !address.contains('@') && after.contains('@') && address.matches(':').count() > 1 => {
            (url, None)
        }
        split => split,
    };
    let (scheme, rest) = address.split_once(':').unwrap_or(("", address));
    let (slashes, rest) = rest.split_at(rest.len() - rest.trim_start_matches('/').len());
    let mut shown = match rest.rsplit_once('@') {
        Some((user, place)) => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}:{slashes}{name}@{place}")
        }
        None => address.to_owned(),
    };
    if let Some(parameters) = parameters {
        let hidden = |parameter: &str| match parameter.split_once('=') {
            Some((name, _)) if name.to_lowercase().contains("pass") => format!("{name}=***"),
            _ => parameter.to_owned(),
        };
        shown.push('?');
        shown.push_str(&parameters.split('&').map(hidden).collect::<Vec<_>>().join("&"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgresql://me:S3cret@h:5432/d", "postgresql://me@h:5432/d"),
            ("postgresql://me:S3@cret@h/d", "postgresql://me@h/d"),
            ("postgresql:/u:S3cret@h/d", "postgresql:/u@h/d"),
            ("postgresql+psycopg2:me:S3cret@h/d", "postgresql+psycopg2:me@h/d"),
            ("postgresql://me@h/d?password=S3cret&x=1", "postgresql://me@h/d?password=***&x=1"),
            ("postgresql://h/d?sslPassword=S3cret", "postgresql://h/d?sslPassword=***"),
            ("postgresql://me@h/d?options=a@b:c", "postgresql://me@h/d?options=a@b:c"),
            ("postgresql://me:12?cret@h/d", "postgresql://me@h/d"),
            ("sqlite:////data/gen3.sqlite3", "sqlite:////data/gen3.sqlite3"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
