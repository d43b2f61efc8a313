//! File formats of other programs: `butler.yaml`, `_index.json`, `export.yaml`, ECSV, FITS, sky map configurations.

pub(crate) mod butler_yaml;
pub mod curated;
pub(crate) mod export_blocks;
pub(crate) mod export_item;
pub(crate) mod export_writer;
pub mod export_yaml;
pub(crate) mod fits;
pub mod fits_table;
pub mod index;
mod python;
pub(crate) mod sidecar;
pub mod skymap_config;
mod skymap_settings;
pub mod tables;
pub(crate) mod yaml;
mod yaml_chars;
pub(crate) mod yaml_nodes;
pub(crate) mod zip_index;

use crate::error::{Error, Result};

/// Encodes bytes as base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

/// Refuses a file that is larger than the limit for its kind; `size` and `limit` are in bytes.
///
/// # Errors
/// A size above the limit.
pub(crate) fn check_size_limit(what: &str, size: u64, limit: u64) -> Result<()> {
    if size > limit {
        return Err(Error::invalid(format!("{what} has {size} bytes, more than the limit of {limit}")));
    }
    Ok(())
}
