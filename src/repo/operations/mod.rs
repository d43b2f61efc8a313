//! Operations: what each procedure changes. An operation plans change sets; the applier applies them.

mod associate;
mod certify;
mod chain;
mod clean;
pub(crate) mod collections;
mod copy_collection;
mod create;
mod curated;
mod dataset_types;
mod define_visits;
mod export;
mod import;
mod ingest_files;
mod ingest_raws;
mod ingest_zip;
mod insert_dimension_records;
mod instrument;
mod prune;
mod remove_run;
mod retrieve;
mod rucio;
mod skymap;
mod transfer;

pub(crate) use self::associate::{Associate, Disassociate};
pub(crate) use self::certify::{Certify, Decertify};
pub(crate) use self::chain::Chain;
pub(crate) use self::clean::{CleanOrphans, CleanSummaries};
pub(crate) use self::collections::{RegisterCollection, RemoveCollection, Rename, SetCollectionDoc};
pub(crate) use self::copy_collection::CopyCollection;
pub(crate) use self::create::CreateRepository;
pub(crate) use self::curated::WriteCurated;
pub(crate) use self::dataset_types::{RegisterDatasetType, RemoveDatasetType};
pub(crate) use self::define_visits::DefineVisits;
pub(crate) use self::export::Export;
pub(crate) use self::import::{Import, OnDifference};
pub(crate) use self::ingest_files::IngestFiles;
pub(crate) use self::ingest_raws::IngestRaws;
pub(crate) use self::ingest_zip::IngestZip;
pub(crate) use self::insert_dimension_records::InsertRecords;
pub(crate) use self::instrument::RegisterInstrument;
pub(crate) use self::prune::{Prune, PruneMode, RemoveTrash};
pub(crate) use self::remove_run::RemoveRun;
pub(crate) use self::retrieve::{Artifact, Retrieve};
pub(crate) use self::rucio::{
    FileKind, IngestRucio, RegisterOptions, RucioAddRule, RucioClose, RucioDeleteRule, RucioRegister,
    RucioRegisterFiles, RucioRegisterRaws, RucioWait,
};
pub(crate) use self::skymap::RegisterSkymap;
pub(crate) use self::transfer::TransferDatasets;
