//! A WebDAV server as a `FileStore`.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use url::Url;

use super::{Client, WebDavStore};
use crate::error::{Kind, Result};
use crate::store::body::{Body, LocalFile};
use crate::store::dir_listing::DirListing;
use crate::store::entry::Entry;
use crate::store::file_store::FileStore;
use crate::store::temporary;

/// Opens the store of the endpoint of a URI.
///
/// # Errors
/// As for [`Client::of`].
pub(in crate::store) fn open(uri: &Url) -> Result<Arc<dyn FileStore>> {
    Ok(Arc::new(WebDavStore(Client::of(uri)?)))
}

#[async_trait]
impl FileStore for WebDavStore {
    fn root(&self) -> &str {
        &self.0.name
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.clone())
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        self.0.stat(path).await
    }

    async fn read(&self, path: &str, limit: u64) -> Result<Bytes> {
        self.0.read(path, limit).await
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.0.read_range(path, range).await
    }

    async fn fetch(&self, path: &str) -> Result<(LocalFile, u64)> {
        let (file, size) = self.0.fetch(path).await?;
        Ok((Arc::new(file.into_temp_path()), size))
    }

    async fn create(&self, path: &str, body: Body) -> Result<()> {
        self.0.write(path, body, false).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.0.copy(from, to, false).await
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.0.remove(path).await
    }

    async fn digest(&self, path: &str) -> Result<(u64, u32)> {
        self.0.digest(path).await
    }

    async fn list(&self, path: &str) -> Result<DirListing> {
        let mut listing = DirListing::default();
        for entry in self.0.list(path).await? {
            let name = entry.name().to_owned();
            match (entry.is_directory, entry.size) {
                (true, _) => listing.folders.push(name),
                (false, Some(size)) => listing.files.push((name, size)),
                (false, None) => tracing::warn!("'{}' is still being written", self.0.uri(&entry.path)),
            }
        }
        Ok(listing)
    }

    async fn entries(&self, path: &str, checksums: bool) -> Result<Vec<Entry>> {
        if checksums { self.0.list_with_checksums(path).await } else { self.0.list(path).await }
    }

    async fn sweep(&self, path: &str) -> Result<()> {
        let entries = match self.0.list(path).await {
            Err(e) if e.kind() == Kind::NotFound => return Ok(()),
            listed => listed?,
        };
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            if temporary::is_left(entry.name(), || entry.modified.map(Into::into)) {
                self.0.remove(&entry.path).await?;
            }
        }
        Ok(())
    }
}
