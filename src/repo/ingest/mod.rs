//! Datasets with files on their way into the datastore: which are new, and where their files go.

pub(crate) mod file_paths;
pub(crate) mod file_sizes;
pub(crate) mod incoming;
