//! `check_rucio`: compares the registry, the catalogue of Rucio, its replicas, and the files at their storage elements.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::error::{Kind, Result};
use crate::format::sidecar::Sidecar;
use crate::registry::datasets::known_paths;
use crate::registry::file_records;
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::selection::select_datasets;
use crate::rucio::Client;
use crate::rucio::catalog::{AT_ONCE, ReplicaFilter};
use crate::rucio::did::Did;
use crate::rucio::replicas::{Replica, UriMapping};
use crate::store::Location;

/// Number of folders that are listed concurrently.
const FOLDERS: usize = 16;
/// Number of dataset ids per query.
const IDS: usize = 1000;

/// What is compared.
#[derive(Debug, Clone)]
pub(crate) struct CheckRucio {
    /// DID.
    pub did: Did,
    /// Selects storage elements; all if `None`.
    pub rse_expression: Option<String>,
    /// Collections whose datasets are to be registered in the DID.
    pub collections: Vec<String>,
    /// Replaces the start of URIs.
    pub prefix: Option<UriMapping>,
    /// True to list the folders of the files.
    pub files: bool,
}

/// A disagreement.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disagreement {
    /// `not_registered`, `not_ingested`, `other_dataset`, `size_mismatch`, `not_replicated`, `transferring`, `lost`,
    /// `damaged` or `not_checked`.
    pub state: &'static str,
    /// Name of the file in Rucio.
    pub name: Option<String>,
    /// Dataset type.
    pub dataset_type: Option<String>,
    /// Dataset id.
    pub dataset_id: Option<String>,
    /// Storage element.
    pub rse: Option<String>,
    /// URI of the file.
    pub uri: Option<String>,
    /// Details.
    pub detail: Option<String>,
}

/// A file of the DID.
struct Registered {
    bytes: Option<i64>,
    sidecar: Option<Sidecar>,
}

impl Registered {
    fn row(&self, state: &'static str, file: &Did) -> Disagreement {
        Disagreement {
            state,
            name: Some(file.to_string()),
            dataset_type: self.sidecar.as_ref().map(|sidecar| sidecar.dataset_type.name.clone()),
            dataset_id: self.sidecar.as_ref().map(|sidecar| sidecar.id.to_string()),
            ..Disagreement::default()
        }
    }
}

impl CheckRucio {
    /// Returns the disagreements.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown DID or collection; errors of the registry and of servers.
    pub(crate) async fn check(&self, handle: &RepositoryHandle, client: Arc<Client>) -> Result<Vec<Disagreement>> {
        let repo = handle.repo().await?;
        let files = self.registered(&client).await?;
        let filter =
            ReplicaFilter { rse_expression: self.rse_expression.clone(), all_states: true, schemes: Vec::new() };
        let replicas: Vec<Replica> = client.all_replicas(&self.did, filter).await?.try_collect().await?;
        let mut rows = self.compare_registry(&repo, &files, &replicas).await?;
        rows.extend(self.compare_replicas(&files, &replicas).await?);
        let ids = files.values().filter_map(|file| Some(file.sidecar.as_ref()?.id.to_string()));
        rows.extend(self.not_registered(&repo, &ids.collect()).await?);
        Ok(rows)
    }

    /// Reads the files of the DID with their sidecars.
    async fn registered(&self, client: &Arc<Client>) -> Result<BTreeMap<Did, Registered>> {
        let mut files = BTreeMap::new();
        let mut chunks = client.files(&self.did).await?.try_chunks(AT_ONCE);
        while let Some(members) = chunks.try_next().await.map_err(|e| e.1)? {
            let dids: Vec<Did> =
                members.iter().map(|member| Did { scope: member.scope.clone(), name: member.name.clone() }).collect();
            let mut sidecars = HashMap::new();
            for metadata in client.metadata(&dids).await? {
                let text = metadata.rubin_sidecar.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
                if let Ok(sidecar) = Sidecar::parse(text) {
                    sidecars.insert(Did { scope: metadata.scope, name: metadata.name }, sidecar);
                }
            }
            for (did, member) in dids.into_iter().zip(members) {
                let sidecar = sidecars.get(&did).cloned();
                files.entry(did).or_insert(Registered { bytes: member.bytes, sidecar });
            }
        }
        Ok(files)
    }

    /// Compares the files with the file records of the registry.
    async fn compare_registry(
        &self,
        repo: &Repo,
        files: &BTreeMap<Did, Registered>,
        replicas: &[Replica],
    ) -> Result<Vec<Disagreement>> {
        let mut records = HashMap::new();
        let ids: Vec<String> = files.values().filter_map(|file| Some(file.sidecar.as_ref()?.id.to_string())).collect();
        for ids in ids.chunks(IDS) {
            records.extend(file_records::of_datasets(&repo.registry, ids).await?);
        }
        let root = Location::parse(&repo.datastore_root())?;
        let mut uris: HashMap<&Did, Vec<String>> = HashMap::new();
        for replica in replicas {
            let Ok(location) = Location::parse(&self.mapped(&replica.uri)) else { continue };
            let path = location.strip_prefix(&root).unwrap_or_else(|| location.uri());
            uris.entry(&replica.file).or_default().push(path);
        }
        let mut rows = Vec::new();
        let mut missing = Vec::new();
        for (did, file) in files {
            let Some(sidecar) = &file.sidecar else { continue };
            match records.get(&sidecar.id.to_string()) {
                None => missing.push((did, file)),
                Some((_, size)) if *size >= 0 && file.bytes.is_some_and(|bytes| bytes != *size) => {
                    let detail = format!("{size} bytes in the registry, {} in Rucio", file.bytes.unwrap_or(0));
                    rows.push(Disagreement { detail: Some(detail), ..file.row("size_mismatch", did) });
                }
                Some(_) => {}
            }
        }
        let wanted: Vec<String> = missing.iter().filter_map(|(did, _)| uris.get(did)).flatten().cloned().collect();
        let taken = known_paths(&repo.registry, &wanted).await?;
        for (did, file) in missing {
            let is_taken = uris.get(did).is_some_and(|paths| paths.iter().any(|path| taken.contains(path)));
            rows.push(file.row(if is_taken { "other_dataset" } else { "not_ingested" }, did));
        }
        Ok(rows)
    }

    /// Compares the replicas with the files at their storage elements.
    async fn compare_replicas(
        &self,
        files: &BTreeMap<Did, Registered>,
        replicas: &[Replica],
    ) -> Result<Vec<Disagreement>> {
        let mut rows = Vec::new();
        // Positions of replicas, with the names of their files.
        let mut by_folder: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
        let mut replicated = HashSet::new();
        for (at, replica) in replicas.iter().enumerate() {
            replicated.insert(&replica.file);
            let Some(file) = files.get(&replica.file) else { continue };
            let located = |row: Disagreement| Disagreement {
                rse: Some(replica.rse.clone()),
                uri: Some(replica.uri.clone()),
                ..row
            };
            if replica.state != "AVAILABLE" {
                let detail = Some(replica.state.clone());
                rows.push(located(Disagreement { detail, ..file.row("transferring", &replica.file) }));
            } else if self.files {
                match Location::parse(&self.mapped(&replica.uri)) {
                    Ok(location) => {
                        by_folder.entry(location.parent().display()).or_default().push((at, location.name()));
                    }
                    Err(error) => {
                        let detail = Some(error.message().to_owned());
                        rows.push(located(Disagreement { detail, ..file.row("not_checked", &replica.file) }));
                    }
                }
            }
        }
        let absent = files.iter().filter(|(did, _)| !replicated.contains(did));
        rows.extend(absent.map(|(did, file)| file.row("not_replicated", did)));
        let mut listed = stream::iter(by_folder).map(sizes_in).buffered(FOLDERS);
        while let Some((sizes, positions)) = listed.try_next().await? {
            for (at, name) in positions {
                let replica = &replicas[at];
                let Some(file) = files.get(&replica.file) else { continue };
                let row = match (sizes.get(&name), replica.bytes) {
                    (None, _) => file.row("lost", &replica.file),
                    (Some(size), Some(bytes)) if i64::try_from(*size) != Ok(bytes) => {
                        let detail = format!("{size} bytes, {bytes} in Rucio");
                        Disagreement { detail: Some(detail), ..file.row("damaged", &replica.file) }
                    }
                    _ => continue,
                };
                rows.push(Disagreement { rse: Some(replica.rse.clone()), uri: Some(replica.uri.clone()), ..row });
            }
        }
        Ok(rows)
    }

    /// Returns the datasets of the collections that no file of the DID holds.
    async fn not_registered(&self, repo: &Repo, registered: &HashSet<String>) -> Result<Vec<Disagreement>> {
        let mut rows = Vec::new();
        if self.collections.is_empty() {
            return Ok(rows);
        }
        for one in select_datasets(repo, &[], &self.collections).await? {
            for batch in one.rows.batches()? {
                let ids = string_values(&batch?, 0).into_iter().filter(|id| !registered.contains(id));
                rows.extend(ids.map(|id| Disagreement {
                    state: "not_registered",
                    dataset_type: Some(one.record.dataset_type.name.clone()),
                    dataset_id: Some(id),
                    ..Disagreement::default()
                }));
            }
        }
        Ok(rows)
    }

    fn mapped(&self, uri: &str) -> String {
        self.prefix.as_ref().and_then(|prefix| prefix.apply(uri)).unwrap_or_else(|| uri.to_owned())
    }
}

/// Lists a folder: the sizes of its files, none if the folder does not exist.
async fn sizes_in<T>((folder, files): (String, T)) -> Result<(HashMap<String, u64>, T)> {
    match Location::parse(&folder)?.list().await {
        Ok(listing) => Ok((listing.files.into_iter().collect(), files)),
        Err(error) if error.kind() == Kind::NotFound => Ok((HashMap::new(), files)),
        Err(error) => Err(error),
    }
}
