//! Changes of a repository: the change sets that operations plan, and the applier that applies them.

pub(crate) mod applier;
pub(crate) mod change;
pub(crate) mod changes;
pub(crate) mod comparison;
pub(crate) mod input_rows;
pub(crate) mod report;
mod retry;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use self::change::Change;
use self::report::{ReportRow, Status};
use crate::error::{Error, Result};
use crate::progress::{Progress, ProgressTask};
use crate::registry::db::Batches;
use crate::repo::RepositoryHandle;

/// An operation on a repository: the implementation of a procedure. It reads, and plans what is to be changed; it
/// writes nothing.
#[async_trait]
pub(crate) trait Operation: std::fmt::Debug + Send + Sync {
    /// Reads the repository, files and input rows, and returns the change sets in order. A change set is planned after
    /// the one before it is applied, or in a dry run reported.
    ///
    /// # Errors
    /// Wrong arguments, and errors of the registry, the file system or a server.
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>>;
}

/// The change sets of an operation.
pub(crate) type Plan<'a> = BoxStream<'a, Result<ChangeSet<'a>>>;

/// Decides what follows the failure of a change set: `Ok` continues with the plan, an error ends it.
type FailureHandler<'a> = Box<dyn FnOnce(Error) -> Result<()> + Send + 'a>;

/// Changes that are applied together, and the items that need no change.
#[derive(Default)]
pub(crate) struct ChangeSet<'a> {
    changes: Vec<Change>,
    outcomes: Vec<ReportRow>,
    /// Number of items and bytes that are done when the change set is applied.
    completed: (u64, u64),
    /// The input that errors name.
    input: Option<String>,
    on_failure: Option<FailureHandler<'a>>,
}

impl std::fmt::Debug for ChangeSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { changes, outcomes, .. } = self;
        f.debug_struct("ChangeSet").field("changes", changes).field("outcomes", outcomes).finish_non_exhaustive()
    }
}

impl<'a> ChangeSet<'a> {
    /// Adds a change.
    pub(crate) fn push(&mut self, change: impl Into<Change>) {
        self.changes.push(change.into());
    }

    /// Adds changes.
    pub(crate) fn extend(&mut self, changes: impl IntoIterator<Item = impl Into<Change>>) {
        self.changes.extend(changes.into_iter().map(Into::into));
    }

    /// Adds items that need no change, or that cannot be changed.
    pub(crate) fn record(&mut self, kind: &str, status: Status, name: impl Into<String>, count: u64) {
        self.outcomes.push(ReportRow::new(kind, status, name, count));
    }

    /// Adds rows of the report.
    pub(crate) fn record_all(&mut self, rows: impl IntoIterator<Item = ReportRow>) {
        self.outcomes.extend(rows);
    }

    /// Sets the numbers of items and bytes that are done when the change set is applied.
    pub(crate) fn set_completed(&mut self, items: u64, bytes: u64) {
        self.completed = (items, bytes);
    }

    /// Sets the input that errors name, such as an export file.
    pub(crate) fn set_input(&mut self, input: String) {
        self.input = Some(input);
    }

    /// Sets what decides how the plan continues when this change set cannot be applied; by default the plan ends.
    pub(crate) fn on_failure(mut self, handler: impl FnOnce(Error) -> Result<()> + Send + 'a) -> Self {
        self.on_failure = Some(Box::new(handler));
        self
    }

    /// Returns a plan of this change set alone.
    pub(crate) fn into_plan(self) -> Plan<'a> {
        futures::stream::once(async { Ok(self) }).boxed()
    }
}

/// What an operation plans with.
pub(crate) struct PlanContext<'a> {
    /// Repository, which `create_repository` finds absent.
    pub handle: &'a RepositoryHandle,
    /// Input rows, if the procedure has a subquery.
    pub rows: Option<Batches>,
    /// Progress of planning.
    pub progress: Arc<PlanProgress>,
}

impl std::fmt::Debug for PlanContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanContext").field("handle", self.handle).finish_non_exhaustive()
    }
}

/// The progress of one operation. Nothing is displayed before it begins.
pub(crate) struct PlanProgress {
    display: Arc<dyn Progress>,
    task: Mutex<Option<Box<dyn ProgressTask>>>,
}

impl std::fmt::Debug for PlanProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanProgress").finish_non_exhaustive()
    }
}

impl PlanProgress {
    fn new(display: &Arc<dyn Progress>) -> Self {
        Self { display: Arc::clone(display), task: Mutex::default() }
    }

    /// Starts the display; `total` is the number of items, if known.
    pub(crate) fn begin(&self, what: &str, total: Option<u64>) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.display.begin(what, total));
    }

    /// Adds to the numbers of items and bytes that are done.
    pub(crate) fn tick(&self, items: u64, bytes: u64) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.add(items, bytes);
        }
    }

    /// Adds to the number of folders that have been listed.
    pub(crate) fn add_folders(&self, folders: u64) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.add_folders(folders);
        }
    }
}
