//! Removal of the sources of moves that an earlier run has not finished.

use crate::repo::changeset::report::{ReportRow, Status};
use crate::store::transfer::Transfer;

/// Removes the sources of moves whose targets are stored.
#[derive(Debug)]
pub(crate) struct RemoveSources {
    /// The moves.
    pub moves: Vec<Transfer>,
}

impl RemoveSources {
    pub(in crate::repo::changeset) fn describe(&self) -> ReportRow {
        ReportRow::new("source file", Status::Removed, "", self.moves.len() as u64)
    }
}
