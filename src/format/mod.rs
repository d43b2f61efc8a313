//! Outside files to plain values: `butler.yaml`, `_index.json`, `export.yaml`; and FITS headers, written for samples.

pub mod butler_yaml;
pub mod export_yaml;
pub mod fits;
pub mod index;
pub mod yaml;
pub mod yaml_nodes;

use crate::error::{Error, Result};

/// Refuses a file larger than is sensible for its kind.
///
/// # Errors
/// `size` (bytes) above `limit`.
pub fn bounded(what: &str, size: u64, limit: u64) -> Result<()> {
    if size > limit {
        return Err(Error::invalid(format!("{what} has {size} bytes, more than the {limit} that are read")));
    }
    Ok(())
}
