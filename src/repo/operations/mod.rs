//! Operations: what each procedure changes. An operation plans change sets; the applier applies them.

mod associate;
mod certify;
mod chain;
pub(crate) mod collections;
mod create;
mod curated;
mod dataset_types;
mod define_visits;
mod export;
mod import;
mod ingest_files;
mod ingest_raws;
mod insert_dimension_records;
mod instrument;
mod skymap;

pub use self::associate::{Associate, Disassociate};
pub use self::certify::{Certify, Decertify};
pub use self::chain::Chain;
pub use self::collections::{RegisterCollection, RemoveCollection};
pub use self::create::CreateRepository;
pub use self::curated::WriteCurated;
pub use self::dataset_types::RegisterDatasetType;
pub use self::define_visits::DefineVisits;
pub use self::export::Export;
pub use self::import::Import;
pub use self::ingest_files::IngestFiles;
pub use self::ingest_raws::IngestRaws;
pub use self::insert_dimension_records::InsertRecords;
pub use self::instrument::RegisterInstrument;
pub use self::skymap::RegisterSkymap;
