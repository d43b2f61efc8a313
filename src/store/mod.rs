//! Files: locations from paths and URIs, folder listings, transfers into a datastore, and its file name templates.

mod folder;
mod local;
pub(crate) mod path_template;
pub(crate) mod temporary;
pub(crate) mod transfer;
pub(crate) mod transfer_mode;
pub(crate) mod walk;
pub mod webdav;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::io::AsyncReadExt;
use url::Url;

pub(crate) use self::folder::DirListing;
use self::webdav::{Body, Client};
use crate::error::{Error, Kind, Result};
use crate::format::check_size_limit;

/// The characters that Python's `urllib.parse.quote` leaves unquoted, so that URIs equal those of the Butler.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// The URI schemes of WebDAV servers.
pub(crate) const WEBDAV_SCHEMES: [&str; 2] = ["davs", "dav"];

/// Percent-encodes a path for a URI.
fn quoted(path: &str) -> String {
    utf8_percent_encode(path, QUOTED).to_string()
}

/// The location of a file or folder, in the local file system or on a WebDAV server.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    root: Root,
    /// Absolute and decoded, without `.`, `..` and a trailing slash.
    path: String,
}

#[derive(Debug, Clone)]
enum Root {
    Local,
    Dav(Arc<Client>),
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.display() == other.display()
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
            return Ok(Self { root: Root::Local, path: plain(&path.to_string_lossy()) });
        }
        let scheme = text.split("://").next().unwrap_or_default();
        if !WEBDAV_SCHEMES.contains(&scheme) {
            let message =
                format!("files at {scheme}:// are not supported, only local paths, file:// and davs:// ('{text}')");
            return Err(Error::new(Kind::Unsupported, message));
        }
        let url = Url::parse(text).map_err(|e| Error::invalid(format!("'{text}' is not a URL: {e}")))?;
        let path = plain(&percent_decode_str(url.path()).decode_utf8_lossy());
        Ok(Self { root: Root::Dav(Client::of(&url)?), path })
    }

    /// Returns the location of a name in this folder.
    #[must_use]
    pub(crate) fn child(&self, name: &str) -> Self {
        Self { root: self.root.clone(), path: plain(&format!("{}/{name}", self.path)) }
    }

    /// Returns the folder that contains this location.
    #[must_use]
    pub(crate) fn parent(&self) -> Self {
        let folder = self.path.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        Self { root: self.root.clone(), path: folder.to_owned() }
    }

    /// Returns the URI, quoted as the Butler quotes it.
    pub(crate) fn uri(&self) -> String {
        match &self.root {
            Root::Local => format!("file://{}", quoted(&self.path)),
            Root::Dav(client) => client.uri(&self.path),
        }
    }

    /// Returns the location for messages: a local path or a URI.
    pub(crate) fn display(&self) -> String {
        match &self.root {
            Root::Local => self.path.clone(),
            Root::Dav(_) => self.uri(),
        }
    }

    /// Returns the path in the local file system.
    ///
    /// # Errors
    /// `Kind::Unsupported` for a remote location.
    pub(crate) fn local(&self) -> Result<PathBuf> {
        match &self.root {
            Root::Local => Ok(PathBuf::from(&self.path)),
            Root::Dav(_) => {
                let message = format!("'{}' is not in the local file system, as required", self.uri());
                Err(Error::new(Kind::Unsupported, message))
            }
        }
    }

    /// Returns the last component of the path.
    pub(crate) fn name(&self) -> String {
        self.path.rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist, an error when it is too large; errors of the file system or the
    /// server.
    pub(crate) async fn read(&self, limit: u64) -> Result<Bytes> {
        if let Root::Dav(client) = &self.root {
            return client.read(&self.path, limit).await;
        }
        let named = |e: std::io::Error| self.with_path(e);
        let file = tokio::fs::File::open(&self.path).await.map_err(named)?;
        let size = file.metadata().await.map_err(named)?.len();
        check_size_limit(&format!("file '{}'", self.path), size, limit)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes).await.map_err(named)?;
        Ok(bytes.into())
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
        let bytes = match &self.root {
            Root::Dav(client) => client.read_range(&self.path, 0..length).await?,
            Root::Local => {
                let file = tokio::fs::File::open(&self.path).await.map_err(|e| self.with_path(e))?;
                let mut bytes = Vec::new();
                file.take(length).read_to_end(&mut bytes).await.map_err(|e| self.with_path(e))?;
                bytes.into()
            }
        };
        Ok((bytes, length == size))
    }

    /// Opens the file for reading: a local file itself, or a local copy of a remote file.
    ///
    /// # Errors
    /// As for [`Location::read`].
    pub(crate) async fn open(&self) -> Result<std::fs::File> {
        match &self.root {
            Root::Local => std::fs::File::open(&self.path).map_err(|e| self.with_path(e)),
            Root::Dav(client) => Ok(client.fetch(&self.path).await?.0.into_file()),
        }
    }

    /// Checks that a file can be read, by reading its first byte.
    ///
    /// # Errors
    /// As for [`Location::read`].
    pub(crate) async fn probe(&self) -> Result<()> {
        match &self.root {
            Root::Dav(client) => client.read_range(&self.path, 0..1).await.map(drop),
            Root::Local => {
                let mut file = tokio::fs::File::open(&self.path).await.map_err(|e| self.with_path(e))?;
                file.read(&mut [0]).await.map(drop).map_err(|e| self.with_path(e))
            }
        }
    }

    /// Writes a new file atomically and creates its folders as needed.
    ///
    /// # Errors
    /// `Kind::Exists` when the file exists; errors of the file system or the server.
    pub(crate) async fn write(&self, bytes: Bytes) -> Result<()> {
        match &self.root {
            Root::Local => local::make_file(Path::new(&self.path), |file| std::fs::write(file, &bytes))
                .map_err(|e| self.with_path(e)),
            Root::Dav(client) => client.write(&self.path, Body::Bytes(bytes), false).await,
        }
    }

    /// Copies a file to a location that does not exist yet; at least one of the two is on a server.
    async fn copy(&self, to: &Self) -> Result<()> {
        match (&self.root, &to.root) {
            (Root::Dav(client), Root::Dav(other)) if Arc::ptr_eq(client, other) => {
                client.copy(&self.path, &to.path, false).await
            }
            (_, Root::Dav(client)) => {
                let body = match &self.root {
                    Root::Local => {
                        let size = tokio::fs::metadata(&self.path).await.map_err(|e| self.with_path(e))?.len();
                        Body::File(Arc::new(PathBuf::from(&self.path)), size)
                    }
                    Root::Dav(from) => {
                        let (file, size) = from.fetch(&self.path).await?;
                        Body::File(Arc::new(file.into_temp_path()), size)
                    }
                };
                client.write(&to.path, body, false).await
            }
            (Root::Dav(client), Root::Local) => {
                let (file, _) = client.fetch(&self.path).await?;
                let copied = |target: &Path| std::fs::copy(file.path(), target).map(drop);
                local::make_file(Path::new(&to.path), copied).map_err(|e| to.with_path(e))
            }
            (Root::Local, Root::Local) => Err(Error::bug("a copy between two local files went to WebDAV")),
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist; errors of the file system or the server.
    pub(crate) async fn remove(&self) -> Result<()> {
        match &self.root {
            Root::Local => tokio::fs::remove_file(&self.path).await.map_err(|e| self.with_path(e)),
            Root::Dav(client) => client.remove(&self.path).await,
        }
    }

    /// Returns the size in bytes and the adler32 checksum of a file.
    async fn digest(&self) -> Result<(u64, u32)> {
        match &self.root {
            Root::Local => {
                webdav::digest_of_file(Arc::new(PathBuf::from(&self.path))).await.map_err(|e| e.context("reading"))
            }
            Root::Dav(client) => client.digest(&self.path).await,
        }
    }

    /// Returns true if the location is in the local file system.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.root, Root::Local)
    }

    fn with_path(&self, error: std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Error::new(Kind::NotFound, format!("file '{}' does not exist", self.path))
            }
            std::io::ErrorKind::IsADirectory => Error::invalid(format!("'{}' is a folder, not a file", self.path)),
            _ => Error::from(error).context(format_args!("file '{}'", self.path)),
        }
    }

    /// Returns whether the location is a folder, a file or missing.
    ///
    /// # Errors
    /// Errors of the file system or the server.
    pub(crate) async fn stat(&self) -> Result<FileType> {
        if let Root::Dav(client) = &self.root {
            return Ok(match client.stat(&self.path).await? {
                Some(entry) if entry.is_directory => FileType::Directory,
                Some(entry) => FileType::File(webdav::require_size(&entry)?),
                None => FileType::Missing,
            });
        }
        match tokio::fs::metadata(&self.path).await {
            Ok(found) if found.is_dir() => Ok(FileType::Directory),
            Ok(found) if found.is_file() => Ok(FileType::File(found.len())),
            Ok(_) => Err(Error::invalid(format!("'{}' is neither a file nor a folder", self.path))),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                Ok(FileType::Missing)
            }
            Err(e) => Err(Error::from(e).context(format_args!("'{}'", self.path))),
        }
    }

    /// Returns the path relative to a folder, if the location is inside it.
    pub(crate) fn strip_prefix(&self, folder: &Self) -> Option<String> {
        let one_root = match (&self.root, &folder.root) {
            (Root::Local, Root::Local) => true,
            (Root::Dav(own), Root::Dav(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        let rest = self.path.strip_prefix(folder.path.trim_end_matches('/')).filter(|_| one_root)?;
        rest.strip_prefix('/').map(str::to_owned)
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
        let door = Location::parse("davs://Door.test:2880//pnfs/./a%20b/").unwrap();
        assert_eq!(door.child("c").uri(), "davs://door.test:2880/pnfs/a%20b/c");
        assert_eq!(door.child("c").strip_prefix(&door.parent()).as_deref(), Some("a b/c"));
        assert_eq!(door.strip_prefix(&Location::parse("/pnfs").unwrap()), None);
        assert!(Location::parse("s3://x/y").unwrap_err().message().contains("s3://"));
    }
}
