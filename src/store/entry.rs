//! What stores tell about a file or folder.

use chrono::{DateTime, Utc};

use crate::error::{Error, Kind, Result};

/// A file or folder, as a store lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Decoded path, without a trailing slash.
    pub path: String,
    /// True for a folder.
    pub is_directory: bool,
    /// Size in bytes; `None` for a file that is still being written.
    pub size: Option<u64>,
    /// Modification time, UTC.
    pub modified: Option<DateTime<Utc>>,
    /// Checksums such as `adler32=0a1b2c3d`, if requested and known to the store.
    pub checksums: Option<String>,
}

impl Entry {
    /// Returns the last component of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Returns the size in bytes of a file that is completely written.
///
/// # Errors
/// `Kind::Busy` when the file is still being written.
pub(crate) fn require_size(entry: &Entry) -> Result<u64> {
    let message = || Error::new(Kind::Busy, format!("'{}' is still being written", entry.path));
    entry.size.ok_or_else(message)
}
