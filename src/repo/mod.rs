//! One repository, and the operations that change it.
//!
//! An operation reads the repository and passes change sets to the [`ChangeApplier`], which writes them.

pub mod applier;
mod associate;
pub mod calibration_exports;
mod certify;
mod chain;
pub mod change;
pub mod check_files;
mod collections;
mod create;
mod curated;
mod dataset_types;
mod export;
mod file_paths;
mod handle;
mod import;
mod incoming;
mod ingest;
mod ingest_files;
mod instrument;
mod locate;
mod records;
pub mod search;
mod skymap;
mod sync;
mod visits;

use async_trait::async_trait;

use self::applier::ChangeApplier;
pub use self::associate::{Associate, Disassociate};
pub use self::certify::{Certify, Decertify};
pub use self::chain::Chain;
pub use self::collections::{RegisterCollection, RemoveCollection};
pub use self::create::CreateRepository;
pub use self::curated::WriteCurated;
pub use self::dataset_types::RegisterDatasetType;
pub use self::export::Export;
pub use self::handle::RepositoryHandle;
pub use self::import::Import;
pub use self::incoming::IngestOptions;
pub use self::ingest::IngestRaws;
pub use self::ingest_files::IngestFiles;
pub use self::instrument::RegisterInstrument;
pub use self::locate::ConfigLocation;
pub use self::records::InsertRecords;
pub use self::skymap::RegisterSkymap;
pub use self::visits::DefineVisits;
use crate::error::{Error, Kind, Result};
use crate::format::butler_yaml::Config;
use crate::model::dataset::{DatasetType, storage_classes};
use crate::registry::Registry;
use crate::registry::conn::Batches;
use crate::registry::open::Database;
use crate::registry::spill::SpillBuffer;

/// An open repository.
#[derive(Debug)]
pub struct Repo {
    /// Root of the repository, the value of `<butlerRoot>`.
    pub root: String,
    /// Configuration.
    pub config: Config,
    /// Registry.
    pub registry: Registry,
}

impl Repo {
    /// Returns the root folder of the datastore.
    pub fn datastore_root(&self) -> String {
        self.config.datastore_root().replace("<butlerRoot>", &self.root)
    }
}

impl Repo {
    /// Returns the formatter class of a dataset type: configured for its name or its storage class, else the default of
    /// its storage class.
    ///
    /// # Errors
    /// `Kind::NotFound` for a storage class without a default formatter.
    pub fn formatter(&self, dataset_type: &DatasetType) -> Result<&str> {
        let class = &dataset_type.storage_class;
        let configured = [&dataset_type.name, class].into_iter().find_map(|name| {
            let value = self.config.value(&["datastore", "formatters", name])?;
            value.as_str().or_else(|| value.get("formatter")?.as_str())
        });
        let usual = || storage_classes().find(|(name, _)| name == class)?.1;
        configured.or_else(usual).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("storage class '{class}' has no default formatter: give one"))
        })
    }
}

/// Returns the address of the registry database from a configuration.
fn database(config: &Config, root: &str) -> Result<Database> {
    let url = config.registry_db();
    if url.starts_with("sqlite") && url.contains("<butlerRoot>") && root.contains("://") {
        let message = format!(
            "a repository at '{root}' cannot have a registry database in SQLite: set registry.db in a seed_config"
        );
        return Err(Error::new(Kind::Unsupported, message));
    }
    Ok(Database {
        url: url.replace("<butlerRoot>", root),
        namespace: config.text(&["registry", "namespace"]).map(str::to_owned),
        parts: ["username", "password", "host", "port", "database"].map(|name| config.registry_part(name)),
    })
}

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
