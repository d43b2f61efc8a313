//! Transfer of files into the datastore.

use crate::repo::changeset::report::{ReportRow, Status};
use crate::store::transfer::Transfer;

/// Transfers files into the datastore.
#[derive(Debug)]
pub(crate) struct TransferFiles {
    /// The files.
    pub transfers: Vec<Transfer>,
}

impl TransferFiles {
    pub(in crate::repo::changeset) fn describe(&self) -> ReportRow {
        ReportRow::new("file", Status::Inserted, "", self.transfers.len() as u64)
    }
}
