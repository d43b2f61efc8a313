//! Operations: what each procedure changes. An operation reads the repository and plans; the applier writes.

mod associate;
mod certify;
mod chain;
pub(crate) mod collections;
mod create;
mod curated;
mod dataset_types;
mod export;
mod import;
mod ingest_files;
mod ingest_raws;
mod insert_dimension_records;
mod instrument;
mod skymap;
mod visits;

use async_trait::async_trait;

pub use self::associate::{Associate, Disassociate};
pub use self::certify::{Certify, Decertify};
pub use self::chain::Chain;
pub use self::collections::{RegisterCollection, RemoveCollection};
pub use self::create::CreateRepository;
pub use self::curated::WriteCurated;
pub use self::dataset_types::RegisterDatasetType;
pub use self::export::Export;
pub use self::import::Import;
pub use self::ingest_files::IngestFiles;
pub use self::ingest_raws::IngestRaws;
pub use self::insert_dimension_records::InsertRecords;
pub use self::instrument::RegisterInstrument;
pub use self::skymap::RegisterSkymap;
pub use self::visits::DefineVisits;
use crate::error::Result;
use crate::registry::db::conn::Batches;
use crate::registry::db::spill::SpillBuffer;
use crate::repo::changeset::applier::ChangeApplier;
use crate::repo::repository::handle::RepositoryHandle;

/// Runs an operation, and retries it when another writer caused a conflict before anything was applied.
///
/// # Errors
/// Errors of the operation.
pub async fn run(
    operation: &dyn Operation,
    handle: &RepositoryHandle,
    rows: Option<Batches>,
    applier: &mut ChangeApplier<'_>,
) -> Result<()> {
    let given = match rows {
        Some(rows) => Some(SpillBuffer::collect(rows).await?),
        None => None,
    };
    loop {
        let rows = given.as_ref().map(SpillBuffer::stream).transpose()?;
        match operation.run(handle, rows, applier).await {
            Err(error) if applier.should_retry(&error) => {}
            done => return done,
        }
    }
}

/// An operation on a repository: the implementation of a procedure.
#[async_trait]
pub trait Operation: std::fmt::Debug + Send + Sync {
    /// Reads the repository, files and input rows, and passes change sets to the applier.
    async fn run(
        &self,
        handle: &RepositoryHandle,
        rows: Option<Batches>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()>;
}
