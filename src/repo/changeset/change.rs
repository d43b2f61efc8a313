//! What a change is, and when it is applied.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::db::tx::Tx;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::changes::{CreateDatasetType, RemoveSources, TransferFiles};
use crate::repo::changeset::report::ReportRow;

/// A change. The changes of a change set are applied together.
#[derive(Debug)]
pub(crate) enum Change {
    /// Registers a dataset type, before the transaction, because tables are created outside of it.
    DatasetType(CreateDatasetType),
    /// Transfers files, before the transaction; they are removed if the transaction fails.
    Files(TransferFiles),
    /// Writes rows in the transaction.
    Rows(Box<dyn RowChange>),
    /// Removes files, after the transaction.
    Sources(RemoveSources),
    /// Writes files or a database outside of the registry's transaction; such a change set has no other changes.
    Standalone(Box<dyn StandaloneChange>),
}

impl Change {
    /// Returns what the change does: one row for each kind of item.
    pub(super) fn describe(&self) -> Vec<ReportRow> {
        match self {
            Self::DatasetType(change) => vec![change.describe()],
            Self::Files(change) => vec![change.describe()],
            Self::Rows(change) => vec![change.describe()],
            Self::Sources(change) => vec![change.describe()],
            Self::Standalone(change) => change.describe(),
        }
    }
}

impl From<CreateDatasetType> for Change {
    fn from(change: CreateDatasetType) -> Self {
        Self::DatasetType(change)
    }
}

impl From<TransferFiles> for Change {
    fn from(change: TransferFiles) -> Self {
        Self::Files(change)
    }
}

impl From<RemoveSources> for Change {
    fn from(change: RemoveSources) -> Self {
        Self::Sources(change)
    }
}

impl<T: RowChange + 'static> From<T> for Change {
    fn from(change: T) -> Self {
        Self::Rows(Box::new(change))
    }
}

/// A change of rows in the registry.
#[async_trait]
pub(crate) trait RowChange: Debug + Send + Sync {
    /// Returns what the change does, with the number of items that it concerns.
    fn describe(&self) -> ReportRow;

    /// Counts the items that exist already, for a dry run. Zero for changes whose operation has compared the items.
    async fn count_existing(&self, _repo: &Repo) -> Result<u64> {
        Ok(0)
    }

    /// Computes rows that are expensive, before the transaction begins.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Writes the rows. Returns the number of items that changed.
    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64>;
}

/// A change that is not made in the transaction of an open registry.
#[async_trait]
pub(crate) trait StandaloneChange: Debug + Send + Sync {
    /// Returns what the change does.
    fn describe(&self) -> Vec<ReportRow>;

    /// Returns true if nothing has to be changed, for a dry run.
    fn is_done(&self) -> bool;

    /// Makes the change, and returns what was done.
    async fn apply(&self, handle: &RepositoryHandle) -> Result<Applied>;
}

/// What a standalone change has done.
#[derive(Debug)]
pub(crate) enum Applied {
    /// Nothing had to be changed.
    Nothing,
    /// What [`StandaloneChange::describe`] returns.
    AsDescribed,
    /// What these rows report.
    Rows(Vec<ReportRow>),
}

impl From<bool> for Applied {
    fn from(has_changed: bool) -> Self {
        if has_changed { Self::AsDescribed } else { Self::Nothing }
    }
}

/// The transaction that row changes write in.
pub(crate) struct WriteContext<'a> {
    /// Transaction.
    pub tx: &'a mut Tx,
    /// Repository.
    pub repo: &'a Repo,
    /// Registered dataset types.
    pub types: &'a [TypeRecord],
    /// Ingest time of new datasets; TAI nanoseconds.
    pub now: i64,
}

impl Debug for WriteContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteContext").field("repo", self.repo).field("now", &self.now).finish_non_exhaustive()
    }
}

impl<'a> WriteContext<'a> {
    /// Returns a registered dataset type.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown name.
    pub(crate) fn dataset_type(&self, name: &str) -> Result<&'a TypeRecord> {
        let names = || self.types.iter().map(|t| t.dataset_type.name.as_str());
        let found = self.types.iter().find(|t| t.dataset_type.name == name);
        found.ok_or_else(|| Error::not_found("dataset type", name, names()))
    }
}
