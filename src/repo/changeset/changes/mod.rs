//! The changes of a repository, one per file: what each changes, and how it is applied.

mod add_members;
mod associate;
mod create_collection;
mod create_dataset_type;
mod create_repository;
mod decertify;
mod disassociate;
mod insert_datasets;
mod remove_collection;
mod remove_sources;
mod replace_file_records;
mod set_children;
mod transfer_files;
mod write_export;
mod write_records;

pub use self::add_members::AddMembers;
pub use self::associate::AssociateDatasets;
pub use self::create_collection::CreateCollection;
pub use self::create_dataset_type::CreateDatasetType;
pub use self::create_repository::CreateRepositoryFiles;
pub use self::decertify::RemoveValidity;
pub use self::disassociate::DisassociateDatasets;
pub use self::insert_datasets::InsertDatasets;
pub use self::remove_collection::DeleteCollection;
pub use self::remove_sources::RemoveSources;
pub use self::replace_file_records::ReplaceFileRecords;
pub use self::set_children::SetChildren;
pub use self::transfer_files::TransferFiles;
pub use self::write_export::{SelectedDatasets, WriteExport};
pub use self::write_records::{ComputeRecords, RecordSource, WriteRecords};
