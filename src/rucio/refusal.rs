//! Error answers of Rucio, by the class of their exception.
//!
//! The class decides, not the status: servers send `InvalidObject` with 400 or 500, and `AccessDenied` with 401 or 500.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::error::{Error, Kind};
use crate::net::transport::retry_after;

/// The token or the password is not accepted.
pub(super) const CANNOT_AUTHENTICATE: &str = "CannotAuthenticate";
/// A DID does not exist.
pub(super) const DID_NOT_FOUND: &str = "DataIdentifierNotFound";
/// A DID exists already.
pub(super) const DID_EXISTS: &str = "DataIdentifierAlreadyExists";
/// The database of the server reported an error, which the server does not explain.
pub(super) const DATABASE: &str = "DatabaseException";
/// A file is attached already.
pub(super) const FILE_EXISTS: &str = "FileAlreadyExists";
/// A rule with the same account, expression and number of copies exists already.
pub(super) const DUPLICATE_RULE: &str = "DuplicateRule";
/// The state of a DID does not allow the operation, such as closing a closed dataset.
pub(super) const UNSUPPORTED: &str = "UnsupportedOperation";

/// Maximum number of bytes of an error answer that are read.
const LIMIT: usize = 64 << 10;

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Class of the exception; empty if the server sent none, or no answer came.
    pub class: String,
    message: String,
    kind: Kind,
    /// True if another attempt may succeed, after a pause of at least this duration if given.
    pub retry: Option<Option<Duration>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    #[serde(rename = "ExceptionClass")]
    class: String,
    #[serde(rename = "ExceptionMessage")]
    message: String,
}

impl Refusal {
    /// Creates the refusal for a request that had no answer.
    pub(super) fn unreachable(message: String, may_retry: bool) -> Self {
        Self { class: String::new(), message, kind: Kind::Unreachable, retry: may_retry.then_some(None) }
    }

    /// Creates the refusal for another error.
    pub(super) fn from_error(error: &Error) -> Self {
        Self { class: String::new(), message: error.message().to_owned(), kind: error.kind(), retry: None }
    }

    /// Reads an error answer.
    pub(super) async fn read(mut response: Response) -> Self {
        let status = response.status();
        let host = response.url().host_str().unwrap_or_default().to_owned();
        let pause = retry_after(response.headers());
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (class, message) = (header("ExceptionClass"), header("ExceptionMessage"));
        let mut bytes = Vec::new();
        while bytes.len() < LIMIT
            && let Ok(Some(part)) = response.chunk().await
        {
            bytes.extend_from_slice(&part);
        }
        let body: Body = serde_json::from_slice(&bytes).unwrap_or_default();
        let class = class.unwrap_or(body.class);
        // The header is cut after some characters; the further lines of the body repeat the schema of the request.
        let full = body.message.lines().next().unwrap_or_default().to_owned();
        let message = if full.is_empty() { message.unwrap_or_default() } else { full };
        let is_temporary = class.is_empty() && matches!(status.as_u16(), 429 | 502..=504)
            || matches!(class.as_str(), "ServiceUnavailable" | "ResourceTemporaryUnavailable");
        let message = match message.trim().trim_end_matches('.') {
            "" => format!("the Rucio server {host} returned {status}"),
            message if kind_of(&class) == Some(Kind::Failed) => format!("{message} ({class})"),
            message => message.to_owned(),
        };
        let kind = kind_of(&class).unwrap_or(match status {
            _ if is_temporary => Kind::Unreachable,
            StatusCode::NOT_FOUND => Kind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Denied,
            _ => Kind::Failed,
        });
        Self { class, message, kind, retry: is_temporary.then_some(pause) }
    }

    /// Returns true for an exception of this class.
    pub(super) fn is(&self, class: &str) -> bool {
        self.class == class
    }
}

/// The kind of an exception class of Rucio; `None` for an unknown class.
fn kind_of(class: &str) -> Option<Kind> {
    Some(match class {
        DID_NOT_FOUND | "RSENotFound" | "RuleNotFound" | "ScopeNotFound" | "AccountNotFound" | "ReplicaNotFound"
        | "FileNotFound" | "IdentityNotFound" => Kind::NotFound,
        DID_EXISTS | DUPLICATE_RULE | FILE_EXISTS | "DuplicateContent" | "FileReplicaAlreadyExists" => Kind::Exists,
        "FileConsistencyMismatch" | UNSUPPORTED | "UnsupportedStatus" => Kind::Conflict,
        CANNOT_AUTHENTICATE | "AccessDenied" => Kind::Denied,
        "InvalidRSEExpression"
        | "InvalidObject"
        | "InvalidPath"
        | "InvalidValueForKey"
        | "InputValidationError"
        | "InsufficientTargetRSEs"
        | "InsufficientAccountLimit"
        | "RSEProtocolNotSupported"
        | "InvalidMetadata"
        | "InvalidReplicationRule"
        | "KeyError"
        | "ValueError"
        | "TypeError"
        | "RSEWriteBlocked"
        | "ManualRuleApprovalBlocked" => Kind::Invalid,
        DATABASE | "RucioException" => Kind::Failed,
        _ => return None,
    })
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.message)
    }
}
