//! A WebDAV client, designed for dCache: requests, retries, redirects, checksums.
//!
//! A dCache door answers metadata requests itself and redirects data requests to a pool, by a URL that is valid once.
//! So every retry starts at the door, credentials are sent only to the door, and transferred data is checked by size
//! and checksum.

mod failure;
mod file_store;
mod listing;
mod object_store;
mod rate_limiter;
mod read;
mod send;
mod settings;
mod write;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use tokio::sync::OnceCell;
use tokio_util::io::StreamReader;
use url::Url;

use self::failure::Failure;
pub(in crate::store) use self::file_store::open;
pub use self::object_store::WebDavStore;
use self::rate_limiter::RateLimiter;
use self::send::Request;
use self::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::net::secret::Secret;
use crate::net::tls;
pub use crate::store::body::Body;
pub use crate::store::entry::Entry;

/// How long an idle connection is kept: shorter than a server under load would keep it.
const IDLE: Duration = Duration::from_secs(20);

/// A client of one WebDAV endpoint.
pub struct Client {
    /// Endpoint URL as users write it, such as `davs://host:2880`.
    name: String,
    base: Url,
    settings: Settings,
    /// Separate from the data connections, which servers may close without notice.
    metadata: reqwest::Client,
    reading: reqwest::Client,
    writing: reqwest::Client,
    rate_limiter: RateLimiter,
    server: OnceCell<Server>,
    /// The token that was sent last.
    sent: Mutex<String>,
    /// True if the server was seen to accept data itself instead of redirecting to a pool.
    direct: AtomicBool,
    /// True if the server was seen to close connections after redirecting a reader, without announcing it.
    closes: AtomicBool,
}

/// How a server receives data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Redirects writers to a pool on request.
    DCache,
    /// Receives the data itself.
    Other,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.name).finish()
    }
}

impl Client {
    /// Returns the client of the endpoint of a URI; each endpoint has one client per process.
    ///
    /// # Errors
    /// A URI without a host, invalid settings, or unusable credentials.
    pub fn of(uri: &Url) -> Result<Arc<Self>> {
        static CLIENTS: LazyLock<Mutex<HashMap<String, Arc<Client>>>> = LazyLock::new(Mutex::default);
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        let client = Self::new(uri, || Settings::of(uri), |name| clients.get(name).cloned())?;
        clients.insert(client.name.clone(), Arc::clone(&client));
        Ok(client)
    }

    fn new(
        uri: &Url,
        settings: impl FnOnce() -> Result<Settings>,
        known: impl FnOnce(&str) -> Option<Arc<Self>>,
    ) -> Result<Arc<Self>> {
        let no_host = || Error::invalid(format!("'{uri}' has no host"));
        let host = uri.host_str().filter(|host| !host.is_empty()).ok_or_else(no_host)?.to_ascii_lowercase();
        let port = uri.port().map_or(String::new(), |port| format!(":{port}"));
        let name = format!("{}://{host}{port}", uri.scheme());
        if let Some(known) = known(&name) {
            return Ok(known);
        }
        let named = |e: Error| e.context(&name);
        let settings = settings().map_err(named)?;
        let base = http_url(&name).ok_or_else(no_host)?;
        tracing::info!("{name}: {}, by {}", settings.credentials(), settings.source);
        let certificate = settings.certificate.as_ref().map(|(chain, key)| (chain.as_path(), key.as_path()));
        // A token takes precedence, as in Rubin's client.
        let certificate = certificate.filter(|_| settings.token.is_none());
        let tls = tls::config(settings.authorities.as_deref(), certificate).map_err(named)?;
        let build = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .http1_only()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .user_agent(concat!("butlersql/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(settings.connect)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(settings.connections)
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|e| Error::bug(format!("the client of {name}: {e}")))
        };
        Ok(Arc::new(Self {
            metadata: built(build().read_timeout(settings.read))?,
            reading: built(build().read_timeout(settings.read))?,
            // Nothing is read while a file is sent; the timeout depends on its size.
            writing: built(build())?,
            rate_limiter: RateLimiter::new(settings.rate),
            server: OnceCell::new(),
            sent: Mutex::default(),
            direct: AtomicBool::new(false),
            closes: AtomicBool::new(false),
            name,
            base,
            settings,
        }))
    }

    /// Returns the URI of a path.
    pub fn uri(&self, path: &str) -> String {
        format!("{}{}", self.name, crate::net::uri::quoted(path))
    }

    /// Returns one of the configured doors, at random.
    fn door(&self) -> &Url {
        match self.settings.doors.len() {
            0 => &self.base,
            n => &self.settings.doors[uuid::Uuid::new_v4().as_fields().0 as usize % n],
        }
    }

    /// Returns true if a URL belongs to one of the doors.
    fn is_door(&self, url: &Url) -> bool {
        std::iter::once(&self.base).chain(&self.settings.doors).any(|door| door.origin() == url.origin())
    }

    /// Returns true if a token differs from the one sent last, because its file has changed.
    fn is_newer(&self, token: &Secret) -> bool {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        token.value().is_ok_and(|value| value != *sent)
    }

    /// Returns the kind of server; requested once.
    async fn server(&self) -> Result<Server> {
        let request = Request::new("OPTIONS", "/");
        let work = || async {
            let response = self.send_ok(&request).await?;
            let server = response.response.headers().get("server").and_then(|name| name.to_str().ok()).unwrap_or("");
            Ok(if server.to_ascii_lowercase().starts_with("dcache") { Server::DCache } else { Server::Other })
        };
        self.server.get_or_try_init(|| self.with_retry("querying", "/", work)).await.copied()
    }

    /// Returns a file or folder, or `None` if it does not exist.
    ///
    /// # Errors
    /// Server errors; `Kind::Unreachable` when the server does not answer.
    pub async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        self.find_entry(path, listing::PROPERTIES).await
    }

    /// Returns a file or folder with the checksums that the server knows.
    ///
    /// # Errors
    /// As for [`Client::stat`].
    pub async fn stat_with_checksums(&self, path: &str) -> Result<Option<Entry>> {
        self.find_entry(path, listing::CHECKSUMS).await
    }

    async fn find_entry(&self, path: &str, properties: &str) -> Result<Option<Entry>> {
        let found = self.with_retry("checking", path, || self.properties(path, "0", properties)).await;
        match found {
            Ok(entries) => Ok(entries.into_iter().find(|entry| entry.path == path)),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lists a folder, in no particular order.
    ///
    /// # Errors
    /// `Kind::NotFound` when the folder does not exist; server errors.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.entries(path, listing::PROPERTIES).await
    }

    /// Lists a folder with the checksums that the server knows; dCache looks up each checksum separately.
    ///
    /// # Errors
    /// As for [`Client::list`].
    pub async fn list_with_checksums(&self, path: &str) -> Result<Vec<Entry>> {
        self.entries(path, listing::CHECKSUMS).await
    }

    async fn entries(&self, path: &str, properties: &str) -> Result<Vec<Entry>> {
        let mut found = self.listed(path, properties).await?;
        if found.is_empty() {
            // dCache returns an empty listing after an internal error, so an empty listing is requested again.
            found = self.listed(path, properties).await?;
        }
        Ok(found)
    }

    async fn listed(&self, path: &str, properties: &str) -> Result<Vec<Entry>> {
        let found = self.with_retry("listing", path, || self.properties(path, "1", properties)).await?;
        let own = found.iter().find(|entry| entry.path == path);
        if own.is_some_and(|entry| !entry.is_directory) {
            return Err(Error::invalid(format!("'{}' is not a folder", self.uri(path))));
        }
        let below = format!("{}/", path.trim_end_matches('/'));
        let child =
            |entry: &Entry| entry.path.strip_prefix(&below).is_some_and(|name| !name.is_empty() && !name.contains('/'));
        Ok(found.into_iter().filter(child).collect())
    }

    async fn properties(&self, path: &str, depth: &str, properties: &str) -> Result<Vec<Entry>, Failure> {
        let request = Request::new("PROPFIND", path)
            .header("depth", depth)
            .header("content-type", "application/xml; charset=\"utf-8\"")
            .body(Body::Bytes(bytes::Bytes::copy_from_slice(properties.as_bytes())));
        let response = self.send_ok(&request).await?;
        if response.response.status() != 207 {
            let message = format!("expected the status 207, not {}", response.response.status());
            return Err(Failure::transient(message));
        }
        let body = response.response.bytes_stream().map_err(std::io::Error::other);
        let wrong = |message| Failure::transient(format!("the response cannot be read: {message}"));
        listing::parse(StreamReader::new(Box::pin(body))).await.map_err(wrong)
    }
}

/// Returns the HTTP URL of a WebDAV or HTTP URL, or `None` for another scheme.
fn http_url(url: &str) -> Option<Url> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "davs" | "https" => "https",
        "dav" | "http" => "http",
        _ => return None,
    };
    Url::parse(&format!("{scheme}://{rest}")).ok()
}
