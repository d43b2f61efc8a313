//! Locations of files and folders: a store and a path.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use url::Url;

use super::body::Body;
use super::digest::digests_of_files;
use super::dir_listing::DirListing;
use super::entry::{Entry, require_size};
use super::file_store::FileStore;
use super::local_store::LocalStore;
use super::schemes;
use crate::error::{Error, Kind, Result};
use crate::net::uri::quoted;

/// The location of a file or folder: a store, and an absolute and decoded path without `.`, `..` and a trailing slash.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    store: Arc<dyn FileStore>,
    path: String,
}

/// The type of what exists at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileType {
    /// Nothing exists.
    Missing,
    /// A file, with its size in bytes.
    File(u64),
    /// A folder.
    Directory,
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.is_same_store(other)
    }
}

impl Eq for Location {}

impl Location {
    /// Parses a path or URI. A relative path is resolved against the working directory.
    ///
    /// # Errors
    /// `Kind::Unsupported` for another URI scheme; an error for a malformed URI or unusable credentials of a server.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some(path) = local_path(text) {
            let path = std::path::absolute(&path).map_err(|e| Error::from(e).context(format_args!("path '{text}'")))?;
            return Ok(Self { store: Arc::new(LocalStore), path: plain(&path.to_string_lossy()) });
        }
        let scheme = text.split("://").next().unwrap_or_default();
        let unsupported = || {
            let message =
                format!("files at {scheme}:// are not supported, only local paths, file:// and davs:// ('{text}')");
            Error::new(Kind::Unsupported, message)
        };
        if !schemes::is_known(scheme) {
            return Err(unsupported());
        }
        let url = Url::parse(text).map_err(|e| Error::invalid(format!("'{text}' is not a URL: {e}")))?;
        let path = plain(&percent_decode_str(url.path()).decode_utf8_lossy());
        Ok(Self { store: schemes::open(&url).ok_or_else(unsupported)??, path })
    }

    /// Returns the location of a name in this folder.
    #[must_use]
    pub(crate) fn child(&self, name: &str) -> Self {
        Self { store: Arc::clone(&self.store), path: plain(&format!("{}/{name}", self.path)) }
    }

    /// Returns the location of a path in this folder.
    ///
    /// # Errors
    /// `Kind::Invalid` for a path that leads out of the folder.
    pub(crate) fn inside(&self, path: &str) -> Result<Self> {
        let found = self.child(path);
        let message = || Error::invalid(format!("path '{path}' leads out of folder '{}'", self.display()));
        if found.strip_prefix(self).is_some() { Ok(found) } else { Err(message()) }
    }

    /// Returns the file of a file record of the datastore with this root: a URI, or a path below the root.
    ///
    /// # Errors
    /// A malformed URI.
    pub(crate) fn of_record(&self, path: &str) -> Result<Self> {
        if path.contains("://") { Self::parse(path) } else { Ok(self.child(path)) }
    }

    /// Returns the folder that contains this location.
    #[must_use]
    pub(crate) fn parent(&self) -> Self {
        let folder = self.path.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        Self { store: Arc::clone(&self.store), path: folder.to_owned() }
    }

    /// Returns the URI, quoted as the Butler quotes it.
    pub(crate) fn uri(&self) -> String {
        format!("{}{}", self.store.root(), quoted(&self.path))
    }

    /// Returns the path at the store, absolute and decoded.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the location for messages: a local path or a URI.
    pub(crate) fn display(&self) -> String {
        if self.is_local() { self.path.clone() } else { self.uri() }
    }

    /// Returns the path in the local file system.
    ///
    /// # Errors
    /// `Kind::Unsupported` for a remote location.
    pub(crate) fn local(&self) -> Result<PathBuf> {
        if self.is_local() {
            return Ok(PathBuf::from(&self.path));
        }
        let message = format!("'{}' must be in the local file system", self.uri());
        Err(Error::new(Kind::Unsupported, message))
    }

    /// Returns true if the location is in the local file system.
    pub(crate) fn is_local(&self) -> bool {
        self.store.is_local()
    }

    /// Returns the last component of the path.
    pub(crate) fn name(&self) -> String {
        self.path.rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// Returns the path relative to a folder, if the location is inside it.
    pub(crate) fn strip_prefix(&self, folder: &Self) -> Option<String> {
        let rest = self.path.strip_prefix(folder.path.trim_end_matches('/')).filter(|_| self.is_same_store(folder))?;
        rest.strip_prefix('/').map(str::to_owned)
    }

    fn is_same_store(&self, other: &Self) -> bool {
        self.store.root() == other.store.root()
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist, an error when it is too large; errors of the store.
    pub(crate) async fn read(&self, limit: u64) -> Result<Bytes> {
        self.store.read(&self.path, limit).await
    }

    /// Reads up to `length` bytes from the start of a file. Returns true too if they are the whole file.
    ///
    /// # Errors
    /// As for [`Location::read`].
    pub(crate) async fn read_head(&self, length: u64) -> Result<(Bytes, bool)> {
        let size = match self.stat().await? {
            FileType::File(size) => size,
            FileType::Directory => return Err(Error::invalid(format!("'{}' is a folder, not a file", self.display()))),
            FileType::Missing => {
                return Err(Error::new(Kind::NotFound, format!("file '{}' does not exist", self.display())));
            }
        };
        let length = length.min(size);
        Ok((self.store.read_range(&self.path, 0..length).await?, length == size))
    }

    /// Opens the file for reading: a local file itself, or a local copy of a remote file.
    ///
    /// # Errors
    /// As for [`Location::read`].
    pub(crate) async fn open(&self) -> Result<std::fs::File> {
        let (file, _) = self.store.fetch(&self.path).await?;
        let opened = std::fs::File::open((*file).as_ref());
        opened.map_err(|e| Error::from(e).context(format_args!("file '{}'", self.display())))
    }

    /// Reads a range of the bytes of a file.
    ///
    /// # Errors
    /// As for [`Location::read`].
    pub(super) async fn read_range(&self, range: std::ops::Range<u64>) -> Result<Bytes> {
        self.store.read_range(&self.path, range).await
    }

    /// Checks that a file can be read, by reading its first byte.
    ///
    /// # Errors
    /// As for [`Location::read`].
    pub(crate) async fn probe(&self) -> Result<()> {
        self.store.read_range(&self.path, 0..1).await.map(drop)
    }

    /// Writes a new file atomically and creates its folders as needed.
    ///
    /// # Errors
    /// `Kind::Exists` when the file exists; errors of the store.
    pub(crate) async fn write(&self, bytes: Bytes) -> Result<()> {
        self.store.create(&self.path, Body::Bytes(bytes)).await
    }

    /// Copies a file to a location that does not exist yet.
    pub(super) async fn copy(&self, to: &Self) -> Result<()> {
        if self.is_same_store(to) {
            return self.store.copy(&self.path, &to.path).await;
        }
        let (file, size) = self.store.fetch(&self.path).await?;
        to.store.create(&to.path, Body::File(file, size)).await
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist; errors of the store.
    pub(crate) async fn remove(&self) -> Result<()> {
        self.store.remove(&self.path).await
    }

    /// Returns the size in bytes and the adler32 checksum of a file.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist; errors of the store.
    pub(crate) async fn digest(&self) -> Result<(u64, u32)> {
        self.store.digest(&self.path).await
    }

    /// Returns the sizes in bytes and the adler32 checksums of files, which are read one after another.
    ///
    /// # Errors
    /// As for [`Self::digest`].
    pub(crate) async fn digests(files: &[Self]) -> Result<Vec<(u64, u32)>> {
        if files.iter().all(Self::is_local) {
            return digests_of_files(files.iter().map(|file| file.path.clone()).collect()).await;
        }
        let mut digests = Vec::with_capacity(files.len());
        for file in files {
            digests.push(file.digest().await?);
        }
        Ok(digests)
    }

    /// Returns when a file was modified; `None` if it does not exist. A store that does not tell says the start of the Unix
    /// epoch.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn modified(&self) -> Result<Option<DateTime<Utc>>> {
        let entry = self.store.stat(&self.path).await?.filter(|entry| !entry.is_directory);
        Ok(entry.map(|entry| entry.modified.unwrap_or(DateTime::UNIX_EPOCH)))
    }

    /// Returns whether the location is a folder, a file or missing.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn stat(&self) -> Result<FileType> {
        Ok(match self.store.stat(&self.path).await? {
            Some(entry) if entry.is_directory => FileType::Directory,
            Some(entry) => FileType::File(require_size(&entry)?),
            None => FileType::Missing,
        })
    }

    /// Lists a folder, in name order.
    ///
    /// # Errors
    /// `Kind::NotFound` when the folder does not exist; errors of the store.
    pub(crate) async fn list(&self) -> Result<DirListing> {
        let mut listing = self.store.list(&self.path).await?;
        listing.sort();
        Ok(listing)
    }

    /// Returns the entries of a folder, in name order, with their modification times and, if requested, their
    /// checksums.
    ///
    /// # Errors
    /// As for [`Location::list`].
    pub(crate) async fn entries(&self, checksums: bool) -> Result<Vec<Entry>> {
        let mut entries = self.store.entries(&self.path, checksums).await?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Removes the temporary files in a folder that were left by processes that have ended.
    ///
    /// # Errors
    /// Errors of the store. A missing folder is not an error.
    pub(crate) async fn sweep(&self) -> Result<()> {
        self.store.sweep(&self.path).await
    }
}

/// Returns the local path of a path or `file:` URL, or `None` for a URL of another scheme.
pub(crate) fn local_path(text: &str) -> Option<PathBuf> {
    match text.split_once("://") {
        Some(("file", rest)) => {
            let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
            Some(PathBuf::from(percent_decode_str(path).decode_utf8_lossy().into_owned()))
        }
        Some(_) => None,
        None => Some(PathBuf::from(text)),
    }
}

/// Normalizes an absolute path: removes `.`, `..` and empty parts.
fn plain(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_quoted_as_the_butlers_are() {
        let location = Location::parse("/data/a b+c/./x/../é~1.fits").unwrap();
        assert_eq!(location.uri(), "file:///data/a%20b%2Bc/%C3%A9~1.fits");
        assert_eq!(Location::parse(&location.uri()).unwrap().display(), location.display());
        assert_eq!(local_path("file://localhost/a%20b").unwrap(), PathBuf::from("/a b"));
        assert_eq!(location.strip_prefix(&Location::parse("/data").unwrap()).as_deref(), Some("a b+c/é~1.fits"));
        assert_eq!(location.strip_prefix(&Location::parse("/dat").unwrap()), None);
        for name in ["a%20b", "é", "x[1]~{y}", "what?"] {
            assert_eq!(location.child(name).name(), name);
        }
        assert_eq!(location.child("../b/./c").display(), "/data/a b+c/b/c");
        assert_eq!(location.inside("x/../y").unwrap().display(), location.child("y").display());
        assert!(location.inside("x/../../y").unwrap_err().message().contains("leads out of folder"));
        let door = Location::parse("davs://Door.test:2880//pnfs/./a%20b/").unwrap();
        assert_eq!(door.child("c").uri(), "davs://door.test:2880/pnfs/a%20b/c");
        assert_eq!(door.child("c").strip_prefix(&door.parent()).as_deref(), Some("a b/c"));
        assert_eq!(door.strip_prefix(&Location::parse("/pnfs").unwrap()), None);
        assert!(Location::parse("s3://x/y").unwrap_err().message().contains("s3://"));
    }
}
