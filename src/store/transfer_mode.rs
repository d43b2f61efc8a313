//! How files are transferred.

use crate::error::{Error, Result};

/// How a file is transferred into the datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferMode {
    /// In place if the file is inside the datastore, else a link.
    Auto,
    /// Hard link, else symbolic link.
    Link,
    /// Symbolic link.
    Symlink,
    /// Symbolic link with a relative target.
    Relsymlink,
    /// Hard link.
    Hardlink,
    /// Copy.
    Copy,
    /// Move.
    Move,
    /// No transfer: the registry records the absolute URI of the file.
    Direct,
}

impl TransferMode {
    pub(super) const ALL: [(&'static str, Self); 8] = [
        ("auto", Self::Auto),
        ("link", Self::Link),
        ("symlink", Self::Symlink),
        ("hardlink", Self::Hardlink),
        ("copy", Self::Copy),
        ("move", Self::Move),
        ("relsymlink", Self::Relsymlink),
        ("direct", Self::Direct),
    ];

    /// Parses a transfer mode name, as in `--transfer`.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown name.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(n, _)| *n == name);
        found.map(|f| f.1).ok_or_else(|| Error::not_found("transfer mode", name, Self::ALL.map(|(n, _)| n)))
    }
}
