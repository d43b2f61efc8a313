//! Settings of a WebDAV endpoint, from the environment variables and configuration keys of Rubin's own client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::Value;
use url::Url;

use crate::error::{Error, Result, hint};
use crate::net::path_names::{expanded, home};
use crate::net::secret::Secret;

/// The settings of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Bearer token.
    pub token: Option<Secret>,
    /// User and password for basic authentication.
    pub user: Option<(String, Secret)>,
    /// Files of the client certificate and its key; the same file for an X.509 proxy.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// File or folder of trusted certificates; `None` for the certificates of the system.
    pub authorities: Option<PathBuf>,
    /// Timeout for establishing a connection.
    pub connect: Duration,
    /// Timeout for receiving the next bytes.
    pub read: Duration,
    /// Maximum number of retries of a request.
    pub retries: u32,
    /// Minimum and maximum pause before a retry, in seconds; doubled with each further retry.
    pub backoff: (f64, f64),
    /// Maximum number of idle connections to one host; 0 if connections are not reused.
    pub connections: usize,
    /// URLs of dCache doors that serve the same files; each request uses one of them at random.
    pub doors: Vec<Url>,
    /// Maximum number of requests per second; `None` for no limit.
    pub rate: Option<f64>,
    /// Origin of the settings, for the log.
    pub source: String,
}

/// Default number of requests per second: slightly below the limit of 250 per client of dCache 11.2 and later.
const RATE: f64 = 240.0;

impl Default for Settings {
    fn default() -> Self {
        Self {
            token: None,
            user: None,
            certificate: None,
            authorities: None,
            connect: Duration::from_secs(10),
            read: Duration::from_secs(300),
            retries: 3,
            backoff: (1.0, 3.0),
            connections: 50,
            doors: Vec::new(),
            rate: Some(RATE),
            source: "defaults".to_owned(),
        }
    }
}

/// Keys of an entry that are accepted and ignored.
const IDLE: [&str; 7] = [
    "buffer_size",
    "block_size",
    "enable_fsspec",
    "collect_memory_usage",
    "request_checksum",
    "persistent_connections_backend",
    "base_url",
];
const KEYS: [&str; 16] = [
    "user_cert",
    "user_key",
    "token",
    "user_name",
    "user_password",
    "trusted_authorities",
    "timeout_connect",
    "timeout_read",
    "retries",
    "retry_backoff_min",
    "retry_backoff_max",
    "persistent_connections_frontend",
    "persistent_connections_per_host",
    "reuse_connection",
    "frontend_base_urls",
    "base_url",
];

impl Settings {
    /// Reads the settings of an endpoint such as `davs://host:2880` from its entry in the file named by
    /// `LSST_RESOURCES_WEBDAV_CONFIG`, else from the variables `LSST_HTTP_*` and `X509_USER_PROXY`.
    /// `BUTLERSQL_WEBDAV_RATE` limits the requests per second; 0 is no limit.
    ///
    /// # Errors
    /// A configuration file that is missing or malformed, and invalid values.
    pub(super) fn of(endpoint: &Url) -> Result<Self> {
        Self::from(endpoint, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(endpoint: &Url, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut settings = match variable("LSST_RESOURCES_WEBDAV_CONFIG") {
            Some(file) => Self::entry(endpoint, &file, variable)?,
            None => None,
        };
        if settings.is_none() {
            settings = Some(Self::variables(variable)?);
        }
        let mut settings = settings.unwrap_or_default();
        if let Some(rate) = variable("BUTLERSQL_WEBDAV_RATE") {
            let rate: f64 = number("BUTLERSQL_WEBDAV_RATE", &rate)?;
            settings.rate = (rate > 0.0).then_some(rate);
        }
        Ok(settings)
    }

    /// Reads the entry of the endpoint in the configuration file.
    fn entry(endpoint: &Url, file: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let path = expanded(&home(file, variable), variable);
        let named = |e: Error| e.context(format_args!("LSST_RESOURCES_WEBDAV_CONFIG '{path}'"));
        let text = std::fs::read_to_string(&path).map_err(|e| named(e.into()))?;
        let entries: Vec<serde_yaml::Mapping> = match serde_yaml::from_str::<Value>(&text) {
            Ok(Value::Null) => Vec::new(),
            Ok(value) => serde_yaml::from_value(value)
                .map_err(|_| named(Error::invalid("it should be a list of mappings, one for each endpoint")))?,
            Err(e) => return Err(named(Error::invalid(format!("it is not YAML: {e}")))),
        };
        let mut found = None;
        for entry in &entries {
            let base = entry.get("base_url").and_then(Value::as_str);
            let base = base.ok_or_else(|| named(Error::invalid("an entry has no base_url")))?;
            let base = expanded(base, variable);
            let url = Url::parse(&base).map_err(|_| named(Error::invalid(format!("invalid base_url '{base}'"))))?;
            if same_door(&url, endpoint) && found.replace(entry).is_some() {
                return Err(named(Error::invalid(format!("two entries have the base_url '{base}'"))));
            }
        }
        found.map(|entry| Self::keys(entry, &path, variable).map_err(named)).transpose()
    }

    fn keys(entry: &serde_yaml::Mapping, path: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut settings = Self { source: format!("LSST_RESOURCES_WEBDAV_CONFIG '{path}'"), ..Self::default() };
        for key in entry.keys().filter_map(Value::as_str) {
            if !KEYS.contains(&key) && !IDLE.contains(&key) {
                tracing::warn!("{}: key '{key}' is not known{}", settings.source, hint(key, KEYS));
            }
        }
        let text = |key: &str| {
            let value = entry.get(key)?;
            let value = value.as_str().map(str::to_owned).or_else(|| scalar(value))?;
            Some(expanded(&value, variable)).filter(|value| !value.is_empty())
        };
        let seconds = |key: &str, default: Duration| match text(key) {
            Some(value) => duration(key, &value),
            None => Ok(default),
        };
        settings.token = text("token").map(|token| Secret::new("token", &token)).transpose()?;
        settings.user = match (text("user_name"), text("user_password")) {
            (Some(name), Some(password)) => Some((name, Secret::new("user_password", &password)?)),
            (None, None) => None,
            _ => return Err(Error::invalid("user_name and user_password must be set together")),
        };
        if let Some(file) = text("user_cert").map(PathBuf::from) {
            settings.certificate = Some((file.clone(), text("user_key").map_or(file, PathBuf::from)));
        }
        settings.authorities = text("trusted_authorities").map(PathBuf::from);
        settings.connect = seconds("timeout_connect", settings.connect)?;
        settings.read = seconds("timeout_read", settings.read)?;
        if let Some(retries) = text("retries") {
            settings.retries = number("retries", &retries)?;
        }
        for (key, place) in
            [("retry_backoff_min", &mut settings.backoff.0), ("retry_backoff_max", &mut settings.backoff.1)]
        {
            if let Some(value) = text(key) {
                *place = duration(key, &value)?.as_secs_f64();
            }
        }
        for key in ["persistent_connections_frontend", "persistent_connections_per_host"] {
            if let Some(value) = text(key) {
                settings.connections = number(key, &value)?;
            }
        }
        if text("reuse_connection").as_deref() == Some("false") {
            settings.connections = 0;
        }
        for door in entry.get("frontend_base_urls").and_then(Value::as_sequence).into_iter().flatten() {
            let door = expanded(door.as_str().unwrap_or_default(), variable);
            let wire = super::http_url(&door);
            settings.doors.push(wire.ok_or_else(|| Error::invalid(format!("invalid frontend_base_urls: '{door}'")))?);
        }
        Ok(settings)
    }

    /// Reads the environment variables.
    fn variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut settings = Self::default();
        let mut used = Vec::new();
        let mut read = |name: &'static str| {
            let value = variable(name);
            used.extend(value.is_some().then_some(name));
            value
        };
        let token = read("LSST_HTTP_AUTH_BEARER_TOKEN");
        settings.token = token.map(|token| Secret::new("LSST_HTTP_AUTH_BEARER_TOKEN", &token)).transpose()?;
        settings.certificate = match (read("LSST_HTTP_AUTH_CLIENT_CERT"), read("LSST_HTTP_AUTH_CLIENT_KEY")) {
            (Some(certificate), Some(key)) => {
                crate::net::secret::protected("LSST_HTTP_AUTH_CLIENT_KEY", Path::new(&key))?;
                Some((certificate.into(), key.into()))
            }
            (None, None) => read("X509_USER_PROXY").map(|file| (PathBuf::from(&file), PathBuf::from(&file))),
            _ => {
                let message = "LSST_HTTP_AUTH_CLIENT_CERT and LSST_HTTP_AUTH_CLIENT_KEY must be set together";
                return Err(Error::invalid(message));
            }
        };
        settings.authorities = read("LSST_HTTP_CACERT_BUNDLE").map(PathBuf::from);
        for (name, place) in
            [("LSST_HTTP_TIMEOUT_CONNECT", &mut settings.connect), ("LSST_HTTP_TIMEOUT_READ", &mut settings.read)]
        {
            if let Some(value) = read(name) {
                *place = duration(name, &value)?;
            }
        }
        for (name, place) in
            [("LSST_HTTP_BACKOFF_MIN", &mut settings.backoff.0), ("LSST_HTTP_BACKOFF_MAX", &mut settings.backoff.1)]
        {
            if let Some(value) = read(name) {
                *place = duration(name, &value)?.as_secs_f64();
            }
        }
        if let Some(value) = read("LSST_HTTP_FRONTEND_PERSISTENT_CONNECTIONS") {
            settings.connections = number("LSST_HTTP_FRONTEND_PERSISTENT_CONNECTIONS", &value)?;
        }
        if !used.is_empty() {
            settings.source = used.join(", ");
        }
        Ok(settings)
    }

    /// Describes the credentials for messages, without the secret.
    pub(super) fn credentials(&self) -> String {
        match (&self.token, &self.certificate, &self.user) {
            (Some(token), _, _) => format!("bearer token {token:?}"),
            (_, Some((file, _)), _) => format!("client certificate '{}'", file.display()),
            (_, _, Some((name, _))) => format!("password of '{name}'"),
            _ => "no credentials".to_owned(),
        }
    }
}

/// Returns true if two URLs denote the same endpoint. As in Rubin's client, `dav`, `davs`, `http` and `https` are
/// equivalent; host names are compared without case.
fn same_door(a: &Url, b: &Url) -> bool {
    let door = |url: &Url| {
        let port = url.port().unwrap_or(if matches!(url.scheme(), "dav" | "http") { 80 } else { 443 });
        (url.host_str().unwrap_or_default().to_ascii_lowercase(), port)
    };
    door(a) == door(b)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|_| Error::invalid(format!("{key} should be a number, not '{value}'")))
}

fn duration(key: &str, value: &str) -> Result<Duration> {
    let seconds: f64 = number(key, value)?;
    let message = || Error::invalid(format!("{key} should be a number of seconds, not '{value}'"));
    Duration::try_from_secs_f64(seconds).map_err(|_| message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        let endpoint = Url::parse("davs://Door.example:2880").unwrap();
        Settings::from(&endpoint, &|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_entry_of_the_door_wins_over_variables() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("webdav.yaml");
        let text = "- base_url: https://other:2880\n  retries: 9\n- base_url: davs://door.example:2880/pnfs\n  \
                    user_cert: ${PROXY}\n  trusted_authorities: $UNSET/ca\n  timeout_read: 7.5\n  retries: 1\n  \
                    persistent_connections_per_host: 8\n  request_checksum: md5\n  frontend_base_urls: [davs://a:1]\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let found = settings(&[
            ("LSST_RESOURCES_WEBDAV_CONFIG", file),
            ("PROXY", "/tmp/x509"),
            ("LSST_HTTP_AUTH_BEARER_TOKEN", "abc"),
        ])
        .unwrap();
        assert_eq!(found.certificate, Some(("/tmp/x509".into(), "/tmp/x509".into())));
        assert_eq!(found.authorities, Some("$UNSET/ca".into()));
        assert_eq!((found.read, found.retries, found.connections), (Duration::from_millis(7500), 1, 8));
        assert!(found.token.is_none() && found.doors[0].as_str() == "https://a:1/");
        std::fs::write(file, text.replace("other", "door.example")).unwrap();
        let twice = settings(&[("LSST_RESOURCES_WEBDAV_CONFIG", file)]).unwrap_err();
        assert!(twice.message().contains("two entries"), "{twice}");
    }

    #[test]
    fn variables_are_read_where_there_is_no_entry() {
        let found = settings(&[("X509_USER_PROXY", "/p"), ("LSST_HTTP_TIMEOUT_READ", "9")]).unwrap();
        assert_eq!(found.certificate, Some(("/p".into(), "/p".into())));
        assert_eq!((found.read.as_secs(), &*found.source), (9, "X509_USER_PROXY, LSST_HTTP_TIMEOUT_READ"));
        for (variables, message) in [
            ([("LSST_HTTP_AUTH_CLIENT_CERT", "/c")].as_slice(), "must be set together"),
            (&[("LSST_HTTP_AUTH_BEARER_TOKEN", "/no/such/token")], "token file '/no/such/token' does not exist"),
            (&[("LSST_HTTP_TIMEOUT_READ", "soon")], "LSST_HTTP_TIMEOUT_READ should be a number, not 'soon'"),
            (&[("LSST_RESOURCES_WEBDAV_CONFIG", "/no/such")], "LSST_RESOURCES_WEBDAV_CONFIG '/no/such'"),
        ] {
            let error = settings(variables).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
        assert_eq!(settings(&[("BUTLERSQL_WEBDAV_RATE", "0")]).unwrap().rate, None);
        assert_eq!(expanded("a${B}$C-$", &|name| (name == "B").then(|| "x".to_owned())), "ax$C-$");
    }
}
