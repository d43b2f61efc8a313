//! Requests: tokens, retries, and lists as streams.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;
use url::Url;

use super::refusal::{CANNOT_AUTHENTICATE, Refusal};
use super::settings::{Auth, Settings};
use crate::error::{Error, Kind, Result};
use crate::net::tls;
use crate::net::transport::tls_error;
use crate::net::uri::quoted;

/// Pause before the first retry; doubled with each further one.
const PAUSE: Duration = Duration::from_millis(250);
/// Maximum pause that a server can request.
const LONGEST: Duration = Duration::from_secs(60);
/// Timeout for establishing a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Timeout for receiving the next bytes; servers compute some answers for minutes.
const READ: Duration = Duration::from_secs(300);
/// Maximum number of bytes of one line of a list.
const LINE: usize = 32 << 20;

/// A client of a Rucio server.
pub(crate) struct Client {
    pub(super) settings: Settings,
    api: reqwest::Client,
    /// The token in use.
    token: tokio::sync::Mutex<Option<String>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.settings.host.as_str()).finish()
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    /// JSON.
    body: Option<Bytes>,
}

impl Call {
    /// A request that reads.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), query: Vec::new(), body: None }
    }

    /// A request with a body.
    pub(super) fn new(method: Method, path: impl Into<String>, body: &impl Serialize) -> Self {
        // Only maps with other keys than texts have no JSON.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { method, path: path.into(), query: Vec::new(), body: Some(body.into()) }
    }

    /// Adds a parameter.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

impl Client {
    /// Returns the client of the environment's configuration; there is one for the process, with one login.
    ///
    /// # Errors
    /// A configuration that is missing or wrong, and unusable credentials.
    pub(crate) fn of_environment() -> Result<Arc<Self>> {
        static CLIENT: Mutex<Option<Arc<Client>>> = Mutex::new(None);
        let mut client = CLIENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let settings = Settings::read(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
        let made = Arc::new(Self::new(settings)?);
        *client = Some(Arc::clone(&made));
        Ok(made)
    }

    fn new(settings: Settings) -> Result<Self> {
        let host = settings.host.as_str().trim_end_matches('/');
        let credentials = settings.auth.describe();
        tracing::info!("{host}: {credentials}, by '{}'", settings.source.display());
        let api = http_client(&settings, None)?;
        Ok(Self { api, token: tokio::sync::Mutex::default(), settings })
    }

    /// Returns a client with the certificate of the user. The certificate is read for each login, as proxies are renewed.
    ///
    /// # Errors
    /// A certificate that cannot be read.
    pub(super) fn login_client(&self) -> Result<reqwest::Client> {
        let certificate = match &self.settings.auth {
            Auth::X509 { certificate, key } => Some((certificate.as_path(), key.as_path())),
            Auth::Proxy { file } => Some((file.as_path(), file.as_path())),
            _ => None,
        };
        http_client(&self.settings, certificate)
    }

    /// The account that requests act for, if it is configured.
    pub(crate) fn account(&self) -> Option<&str> {
        self.settings.account.as_deref()
    }

    /// The URL of the server.
    pub(crate) fn host(&self) -> &str {
        self.settings.host.as_str().trim_end_matches('/')
    }

    /// The URL of a login.
    pub(super) fn auth_url(&self, path: &str) -> String {
        format!("{}/{path}", self.settings.auth_host.as_str().trim_end_matches('/'))
    }

    /// Returns the token: that of the session, of the file that clients share, or of a new login.
    async fn token(&self) -> Result<String> {
        if let Auth::Bearer { token } = &self.settings.auth {
            // The file of a bearer token is renewed by others.
            return token.value();
        }
        let mut known = self.token.lock().await;
        if let Some(token) = &*known {
            return Ok(token.clone());
        }
        let kept = self.settings.cache.as_ref().and_then(|cache| cache.read());
        let token = match kept {
            Some(token) => token,
            None => self.new_token().await?,
        };
        *known = Some(token.clone());
        Ok(token)
    }

    /// Replaces a token that the server does not accept, unless another task has done so.
    async fn renew(&self, refused: &str) -> Result<()> {
        let mut known = self.token.lock().await;
        if known.as_deref() == Some(refused) {
            *known = Some(self.new_token().await?);
        }
        Ok(())
    }

    async fn new_token(&self) -> Result<String> {
        let token = self.log_in().await?;
        if let Some(cache) = &self.settings.cache {
            cache.write(&token);
        }
        Ok(token)
    }

    /// Sends a request until it succeeds or no retry can help. All requests may be repeated: a request that writes
    /// has no effect if its result exists already.
    pub(super) async fn send(&self, call: &Call) -> Result<Response, Refusal> {
        let mut retries = Retries::new(&self.settings);
        let mut has_renewed = false;
        loop {
            let token = self.token().await.map_err(|e| Refusal::from_error(&e))?;
            let refusal = match self.once(call, &token).await {
                Ok(response) => return Ok(response),
                Err(refusal) => refusal,
            };
            if refusal.is(CANNOT_AUTHENTICATE) && !has_renewed && !matches!(self.settings.auth, Auth::Bearer { .. }) {
                has_renewed = true;
                self.renew(&token).await.map_err(|e| Refusal::from_error(&e))?;
                continue;
            }
            if !retries.wait(&refusal).await {
                return Err(refusal);
            }
        }
    }

    #[tracing::instrument(name = "request", level = "debug", skip_all, fields(method = %call.method, path = call.path))]
    async fn once(&self, call: &Call, token: &str) -> Result<Response, Refusal> {
        let mut url = format!("{}/{}", self.host(), call.path);
        for (at, (name, value)) in call.query.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            url.push_str(&format!("{mark}{name}={}", quoted(value)));
        }
        let mut request = self
            .api
            .request(call.method.clone(), url)
            .header("X-Rucio-Auth-Token", token)
            .header("X-Rucio-VO", self.settings.vo.as_deref().unwrap_or("def"))
            .header("X-Rucio-Script", "butlersql");
        if let Some(account) = &self.settings.account {
            request = request.header("X-Rucio-Account", account);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|e| transport_refusal(&self.settings.host, &e))?;
        if response.status().is_success() { Ok(response) } else { Err(Refusal::read(response).await) }
    }

    /// Sends a request whose answer is one JSON value.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Refusal> {
        let bytes = self.send(call).await?.bytes().await;
        let bytes = bytes.map_err(|e| transport_refusal(&self.settings.host, &e))?;
        serde_json::from_slice(&bytes).map_err(|e| Refusal::from_error(&self.not_understood(call, &e)))
    }

    /// Sends a request whose answer is a list, one JSON value a line. An answer that ends early is an error.
    pub(super) async fn lines<T: DeserializeOwned + Send + 'static>(
        self: &Arc<Self>,
        call: Call,
    ) -> Result<BoxStream<'static, Result<T>>, Refusal> {
        let response = self.send(&call).await?;
        let client = Arc::clone(self);
        let bytes = response.bytes_stream().map_err(std::io::Error::other);
        let lines = FramedRead::new(StreamReader::new(bytes), LinesCodec::new_with_max_length(LINE));
        let parse = move |line: Result<String, LinesCodecError>| {
            let cut = |e: &dyn std::fmt::Display| {
                let message = format!("the answer of {} ended before it was complete: {e}", client.host());
                Error::new(Kind::Unreachable, message)
            };
            match line {
                Ok(line) if line.trim().is_empty() => None,
                Ok(line) => Some(serde_json::from_str(&line).map_err(|e| match e.classify() {
                    serde_json::error::Category::Eof => cut(&"a line is not whole"),
                    _ => client.not_understood(&call, &e),
                })),
                Err(e) => Some(Err(cut(&e))),
            }
        };
        Ok(lines.filter_map(move |line| std::future::ready(parse(line))).boxed())
    }

    fn not_understood(&self, call: &Call, error: &serde_json::Error) -> Error {
        let (host, method, path) = (self.host(), &call.method, &call.path);
        Error::invalid(format!("the answer of {host} to {method} {path} is not understood: {error}"))
    }
}

/// The attempts that a request has left.
pub(super) struct Retries {
    left: u32,
    pause: Duration,
}

impl Retries {
    /// Returns the configured number of retries.
    pub(super) fn new(settings: &Settings) -> Self {
        Self { left: settings.retries, pause: PAUSE }
    }

    /// Waits before another attempt. Returns false if none is left, or none can help.
    pub(super) async fn wait(&mut self, refusal: &Refusal) -> bool {
        let Some(wanted) = refusal.retry.filter(|_| self.left > 0) else { return false };
        self.left -= 1;
        tracing::debug!("the request is sent again: {refusal:?}");
        tokio::time::sleep(wanted.unwrap_or(self.pause).min(LONGEST)).await;
        self.pause *= 2;
        true
    }
}

fn http_client(settings: &Settings, certificate: Option<(&Path, &Path)>) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(settings.authorities.as_deref(), certificate)?)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("butlersql/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .build()
        .map_err(|e| Error::bug(format!("the client of {}: {e}", settings.host)))
}

/// Returns why a request had no answer.
pub(super) fn transport_refusal(host: &Url, error: &reqwest::Error) -> Refusal {
    let name = format!("{}:{}", host.host_str().unwrap_or_default(), host.port_or_known_default().unwrap_or(0));
    let mut last = String::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = tls_error(cause) {
            return Refusal::from_error(&Error::new(Kind::Denied, format!("TLS with {name} failed: {tls}")));
        }
        last = cause.to_string();
        next = cause.source();
    }
    let message = match () {
        () if error.is_timeout() => format!("the Rucio server {name} did not answer in time"),
        () if error.is_connect() => format!("the Rucio server {name} cannot be reached: {last}"),
        () => format!("the connection to the Rucio server {name} broke: {last}"),
    };
    Refusal::unreachable(message, true)
}
