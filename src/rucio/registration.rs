//! Registration of files: datasets, attachments, metadata.

use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use super::catalog::of_did;
use super::client::{Call, Client};
use super::did::Did;
use super::refusal::{DATABASE, DID_EXISTS, FILE_EXISTS, UNSUPPORTED};
use crate::error::{Error, Kind, Result};

/// A file to be registered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewFile {
    /// Scope.
    pub scope: String,
    /// Name.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// adler32 checksum, 8 hexadecimal digits.
    pub adler32: String,
    /// URI at the storage element; `None` where the name determines it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pfn: Option<String>,
    /// Metadata.
    pub meta: FileMeta,
}

/// The Rubin metadata of a file to be registered.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct FileMeta {
    /// Kind of file.
    pub rubin_butler: String,
    /// Dataset as JSON text, or empty.
    pub rubin_sidecar: String,
}

#[derive(Serialize)]
struct Attachments<'a> {
    ignore_duplicate: bool,
    attachments: [Attachment<'a>; 1],
}

/// Files of a dataset.
#[derive(Serialize)]
struct Attachment<'a> {
    scope: &'a str,
    name: &'a str,
    rse: &'a str,
    dids: &'a [NewFile],
}

impl Client {
    /// Creates a dataset to which files can only be added. Returns false if it exists.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown scope, `Kind::Invalid` for a name that the server refuses, `Kind::Denied`; server
    /// errors.
    pub(crate) async fn create_dataset(&self, did: &Did, rse: &str) -> Result<bool> {
        let body = json!({"type": "DATASET", "statuses": {"monotonic": true}, "rse": rse});
        match self.send(&Call::new(Method::POST, format!("dids/{}", did.path()), &body)).await {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is(DID_EXISTS) => Ok(false),
            Err(refusal) => Err(Error::from(refusal).context(format_args!("dataset '{did}'"))),
        }
    }

    /// Registers files with their replicas and attaches them to a dataset, in one transaction of the server.
    ///
    /// # Errors
    /// `Kind::Conflict` for a closed dataset, or a file that is registered with another size or checksum; server errors.
    /// Nothing of the request is done then.
    pub(crate) async fn attach(&self, did: &Did, rse: &str, files: &[NewFile]) -> Result<()> {
        let Did { scope, name } = did;
        let attachments = [Attachment { scope, name, rse, dids: files }];
        let body = Attachments { ignore_duplicate: true, attachments };
        match self.send(&Call::new(Method::POST, "dids/attachments", &body)).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is(UNSUPPORTED) => {
                Err(Error::new(Kind::Conflict, format!("dataset '{did}' is closed: no files can be attached")))
            }
            Err(refusal) if refusal.is(DATABASE) || refusal.is(FILE_EXISTS) => {
                let message = format!(
                    "dataset '{did}': the server could not register the files, perhaps because another client registers \
                     them too: run the statement again"
                );
                Err(Error::new(Kind::Failed, message).with_source(Error::from(refusal)))
            }
            Err(refusal) => Err(Error::from(refusal).context(format_args!("dataset '{did}'"))),
        }
    }

    /// Replaces the metadata of files.
    ///
    /// # Errors
    /// Server errors.
    pub(crate) async fn set_metadata(&self, files: &[NewFile]) -> Result<()> {
        let one = |file: &NewFile| json!({"scope": file.scope, "name": file.name, "meta": file.meta});
        let body = json!({"dids": files.iter().map(one).collect::<Vec<_>>()});
        Ok(self.send(&Call::new(Method::POST, "dids/bulkdidsmeta", &body)).await.map(drop)?)
    }

    /// Closes a dataset. Returns false if it is closed already.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown DID, `Kind::Invalid` for a file, `Kind::Denied`; server errors.
    pub(crate) async fn close(&self, did: &Did) -> Result<bool> {
        let state = self.did(did, false).await?;
        if state.did_type == "FILE" {
            return Err(Error::invalid(format!("'{did}' is a file; only datasets and containers are closed")));
        }
        if state.open == Some(false) {
            return Ok(false);
        }
        let call = Call::new(Method::PUT, format!("dids/{}/status", did.path()), &json!({"open": false}));
        match self.send(&call).await {
            Ok(_) => Ok(true),
            // Another client closed it, or the answer of an earlier attempt was lost.
            Err(refusal) if refusal.is(UNSUPPORTED) && self.did(did, false).await?.open == Some(false) => Ok(false),
            Err(refusal) => Err(of_did(did, refusal)),
        }
    }
}
