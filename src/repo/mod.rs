//! One repository, and the operations that change it.
//!
//! An operation reads the repository and passes change sets to the applier
//! ([`changeset::applier`]), which writes them.

pub mod calibration_exports;
pub mod changeset;
pub mod check_files;
pub(crate) mod ingest;
pub mod operations;
pub mod repository;
pub mod search;

pub use self::changeset::Operation;
pub use self::ingest::incoming::IngestOptions;
pub use self::operations::*;
pub use self::repository::Repo;
pub use self::repository::handle::RepositoryHandle;
pub use self::repository::locate::ConfigLocation;
