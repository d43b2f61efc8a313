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

pub(crate) use self::add_members::AddMembers;
pub(crate) use self::associate::AssociateDatasets;
pub(crate) use self::create_collection::CreateCollection;
pub(crate) use self::create_dataset_type::CreateDatasetType;
pub(crate) use self::create_repository::CreateRepositoryFiles;
pub(crate) use self::decertify::RemoveValidity;
pub(crate) use self::disassociate::DisassociateDatasets;
pub(crate) use self::insert_datasets::InsertDatasets;
pub(crate) use self::remove_collection::DeleteCollection;
pub(crate) use self::remove_sources::RemoveSources;
pub(crate) use self::replace_file_records::ReplaceFileRecords;
pub(crate) use self::set_children::SetChildren;
pub(crate) use self::transfer_files::TransferFiles;
pub(crate) use self::write_export::{SelectedDatasets, WriteExport};
pub(crate) use self::write_records::{ComputeRecords, RecordSource, WriteRecords};
