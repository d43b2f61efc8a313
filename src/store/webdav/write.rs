//! Writing, moving and removing files on a server, so that a file never exists half-written under its final name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::{Failure, Retry};
use super::read::adler32;
use super::send::Request;
use super::{Client, Server};
use crate::error::{Error, Kind, Result};
use crate::store::body::Body;
use crate::store::digest::{adler32_of, digest_of_file};
use crate::store::entry::{Entry, require_size};
use crate::store::temporary;

impl Client {
    /// Writes a file under a temporary name and renames it after its size and checksum have been checked. Folders are
    /// created as needed. With `replace`, an existing file is replaced.
    ///
    /// # Errors
    /// `Kind::Exists` when the path exists; server errors. The temporary file is removed after an error.
    pub async fn write(&self, path: &str, body: Body, replace: bool) -> Result<()> {
        let taken = |message: &str| Error::new(Kind::Exists, format!("'{}' {message}", self.uri(path)));
        let there = self.stat(path).await?;
        match &there {
            Some(found) if found.is_directory => return Err(taken("is a folder")),
            Some(_) if !replace => return Err(taken("exists")),
            _ => {}
        }
        let checksum = adler32_of(&body).await?;
        let server = self.server().await?;
        let folder = parent(path);
        let beside = format!("{folder}/{}{}.tmp", temporary::prefix(), uuid::Uuid::new_v4().simple());
        let repeated = AtomicBool::new(false);
        let put = || async {
            if repeated.swap(true, Ordering::Relaxed) {
                self.discard(&beside).await;
            }
            self.put(server, &beside, &body, checksum).await
        };
        let mut done = self.with_retry("writing", path, put).await;
        if done.is_ok() {
            done = self.shift(&beside, path, replace, Some(body.size())).await;
            // The server removes the old file first: the new file may be the only copy.
            if let Err(error) = done.as_ref()
                && there.is_some()
                && !matches!(self.stat(path).await, Ok(Some(_)))
            {
                let message = format!("{}; the new content is in '{}'", error.message(), self.uri(&beside));
                return Err(Error::new(error.kind(), message));
            }
        }
        if done.is_err() {
            self.discard(&beside).await;
        }
        done.map_err(|e| if e.kind() == Kind::Exists { taken("exists") } else { e })
    }

    /// Sends the bytes of a file once and checks what arrived.
    async fn put(&self, server: Server, path: &str, body: &Body, checksum: u32) -> Result<(), Failure> {
        let request = Request::new("PUT", path).header("want-digest", "adler32").body(body.clone());
        // dCache creates an empty file without a redirect.
        let direct = self.direct.load(Ordering::Relaxed);
        let request = request.expect(server == Server::DCache && !direct && body.size() > 0);
        let mut sent = self.send_ok(&request).await;
        if let Err(failure) = &sent
            && failure.status.is_some_and(|status| matches!(status.as_u16(), 403 | 404 | 409))
        {
            self.make_folder(parent(path)).await.map_err(|e| Failure::permanent(&e))?;
            sent = self.send_ok(&request).await;
        }
        let response = sent?;
        let digest = response.response.headers().get("digest").and_then(|value| value.to_str().ok());
        let mut received = adler32(digest);
        if received.is_none() {
            let properties =
                if server == Server::DCache { super::listing::CHECKSUMS } else { super::listing::PROPERTIES };
            let found = self.find_entry(path, properties).await.map_err(|e| Failure::permanent(&e))?;
            let size = found.as_ref().and_then(|entry| entry.size);
            if size != Some(body.size()) {
                let size = size.map_or("no file".to_owned(), |size| format!("{size} bytes"));
                return Err(Failure::transient(format!("{} bytes were sent, but {size} arrived", body.size())));
            }
            received = adler32(found.and_then(|entry| entry.checksums).as_deref());
        }
        match received {
            Some(other) if other != checksum => Err(Failure::transient(format!(
                "the bytes that arrived have the checksum {other:08x}, not {checksum:08x}"
            ))),
            _ => Ok(()),
        }
    }

    /// Creates a folder and its missing ancestors; an existing folder is not changed.
    ///
    /// # Errors
    /// Server errors.
    pub async fn make_folder(&self, path: &str) -> Result<()> {
        let mut missing = vec![path.trim_end_matches('/')];
        while let Some(folder) = missing.last().copied().filter(|folder| !folder.is_empty()) {
            let request = Request::new("MKCOL", &format!("{folder}/"));
            let made = self.with_retry("making folder", folder, || async {
                match self.send_ok(&request).await {
                    Ok(_) => Ok(true),
                    // The folder exists.
                    Err(failure) if failure.status.is_some_and(|status| status == 405) => Ok(true),
                    Err(failure) if failure.status.is_some_and(|s| matches!(s.as_u16(), 404 | 409)) => Ok(false),
                    Err(failure) => Err(failure),
                }
            });
            match made.await? {
                true => missing.truncate(missing.len() - 1),
                false if parent(folder).is_empty() || missing.len() > 64 => {
                    return Err(Error::new(Kind::NotFound, format!("cannot create folder '{}'", self.uri(folder))));
                }
                false => missing.push(parent(folder)),
            }
        }
        Ok(())
    }

    /// Renames a file. With `replace`, an existing file of the new name is replaced.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist, `Kind::Exists` when the new name exists or is a folder; server
    /// errors.
    pub async fn rename(&self, from: &str, to: &str, replace: bool) -> Result<()> {
        let found = self.file(from).await?;
        if from == to {
            return Ok(());
        }
        if self.stat(to).await?.is_some_and(|target| target.is_directory || !replace) {
            return Err(Error::new(Kind::Exists, format!("'{}' exists", self.uri(to))));
        }
        self.shift(from, to, replace, found.size).await
    }

    /// Copies a file through this machine: COPY of dCache only copies to other servers.
    ///
    /// # Errors
    /// As for [`Client::rename`].
    pub async fn copy(&self, from: &str, to: &str, replace: bool) -> Result<()> {
        let size = require_size(&self.file(from).await?)?;
        let body = match size {
            0..=IN_MEMORY => Body::Bytes(self.read(from, u64::MAX).await?),
            _ => Body::File(Arc::new(self.fetch(from).await?.0.into_temp_path()), size),
        };
        self.write(to, body, replace).await
    }

    /// Returns the size in bytes and the adler32 checksum of a file, as known to the server or computed by reading the
    /// file.
    ///
    /// # Errors
    /// As for [`Client::read`].
    pub async fn digest(&self, path: &str) -> Result<(u64, u32)> {
        let known = self.stat_with_checksums(path).await?;
        let known = known.and_then(|entry| Some((entry.size?, adler32(entry.checksums.as_deref())?)));
        match known {
            Some(known) => Ok(known),
            None => digest_of_file(Arc::new(self.fetch(path).await?.0.into_temp_path())).await,
        }
    }

    /// Removes a file. Folders are refused: a server would remove all their contents, which may be hidden.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist, an error for a folder; server errors.
    pub async fn remove(&self, path: &str) -> Result<()> {
        self.file(path).await?;
        self.delete(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let request = Request::new("DELETE", path);
        let work = || async {
            match self.send_ok(&request).await {
                // An earlier attempt or another client has removed it.
                Err(failure) if failure.kind == Kind::NotFound => Ok(()),
                // The response may be lost although the file was removed.
                Err(failure) if failure.kind == Kind::Unreachable => match self.stat(path).await {
                    Ok(None) => Ok(()),
                    _ => Err(failure),
                },
                done => done.map(drop),
            }
        };
        self.with_retry("removing", path, work).await
    }

    /// Removes the remains of a failed write. Errors are only logged, because the first error is reported.
    async fn discard(&self, path: &str) {
        if let Err(error) = self.delete(path).await {
            tracing::warn!("{error}");
        }
    }

    async fn file(&self, path: &str) -> Result<Entry> {
        match self.stat(path).await? {
            Some(entry) if !entry.is_directory => Ok(entry),
            Some(_) => Err(Error::invalid(format!("'{}' is a folder", self.uri(path)))),
            None => Err(Error::new(Kind::NotFound, format!("'{}' does not exist", self.uri(path)))),
        }
    }

    async fn shift(&self, from: &str, to: &str, replace: bool, size: Option<u64>) -> Result<()> {
        self.with_retry("moving to", to, || self.shift_once(from, to, replace, size)).await
    }

    /// Moves once; without a clear response, the state of both paths shows the result.
    async fn shift_once(&self, from: &str, to: &str, replace: bool, size: Option<u64>) -> Result<(), Failure> {
        let request = Request::new("MOVE", from).to(to).header("overwrite", if replace { "T" } else { "F" });
        let mut sent = self.send_ok(&request).await;
        if let Err(failure) = &sent
            && failure.status.is_some_and(|status| status == 403)
            && self.make_folder(parent(to)).await.is_ok()
        {
            // Some servers report a missing folder as 403.
            sent = self.send_ok(&request).await;
        }
        let failure = match sent {
            Ok(response) if response.response.status() != 207 => return Ok(()),
            Ok(response) => self.status_failure(&request, response).await,
            Err(failure) => failure,
        };
        if failure.kind == Kind::Denied {
            return Err(failure);
        }
        let permanent = |e: Error| Failure::permanent(&e);
        let (source, target) = (self.stat(from).await.map_err(permanent)?, self.stat(to).await.map_err(permanent)?);
        match (source, target) {
            (None, Some(target)) if size.is_none() || target.size == size => Ok(()),
            (None, _) => Err(Failure { retry: Retry::Never, ..failure }),
            (Some(_), Some(_)) if !replace => Err(Failure::new(Kind::Exists, Retry::Never, failure.message)),
            (Some(_), _) => {
                // Servers report a missing folder by various statuses.
                if failure.status.is_some_and(|status| matches!(status.as_u16(), 404 | 409 | 500)) {
                    self.make_folder(parent(to)).await.map_err(permanent)?;
                    return Err(Failure { retry: Retry::Later(None), ..failure });
                }
                Err(failure)
            }
        }
    }
}

/// Maximum size in bytes of files that are held in memory.
pub(super) const IN_MEMORY: u64 = 8 << 20;

/// Returns the folder of a path.
fn parent(path: &str) -> &str {
    path.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder)
}
