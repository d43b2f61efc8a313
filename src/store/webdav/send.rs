//! Sending requests: redirects, authorization, retries.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::Client;
use super::failure::{Failure, PAUSE, Retry};
use crate::error::{Error, Kind, Result};
use crate::net::uri::quoted;
use crate::store::body::Body;

/// Maximum number of consecutive redirects.
const HOPS: usize = 5;
/// Minimum rate, in bytes per second, that the timeout of a file upload assumes.
const SLOWEST: u64 = 100_000;
/// A request to an endpoint.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Body>,
    destination: Option<String>,
    /// True if the door is first asked with an empty body to name the pool that receives the data.
    expect: bool,
}

/// A response and its origin.
#[derive(Debug)]
pub struct DavResponse {
    pub response: Response,
    pub url: Url,
    /// True if a pool sent it, after a redirect from the door.
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

    /// Sets the destination path of a MOVE.
    pub fn to(mut self, path: &str) -> Self {
        self.destination = Some(path.to_owned());
        self
    }
}

impl Client {
    /// Sends a request once and follows redirects. Returns the response, whatever its status.
    #[tracing::instrument(name = "request", level = "debug", skip_all, fields(method = %request.method, path = request.path))]
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
            let response = outgoing.send().await.map_err(|e| self.transport_failure(request, &url, &e))?;
            let status = response.status();
            tracing::debug!("{} {}: {status}", request.method, redacted(&url));
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                if !asked && (status.is_success() || status == StatusCode::EXPECTATION_FAILED) {
                    // The door receives the data itself. It may have created an empty file, which a retry removes
                    // first.
                    self.direct.store(true, Ordering::Relaxed);
                    return Err(Failure::new(Kind::Failed, Retry::Immediately, "the door did not redirect to a pool"));
                }
                return Ok(DavResponse { response, url, at_pool: !is_door });
            }
            let Some(next) = response
                .headers()
                .get(LOCATION)
                .and_then(|to| to.to_str().ok())
                .and_then(|to| redirect_target(&url, to))
            else {
                return Err(Failure::transient(format!("{} sent a redirect without a URL: {status}", redacted(&url))));
            };
            hops += 1;
            if hops > HOPS {
                let message = format!("too many redirects, last from {} to {}", redacted(&url), redacted(&next));
                return Err(Failure::transient(message));
            }
            if !is_door && next.origin() == door.origin() {
                return Err(Failure::transient(format!("{} is gone: it redirects to the door", redacted(&url))));
            }
            if request.method == Method::GET && next.path().ends_with('/') {
                return Err(Failure::new(Kind::Invalid, Retry::Never, "it is a folder"));
            }
            asked = true;
            url = next;
        }
    }

    /// Sends a request once; a status other than success is a failure.
    pub async fn send_ok(&self, request: &Request) -> Result<DavResponse, Failure> {
        let response = self.send(request).await?;
        match response.response.status().is_success() {
            true => Ok(response),
            false => Err(self.status_failure(request, response).await),
        }
    }

    /// Runs an operation and retries it while that may help. Error messages begin with `doing` and the URI of the path.
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

    /// Returns the pause before a retry with this number; the first one is short.
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
                let message = format!("{} can only be sent over TLS: use davs://", self.settings.credentials());
                return Err(Failure::new(Kind::Denied, Retry::Never, message));
            }
            (Some(token), _) => {
                let token = token.value().map_err(|e| Failure::permanent(&e))?;
                self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&token);
                format!("Bearer {token}")
            }
            // A certificate takes precedence over a password.
            (None, Some((name, password))) if self.settings.certificate.is_none() => {
                let password = password.value().map_err(|e| Failure::permanent(&e))?;
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
            }
            _ => return Ok(None),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Failure::new(Kind::Invalid, Retry::Never, "the credentials contain characters not allowed in a header")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// Returns the URL of a path on a door.
fn at(door: &Url, path: &str) -> Url {
    let mut url = door.clone();
    url.set_path(&quoted(path));
    url
}

/// Returns the target URL of a redirect; WebDAV schemes are converted to HTTP.
fn redirect_target(from: &Url, to: &str) -> Option<Url> {
    super::http_url(to).or_else(|| from.join(to).ok())
}

/// Returns a URL without query and fragment, which may contain secrets.
pub(super) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
