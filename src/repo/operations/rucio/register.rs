//! `rucio_register` and `rucio_register_files`: register files in a dataset of Rucio.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::config::{RegisterConfig, RegisterOptions};
use super::files::{Candidate, FileKind, FileRules, files_of};
use super::known::Known;
use crate::error::{Error, Kind, Result};
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{AttachRucioFiles, CreateRucioDataset, UpdateRucioMetadata};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::selection::select_datasets;
use crate::rucio::Client;
use crate::rucio::catalog::AT_ONCE;
use crate::rucio::registration::{FileMeta, NewFile};
use crate::store::Location;

/// Number of tasks that read files concurrently.
const READERS: usize = 8;
/// Maximum number of files that a task reads.
const TOGETHER: usize = 16;

/// Registers the files of datasets.
#[derive(Debug)]
pub(crate) struct RucioRegister {
    /// Name of the dataset of Rucio, without scope.
    pub dataset: String,
    /// Options.
    pub options: RegisterOptions,
}

/// Registers files that are not datasets.
#[derive(Debug)]
pub(crate) struct RucioRegisterFiles {
    /// Name of the dataset of Rucio, without scope.
    pub dataset: String,
    /// Options.
    pub options: RegisterOptions,
    /// Files.
    pub files: Vec<String>,
    /// Kind of all files.
    pub kind: FileKind,
}

#[async_trait]
impl Operation for RucioRegister {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let config = self.options.resolve()?;
        let repo = context.handle.repo().await?;
        let ids = read_texts(context.rows, "dataset_id").await?;
        let selected = select_datasets(&repo, &ids, &[]).await?;
        let rules = FileRules { kind: "data_product", takes_zips: false };
        let files = files_of(&repo, &selected, rules).await?.candidates;
        context.progress.begin("rucio_register", Some(files.len() as u64));
        let files = read_all(&config, files).await?;
        let mut registration = Registration::new(config, self.options.chunk_size)?;
        registration.add(&self.dataset, files).await?;
        Ok(registration.into_plan())
    }
}

#[async_trait]
impl Operation for RucioRegisterFiles {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let config = self.options.resolve()?;
        let mut seen = HashSet::new();
        let mut files = Vec::new();
        for file in &self.files {
            let location = Location::parse(file)?;
            if seen.insert(location.display()) {
                files.push(Candidate { location, meta: self.kind.meta() });
            }
        }
        context.progress.begin("rucio_register_files", Some(files.len() as u64));
        let files = read_all(&config, files).await?;
        let mut registration = Registration::new(config, self.options.chunk_size)?;
        registration.add(&self.dataset, files).await?;
        Ok(registration.into_plan())
    }
}

/// Determines name, size and checksum of files.
///
/// # Errors
/// `Kind::Invalid` for a file outside of `rse_root`; files that cannot be read.
pub(super) async fn read_all(config: &RegisterConfig, files: Vec<Candidate>) -> Result<Vec<NewFile>> {
    let (locations, metas): (Vec<Location>, Vec<FileMeta>) =
        files.into_iter().map(|file| (file.location, file.meta)).unzip();
    let names = locations.iter().map(|location| config.name(location)).collect::<Result<Vec<_>>>()?;
    let together = locations.len().div_ceil(READERS).clamp(1, TOGETHER);
    let digests = stream::iter(locations.chunks(together)).map(Location::digests).buffered(READERS);
    let digests: Vec<Vec<(u64, u32)>> = digests.try_collect().await?;
    let parts = names.into_iter().zip(digests.into_iter().flatten()).zip(metas);
    let file = |(((name, uri), (bytes, adler32)), meta)| NewFile {
        scope: config.scope.clone(),
        name,
        bytes,
        adler32: format!("{adler32:08x}"),
        pfn: Some(uri),
        meta,
    };
    Ok(parts.map(file).collect())
}

/// The plan of a registration, dataset by dataset.
pub(super) struct Registration {
    client: Arc<Client>,
    config: RegisterConfig,
    chunk_size: usize,
    /// Creation of datasets, which comes first: a name that the server refuses ends the plan before files are sent.
    created: Vec<ChangeSet<'static>>,
    sets: Vec<ChangeSet<'static>>,
    /// Files whose metadata are replaced.
    changed: HashSet<String>,
    /// True if the storage element takes the URIs.
    is_checked: bool,
}

impl Registration {
    /// Creates an empty plan.
    ///
    /// # Errors
    /// Wrong settings of Rucio.
    pub(super) fn new(config: RegisterConfig, chunk_size: usize) -> Result<Self> {
        let client = Client::of_environment()?;
        Ok(Self {
            client,
            config,
            chunk_size: chunk_size.max(1),
            created: Vec::new(),
            sets: Vec::new(),
            changed: HashSet::new(),
            is_checked: false,
        })
    }

    /// Plans the registration of files in a dataset: compares them with its contents, and sends what is missing.
    ///
    /// # Errors
    /// `Kind::Conflict` for a closed dataset that lacks files, or a file that is registered with another size or
    /// checksum; server errors.
    pub(super) async fn add(&mut self, dataset: &str, files: Vec<NewFile>) -> Result<()> {
        let (client, did, rse) = (Arc::clone(&self.client), self.config.did(dataset)?, self.config.rse.clone());
        let state = client.find_did(&did).await?;
        if let Some(other) = state.as_ref().filter(|state| state.did_type != "DATASET") {
            return Err(Error::invalid(format!("'{did}' is a {}, not a dataset", other.did_type.to_lowercase())));
        }
        let mut known = Known::read(&client, &did, state.is_some(), &files).await?;
        known.forget_members_elsewhere(&client, &did, &rse, &files).await?;
        let mut changed = Vec::new();
        let mut missing = Vec::new();
        let mut unchanged = 0;
        for file in files {
            let is_member = known.members.contains_key(&file.name);
            known.check(&file)?;
            let has_other_meta = known.meta.get(&file.name).is_some_and(|meta| differs(meta, &file.meta));
            unchanged += u64::from(is_member && !has_other_meta);
            if has_other_meta && self.changed.insert(file.name.clone()) {
                changed.push(file.clone());
            }
            if !is_member {
                missing.push(file);
            }
        }
        if state.as_ref().is_some_and(|state| state.open == Some(false)) && !missing.is_empty() {
            let message = format!("dataset '{did}' is closed, and {} files are not in it at '{rse}'", missing.len());
            return Err(Error::new(Kind::Conflict, message));
        }
        // All URIs are made in the same way.
        if let Some(file) = missing.first().filter(|_| !self.is_checked) {
            client.check_uri(&rse, file).await?;
            self.is_checked = true;
        }
        let standalone = |change| Change::Standalone(change);
        let mut first = ChangeSet::default();
        first.record("rucio_file", Status::Unchanged, did.to_string(), unchanged);
        first.set_completed(unchanged, 0);
        if state.is_none() && !missing.is_empty() {
            let (client, did, rse) = (Arc::clone(&client), did.clone(), rse.clone());
            first.push(standalone(Box::new(CreateRucioDataset { client, did, rse })));
        }
        self.created.push(first);
        for files in in_chunks(missing, self.chunk_size) {
            let mut set = ChangeSet::default();
            set.set_completed(files.len() as u64, files.iter().map(|file| file.bytes).sum());
            let (client, did, rse) = (Arc::clone(&client), did.clone(), rse.clone());
            set.push(standalone(Box::new(AttachRucioFiles { client, did, rse, files })));
            self.sets.push(set);
        }
        for files in in_chunks(changed, AT_ONCE) {
            let mut set = ChangeSet::default();
            let (client, did) = (Arc::clone(&client), did.clone());
            set.push(standalone(Box::new(UpdateRucioMetadata { client, did, files })));
            self.sets.push(set);
        }
        Ok(())
    }

    /// Returns the plan: a change set for each request that writes.
    pub(super) fn into_plan<'p>(self) -> Plan<'p> {
        stream::iter(self.created.into_iter().chain(self.sets).map(Ok)).boxed()
    }
}

/// Returns true if metadata are to be replaced. A raw may be registered as `raw_file` or as `data_product`.
fn differs(known: &FileMeta, new: &FileMeta) -> bool {
    known.rubin_sidecar != new.rubin_sidecar || known.rubin_sidecar.is_empty() && known.rubin_butler != new.rubin_butler
}

/// Splits files into chunks without copying them.
fn in_chunks(files: Vec<NewFile>, size: usize) -> impl Iterator<Item = Vec<NewFile>> {
    let mut rest = files.into_iter();
    std::iter::from_fn(move || Some(rest.by_ref().take(size).collect::<Vec<_>>()).filter(|chunk| !chunk.is_empty()))
}
