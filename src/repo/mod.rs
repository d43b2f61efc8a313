//! One repository, and the operations that change it.
//!
//! An operation reads the repository and passes change sets to the applier
//! ([`changeset::applier`]), which writes them.

pub(crate) mod calibration_exports;
pub(crate) mod changeset;
pub(crate) mod check_files;
pub(crate) mod check_rucio;
pub(crate) mod ingest;
pub(crate) mod operations;
pub(crate) mod repository;
pub(crate) mod search;
pub(crate) mod selection;
pub(crate) mod sidecars;

pub(crate) use self::changeset::Operation;
pub(crate) use self::ingest::incoming::IngestOptions;
pub(crate) use self::operations::*;
pub(crate) use self::repository::Repo;
pub(crate) use self::repository::handle::RepositoryHandle;
