//! Storage elements (RSEs).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::catalog::List;
use super::client::{Call, Client};
use super::did::{Did, encoded_part};
use super::registration::NewFile;
use crate::error::{Error, Result};

/// A storage element (RSE).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rse {
    /// Name.
    pub rse: String,
    /// `DISK` or `TAPE`.
    pub rse_type: Option<String>,
    /// True if the names of files determine their URIs.
    pub deterministic: bool,
    /// True if files can be read.
    pub availability_read: bool,
    /// True if files can be written.
    pub availability_write: bool,
    /// How URIs follow from names.
    pub lfn2pfn_algorithm: Option<String>,
    /// Ways to access the files.
    #[serde(default)]
    pub protocols: Vec<Protocol>,
}

/// A protocol of a storage element.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Protocol {
    scheme: String,
    hostname: String,
    port: i64,
    prefix: String,
}

impl Protocol {
    /// The start of the URIs of all files.
    pub(crate) fn url(&self) -> String {
        let Self { scheme, hostname, port, prefix } = self;
        let port = if *port > 0 { format!(":{port}") } else { String::new() };
        format!("{scheme}://{hostname}{port}{prefix}")
    }
}

impl Client {
    /// Returns the names of storage elements, by an expression.
    ///
    /// # Errors
    /// `Kind::Invalid` for a wrong expression; server errors.
    pub(crate) async fn rse_names(self: &Arc<Self>, expression: Option<&str>) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Named {
            rse: String,
        }
        let call = match expression {
            Some(expression) => Call::get("rses/").with("expression", expression),
            None => Call::get("rses/"),
        };
        let named = |e: Error| match expression {
            Some(expression) => e.context(format_args!("RSE expression '{expression}'")),
            None => e,
        };
        let names: List<Named> = self.lines(call).await.map_err(|e| named(e.into()))?;
        let mut names: Vec<String> = names.map_ok(|named| named.rse).try_collect().await?;
        names.sort();
        Ok(names)
    }

    /// Returns a storage element.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown name; server errors.
    pub(crate) async fn rse(&self, name: &str) -> Result<Rse> {
        let found = self.json(&Call::get(format!("rses/{}", encoded_part(name)))).await;
        found.map_err(|e| Error::from(e).context(format_args!("RSE '{name}'")))
    }

    /// Returns an attribute of a storage element, such as `site`.
    ///
    /// # Errors
    /// As for [`Self::rse`].
    pub(crate) async fn rse_attribute(&self, name: &str, attribute: &str) -> Result<Option<String>> {
        let all: Value = self.json(&Call::get(format!("rses/{}/attr/", encoded_part(name)))).await?;
        Ok(all.get(attribute).and_then(Value::as_str).map(str::to_owned))
    }

    /// Returns the URIs of files at a deterministic storage element, by `scope:name`; the files need not exist.
    ///
    /// # Errors
    /// As for [`Self::rse`].
    pub(crate) async fn uris(&self, rse: &str, files: &[Did]) -> Result<BTreeMap<String, String>> {
        let mut call = Call::get(format!("rses/{}/lfns2pfns", encoded_part(rse)));
        for file in files {
            call = call.with("lfn", file.to_string());
        }
        Ok(self.json(&call).await?)
    }

    /// Checks that a storage element takes the URI of a new file: Rucio refuses unknown schemes, and at a deterministic
    /// storage element other URIs than the name determines.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown storage element, `Kind::Invalid` for a URI that it refuses; server errors.
    pub(crate) async fn check_uri(&self, rse: &str, file: &NewFile) -> Result<()> {
        let Some(uri) = &file.pfn else { return Ok(()) };
        let element = self.rse(rse).await?;
        let (scheme, _) = uri.split_once("://").unwrap_or_default();
        let of_scheme = element.protocols.iter().filter(|protocol| protocol.scheme == scheme).count();
        if of_scheme == 0 {
            let known: Vec<&str> = element.protocols.iter().map(|protocol| protocol.scheme.as_str()).collect();
            let message = format!("RSE '{rse}' has no protocol for '{uri}'; it has {}", known.join(", "));
            return Err(Error::invalid(message));
        }
        // With several protocols of the scheme, the server decides.
        if !element.deterministic || of_scheme > 1 {
            return Ok(());
        }
        let did = Did { scope: file.scope.clone(), name: file.name.clone() };
        let call = Call::get(format!("rses/{}/lfns2pfns", encoded_part(rse)));
        let call = call.with("lfn", did.to_string()).with("scheme", scheme);
        let uris: BTreeMap<String, String> = self.json(&call).await?;
        match uris.get(&did.to_string()) {
            Some(other) if other != uri => {
                let message =
                    format!("file '{did}' has the URI '{other}' at RSE '{rse}', but dtn_url makes it '{uri}'");
                Err(Error::invalid(message))
            }
            _ => Ok(()),
        }
    }
}
