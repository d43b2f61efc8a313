//! One request to a door and wherever it leads, and the patience to try again.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::Client;
use super::failure::{Failure, PAUSE, Retry};
use crate::error::{Error, Kind, Result};
use crate::store::quoted;

/// So many redirects in a row are followed.
const HOPS: usize = 5;
/// Bytes a second that a file is sent with at least.
const SLOWEST: u64 = 100_000;
/// The path of a file; a temporary one goes with the last who holds it.
pub type LocalFile = Arc<dyn AsRef<Path> + Send + Sync>;

/// What is sent with a request; it can be sent again.
#[derive(Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file of so many bytes.
    File(LocalFile, u64),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.size())
    }
}

impl Body {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }
}

/// A request to a door.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Body>,
    destination: Option<String>,
    /// The door is asked with an empty body first, and says which pool wants the bytes.
    expect: bool,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub struct DavResponse {
    pub response: Response,
    pub url: Url,
    /// Whether a pool gave it, to which the door had led.
    pub at_pool: bool,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
        let (headers, body, destination) = (HeaderMap::new(), None, None);
        Self { method, path: path.to_owned(), headers, body, destination, expect: false }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    pub fn expect(mut self, expect: bool) -> Self {
        self.expect = expect;
        self
    }

    /// The path that a MOVE leads to.
    pub fn to(mut self, path: &str) -> Self {
        self.destination = Some(path.to_owned());
        self
    }
}

impl Client {
    /// Sends a request once, following redirects; an answer of any other status comes back.
    pub async fn send(&self, request: &Request) -> Result<DavResponse, Failure> {
        let door = self.door();
        let mut url = at(door, &request.path);
        let (mut hops, mut asked) = (0, !request.expect);
        self.rate_limiter.acquire().await;
        loop {
            let is_door = url.origin() == door.origin();
            let http = match request.method {
                Method::GET => &self.reading,
                Method::PUT => &self.writing,
                _ => &self.metadata,
            };
            let mut outgoing = http.request(request.method.clone(), url.clone()).headers(request.headers.clone());
            if is_door && let Some(value) = self.authorization(&url)? {
                outgoing = outgoing.header(AUTHORIZATION, value);
            }
            if is_door && request.method == Method::GET && self.closes.load(Ordering::Relaxed) {
                outgoing = outgoing.header(CONNECTION, "close");
            }
            if let Some(path) = &request.destination {
                outgoing = outgoing.header("destination", at(door, path).as_str());
            }
            outgoing = match &request.body {
                Some(_) if !asked => outgoing.header(EXPECT, "100-continue").header(CONTENT_LENGTH, 0),
                Some(Body::Bytes(bytes)) => outgoing.header(CONTENT_LENGTH, bytes.len()).body(bytes.clone()),
                Some(Body::File(path, size)) => {
                    let file =
                        tokio::fs::File::open((**path).as_ref()).await.map_err(|e| Failure::permanent(&e.into()))?;
                    outgoing.header(CONTENT_LENGTH, *size).body(file)
                }
                None => outgoing,
            };
            if let Some(body) = &request.body {
                outgoing = outgoing.timeout(self.settings.read + Duration::from_secs(body.size() / SLOWEST));
            }
            tracing::debug!("{} {}", request.method, redacted(&url));
            let response = outgoing.send().await.map_err(|e| self.from_transport(request, &url, &e))?;
            let status = response.status();
            tracing::debug!("{} {}: {status}", request.method, redacted(&url));
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                if !asked && (status.is_success() || status == StatusCode::EXPECTATION_FAILED) {
                    // The door takes the bytes itself; it may have made an empty file, which a repeat removes first.
                    self.direct.store(true, Ordering::Relaxed);
                    return Err(Failure::new(Kind::Failed, Retry::Immediately, "the door leads to no pool"));
                }
                return Ok(DavResponse { response, url, at_pool: !is_door });
            }
            let Some(next) = response
                .headers()
                .get(LOCATION)
                .and_then(|to| to.to_str().ok())
                .and_then(|to| redirect_target(&url, to))
            else {
                return Err(Failure::transient(format!("{} leads nowhere: {status} without a URL", redacted(&url))));
            };
            hops += 1;
            if hops > HOPS {
                let message = format!("{} and {} lead to each other", redacted(&url), redacted(&next));
                return Err(Failure::transient(message));
            }
            if !is_door && next.origin() == door.origin() {
                return Err(Failure::transient(format!("{} has gone: it leads back to the door", redacted(&url))));
            }
            if request.method == Method::GET && next.path().ends_with('/') {
                return Err(Failure::new(Kind::Invalid, Retry::Never, "it is a folder"));
            }
            asked = true;
            url = next;
        }
    }

    /// Sends a request once; an answer of another status than success is a failure.
    pub async fn send_ok(&self, request: &Request) -> Result<DavResponse, Failure> {
        let response = self.send(request).await?;
        match response.response.status().is_success() {
            true => Ok(response),
            false => Err(self.from_status(request, response).await),
        }
    }

    /// Repeats an operation while that may help. What it does is named `doing` the path.
    pub async fn with_retry<T, F>(&self, doing: &str, path: &str, mut work: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let (mut tries, mut free) = (0, 2);
        loop {
            let failure = match work().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if failure.retry == Retry::Immediately && free > 0 {
                free -= 1;
                continue;
            }
            tries += 1;
            if failure.retry == Retry::Never || tries > self.settings.retries {
                let tried = if tries > 1 { format!(" (tried {tries} times)") } else { String::new() };
                let uri = self.uri(path);
                return Err(Error::new(failure.kind, format!("{doing} '{uri}': {}{tried}", failure.message)));
            }
            let asked = if let Retry::Later(pause) = failure.retry { pause } else { None };
            let pause = asked.map_or_else(|| self.backoff(tries), |pause| pause.min(PAUSE));
            tracing::info!("{doing} '{}': {}; trying again in {pause:?}", self.uri(path), failure.message);
            tokio::time::sleep(pause).await;
        }
    }

    /// How long to wait before the repeat of this number; the first comes soon.
    fn backoff(&self, tries: u32) -> Duration {
        let (least, most) = self.settings.backoff;
        let draw = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        let unit = least + draw * (most - least).max(0.0);
        let factor = if tries == 1 { 0.1 } else { 2f64.powi(tries.min(8) as i32 - 1) };
        Duration::try_from_secs_f64(unit * factor).unwrap_or(PAUSE).min(PAUSE)
    }

    fn authorization(&self, url: &Url) -> Result<Option<HeaderValue>, Failure> {
        use base64::Engine as _;
        let text = match (&self.settings.token, &self.settings.user) {
            (None, None) => return Ok(None),
            _ if url.scheme() != "https" => {
                let message = format!("{} go by TLS only: say davs://", self.settings.credentials());
                return Err(Failure::new(Kind::Denied, Retry::Never, message));
            }
            (Some(token), _) => {
                let token = token.value().map_err(|e| Failure::permanent(&e))?;
                self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&token);
                format!("Bearer {token}")
            }
            // A certificate wins over a password.
            (None, Some((name, password))) if self.settings.certificate.is_none() => {
                let password = password.value().map_err(|e| Failure::permanent(&e))?;
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
            }
            _ => return Ok(None),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Failure::new(Kind::Invalid, Retry::Never, "the credentials hold characters no header takes")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// A path at a door.
fn at(door: &Url, path: &str) -> Url {
    let mut url = door.clone();
    url.set_path(&quoted(path));
    url
}

/// Where a redirect leads; the schemes of WebDAV are those of HTTP.
fn redirect_target(from: &Url, to: &str) -> Option<Url> {
    super::http_url(to).or_else(|| from.join(to).ok())
}

/// A URL without what may be a secret.
pub fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
