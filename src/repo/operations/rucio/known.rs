//! What Rucio knows of files that are to be registered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::rucio::Client;
use crate::rucio::catalog::{AT_ONCE, ReplicaFilter};
use crate::rucio::did::Did;
use crate::rucio::registration::{FileMeta, NewFile};

/// What Rucio knows of files.
pub(super) struct Known {
    /// Size and checksum of the members of the dataset.
    pub members: HashMap<String, (Option<i64>, Option<String>)>,
    /// Size and checksum of other registered files.
    others: HashMap<String, (Option<i64>, Option<String>)>,
    /// Metadata of all registered files.
    pub meta: HashMap<String, FileMeta>,
}

impl Known {
    /// Reads size, checksum and metadata of the files.
    ///
    /// # Errors
    /// Server errors.
    pub(super) async fn read(client: &Arc<Client>, did: &Did, exists: bool, files: &[NewFile]) -> Result<Self> {
        let mut members = HashMap::new();
        if exists {
            let mut contents = client.contents(did).await?;
            while let Some(member) = contents.try_next().await? {
                if member.scope == did.scope {
                    members.insert(member.name, (member.bytes, member.adler32));
                }
            }
        }
        let (mut others, mut meta) = (HashMap::new(), HashMap::new());
        for chunk in files.chunks(AT_ONCE) {
            let dids: Vec<Did> =
                chunk.iter().map(|file| Did { scope: file.scope.clone(), name: file.name.clone() }).collect();
            let new: Vec<Did> = dids.iter().filter(|did| !members.contains_key(&did.name)).cloned().collect();
            if !new.is_empty() {
                for found in client.did_columns(&new).await? {
                    others.insert(found.name, (found.bytes, found.adler32));
                }
            }
            let registered: Vec<Did> = dids
                .into_iter()
                .filter(|did| members.contains_key(&did.name) || others.contains_key(&did.name))
                .collect();
            if !registered.is_empty() {
                for found in client.metadata(&registered).await? {
                    let text = |value: Option<serde_json::Value>| match value {
                        Some(serde_json::Value::String(text)) => text,
                        Some(serde_json::Value::Null) | None => String::new(),
                        Some(other) => other.to_string(),
                    };
                    let known =
                        FileMeta { rubin_butler: text(found.rubin_butler), rubin_sidecar: text(found.rubin_sidecar) };
                    meta.insert(found.name, known);
                }
            }
        }
        Ok(Self { members, others, meta })
    }

    /// Forgets the membership of files that have no replica at the storage element, so that they are attached with one.
    ///
    /// # Errors
    /// Server errors.
    pub(super) async fn forget_members_elsewhere(
        &mut self,
        client: &Arc<Client>,
        did: &Did,
        rse: &str,
        files: &[NewFile],
    ) -> Result<()> {
        if self.members.is_empty() {
            return Ok(());
        }
        let replicas = client.dataset_replicas(did).await?;
        let here = replicas.iter().find(|replica| replica.rse == rse).and_then(|replica| replica.available_length);
        if here.is_some_and(|here| usize::try_from(here).is_ok_and(|here| here >= self.members.len())) {
            return Ok(());
        }
        let filter =
            ReplicaFilter { rse_expression: Some(rse.to_owned()), all_states: true, ..ReplicaFilter::default() };
        for chunk in files.chunks(AT_ONCE) {
            let members = chunk.iter().filter(|file| self.members.contains_key(&file.name));
            let dids: Vec<Did> =
                members.map(|file| Did { scope: file.scope.clone(), name: file.name.clone() }).collect();
            if dids.is_empty() {
                continue;
            }
            let found = client.replicas(&dids, &filter).await?;
            let there: HashSet<String> =
                found.into_iter().filter(|file| !file.states.is_empty()).map(|file| file.name).collect();
            for did in dids.into_iter().filter(|did| !there.contains(&did.name)) {
                if let Some(known) = self.members.remove(&did.name) {
                    self.others.insert(did.name, known);
                }
            }
        }
        Ok(())
    }

    /// Checks that a registered file has the same size and checksum, and is of the same kind.
    ///
    /// # Errors
    /// `Kind::Conflict` for a file with another size or checksum, or of another kind.
    pub(super) fn check(&self, file: &NewFile) -> Result<()> {
        let Some((bytes, adler32)) = self.members.get(&file.name).or_else(|| self.others.get(&file.name)) else {
            return Ok(());
        };
        let other_size = bytes.is_some_and(|bytes| u64::try_from(bytes) != Ok(file.bytes));
        let other_sum = adler32.as_ref().is_some_and(|sum| *sum != file.adler32);
        if !other_size && !other_sum {
            return self.check_kind(file);
        }
        let (bytes, adler32) = (bytes.unwrap_or(0), adler32.as_deref().unwrap_or("unknown"));
        let message = format!(
            "file '{}:{}' is registered with {bytes} bytes and the checksum {adler32}, but has {} bytes and {}",
            file.scope, file.name, file.bytes, file.adler32
        );
        Err(Error::new(Kind::Conflict, message))
    }

    /// Checks that a dataset stays one, and another file stays what it is. Datasets have sidecars; their kinds differ.
    fn check_kind(&self, file: &NewFile) -> Result<()> {
        let Some(known) = self.meta.get(&file.name).filter(|known| !known.rubin_butler.is_empty()) else {
            return Ok(());
        };
        let are_datasets = !known.rubin_sidecar.is_empty() && !file.meta.rubin_sidecar.is_empty();
        if are_datasets || known.rubin_butler == file.meta.rubin_butler {
            return Ok(());
        }
        let (there, new) = (&known.rubin_butler, &file.meta.rubin_butler);
        let message = format!("file '{}:{}' is registered as {there}, not as {new}", file.scope, file.name);
        Err(Error::new(Kind::Conflict, message))
    }
}
