//! The state that a session shares with its procedures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

use crate::progress::Progress;

/// The state that a session shares with its plans: the progress display, and the procedures that run.
pub(crate) struct ProcedureContext {
    /// Receives the progress of procedures.
    pub progress: Arc<dyn Progress>,
    running: Mutex<Vec<AbortHandle>>,
    /// The number of calls of [`Self::cancel`].
    pub(super) cancel_generation: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl ProcedureContext {
    /// A context that reports progress to `progress`.
    pub(crate) fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, running: Mutex::default(), cancel_generation: AtomicU64::new(0), failures: AtomicU64::new(0) }
    }

    /// Cancels all running and pending procedures. Committed changes stay; the open transaction is rolled back.
    pub(crate) fn cancel(&self) {
        self.cancel_generation.fetch_add(1, Ordering::SeqCst);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
    }

    /// Returns the number of items that failed since the last call, and resets it.
    pub(crate) fn take_failures(&self) -> u64 {
        self.failures.swap(0, Ordering::Relaxed)
    }

    /// Registers a running task; aborts it if [`Self::cancel`] was called after its statement started.
    pub(super) fn started(&self, task: AbortHandle, cancel_generation: u64) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|task| !task.is_finished());
        if self.cancel_generation.load(Ordering::SeqCst) != cancel_generation {
            task.abort();
        }
        running.push(task);
    }
}
