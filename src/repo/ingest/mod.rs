//! Datasets with files on their way into the datastore: which are new, and where their files go.

pub mod file_paths;
pub mod incoming;
