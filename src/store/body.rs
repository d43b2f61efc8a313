//! The content of a file that a store creates.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// A path of a local file; a temporary file is deleted when its last reference is dropped.
pub(crate) type LocalFile = Arc<dyn AsRef<Path> + Send + Sync>;

/// The content of a file to be created, which can be read repeatedly.
#[derive(Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file with its size in bytes.
    File(LocalFile, u64),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.size())
    }
}

impl Body {
    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }
}
