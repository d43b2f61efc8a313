//! Database credentials, looked up as the Butler does.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::error::{Error, Kind, Result};
use crate::model::glob;

#[derive(Deserialize)]
struct Entry {
    url: String,
    username: Option<String>,
    password: Option<String>,
}

/// Sets the user and password of a connection from `LSST_DB_AUTH_CREDENTIALS` (JSON text), else from the file in
/// `LSST_DB_AUTH`, else from `~/.lsst/db-auth.yaml`. Without any of these the options are unchanged.
///
/// # Errors
/// `Kind::Denied` for a credentials file that other users can read; an error for invalid contents.
pub(super) fn fill(mut options: PgConnectOptions, url: &Url) -> Result<PgConnectOptions> {
    if url.password().is_some() {
        return Ok(options);
    }
    let entries = entries()?;
    if let Some(bad) = entries.iter().find(|e| e.url.split_once("://").is_none_or(|(_, rest)| rest.is_empty())) {
        return Err(Error::invalid(format!("the credentials entry '{}' is not of the form scheme://host", bad.url)));
    }
    let Some(entry) = entries.into_iter().find(|e| matches(&e.url, url)) else { return Ok(options) };
    if let (true, Some(name)) = (url.username().is_empty(), &entry.username) {
        options = options.username(name);
    }
    if let Some(password) = &entry.password {
        options = options.password(password);
    }
    Ok(options)
}

fn entries() -> Result<Vec<Entry>> {
    if let Some(text) = std::env::var("LSST_DB_AUTH_CREDENTIALS").ok().filter(|text| !text.is_empty()) {
        return serde_json::from_str(&text)
            .map_err(|e| Error::invalid(format!("LSST_DB_AUTH_CREDENTIALS is not a list of credentials: {e}")));
    }
    let named = std::env::var_os("LSST_DB_AUTH").map(PathBuf::from);
    let usual = || std::env::home_dir().map(|home| home.join(".lsst/db-auth.yaml"));
    match named.or_else(usual) {
        Some(path) if path.exists() => read(&path),
        _ => Ok(Vec::new()),
    }
}

fn read(path: &Path) -> Result<Vec<Entry>> {
    let named = |e: Error| e.context(format_args!("credentials file '{}'", path.display()));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_err(|e| named(e.into()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("credentials file '{}' may be read by others: make it mode 0600", path.display());
        return Err(Error::new(Kind::Denied, message));
    }
    let text = std::fs::read_to_string(path).map_err(|e| named(e.into()))?;
    // The message of the parser could quote a line with a password.
    serde_yaml::from_str(&text).map_err(|_| named(Error::invalid("not a YAML list of url, username and password")))
}

/// Returns true if an entry `scheme://[user@]hostglob[:port][/dbglob]` matches the URL of a connection.
fn matches(pattern: &str, url: &Url) -> bool {
    let Some((scheme, rest)) = pattern.split_once("://") else { return false };
    let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = place.rsplit_once('@').map_or((None, place), |(u, p)| (Some(u), p));
    let (host, port) = place.rsplit_once(':').map_or((place, None), |(h, p)| (h, Some(p)));
    let dialect = url.scheme().split('+').next().unwrap_or_default();
    scheme == dialect
        && !host.is_empty()
        && glob::matches(host, url.host_str().unwrap_or_default())
        && port.is_none_or(|p| url.port().is_some_and(|own| own.to_string() == p))
        && (database.is_empty() || glob::matches(database, url.path().trim_start_matches('/')))
        && user.is_none_or(|u| u == url.username())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_as_the_butlers_do() {
        let url = |text: &str| Url::parse(text).unwrap();
        let full = url("postgresql://me@db.example.org:6552/lsst");
        for (pattern, want) in [
            ("postgresql://db.example.org", true),
            ("postgresql://*.example.org:6552/ls*", true),
            ("postgresql://me@db.example.org/lsst", true),
            ("postgresql://you@db.example.org/lsst", false),
            ("postgresql://db.example.org:1/lsst", false),
            ("postgresql:///lsst", false),
            ("postgresql+psycopg2://db.example.org", false),
        ] {
            assert_eq!(matches(pattern, &full), want, "{pattern}");
        }
        assert!(!matches("postgresql://h:5432/d", &url("postgresql://h/d")));
        assert!(matches("postgresql://h", &url("postgresql+psycopg2://h/d")));
    }
}
