//! The local file system as a `FileStore`.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tokio::io::AsyncReadExt;

use super::body::{Body, LocalFile};
use super::digest::digest_of_file;
use super::dir_listing::DirListing;
use super::entry::Entry;
use super::file_store::FileStore;
use super::{local, temporary};
use crate::error::{Error, Kind, Result};
use crate::format::check_size_limit;

/// The local file system.
#[derive(Debug)]
pub(super) struct LocalStore;

#[async_trait]
impl FileStore for LocalStore {
    fn root(&self) -> &str {
        "file://"
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(LocalFileSystem::new())
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        match tokio::fs::metadata(path).await {
            Ok(found) if found.is_dir() || found.is_file() => Ok(Some(entry(path.to_owned(), &found))),
            Ok(_) => Err(Error::invalid(format!("'{path}' is neither a file nor a folder"))),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::from(e).context(format_args!("'{path}'"))),
        }
    }

    async fn read(&self, path: &str, limit: u64) -> Result<Bytes> {
        let named = |e: std::io::Error| of_file(path, e);
        let file = tokio::fs::File::open(path).await.map_err(named)?;
        let size = file.metadata().await.map_err(named)?.len();
        check_size_limit(&format!("file '{path}'"), size, limit)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes).await.map_err(named)?;
        Ok(bytes.into())
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let name = path.to_owned();
        let read = move || {
            let mut file = std::fs::File::open(name)?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = Vec::new();
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(bytes.into())
        };
        blocking(read).await?.map_err(|e| of_file(path, e))
    }

    async fn fetch(&self, path: &str) -> Result<(LocalFile, u64)> {
        let found = tokio::fs::metadata(path).await.map_err(|e| of_file(path, e))?;
        if found.is_dir() {
            return Err(Error::invalid(format!("'{path}' is a folder, not a file")));
        }
        Ok((Arc::new(PathBuf::from(path)), found.len()))
    }

    async fn create(&self, path: &str, body: Body) -> Result<()> {
        let target = PathBuf::from(path);
        let make = move || {
            local::make_file(&target, |file| match &body {
                Body::Bytes(bytes) => std::fs::write(file, bytes),
                Body::File(from, _) => std::fs::copy((**from).as_ref(), file).map(drop),
            })
        };
        blocking(make).await?.map_err(|e| of_file(path, e))
    }

    async fn remove(&self, path: &str) -> Result<()> {
        tokio::fs::remove_file(path).await.map_err(|e| of_file(path, e))
    }

    async fn digest(&self, path: &str) -> Result<(u64, u32)> {
        digest_of_file(Arc::new(PathBuf::from(path))).await.map_err(|e| e.context("reading"))
    }

    async fn list(&self, path: &str) -> Result<DirListing> {
        let name = path.to_owned();
        let read = move || -> std::io::Result<DirListing> {
            let mut listing = DirListing::default();
            std::fs::read_dir(name)?.try_for_each(|entry| entry.map(|entry| add(&mut listing, &entry)))?;
            Ok(listing)
        };
        blocking(read).await?.map_err(|e| of_folder(path, e))
    }

    async fn entries(&self, path: &str, _: bool) -> Result<Vec<Entry>> {
        let name = path.to_owned();
        let read = move || -> std::io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for found in std::fs::read_dir(name)? {
                let path = found?.path();
                match std::fs::metadata(&path) {
                    Ok(found) if found.is_dir() || found.is_file() => {
                        entries.push(entry(path.to_string_lossy().into_owned(), &found));
                    }
                    _ => {}
                }
            }
            Ok(entries)
        };
        blocking(read).await?.map_err(|e| of_folder(path, e))
    }

    async fn sweep(&self, path: &str) -> Result<()> {
        let folder = PathBuf::from(path);
        blocking(move || temporary::sweep(&folder)).await
    }
}

/// Runs blocking work on a thread pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::bug(format!("file system work: {e}")))
}

fn entry(path: String, found: &std::fs::Metadata) -> Entry {
    Entry {
        path,
        is_directory: found.is_dir(),
        size: found.is_file().then_some(found.len()),
        modified: found.modified().ok().map(Into::into),
        checksums: None,
    }
}

/// Adds an entry of a local folder.
fn add(listing: &mut DirListing, entry: &std::fs::DirEntry) {
    let name = match entry.file_name().into_string() {
        Ok(name) => name,
        Err(name) => return listing.others.push((name.to_string_lossy().into_owned(), "its name is not UTF-8")),
    };
    let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
    match std::fs::metadata(entry.path()) {
        Ok(found) if found.is_dir() && is_link => listing.links.push(name),
        Ok(found) if found.is_dir() => listing.folders.push(name),
        Ok(found) if found.is_file() => listing.files.push((name, found.len())),
        Ok(_) => listing.others.push((name, "it is neither a file nor a folder")),
        Err(_) if is_link => listing.others.push((name, "it is a dangling symbolic link")),
        // The entry was removed after the folder was opened.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(_) => listing.others.push((name, "it cannot be read")),
    }
}

/// Converts an error of a file.
fn of_file(path: &str, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Error::new(Kind::NotFound, format!("file '{path}' does not exist"))
        }
        std::io::ErrorKind::IsADirectory => Error::invalid(format!("'{path}' is a folder, not a file")),
        _ => Error::from(error).context(format_args!("file '{path}'")),
    }
}

/// Converts an error of a folder.
fn of_folder(path: &str, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("folder '{path}' does not exist")),
        std::io::ErrorKind::NotADirectory => Error::invalid(format!("'{path}' is not a folder")),
        _ => Error::from(error).context(format_args!("folder '{path}'")),
    }
}
