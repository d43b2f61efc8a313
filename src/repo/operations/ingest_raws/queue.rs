//! The batches that wait to be planned.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::instrument::Instrument;
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::operations::ingest_raws::Exposure;

/// Exposures of one instrument that are ingested together.
pub(super) struct Batch {
    pub(super) instrument: Arc<Instrument>,
    pub(super) exposures: Vec<Exposure>,
    /// True if filters and detectors are known to be registered.
    pub(super) is_checked: bool,
}

/// The batches that are not planned yet, and the items that failed.
#[derive(Default)]
pub(super) struct BatchQueue {
    pub(super) batches: VecDeque<Batch>,
    pub(super) failures: Vec<ReportRow>,
    /// True if the last change set was not applied.
    pub(super) has_failed: bool,
}

impl BatchQueue {
    /// Replaces a batch that cannot be ingested by its halves, so that only the exposures with errors fail, as in the
    /// Butler, which ingests them one by one. A single exposure is reported as failed.
    ///
    /// # Errors
    /// The error itself, if it does not concern single exposures or if the first failure ends the ingest.
    pub(super) fn split(&mut self, batch: Batch, error: Error, fail_fast: bool) -> Result<()> {
        let concerns_one =
            matches!(error.kind(), Kind::Invalid | Kind::Conflict | Kind::Unsupported | Kind::NotFound | Kind::Exists);
        if fail_fast || !concerns_one {
            return Err(error);
        }
        let Batch { instrument, mut exposures, is_checked } = batch;
        if let [exposure] = &exposures[..] {
            let error = error.context(format_args!("exposure {}", exposure.observation.obs_id));
            self.failures.push(failed(&error));
            return Ok(());
        }
        let second = exposures.split_off(exposures.len() / 2);
        for exposures in [second, exposures] {
            self.batches.push_front(Batch { instrument: Arc::clone(&instrument), exposures, is_checked });
        }
        Ok(())
    }
}

/// Returns the report row of a failed file or exposure.
pub(super) fn failed(error: &Error) -> ReportRow {
    ReportRow::new("raw", Status::Failed, error.message(), 1)
}
