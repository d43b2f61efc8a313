//! `ingest_raws`: ingests raw files of an instrument as datasets.

mod batch;
mod find;
mod prefetch;
mod queue;
mod records;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use regex::Regex;

use self::batch::ExposureBatcher;
use self::find::{FileGroup, Metadata, RawFile, RawFinder};
use self::prefetch::prefetch;
use crate::error::{Error, Result};
use crate::instrument::{Instrument, Observation};
use crate::registry::dimensions;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext, PlanProgress};
use crate::store::Location;
use crate::store::transfer_mode::TransferMode;

/// Number of files per transaction. Larger batches access each index page fewer times. Debug builds use small batches
/// so that tests have several transactions.
const CHUNK: u32 = if cfg!(debug_assertions) { 64 } else { 32 * 1024 };

/// Number of files per transaction when files are transferred.
const BROUGHT: u32 = if cfg!(debug_assertions) { 32 } else { 2048 };

/// Ingests raw files.
#[derive(Debug)]
pub(crate) struct IngestRaws {
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
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let known = registered(&repo).await?;
        let search = Arc::new(RawFinder { regex: self.regex.clone(), instruments: known });
        let groups = find::groups(search, self.locations.clone(), self.processes.max(1));
        let files = if self.transfer == TransferMode::Direct { CHUNK } else { BROUGHT };
        context.progress.begin("ingest_raws", None);
        let reader = BatchReader {
            task: self,
            groups: prefetch(groups, files).boxed(),
            files: files as usize,
            batcher: ExposureBatcher::new(self, repo),
            progress: context.progress,
            is_read: false,
        };
        let sets = stream::try_unfold(reader, |mut reader| async { Ok(reader.next().await?.map(|set| (set, reader))) });
        Ok(sets.boxed())
    }
}

/// Reads groups of files, and plans them in batches.
struct BatchReader<'a> {
    task: &'a IngestRaws,
    groups: BoxStream<'static, FileGroup>,
    /// Number of files per batch.
    files: usize,
    batcher: ExposureBatcher<'a>,
    progress: Arc<PlanProgress>,
    /// True if all groups are read.
    is_read: bool,
}

impl<'a> BatchReader<'a> {
    async fn next(&mut self) -> Result<Option<ChangeSet<'a>>> {
        loop {
            if let Some(set) = self.batcher.next().await? {
                return Ok(Some(set));
            }
            if self.is_read {
                return Ok(None);
            }
            self.read().await?;
        }
    }

    /// Reads the files of one batch.
    async fn read(&mut self) -> Result<()> {
        let (mut waiting, mut files) = (BTreeMap::new(), 0);
        while files < self.files {
            let Some(group) = self.groups.next().await else {
                self.is_read = true;
                break;
            };
            self.progress.add_folders(group.folders);
            files += group.files.len();
            for (path, error) in group.failures {
                let error = error.context(format_args!("'{path}'"));
                if self.task.fail_fast {
                    return Err(error);
                }
                self.batcher.fail(&error);
            }
            collect(group.files, &mut waiting)?;
        }
        self.batcher.add(waiting);
        Ok(())
    }
}

/// Groups files by exposure.
fn collect(files: Vec<RawFile>, waiting: &mut BTreeMap<(String, i64), Exposure>) -> Result<()> {
    for RawFile { place, size, metadata } in files {
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

/// Returns the built-in instruments that are registered.
async fn registered(repo: &Repo) -> Result<Vec<Arc<Instrument>>> {
    let columns = vec![ReadColumn::plain("name", ColumnType::Text(None))];
    let rows = dimensions::values(&repo.registry, "instrument", columns, None).await?;
    let names = string_values(&rows, 0);
    Ok(Instrument::built_in().iter().filter(|i| names.contains(&i.name)).cloned().map(Arc::new).collect())
}
