//! The applier: runs an operation and applies its change sets, or in a dry run only reports them.

use std::sync::Arc;

use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::model::time;
use crate::progress::Progress;
use crate::registry::dataset_types::{self, Registered};
use crate::registry::datasets;
use crate::registry::db::Batches;
use crate::registry::db::spill::SpillBuffer;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, Change, RowChange, StandaloneChange, WriteContext};
use crate::repo::changeset::changes::CreateDatasetType;
use crate::repo::changeset::report::{Report, ReportRow, Status};
use crate::repo::changeset::retry::RetryPolicy;
use crate::repo::changeset::{ChangeSet, Operation, PlanContext, PlanProgress};
use crate::store::Location;
use crate::store::transfer::{Transfer, remove_sources, rollback, transfer_all};

/// Maximum number of runs of an operation when other writers cause conflicts.
const MAX_RUNS: u32 = 3;

/// Runs an operation and returns its report. A dry run reads and plans, but changes nothing. The operation runs again
/// when another writer caused a conflict before anything was applied.
///
/// # Errors
/// Errors of the operation; `Kind::Invalid` when the session or the repository is read-only.
#[tracing::instrument(name = "operation", level = "info", skip_all, fields(?operation, is_dry))]
pub(crate) async fn run(
    operation: &dyn Operation,
    handle: &RepositoryHandle,
    rows: Option<Batches>,
    is_dry: bool,
    display: Arc<dyn Progress>,
) -> Result<Vec<ReportRow>> {
    let given = match rows {
        Some(rows) => Some(SpillBuffer::collect(rows).await?),
        None => None,
    };
    let mut applier =
        ChangeApplier { handle, is_dry, report: Report::default(), saw_conflict: false, has_applied: false, runs: 0 };
    loop {
        let rows = given.as_ref().map(SpillBuffer::stream).transpose()?;
        match applier.run(operation, rows, &display).await {
            Ok(()) => return Ok(applier.report.into_rows()),
            Err(error) if applier.should_retry(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Applies the change sets of one operation.
struct ChangeApplier<'a> {
    handle: &'a RepositoryHandle,
    is_dry: bool,
    report: Report,
    /// True if the database reported a conflict, possibly caused by another writer.
    saw_conflict: bool,
    /// True if a change set was applied.
    has_applied: bool,
    /// Number of earlier runs of the operation.
    runs: u32,
}

/// The changes of a change set, by the phase in which they are applied. The first number is the position of a change.
#[derive(Default)]
struct Phases<'c> {
    dataset_types: Vec<(usize, &'c CreateDatasetType)>,
    files: Vec<Transfer>,
    rows: Vec<(usize, &'c dyn RowChange)>,
    sources: Vec<(usize, &'c [Transfer])>,
    standalone: Vec<(usize, &'c dyn StandaloneChange)>,
}

impl<'c> Phases<'c> {
    fn new(changes: &'c [Change]) -> Self {
        let mut phases = Self::default();
        for (at, change) in changes.iter().enumerate() {
            match change {
                Change::DatasetType(change) => phases.dataset_types.push((at, change)),
                Change::Files(change) => phases.files.extend_from_slice(&change.transfers),
                Change::Rows(change) => phases.rows.push((at, &**change)),
                Change::Sources(change) => phases.sources.push((at, &change.moves)),
                Change::Standalone(change) => phases.standalone.push((at, &**change)),
            }
        }
        phases
    }
}

impl ChangeApplier<'_> {
    /// Applies the plan of an operation.
    async fn run(
        &mut self,
        operation: &dyn Operation,
        rows: Option<Batches>,
        display: &Arc<dyn Progress>,
    ) -> Result<()> {
        let progress = Arc::new(PlanProgress::new(display));
        let context = PlanContext { handle: self.handle, rows, progress: Arc::clone(&progress) };
        let mut plan = operation.plan(context).await?;
        while let Some(set) = plan.try_next().await? {
            let ChangeSet { changes, outcomes, completed, input, on_failure } = set;
            match self.apply(&changes, outcomes).await {
                Ok(()) => progress.tick(completed.0, completed.1),
                Err(error) => {
                    let error = match input {
                        Some(input) => error.context(input),
                        None => error,
                    };
                    let handler = on_failure.unwrap_or_else(|| Box::new(Err));
                    handler(error)?;
                }
            }
        }
        Ok(())
    }

    /// Returns true if the operation may be retried after this error: nothing was applied, and another writer caused a
    /// conflict or changed the data that the operation has read. Clears the report.
    fn should_retry(&mut self, error: &Error) -> bool {
        let saw_conflict = std::mem::take(&mut self.saw_conflict) && error.kind() == Kind::Conflict;
        self.runs += 1;
        let is_stale = saw_conflict || error.kind() == Kind::Stale;
        let worth = is_stale && self.runs < MAX_RUNS && !self.is_dry && !self.has_applied;
        if worth {
            self.report.clear();
        }
        worth
    }

    /// Applies a change set: first dataset types and their tables, then files, then all rows in one transaction. On an
    /// error no rows are written, and transferred files are removed.
    async fn apply(&mut self, changes: &[Change], outcomes: Vec<ReportRow>) -> Result<()> {
        let counts = match changes {
            [] => Vec::new(),
            changes if self.is_dry => self.count_missing(changes).await?,
            changes => self.apply_phases(changes).await?,
        };
        outcomes.into_iter().for_each(|row| self.report.add(row));
        // Dataset types are registered first, and sources are removed last.
        let phase = |change: &Change| match change {
            Change::DatasetType(_) => 0,
            Change::Files(_) | Change::Rows(_) | Change::Standalone(_) => 1,
            Change::Sources(_) => 2,
        };
        let mut counted: Vec<_> = changes.iter().zip(counts).collect();
        counted.sort_by_key(|(change, _)| phase(change));
        for (change, count) in counted {
            for row in change.describe() {
                self.report_change(row, count);
            }
        }
        Ok(())
    }

    /// Reports a change of `count` items.
    fn report_change(&mut self, described: ReportRow, count: u64) {
        let planned = described.count;
        // Another writer inserted the difference in the meantime.
        let rest = planned.saturating_sub(count);
        let unchanged = ReportRow { status: Status::Unchanged, count: rest, ..described.clone() };
        let is_insert = described.status == Status::Inserted;
        self.report.add(ReportRow { count: count.min(planned), ..described });
        if is_insert {
            self.report.add(unchanged);
        }
    }

    /// Returns the number of items that each change would change.
    async fn count_missing(&self, changes: &[Change]) -> Result<Vec<u64>> {
        let mut counts = Vec::with_capacity(changes.len());
        for change in changes {
            let planned = change.describe().iter().map(|row| row.count).sum::<u64>();
            counts.push(match change {
                Change::Rows(change) => {
                    planned.saturating_sub(change.count_existing(&*self.handle.repo().await?).await?)
                }
                Change::Standalone(change) if change.is_done() => 0,
                Change::DatasetType(_) | Change::Files(_) | Change::Sources(_) | Change::Standalone(_) => planned,
            });
        }
        Ok(counts)
    }

    /// Applies the changes, and returns the number of items that each of them changed.
    async fn apply_phases(&mut self, changes: &[Change]) -> Result<Vec<u64>> {
        self.handle.check_writable()?;
        let phases = Phases::new(changes);
        let transferred = |change: &Change| match change {
            Change::Files(files) => files.transfers.len() as u64,
            Change::DatasetType(_) | Change::Rows(_) | Change::Sources(_) | Change::Standalone(_) => 0,
        };
        let mut counts: Vec<u64> = changes.iter().map(transferred).collect();
        for (at, change) in &phases.standalone {
            counts[*at] = match change.apply(self.handle).await? {
                Applied::AsDescribed => change.describe().iter().map(|row| row.count).sum(),
                Applied::Nothing => 0,
                Applied::Rows(rows) => {
                    rows.into_iter().for_each(|row| self.report.add(row));
                    0
                }
            };
        }
        if phases.standalone.len() == changes.len() {
            self.has_applied = true;
            return Ok(counts);
        }
        let repo = self.handle.repo().await?;
        repo.registry.check_writable()?;
        let mut registered = Vec::new();
        let applied = self.apply_to_registry(&repo, &phases, &mut counts, &mut registered).await;
        self.saw_conflict = applied.as_ref().is_err_and(|error| error.kind() == Kind::Conflict);
        if let Err(error) = &applied
            && error.kind() != Kind::Unreachable
        {
            for made in registered.iter().rev() {
                // Errors are only logged: the first error is reported, and another writer may use the type by now.
                if let Err(error) = dataset_types::unregister_if_unused(&repo.registry, made).await {
                    tracing::debug!("dataset type '{}' stays: {error}", made.name);
                }
            }
        }
        applied.map(|()| counts)
    }

    /// Applies the changes and records the new dataset types. When the connection to the server is lost, it is unknown
    /// what was written, so transferred files are kept; files without rows are harmless and are reused by the next run.
    async fn apply_to_registry(
        &mut self,
        repo: &Repo,
        phases: &Phases<'_>,
        counts: &mut [u64],
        registered: &mut Vec<Registered>,
    ) -> Result<()> {
        for (_, change) in &phases.rows {
            change.prepare().await?;
        }
        for (at, change) in &phases.dataset_types {
            counts[*at] = u64::from(change.apply(repo, registered).await?);
        }
        let mut made = Vec::new();
        let written = match transfer_all(&phases.files, &mut made).await {
            Ok(()) => write(repo, &phases.rows, counts).await.map_err(|e| (e.kind() == Kind::Unreachable, e)),
            Err(error) => Err((false, error)),
        };
        if let Err((is_unknown, error)) = written {
            if !is_unknown {
                match orphans(repo, made).await {
                    Ok(orphans) => rollback(&orphans).await,
                    Err(other) => tracing::warn!("orphaned files remain in the datastore: {other}"),
                }
            }
            return Err(error);
        }
        // Rows that are written are kept, even if a source cannot be removed.
        self.has_applied = true;
        registered.clear();
        remove_sources(&phases.files, &made).await?;
        for (at, moves) in &phases.sources {
            counts[*at] = remove_sources(moves, &[]).await?;
        }
        Ok(())
    }
}

/// Returns the files that no record names; another writer may have recorded the same file in the meantime.
async fn orphans(repo: &Repo, files: Vec<Location>) -> Result<Vec<Location>> {
    let root = Location::parse(&repo.datastore_root())?;
    let inside = |file: &Location| file.strip_prefix(&root).unwrap_or_else(|| file.uri());
    let known = datasets::known_paths(&repo.registry, &files.iter().map(inside).collect::<Vec<_>>()).await?;
    Ok(files.into_iter().filter(|file| !known.contains(&inside(file))).collect())
}

/// Writes rows, with retries.
async fn write(repo: &Repo, rows: &[(usize, &dyn RowChange)], counts: &mut [u64]) -> Result<()> {
    let mut policy = RetryPolicy::default();
    loop {
        match write_in_transaction(repo, rows, counts).await {
            Err(error) if policy.should_retry(&error).await => {}
            done => return done,
        }
    }
}

/// Writes rows in one transaction, and counts the items that each change changed.
async fn write_in_transaction(repo: &Repo, rows: &[(usize, &dyn RowChange)], counts: &mut [u64]) -> Result<()> {
    let types = dataset_types::load(&repo.registry).await?;
    let mut tx = repo.registry.begin().await?;
    let mut context = WriteContext { tx: &mut tx, repo, types: &types, now: time::now() };
    for (at, change) in rows {
        counts[*at] = change.apply(&mut context).await?;
    }
    tx.commit().await?;
    if let Err(error) = repo.registry.conn.analyze_grown_tables().await {
        tracing::debug!("new rows are not counted: {error}");
    }
    Ok(())
}
