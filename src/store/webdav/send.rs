//! One request to a door and wherever it leads, and the patience to try again.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use percent_encoding::utf8_percent_encode;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::Client;
use crate::error::{Error, Kind, Result};
use crate::store::QUOTED;

/// So many redirects in a row are followed.
const HOPS: usize = 5;
/// The longest pause that a door may ask for.
const PAUSE: Duration = Duration::from_secs(120);
/// Bytes a second that a file is sent with at least.
const SLOWEST: u64 = 100_000;
/// So many bytes of an answer are told when it says no.
const TOLD: usize = 200;

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
pub struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Body>,
    destination: Option<String>,
    /// The door is asked with an empty body first, and says which pool wants the bytes.
    expect: bool,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub struct Answer {
    pub response: Response,
    pub url: Url,
    /// Whether a pool gave it, to which the door had led.
    pub at_pool: bool,
}

/// Why a request failed, and whether the same again may succeed.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub said: String,
    pub again: Again,
    pub status: Option<StatusCode>,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Never,
    /// Nothing was done: a kept connection had gone.
    AtOnce,
    /// After a while, at least so long.
    Later(Option<Duration>),
}

impl Failure {
    pub fn new(kind: Kind, again: Again, said: impl Into<String>) -> Self {
        Self { kind, said: said.into(), again, status: None }
    }

    /// A server or the way to it is at fault, and may recover.
    pub fn passing(said: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, Again::Later(None), said)
    }

    /// Something that no repeat changes.
    pub fn lasting(error: &Error) -> Self {
        Self::new(error.kind(), Again::Never, error.said())
    }
}

impl Ask {
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
    pub async fn once(&self, ask: &Ask) -> Result<Answer, Failure> {
        let door = self.door();
        let mut url = at(door, &ask.path);
        let (mut hops, mut asked) = (0, !ask.expect);
        self.pace.turn().await;
        loop {
            let is_door = url.origin() == door.origin();
            let http = match ask.method {
                Method::GET => &self.reading,
                Method::PUT => &self.writing,
                _ => &self.metadata,
            };
            let mut request = http.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
            if is_door && let Some(value) = self.authorization(&url)? {
                request = request.header(AUTHORIZATION, value);
            }
            if let Some(path) = &ask.destination {
                request = request.header("destination", at(door, path).as_str());
            }
            request = match &ask.body {
                Some(_) if !asked => request.header(EXPECT, "100-continue").header(CONTENT_LENGTH, 0),
                Some(Body::Bytes(bytes)) => request.header(CONTENT_LENGTH, bytes.len()).body(bytes.clone()),
                Some(Body::File(path, size)) => {
                    let file =
                        tokio::fs::File::open((**path).as_ref()).await.map_err(|e| Failure::lasting(&e.into()))?;
                    request.header(CONTENT_LENGTH, *size).body(file)
                }
                None => request,
            };
            if let Some(body) = &ask.body {
                request = request.timeout(self.settings.read + Duration::from_secs(body.size() / SLOWEST));
            }
            tracing::debug!("{} {}", ask.method, redacted(&url));
            let response = request.send().await.map_err(|e| self.broken(ask, &url, &e))?;
            let status = response.status();
            tracing::debug!("{} {}: {status}", ask.method, redacted(&url));
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                if !asked && (status.is_success() || status == StatusCode::EXPECTATION_FAILED) {
                    // The door takes the bytes itself; it may have made an empty file, which a repeat removes first.
                    self.direct.store(true, Ordering::Relaxed);
                    return Err(Failure::new(Kind::Failed, Again::AtOnce, "the door leads to no pool"));
                }
                return Ok(Answer { response, url, at_pool: !is_door });
            }
            let Some(next) =
                response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| led(&url, to))
            else {
                return Err(Failure::passing(format!("{} leads nowhere: {status} without a URL", redacted(&url))));
            };
            hops += 1;
            if hops > HOPS {
                let said = format!("{} and {} lead to each other", redacted(&url), redacted(&next));
                return Err(Failure::passing(said));
            }
            if !is_door && next.origin() == door.origin() {
                return Err(Failure::passing(format!("{} has gone: it leads back to the door", redacted(&url))));
            }
            if ask.method == Method::GET && next.path().ends_with('/') {
                return Err(Failure::new(Kind::Invalid, Again::Never, "it is a folder"));
            }
            asked = true;
            url = next;
        }
    }

    /// Sends a request once; an answer of another status than success is a failure.
    pub async fn success(&self, ask: &Ask) -> Result<Answer, Failure> {
        let answer = self.once(ask).await?;
        match answer.response.status().is_success() {
            true => Ok(answer),
            false => Err(self.refused(ask, answer).await),
        }
    }

    /// Repeats an operation while that may help. What it does is named `doing` the path.
    pub async fn patiently<T, F>(&self, doing: &str, path: &str, mut work: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let (mut tries, mut free) = (0, 2);
        loop {
            let failure = match work().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if failure.again == Again::AtOnce && free > 0 {
                free -= 1;
                continue;
            }
            tries += 1;
            if failure.again == Again::Never || tries > self.settings.retries {
                let tried = if tries > 1 { format!(" (tried {tries} times)") } else { String::new() };
                let uri = self.uri(path);
                return Err(Error::new(failure.kind, format!("{doing} '{uri}': {}{tried}", failure.said)));
            }
            let asked = if let Again::Later(pause) = failure.again { pause } else { None };
            let pause = asked.map_or_else(|| self.backoff(tries), |pause| pause.min(PAUSE));
            tracing::info!("{doing} '{}': {}; trying again in {pause:?}", self.uri(path), failure.said);
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
                let said = format!("{} go by TLS only: say davs://", self.settings.credentials());
                return Err(Failure::new(Kind::Denied, Again::Never, said));
            }
            (Some(token), _) => {
                let token = token.value().map_err(|e| Failure::lasting(&e))?;
                self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&token);
                format!("Bearer {token}")
            }
            // A certificate wins over a password.
            (None, Some((name, password))) if self.settings.certificate.is_none() => {
                let password = password.value().map_err(|e| Failure::lasting(&e))?;
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
            }
            _ => return Ok(None),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Failure::new(Kind::Invalid, Again::Never, "the credentials hold characters no header takes")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What an answer that is no success says.
    pub async fn refused(&self, ask: &Ask, answer: Answer) -> Failure {
        let Answer { response, url, at_pool } = answer;
        let (status, pause) = (response.status(), pause(response.headers()));
        let plain = response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let text = if plain { first_words(response).await } else { String::new() };
        let by = if at_pool { format!(" of {}", redacted(&url)) } else { String::new() };
        let said = format!("{} was answered {status}{by}{text}", ask.method);
        let credentials = self.settings.credentials();
        let (kind, again, said) = match status.as_u16() {
            401 if self.settings.token.as_ref().is_some_and(|token| self.is_newer(token)) => {
                (Kind::Denied, Again::AtOnce, said)
            }
            401 => (Kind::Denied, Again::Never, format!("the door does not accept {credentials}: {said}")),
            403 => (Kind::Denied, Again::Never, format!("not allowed with {credentials}: {said}")),
            404 | 410 if !at_pool => (Kind::NotFound, Again::Never, "it does not exist".to_owned()),
            412 => (Kind::Exists, Again::Never, said),
            // What a pool no longer knows, the door gives a new URL for.
            400 | 404 | 410 if at_pool => (Kind::Unreachable, Again::Later(pause), said),
            507 if ask.method == Method::PUT => (Kind::Failed, Again::Never, format!("no room is left: {said}")),
            408 | 423 | 425 | 429 | 500 | 502 | 503 | 504 | 507 => (Kind::Unreachable, Again::Later(pause), said),
            _ => (Kind::Failed, Again::Never, said),
        };
        if status == StatusCode::TOO_MANY_REQUESTS && !at_pool {
            self.pace.hold(pause.unwrap_or(Duration::from_secs(1)).min(PAUSE));
        }
        Failure { kind, said, again, status: Some(status) }
    }

    /// What went wrong on the way.
    pub fn broken(&self, ask: &Ask, url: &Url, error: &reqwest::Error) -> Failure {
        let host = format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let mut chain = Vec::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(one) = next {
            if let Some(tls) = tls_error(one) {
                return Failure::new(Kind::Denied, Again::Never, self.distrusted(&host, tls));
            }
            chain.push(one.to_string());
            next = one.source();
        }
        let last = chain.last().cloned().unwrap_or_default();
        let gone = chain.iter().any(|said| said.contains("before message completed") || said.contains("dispatch"));
        let repeatable = ask.method != Method::from_bytes(b"MOVE").unwrap_or_default();
        match () {
            () if error.is_timeout() => Failure::passing(format!("{host} did not answer in time")),
            () if error.is_connect() => Failure::passing(format!("{host} cannot be reached: {last}")),
            () if gone && repeatable => Failure::new(Kind::Unreachable, Again::AtOnce, format!("{host} hung up")),
            () => Failure::passing(format!("the connection to {host} broke: {last}")),
        }
    }

    fn distrusted(&self, host: &str, error: &rustls::Error) -> String {
        use rustls::{AlertDescription as Alert, CertificateError as Bad};
        let own = self.settings.credentials();
        match error {
            rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => format!(
                "the certificate of {host} is of no authority that is trusted here; \
                 set trusted_authorities or LSST_HTTP_CACERT_BUNDLE"
            ),
            rustls::Error::InvalidCertificate(bad) => format!("the certificate of {host} is not accepted: {bad}"),
            rustls::Error::AlertReceived(Alert::CertificateExpired) => {
                format!("{host} says that the {own} has expired")
            }
            rustls::Error::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure)
                if self.settings.certificate.is_none() =>
            {
                format!("{host} wants a client certificate; set user_cert or X509_USER_PROXY")
            }
            rustls::Error::AlertReceived(alert) => format!("{host} does not accept the {own}: {alert:?}"),
            other => format!("no TLS with {host}: {other}"),
        }
    }
}

/// The TLS error that an error is or holds; what an I/O error holds is not its source.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let held = || Some(error.downcast_ref::<std::io::Error>()?.get_ref()? as &(dyn std::error::Error + 'static));
    error.downcast_ref().or_else(|| tls_error(held()?))
}

/// A path at a door.
fn at(door: &Url, path: &str) -> Url {
    let mut url = door.clone();
    url.set_path(&utf8_percent_encode(path, QUOTED).to_string());
    url
}

/// Where a redirect leads; the schemes of WebDAV are those of HTTP.
fn led(from: &Url, to: &str) -> Option<Url> {
    super::on_the_wire(to).or_else(|| from.join(to).ok())
}

/// A URL without what may be a secret.
pub fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The pause that an answer asks for: seconds, or a time.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    let until = |value: &str| (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - Utc::now()).to_std().ok();
    value.parse().ok().map(Duration::from_secs).or_else(|| until(value))
}

/// The first words of a plain answer, as `: words`.
async fn first_words(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < TOLD
        && let Ok(Some(part)) = response.chunk().await
    {
        bytes.extend_from_slice(&part);
    }
    bytes.truncate(TOLD);
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('<') { String::new() } else { format!(": {line}") }
}
