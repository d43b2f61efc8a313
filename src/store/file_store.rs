//! What the Butler's datastores need of a store beyond `ObjectStore`: checksums, creation only if absent, folders.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;

use super::body::{Body, LocalFile};
use super::dir_listing::DirListing;
use super::entry::Entry;
use crate::error::Result;

/// A file system or server. Paths are absolute and decoded, without `.`, `..` and a trailing slash.
///
/// # Errors
/// All methods return errors of the file system or the server: `Kind::NotFound` for what does not exist,
/// `Kind::Unreachable` if the server does not answer.
#[async_trait]
pub(crate) trait FileStore: Debug + Send + Sync {
    /// The start of the URIs of all files, such as `file://` or `davs://host:2880`; it identifies the store.
    fn root(&self) -> &str;

    /// The same files as DataFusion reads and writes them.
    fn object_store(&self) -> Arc<dyn ObjectStore>;

    /// True if paths are those of the local file system.
    fn is_local(&self) -> bool {
        false
    }

    /// Returns what is known of a file or folder; `None` if it does not exist.
    async fn stat(&self, path: &str) -> Result<Option<Entry>>;

    /// Reads a file of at most `limit` bytes; a larger one is `Kind::Invalid`.
    async fn read(&self, path: &str, limit: u64) -> Result<Bytes>;

    /// Reads a byte range. Where the file ends before the range, a server may report an error.
    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes>;

    /// Returns a local file with the content, and its size in bytes. A copy is deleted with its last reference.
    async fn fetch(&self, path: &str) -> Result<(LocalFile, u64)>;

    /// Creates a file atomically, with its folders; `Kind::Exists` if the path exists.
    async fn create(&self, path: &str, body: Body) -> Result<()>;

    /// Copies a file inside the store; `Kind::Exists` if `to` exists.
    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (file, size) = self.fetch(from).await?;
        self.create(to, Body::File(file, size)).await
    }

    /// Removes a file.
    async fn remove(&self, path: &str) -> Result<()>;

    /// Returns the size in bytes and the adler32 checksum of a file.
    async fn digest(&self, path: &str) -> Result<(u64, u32)>;

    /// Lists a folder, in no particular order.
    async fn list(&self, path: &str) -> Result<DirListing>;

    /// Returns the entries of a folder, in no particular order, with their checksums if requested and known.
    async fn entries(&self, path: &str, checksums: bool) -> Result<Vec<Entry>>;

    /// Removes the temporary files in a folder that were left by processes that have ended.
    async fn sweep(&self, path: &str) -> Result<()>;
}
