//! Files: locations from paths and URIs, folder listings, transfers into a datastore, and its file name templates.

pub(crate) mod archive;
pub(crate) mod body;
mod digest;
mod dir_listing;
pub(crate) mod entry;
mod file_store;
mod local;
mod local_store;
mod location;
pub(crate) mod path_template;
pub(crate) mod schemes;
pub(crate) mod temporary;
pub(crate) mod transfer;
pub(crate) mod transfer_mode;
pub(crate) mod walk;
pub mod webdav;

pub(crate) use self::dir_listing::DirListing;
pub(crate) use self::location::{FileType, Location, local_path};
