//! Failed requests: classification, whether a retry may help, and error messages.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::Client;
use super::send::{DavResponse, Request, redacted};
use crate::error::{Error, Kind};
use crate::net::transport::{retry_after, tls_error};

/// Maximum pause that a server can request.
pub(super) const PAUSE: Duration = Duration::from_secs(120);
/// Maximum number of bytes of an error response that are quoted in a message.
const TOLD: usize = 200;

/// Why a request failed, and whether a retry may succeed.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    pub retry: Retry,
    pub status: Option<StatusCode>,
}

/// When to retry a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// At once: the request had no effect because a reused connection was closed.
    Immediately,
    /// After a pause, of at least this duration if given.
    Later(Option<Duration>),
}

impl Failure {
    pub fn new(kind: Kind, retry: Retry, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry, status: None }
    }

    /// Creates a failure of the server or the network that may be temporary.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, Retry::Later(None), message)
    }

    /// Creates a failure that a retry cannot fix.
    pub fn permanent(error: &Error) -> Self {
        Self::new(error.kind(), Retry::Never, error.message())
    }
}

impl Client {
    /// Classifies a response with an error status.
    pub async fn status_failure(&self, request: &Request, response: DavResponse) -> Failure {
        let DavResponse { response, url, at_pool } = response;
        let (status, pause) = (response.status(), retry_after(response.headers()));
        let plain = response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let text = if plain { first_words(response).await } else { String::new() };
        let by = if at_pool { format!(" from {}", redacted(&url)) } else { String::new() };
        let message = format!("{} returned {status}{by}{text}", request.method);
        let credentials = self.settings.credentials();
        let (kind, retry, message) = match status.as_u16() {
            401 if self.settings.token.as_ref().is_some_and(|token| self.is_newer(token)) => {
                (Kind::Denied, Retry::Immediately, message)
            }
            401 => (Kind::Denied, Retry::Never, format!("authentication failed ({credentials}): {message}")),
            403 => (Kind::Denied, Retry::Never, format!("not allowed with {credentials}: {message}")),
            404 | 410 if !at_pool => (Kind::NotFound, Retry::Never, "it does not exist".to_owned()),
            412 => (Kind::Exists, Retry::Never, message),
            // The pool no longer knows this URL; a retry gets a new one from the door.
            400 | 404 | 410 if at_pool => (Kind::Unreachable, Retry::Later(pause), message),
            507 if request.method == Method::PUT => (Kind::Failed, Retry::Never, format!("no space left: {message}")),
            408 | 423 | 425 | 429 | 500 | 502 | 503 | 504 | 507 => (Kind::Unreachable, Retry::Later(pause), message),
            _ => (Kind::Failed, Retry::Never, message),
        };
        if status == StatusCode::TOO_MANY_REQUESTS && !at_pool {
            self.rate_limiter.pause(pause.unwrap_or(Duration::from_secs(1)).min(PAUSE));
        }
        Failure { kind, message, retry, status: Some(status) }
    }

    /// Classifies an error without a response, such as a broken connection.
    pub fn transport_failure(&self, request: &Request, url: &Url, error: &reqwest::Error) -> Failure {
        let host = format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let mut chain = Vec::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(one) = next {
            if let Some(tls) = tls_error(one) {
                return Failure::new(Kind::Denied, Retry::Never, self.tls_message(&host, tls));
            }
            chain.push(one.to_string());
            next = one.source();
        }
        let last = chain.last().cloned().unwrap_or_default();
        let gone =
            chain.iter().any(|message| message.contains("before message completed") || message.contains("dispatch"));
        if gone && request.method == Method::GET && self.is_door(url) {
            self.closes.store(true, Ordering::Relaxed);
        }
        let repeatable = request.method != Method::from_bytes(b"MOVE").unwrap_or_default();
        match () {
            () if error.is_timeout() => Failure::transient(format!("{host} did not answer in time")),
            () if error.is_connect() => Failure::transient(format!("{host} cannot be reached: {last}")),
            () if gone && repeatable => {
                Failure::new(Kind::Unreachable, Retry::Immediately, format!("{host} closed the connection"))
            }
            () => Failure::transient(format!("the connection to {host} broke: {last}")),
        }
    }

    fn tls_message(&self, host: &str, error: &rustls::Error) -> String {
        use rustls::{AlertDescription as Alert, CertificateError as Bad};
        let own = self.settings.credentials();
        match error {
            rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => format!(
                "the certificate of {host} is not issued by a trusted authority; \
                 set trusted_authorities or LSST_HTTP_CACERT_BUNDLE"
            ),
            rustls::Error::InvalidCertificate(bad) => format!("the certificate of {host} is not accepted: {bad}"),
            rustls::Error::AlertReceived(Alert::CertificateExpired) => {
                format!("{host} reports that the {own} has expired")
            }
            rustls::Error::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure)
                if self.settings.certificate.is_none() =>
            {
                format!("{host} requires a client certificate; set user_cert or X509_USER_PROXY")
            }
            rustls::Error::AlertReceived(alert) => format!("{host} rejected the TLS handshake ({own}): {alert:?}"),
            other => format!("TLS with {host} failed: {other}"),
        }
    }
}

/// Returns the first line of a plain text response, as `: line`.
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
