//! The applier, which applies all change sets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;

use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::model::time;
use crate::progress::{Progress, ProgressTask};
use crate::registry::certifications;
use crate::registry::collections;
use crate::registry::dataset_types::{self, Registered, TypeRecord};
use crate::registry::dataset_writer::{self, DatasetBatch, DatasetTable};
use crate::registry::datasets;
use crate::registry::db::spill::SpillBuffer;
use crate::registry::db::tx::{OnConflict, Tx};
use crate::registry::dimensions;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Change, ReportRow, Status};
use crate::store::Location;
use crate::store::transfer::{Transfer, remove_sources, rollback, transfer_all};

/// Applies change sets, or in a dry run only counts their changes.
pub struct ChangeApplier<'a> {
    handle: &'a RepositoryHandle,
    dry: bool,
    counts: BTreeMap<(usize, Status, String), u64>,
    kinds: Vec<String>,
    /// True if the database reported a conflict, possibly caused by another writer.
    saw_conflict: bool,
    /// True if a change set was applied.
    applied: bool,
    /// Number of earlier runs of the operation.
    runs: u32,
    progress: Arc<dyn Progress>,
    task: Option<Box<dyn ProgressTask>>,
}

/// Maximum number of names that a report lists per kind and status.
const MANY: usize = 8;

/// Maximum number of runs of an operation when other writers cause conflicts.
const RUNS: u32 = 3;
/// Maximum number of attempts to apply a change set when another writer holds a lock.
const TRIES: u32 = 6;

impl<'a> ChangeApplier<'a> {
    /// Creates an applier for one procedure call.
    pub fn new(handle: &'a RepositoryHandle, dry: bool, progress: Arc<dyn Progress>) -> Self {
        let (counts, kinds) = (BTreeMap::new(), Vec::new());
        Self { handle, dry, counts, kinds, saw_conflict: false, applied: false, runs: 0, progress, task: None }
    }

    /// Returns true in a dry run, which writes nothing.
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// Starts the progress display of the procedure.
    pub fn begin(&mut self, what: &str, total: Option<u64>) {
        self.task = Some(self.progress.begin(what, total));
    }

    /// Adds completed items and bytes to the progress.
    pub fn tick(&self, items: u64, bytes: u64) {
        if let Some(task) = &self.task {
            task.add(items, bytes);
        }
    }

    /// Adds visited folders to the progress.
    pub fn add_folders(&self, folders: u64) {
        if let Some(task) = &self.task {
            task.add_folders(folders);
        }
    }

    /// Adds a row to the report, for items that are not part of a change.
    pub fn record(&mut self, kind: &str, status: Status, name: impl Into<String>, count: u64) {
        let at = self.kinds.iter().position(|t| t == kind).unwrap_or_else(|| {
            self.kinds.push(kind.to_owned());
            self.kinds.len() - 1
        });
        if count > 0 {
            *self.counts.entry((at, status, name.into())).or_default() += count;
        }
    }

    /// Returns true if the operation may be retried after this error: nothing was applied, and another writer caused a
    /// conflict or changed the data that the operation has read. Clears the report.
    pub fn should_retry(&mut self, error: &Error) -> bool {
        let saw_conflict = std::mem::take(&mut self.saw_conflict) && error.kind() == Kind::Conflict;
        self.runs += 1;
        let worth = self.runs < RUNS && !self.dry && !self.applied && (saw_conflict || error.kind() == Kind::Stale);
        if worth {
            self.counts.clear();
        }
        worth
    }

    /// Returns the number of failed items.
    pub fn failures(&self) -> u64 {
        self.counts.iter().filter(|((_, status, _), _)| *status == Status::Failed).map(|(_, n)| n).sum()
    }

    /// Returns the report, ordered by the first occurrence of each kind. Many items of one kind and status are summed
    /// up in one row, unless they failed.
    pub fn report(self) -> Vec<ReportRow> {
        let mut groups: BTreeMap<(usize, Status), Vec<(String, u64)>> = BTreeMap::new();
        for ((at, status, name), count) in self.counts {
            groups.entry((at, status)).or_default().push((name, count));
        }
        let mut lines = Vec::new();
        for ((at, status), mut details) in groups {
            if details.len() > MANY && status != Status::Failed {
                details = vec![(String::new(), details.iter().map(|(_, count)| count).sum())];
            }
            let kind = &self.kinds[at];
            lines.extend(details.into_iter().map(|(name, count)| ReportRow {
                kind: kind.clone(),
                status,
                name,
                count,
            }));
        }
        lines
    }

    /// Applies a change set: first dataset types and their tables, then files, then all rows in one transaction.
    ///
    /// # Errors
    /// Errors of the registry, the file system or a server. No rows are written then, and transferred files are
    /// removed.
    pub async fn apply(&mut self, plan: Vec<Change>) -> Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        if self.dry {
            for change in &plan {
                let known = self.find_type(change).await?;
                self.count(change, change.size() - known);
            }
            return Ok(());
        }
        self.handle.check_writable()?;
        let repo = self.handle.repo().await?;
        repo.registry.check_writable()?;
        let mut registered = Vec::new();
        let done = self.apply_all(&repo, &plan, &mut registered).await;
        self.saw_conflict = done.as_ref().is_err_and(|error| error.kind() == Kind::Conflict);
        self.applied |= done.is_ok();
        if let Err(error) = &done
            && error.kind() != Kind::Unreachable
        {
            for made in registered.iter().rev() {
                // Errors are only logged: the first error is reported, and another writer may use the type by now.
                if let Err(error) = dataset_types::unregister_if_unused(&repo.registry, made).await {
                    tracing::debug!("dataset type '{}' stays: {error}", made.name);
                }
            }
        }
        done
    }

    /// Counts the rows of a change that exist already, for changes that are otherwise only counted when applied.
    async fn find_type(&self, change: &Change) -> Result<u64> {
        let Change::Join(name, CollectionType::Calibration, rows) = change else { return Ok(0) };
        let registry = &self.handle.repo().await?.registry;
        let types = dataset_types::load(registry).await?;
        certifications::count_known(registry, &types, name, rows.batches()?).await
    }

    /// Applies a change set and records the new dataset types. When the connection to the server is lost, it is unknown
    /// what was written, so transferred files are kept; files without rows are harmless and are reused by the next run.
    async fn apply_all(&mut self, repo: &Repo, plan: &[Change], registered: &mut Vec<Registered>) -> Result<()> {
        for change in plan {
            if let Change::DatasetType(wanted) = change {
                let is_new = register(repo, wanted, registered).await?;
                self.count(change, u64::from(is_new));
            }
        }
        let files: Vec<Transfer> =
            plan.iter().flat_map(|c| if let Change::Files(files) = c { &files[..] } else { &[] }).cloned().collect();
        let mut made = Vec::new();
        let brought = transfer_all(&files, &mut made).await;
        let (lost, written) = match brought {
            Ok(()) => {
                let written = write(repo, plan).await;
                (written.as_ref().is_err_and(|e| e.kind() == Kind::Unreachable), written)
            }
            Err(error) => (false, Err(error)),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                if !lost {
                    match orphans(repo, made).await {
                        Ok(orphans) => rollback(&orphans).await,
                        Err(other) => tracing::warn!("files that no record names stay in the datastore: {other}"),
                    }
                }
                return Err(error);
            }
        };
        for (change, count) in plan.iter().zip(written) {
            if !matches!(change, Change::DatasetType(_) | Change::RemoveSources(_)) {
                self.count(change, count);
            }
        }
        // Rows that are written are kept, even if a source cannot be removed.
        self.applied = true;
        registered.clear();
        remove_sources(&files, &made).await?;
        for change in plan {
            if let Change::RemoveSources(moves) = change {
                let removed = remove_sources(moves, &[]).await?;
                self.count(change, removed);
            }
        }
        Ok(())
    }

    fn count(&mut self, change: &Change, count: u64) {
        let (kind, status, name) = match change {
            Change::Collection(name, kind, _) => ("collection", Status::Inserted, format!("{kind} {name}")),
            Change::RemoveCollection(name, kind) => ("collection", Status::Removed, format!("{kind} {name}")),
            Change::DatasetType(wanted) => ("dataset_type", Status::Inserted, wanted.name.clone()),
            Change::Insert(element, _) => (element.as_str(), Status::Inserted, String::new()),
            Change::Replace(element, _) => (element.as_str(), Status::Updated, String::new()),
            Change::Files(_) => ("file", Status::Inserted, String::new()),
            Change::RemoveSources(_) => ("source file", Status::Removed, String::new()),
            Change::Datasets(name, ..) => ("dataset", Status::Inserted, name.clone()),
            Change::ReplaceFiles(name, _) => ("file record", Status::Updated, name.clone()),
            Change::Associate(_, name, _) => ("membership", Status::Inserted, name.clone()),
            Change::Decertify(_, name, ..) => ("certification", Status::Removed, name.clone()),
            Change::Join(name, CollectionType::Calibration, _) => ("certification", Status::Inserted, name.clone()),
            Change::Join(name, ..) => ("membership", Status::Inserted, name.clone()),
            Change::Disassociate(_, name, _) => ("membership", Status::Removed, name.clone()),
            Change::Chain(parent, ..) => ("chain", Status::Updated, parent.clone()),
        };
        // The difference was inserted by another writer in the meantime.
        let given = change.size();
        self.record(kind, status, name.clone(), count.min(given));
        if status == Status::Inserted {
            self.record(kind, Status::Unchanged, name, given.saturating_sub(count));
        }
    }
}

impl std::fmt::Debug for ChangeApplier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeApplier").field("dry", &self.dry).finish_non_exhaustive()
    }
}

/// Counts attempts that failed because of another writer.
#[derive(Default)]
struct RetryPolicy(u32);

impl RetryPolicy {
    /// Returns true if another attempt may succeed, after a pause that doubles each time.
    async fn should_retry(&mut self, error: &Error) -> bool {
        self.0 += 1;
        // Another writer may have inserted the same row in the meantime; a real conflict fails again.
        let worth = error.kind() == Kind::Busy || (error.kind() == Kind::Conflict && self.0 == 1);
        if !worth || self.0 >= TRIES {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20 << self.0)).await;
        true
    }
}

/// Returns the files that no record names; another writer may have recorded the same file in the meantime.
async fn orphans(repo: &Repo, files: Vec<Location>) -> Result<Vec<Location>> {
    let root = Location::parse(&repo.datastore_root())?;
    let inside = |file: &Location| file.strip_prefix(&root).unwrap_or_else(|| file.uri());
    let known = datasets::known_paths(&repo.registry, &files.iter().map(inside).collect::<Vec<_>>()).await?;
    Ok(files.into_iter().filter(|file| !known.contains(&inside(file))).collect())
}

/// Registers a dataset type, with retries, and records what was created. Returns true if the type is new.
async fn register(repo: &Repo, wanted: &DatasetType, registered: &mut Vec<Registered>) -> Result<bool> {
    let mut policy = RetryPolicy::default();
    let mut made = Registered::new(&wanted.name);
    let done = loop {
        match dataset_types::register(&repo.registry, wanted, &mut made).await {
            Err(error) if policy.should_retry(&error).await => {}
            done => break done,
        }
    };
    registered.push(made);
    done
}

/// Writes the rows of a change set, with retries.
async fn write(repo: &Repo, plan: &[Change]) -> Result<Vec<u64>> {
    let mut policy = RetryPolicy::default();
    loop {
        match apply_in_transaction(repo, plan).await {
            Err(error) if policy.should_retry(&error).await => {}
            done => return done,
        }
    }
}

/// Writes the rows of a change set in one transaction. Returns the number of rows written for each change.
async fn apply_in_transaction(repo: &Repo, plan: &[Change]) -> Result<Vec<u64>> {
    let types = dataset_types::load(&repo.registry).await?;
    let mut tx = repo.registry.begin().await?;
    if plan.iter().any(|c| matches!(c, Change::Datasets(..) | Change::ReplaceFiles(..))) {
        repo.registry.make_file_records(&mut tx).await?;
    }
    let mut writer = ChangeWriter { tx: &mut tx, repo, types: &types, now: time::now() };
    let mut written = Vec::new();
    for change in plan {
        written.push(writer.write(change).await?);
    }
    tx.commit().await?;
    if let Err(error) = repo.registry.conn.analyze_grown_tables().await {
        tracing::debug!("new rows are not counted: {error}");
    }
    Ok(written)
}

/// Writes changes inside a transaction.
struct ChangeWriter<'a> {
    tx: &'a mut Tx,
    repo: &'a Repo,
    types: &'a [TypeRecord],
    now: i64,
}

impl ChangeWriter<'_> {
    async fn write(&mut self, change: &Change) -> Result<u64> {
        if let Change::Datasets(name, run, rows) = change {
            return self.write_datasets(name, run, rows).await;
        }
        let Some(rows) = change.rows() else { return self.write_single(change).await };
        let mut written = 0;
        for rows in rows.chunks(1)? {
            written += self.write_rows(change, &rows?).await?;
        }
        Ok(written)
    }

    async fn write_datasets(&mut self, name: &str, run: &str, rows: &SpillBuffer) -> Result<u64> {
        let datastore = self.repo.config.datastore_name();
        let (record, ingest_date) = (find_type(self.types, name)?, self.now);
        let way = dataset_writer::insert_strategy(self.tx);
        let mut new = 0;
        for parts in way.passes {
            for rows in rows.chunks(way.together)? {
                let stored = DatasetBatch { record, run, datastore: &datastore, ingest_date, rows: &rows? };
                for part in *parts {
                    let written = dataset_writer::store(self.tx, &self.repo.registry, &stored, *part).await?;
                    new += if *part == DatasetTable::Datasets { written } else { 0 };
                }
            }
        }
        Ok(new)
    }

    async fn write_single(&mut self, change: &Change) -> Result<u64> {
        match change {
            Change::Collection(name, kind, doc) => {
                collections::register(self.tx, name, *kind, doc.as_deref()).await.map(u64::from)
            }
            Change::RemoveCollection(name, _) => collections::remove(self.tx, name).await,
            Change::Disassociate(collection, name, ids) => {
                dataset_writer::disassociate(self.tx, find_type(self.types, name)?, collection, ids).await
            }
            Change::Chain(parent, before, children) => {
                collections::set_chain(self.tx, parent, before, children).await.map(u64::from)
            }
            Change::Decertify(collection, name, span, only, _) => {
                let record = find_type(self.types, name)?;
                certifications::decertify(self.tx, record, collection, *span, only.as_ref()).await
            }
            Change::Files(files) => Ok(files.len() as u64),
            // Dataset types were registered before the transaction; all other changes have rows.
            _ => Ok(0),
        }
    }

    async fn write_rows(&mut self, change: &Change, rows: &RecordBatch) -> Result<u64> {
        let registry = &self.repo.registry;
        match change {
            Change::Insert(element, _) => dimensions::insert(self.tx, registry, element, rows, OnConflict::Keep).await,
            Change::Replace(element, _) => {
                dimensions::insert(self.tx, registry, element, rows, OnConflict::Replace).await
            }
            Change::ReplaceFiles(name, _) => {
                dataset_writer::replace_files(self.tx, registry, find_type(self.types, name)?, rows).await
            }
            Change::Associate(collection, name, _) => {
                dataset_writer::associate(self.tx, registry, find_type(self.types, name)?, collection, rows).await
            }
            Change::Join(collection, ..) => certifications::join(self.tx, registry, self.types, collection, rows).await,
            _ => Err(Error::bug("unexpected rows in a change")),
        }
    }
}

fn find_type<'t>(types: &'t [TypeRecord], name: &str) -> Result<&'t TypeRecord> {
    let found = types.iter().find(|t| t.dataset_type.name == name);
    found.ok_or_else(|| Error::not_found("dataset type", name, types.iter().map(|t| t.dataset_type.name.as_str())))
}
