//! What the catalogue knows: data identifiers, contents, metadata, replicas.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;
use reqwest::Method;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::did::Did;
use super::refusal::{DID_NOT_FOUND, Refusal};
use crate::error::{Error, Kind, Result};
use crate::net::uri::quoted;

/// A list that the server sends as a stream.
pub(crate) type List<T> = BoxStream<'static, Result<T>>;

/// Maximum number of DIDs in one request.
pub(crate) const AT_ONCE: usize = 500;

/// Reads a whole number that the server may send as `207.0`.
fn whole<'de, D: Deserializer<'de>>(source: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(source)?;
    #[allow(clippy::cast_possible_truncation)]
    Ok(number.and_then(|number| number.as_i64().or_else(|| number.as_f64().map(|float| float as i64))))
}

/// A DID that a search found.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Found {
    /// Scope.
    pub scope: String,
    /// Name.
    pub name: String,
    /// `FILE`, `DATASET` or `CONTAINER`.
    pub did_type: String,
}

/// The state of a DID.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DidState {
    /// `FILE`, `DATASET` or `CONTAINER`.
    #[serde(rename = "type")]
    pub did_type: String,
    /// True if files can be attached; absent for files.
    #[serde(default)]
    pub open: Option<bool>,
    /// Number of files; `None` for an open dataset unless counted.
    #[serde(default, deserialize_with = "whole")]
    pub length: Option<i64>,
    /// Size in bytes of all files; `None` for an open dataset unless counted.
    #[serde(default, deserialize_with = "whole")]
    pub bytes: Option<i64>,
}

/// Columns of a DID in the catalogue.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DidColumns {
    /// Scope.
    pub scope: String,
    /// Name.
    pub name: String,
    /// Size in bytes of a file.
    #[serde(default, deserialize_with = "whole")]
    pub bytes: Option<i64>,
    /// adler32 checksum of a file.
    #[serde(default)]
    pub adler32: Option<String>,
    /// Account that created it.
    pub account: Option<String>,
    /// True if files can be attached; `None` for files.
    pub is_open: Option<bool>,
    /// Creation time, UTC, such as `Mon, 30 Nov 2026 05:08:34 UTC`.
    pub created_at: Option<String>,
}

/// A member of a dataset or container.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Member {
    /// Scope.
    pub scope: String,
    /// Name.
    pub name: String,
    /// `FILE`, `DATASET` or `CONTAINER`; absent in lists of files.
    #[serde(default, rename = "type")]
    pub did_type: Option<String>,
    /// Dataset that holds the file, in lists of files below DIDs.
    #[serde(default)]
    pub parent_scope: Option<String>,
    /// Name of that dataset.
    #[serde(default)]
    pub parent_name: Option<String>,
    /// Size in bytes.
    #[serde(default, deserialize_with = "whole")]
    pub bytes: Option<i64>,
    /// adler32 checksum, 8 hexadecimal digits.
    #[serde(default)]
    pub adler32: Option<String>,
    /// MD5 checksum.
    #[serde(default)]
    pub md5: Option<String>,
}

/// The checksum as other tables show it: `adler32=0a1b2c3d`.
pub(crate) fn checksum(adler32: Option<&str>, md5: Option<&str>) -> Option<String> {
    let named = |kind: &str, value: Option<&str>| value.map(|value| format!("{kind}={value}"));
    named("adler32", adler32).or_else(|| named("md5", md5))
}

/// The Rubin metadata of a file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    /// Scope.
    pub scope: String,
    /// Name.
    pub name: String,
    /// Kind of file: `data_product`, `raw_file`, `zip_file`, `dim_file`, or the number 1 for a file of a dataset.
    #[serde(default)]
    pub rubin_butler: Option<Value>,
    /// Dataset as JSON text, if there is one.
    #[serde(default)]
    pub rubin_sidecar: Option<Value>,
}

/// The replicas of a file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Replicas {
    /// Scope.
    pub scope: String,
    /// Name.
    pub name: String,
    /// Size in bytes.
    #[serde(default, deserialize_with = "whole")]
    pub bytes: Option<i64>,
    /// adler32 checksum.
    #[serde(default)]
    pub adler32: Option<String>,
    /// MD5 checksum.
    #[serde(default)]
    pub md5: Option<String>,
    /// Storage element of each URI.
    #[serde(default)]
    pub pfns: BTreeMap<String, Pfn>,
    /// State at each storage element.
    #[serde(default)]
    pub states: BTreeMap<String, String>,
}

/// The storage element of a URI.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pfn {
    /// Name of the storage element.
    pub rse: String,
}

/// The replica of a dataset at a storage element.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DatasetReplica {
    /// Storage element.
    pub rse: String,
    /// Number of files there.
    #[serde(default, deserialize_with = "whole")]
    pub available_length: Option<i64>,
}

/// Which replicas are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplicaFilter {
    /// Expression that selects storage elements.
    pub rse_expression: Option<String>,
    /// True to list replicas that are not available too.
    pub all_states: bool,
    /// URI schemes; all if empty.
    pub schemes: Vec<String>,
}

impl Client {
    /// Finds the DIDs of a scope by a glob (`*`, which also matches `/`) and a type (`all`, `collection`, `dataset`, `container`,
    /// `file`).
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown scope; server errors.
    pub(crate) async fn search(self: &Arc<Self>, scope: &str, did_type: &str, glob: &str) -> Result<List<Found>> {
        let call = Call::get(format!("dids/{}/dids/search", quoted(scope)));
        let call = call.with("type", did_type).with("name", glob).with("long", "1");
        Ok(self.lines(call).await?)
    }

    /// Returns the names of all scopes.
    ///
    /// # Errors
    /// Server errors.
    pub(crate) async fn scopes(&self) -> Result<Vec<String>> {
        Ok(self.json(&Call::get("scopes/")).await?)
    }

    /// Returns the state of a DID. With `counted`, the files of an open dataset are counted.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown DID; server errors.
    pub(crate) async fn did(&self, did: &Did, counted: bool) -> Result<DidState> {
        let call = Call::get(format!("dids/{}", did.path()));
        let call = if counted { call.with("dynamic_depth", "FILE") } else { call };
        self.json(&call).await.map_err(|e| of_did(did, e))
    }

    /// Returns the state of a DID, or `None` if it does not exist.
    ///
    /// # Errors
    /// Server errors.
    pub(crate) async fn find_did(&self, did: &Did) -> Result<Option<DidState>> {
        match self.json(&Call::get(format!("dids/{}", did.path()))).await {
            Ok(found) => Ok(Some(found)),
            Err(refusal) if refusal.is(DID_NOT_FOUND) => Ok(None),
            Err(refusal) => Err(of_did(did, refusal)),
        }
    }

    /// Returns the columns of DIDs; unknown ones are left out.
    ///
    /// # Errors
    /// Server errors.
    pub(crate) async fn did_columns(self: &Arc<Self>, dids: &[Did]) -> Result<Vec<DidColumns>> {
        let body = json!({"dids": dids, "plugin": "DID_COLUMN"});
        self.lines(Call::new(Method::POST, "dids/bulkmeta", &body)).await?.try_collect().await
    }

    /// Lists the members of a dataset or container, one level.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown DID; server errors.
    pub(crate) async fn contents(self: &Arc<Self>, did: &Did) -> Result<List<Member>> {
        let listed = self.lines(Call::get(format!("dids/{}/dids", did.path()))).await;
        listed.map_err(|e| of_did(did, e))
    }

    /// Lists the files below a DID, with the datasets that hold them.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown DID; server errors.
    pub(crate) async fn files(self: &Arc<Self>, did: &Did) -> Result<List<Member>> {
        // The list of an unknown DID is empty.
        self.did(did, false).await?;
        Ok(self.lines(Call::new(Method::POST, "dids/bulkfiles", &json!({"dids": [did]}))).await?)
    }

    /// Returns the Rubin metadata of files; unknown files are left out.
    ///
    /// # Errors
    /// Server errors.
    pub(crate) async fn metadata(self: &Arc<Self>, files: &[Did]) -> Result<Vec<Metadata>> {
        // Servers before 41 ignore the plugin without "inherit".
        let body = json!({"dids": files, "plugin": "JSON", "inherit": true});
        self.lines(Call::new(Method::POST, "dids/bulkmeta", &body)).await?.try_collect().await
    }

    /// Returns the replicas of files; files without a replica that the filter selects are left out.
    ///
    /// # Errors
    /// `Kind::Invalid` for a wrong expression; server errors.
    pub(crate) async fn replicas(self: &Arc<Self>, files: &[Did], filter: &ReplicaFilter) -> Result<Vec<Replicas>> {
        let mut body = json!({"dids": files, "all_states": filter.all_states});
        if let Some(expression) = &filter.rse_expression {
            body["rse_expression"] = json!(expression);
        }
        if !filter.schemes.is_empty() {
            body["schemes"] = json!(filter.schemes);
        }
        self.lines(Call::new(Method::POST, "replicas/list", &body)).await?.try_collect().await
    }

    /// Returns the replicas of a dataset, with their files counted.
    ///
    /// # Errors
    /// Server errors.
    pub(crate) async fn dataset_replicas(self: &Arc<Self>, did: &Did) -> Result<Vec<DatasetReplica>> {
        let call = Call::get(format!("replicas/{}/datasets", did.path())).with("deep", "True");
        self.lines(call).await?.try_collect().await
    }
}

/// Names the DID of a refusal.
pub(super) fn of_did(did: &Did, refusal: Refusal) -> Error {
    if refusal.is(DID_NOT_FOUND) {
        return Error::new(Kind::NotFound, format!("Rucio has no DID '{did}'")).with_subject(&did.to_string());
    }
    Error::from(refusal).context(format_args!("DID '{did}'"))
}
