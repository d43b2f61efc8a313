//! `rucio_register` and `rucio_register_files`: register files in a dataset of Rucio.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::config::{RegisterConfig, RegisterOptions};
use crate::error::{Error, Kind, Result};
use crate::registry::dataset_queries::columns;
use crate::registry::{optional_string_values, string_values};
use crate::repo::Repo;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{AttachRucioFiles, CreateRucioDataset, UpdateRucioMetadata};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::selection::{dimension_records, select_datasets};
use crate::repo::sidecars::{DatasetRow, RecordIndex, json_value};
use crate::rucio::Client;
use crate::rucio::catalog::{AT_ONCE, ReplicaFilter};
use crate::rucio::did::Did;
use crate::rucio::registration::{FileMeta, NewFile};
use crate::store::Location;

/// Number of files whose checksums are computed concurrently.
const READERS: usize = 8;

/// Registers the files of datasets.
#[derive(Debug)]
pub(crate) struct RucioRegister(pub RegisterOptions);

/// The kind of a file that is not a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A zip archive of datasets.
    Zip,
    /// An export file with dimension records.
    Dimensions,
}

impl FileKind {
    /// Parses `zip_file` or `dim_file`.
    ///
    /// # Errors
    /// `Kind::Invalid` for another word.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match name {
            "zip_file" => Ok(Self::Zip),
            "dim_file" => Ok(Self::Dimensions),
            other => Err(Error::invalid(format!("kind is zip_file or dim_file, not '{other}'"))),
        }
    }
}

/// Registers files that are not datasets.
#[derive(Debug)]
pub(crate) struct RucioRegisterFiles {
    /// Options.
    pub options: RegisterOptions,
    /// Files.
    pub files: Vec<String>,
    /// Kind of all files.
    pub kind: FileKind,
}

/// A file before its checksum is known.
struct Candidate {
    location: Location,
    meta: FileMeta,
}

#[async_trait]
impl Operation for RucioRegister {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let config = self.0.resolve()?;
        let repo = context.handle.repo().await?;
        let ids = read_texts(context.rows, "dataset_id").await?;
        let candidates = candidates(&repo, &ids).await?;
        context.progress.begin("rucio_register", Some(candidates.len() as u64));
        register(&self.0, &config, candidates).await
    }
}

#[async_trait]
impl Operation for RucioRegisterFiles {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let config = self.options.resolve()?;
        let word = if self.kind == FileKind::Zip { "zip_file" } else { "dim_file" };
        let meta = FileMeta { rubin_butler: word.to_owned(), rubin_sidecar: String::new() };
        let candidate = |file: &String| Ok(Candidate { location: Location::parse(file)?, meta: meta.clone() });
        let candidates = self.files.iter().map(candidate).collect::<Result<Vec<_>>>()?;
        context.progress.begin("rucio_register_files", Some(candidates.len() as u64));
        register(&self.options, &config, candidates).await
    }
}

/// Returns the files of datasets with their sidecars.
async fn candidates(repo: &Repo, ids: &[String]) -> Result<Vec<Candidate>> {
    let selected = select_datasets(repo, ids, &[]).await?;
    let records = dimension_records(repo, &selected).await?;
    let index = RecordIndex::new(&repo.registry.universe, &records);
    let root = Location::parse(&repo.datastore_root())?;
    let mut candidates = Vec::new();
    let mut owners: HashMap<String, String> = HashMap::new();
    for one in &selected {
        let kinds = columns(&one.record);
        for batch in one.rows.batches()? {
            let batch = batch?;
            let last = batch.num_columns() - 3;
            let (ids, runs) = (string_values(&batch, 0), string_values(&batch, last));
            let paths = optional_string_values(&batch, last + 1);
            for (row, path) in paths.into_iter().enumerate() {
                let id = &ids[row];
                let path = path.ok_or_else(|| Error::new(Kind::NotFound, format!("dataset {id} has no file")))?;
                let location = if path.contains("://") { Location::parse(&path)? } else { root.child(&path) };
                if let Some(other) = owners.insert(location.display(), id.clone()) {
                    let message = format!(
                        "file '{}' holds several datasets, such as {other} and {id}; Rucio keeps one dataset for a file",
                        location.display()
                    );
                    return Err(Error::new(Kind::Unsupported, message));
                }
                let cells = kinds[1..last].iter().zip(&batch.columns()[1..last]);
                let values: Vec<_> = cells.map(|(column, array)| json_value(column, array, row)).collect();
                let dataset = DatasetRow { record: &one.record, id, run: &runs[row], values: &values };
                let meta = FileMeta { rubin_butler: "data_product".to_owned(), rubin_sidecar: index.sidecar(dataset)? };
                candidates.push(Candidate { location, meta });
            }
        }
    }
    Ok(candidates)
}

/// Plans the registration of files: compares them with the dataset, and sends what is missing.
async fn register<'p>(
    options: &RegisterOptions,
    config: &RegisterConfig,
    candidates: Vec<Candidate>,
) -> Result<Plan<'p>> {
    let did = options.did(config);
    let client = Client::of_environment()?;
    let read = candidates.into_iter().map(|candidate| read(config, candidate));
    let files: Vec<NewFile> = stream::iter(read).buffered(READERS).try_collect().await?;
    let state = client.find_did(&did).await?;
    if let Some(other) = state.as_ref().filter(|state| state.did_type != "DATASET") {
        return Err(Error::invalid(format!("'{did}' is a {}, not a dataset", other.did_type.to_lowercase())));
    }
    let mut known = Known::read(&client, &did, state.is_some(), &files).await?;
    known.forget_members_elsewhere(&client, &did, &config.rse, &files).await?;
    let mut changed = Vec::new();
    let mut missing = Vec::new();
    let mut unchanged = 0;
    for file in files {
        let is_member = known.members.contains_key(&file.name);
        known.check(&file)?;
        let has_other_meta = known.meta.get(&file.name).is_some_and(|meta| *meta != file.meta);
        unchanged += u64::from(is_member && !has_other_meta);
        if has_other_meta {
            changed.push(file.clone());
        }
        if !is_member {
            missing.push(file);
        }
    }
    if state.as_ref().is_some_and(|state| state.open == Some(false)) && !missing.is_empty() {
        let message =
            format!("dataset '{did}' is closed, and {} files are not in it at '{}'", missing.len(), config.rse);
        return Err(Error::new(Kind::Conflict, message));
    }
    let standalone = |change| Change::Standalone(change);
    let mut first = ChangeSet::default();
    first.record("rucio_file", Status::Unchanged, did.to_string(), unchanged);
    first.set_completed(unchanged, 0);
    if state.is_none() && !missing.is_empty() {
        let (client, did, rse) = (Arc::clone(&client), did.clone(), config.rse.clone());
        first.push(standalone(Box::new(CreateRucioDataset { client, did, rse })));
    }
    let mut sets = vec![Ok(first)];
    for files in missing.chunks(options.chunk_size.max(1)) {
        let mut set = ChangeSet::default();
        set.set_completed(files.len() as u64, files.iter().map(|file| file.bytes).sum());
        let (client, did, rse) = (Arc::clone(&client), did.clone(), config.rse.clone());
        set.push(standalone(Box::new(AttachRucioFiles { client, did, rse, files: files.to_vec() })));
        sets.push(Ok(set));
    }
    for files in changed.chunks(AT_ONCE) {
        let mut set = ChangeSet::default();
        let (client, did) = (Arc::clone(&client), did.clone());
        set.push(standalone(Box::new(UpdateRucioMetadata { client, did, files: files.to_vec() })));
        sets.push(Ok(set));
    }
    Ok(stream::iter(sets).boxed())
}

/// Determines name, size and checksum of a file.
async fn read(config: &RegisterConfig, candidate: Candidate) -> Result<NewFile> {
    let (name, uri) = config.name(&candidate.location)?;
    let (bytes, adler32) = candidate.location.digest().await?;
    Ok(NewFile {
        scope: config.scope.clone(),
        name,
        bytes,
        adler32: format!("{adler32:08x}"),
        pfn: Some(uri),
        meta: candidate.meta,
    })
}

/// What Rucio knows of files.
struct Known {
    /// Size and checksum of the members of the dataset.
    members: HashMap<String, (Option<i64>, Option<String>)>,
    /// Size and checksum of other registered files.
    others: HashMap<String, (Option<i64>, Option<String>)>,
    /// Metadata of all registered files.
    meta: HashMap<String, FileMeta>,
}

impl Known {
    async fn read(client: &Arc<Client>, did: &Did, exists: bool, files: &[NewFile]) -> Result<Self> {
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
    async fn forget_members_elsewhere(
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

    /// Checks that a registered file has the same size and checksum.
    fn check(&self, file: &NewFile) -> Result<()> {
        let Some((bytes, adler32)) = self.members.get(&file.name).or_else(|| self.others.get(&file.name)) else {
            return Ok(());
        };
        let other_size = bytes.is_some_and(|bytes| u64::try_from(bytes) != Ok(file.bytes));
        let other_sum = adler32.as_ref().is_some_and(|sum| *sum != file.adler32);
        if !other_size && !other_sum {
            return Ok(());
        }
        let (bytes, adler32) = (bytes.unwrap_or(0), adler32.as_deref().unwrap_or("unknown"));
        let message = format!(
            "file '{}:{}' is registered with {bytes} bytes and the checksum {adler32}, but has {} bytes and {}",
            file.scope, file.name, file.bytes, file.adler32
        );
        Err(Error::new(Kind::Conflict, message))
    }
}
