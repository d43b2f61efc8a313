//! `ingest_raws`: ingests raw files of an instrument as datasets.

mod batch;
mod find;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use regex::Regex;

use self::batch::ExposureBatcher;
use self::find::{FileGroup, Metadata, RawFile, RawFinder};
use crate::error::{Error, Result};
use crate::instrument::{Instrument, Observation};
use crate::registry::db::conn::Batches;
use crate::registry::dimensions;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;
use crate::repo::Operation;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::applier::ChangeApplier;
use crate::repo::changeset::change::Status;
use crate::store::Location;
use crate::store::transfer::TransferMode;

/// Number of files per transaction. Larger batches access each index page fewer times. Debug builds use small batches
/// so that tests have several transactions.
const CHUNK: u32 = if cfg!(debug_assertions) { 64 } else { 32 * 1024 };

/// Number of files per transaction when files are transferred.
const BROUGHT: u32 = if cfg!(debug_assertions) { 32 } else { 2048 };

/// Ingests raw files.
#[derive(Debug)]
pub struct IngestRaws {
    /// Folders and files.
    pub locations: Vec<String>,
    /// Pattern for the names of raw files in folders.
    pub regex: Regex,
    /// Run; by default the run of the instrument.
    pub output_run: Option<String>,
    /// How files are transferred into the datastore.
    pub transfer: TransferMode,
    /// True to record file sizes.
    pub track_file_attrs: bool,
    /// True to stop at the first failure.
    pub fail_fast: bool,
    /// True to overwrite exposure records that differ.
    pub update_records: bool,
    /// Number of folders that are read concurrently.
    pub processes: usize,
}

/// The files of one exposure.
struct Exposure {
    instrument: Arc<Instrument>,
    observation: Observation,
    files: Vec<File>,
}

/// One file of an exposure.
struct File {
    place: Location,
    size: Option<u64>,
    detector: i64,
}

#[async_trait]
impl Operation for IngestRaws {
    async fn run(
        &self,
        handle: &RepositoryHandle,
        _rows: Option<Batches>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let repo = handle.repo().await?;
        let known = registered(&repo).await?;
        let search = Arc::new(RawFinder { regex: self.regex.clone(), instruments: known });
        let groups = find::groups(search, self.locations.clone(), self.processes.max(1));
        let chunk = if self.transfer == TransferMode::Direct { CHUNK } else { BROUGHT };
        let mut groups = find::prefetch(groups, chunk).boxed();
        let mut chunks = ExposureBatcher::new(self, &repo);
        applier.begin("ingest_raws", None);
        let (mut waiting, mut files) = (BTreeMap::new(), 0);
        while let Some(group) = groups.next().await {
            applier.add_folders(group.folders);
            files += group.files.len();
            self.collect(group, &mut waiting, applier)?;
            if files >= chunk as usize {
                files = 0;
                chunks.write(std::mem::take(&mut waiting), applier).await?;
            }
        }
        chunks.write(waiting, applier).await
    }
}

impl IngestRaws {
    /// Groups files by exposure. Failures are recorded, or returned with `fail_fast`.
    fn collect(
        &self,
        group: FileGroup,
        waiting: &mut BTreeMap<(String, i64), Exposure>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        for (path, error) in group.failures {
            self.fail(applier, error.context(format_args!("'{path}'")))?;
        }
        for RawFile { place, size, metadata } in group.files {
            let Metadata { instrument, exposure, detector, observation } = metadata;
            let key = (instrument.name.clone(), exposure);
            let file = File { place, size, detector };
            match (waiting.get_mut(&key), observation) {
                (Some(there), _) => there.files.push(file),
                (None, Some(observation)) => {
                    waiting.insert(key, Exposure { instrument, observation: *observation, files: vec![file] });
                }
                (None, None) => return Err(Error::bug("the first file of an exposure has no observation")),
            }
        }
        Ok(())
    }

    fn fail(&self, applier: &mut ChangeApplier<'_>, error: Error) -> Result<()> {
        if self.fail_fast {
            return Err(error);
        }
        applier.record("raw", Status::Failed, error.message(), 1);
        Ok(())
    }
}

/// Returns the built-in instruments that are registered.
async fn registered(repo: &Repo) -> Result<Vec<Arc<Instrument>>> {
    let columns = vec![ReadColumn::plain("name", ColumnType::Text(None))];
    let rows = dimensions::values(&repo.registry, "instrument", columns, None).await?;
    let names = string_values(&rows, 0);
    Ok(Instrument::built_in().iter().filter(|i| names.contains(&i.name)).cloned().map(Arc::new).collect())
}
