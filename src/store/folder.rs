//! Listing folders, local and remote, with any kind of entry and any name.

use std::path::PathBuf;

use super::webdav::Entry;
use super::{Location, Root, temporary};
use crate::error::{Error, Kind, Result};

/// The entries of one folder, without the contents of its subfolders.
#[derive(Debug, Default)]
pub(crate) struct DirListing {
    /// Names of files, with their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Names of folders.
    pub folders: Vec<String>,
    /// Names of symbolic links to folders. Like the Butler, [`super::walk`] does not follow them: they may form a
    /// cycle.
    pub links: Vec<String>,
    /// Names of entries that are neither readable files nor folders, with the reason: dangling links, names that are
    /// not UTF-8, pipes.
    pub others: Vec<(String, &'static str)>,
}

impl DirListing {
    /// Adds an entry of a local folder.
    fn add(&mut self, entry: &std::fs::DirEntry) {
        let name = match entry.file_name().into_string() {
            Ok(name) => name,
            Err(name) => return self.others.push((name.to_string_lossy().into_owned(), "its name is not UTF-8")),
        };
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        match std::fs::metadata(entry.path()) {
            Ok(found) if found.is_dir() && is_link => self.links.push(name),
            Ok(found) if found.is_dir() => self.folders.push(name),
            Ok(found) if found.is_file() => self.files.push((name, found.len())),
            Ok(_) => self.others.push((name, "it is neither a file nor a folder")),
            Err(_) if is_link => self.others.push((name, "it is a dangling symbolic link")),
            // The entry was removed after the folder was opened.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => self.others.push((name, "it cannot be read")),
        }
    }
}

impl Location {
    /// Lists a folder, in name order.
    ///
    /// # Errors
    /// `Kind::NotFound` when the folder does not exist; errors of the file system or the server.
    pub(crate) async fn list(&self) -> Result<DirListing> {
        let mut folder = DirListing::default();
        match &self.root {
            Root::Local => {
                let path = self.path.clone();
                let read = move || -> std::io::Result<DirListing> {
                    let mut folder = DirListing::default();
                    std::fs::read_dir(path)?.try_for_each(|entry| entry.map(|entry| folder.add(&entry)))?;
                    Ok(folder)
                };
                let read = tokio::task::spawn_blocking(read).await;
                folder =
                    read.map_err(|e| Error::bug(format!("listing a folder: {e}")))?.map_err(|e| self.no_folder(e))?;
            }
            Root::Dav(client) => {
                for entry in client.list(&self.path).await? {
                    let name = entry.path.rsplit('/').next().unwrap_or_default().to_owned();
                    match (entry.is_directory, entry.size) {
                        (true, _) => folder.folders.push(name),
                        (false, Some(size)) => folder.files.push((name, size)),
                        (false, None) => tracing::warn!("'{}' is still being written", client.uri(&entry.path)),
                    }
                }
            }
        }
        folder.files.sort();
        folder.folders.sort();
        folder.links.sort();
        folder.others.sort();
        Ok(folder)
    }

    fn no_folder(&self, error: std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(Kind::NotFound, format!("folder '{}' does not exist", self.path))
            }
            std::io::ErrorKind::NotADirectory => Error::invalid(format!("'{}' is not a folder", self.path)),
            _ => Error::from(error).context(format_args!("folder '{}'", self.path)),
        }
    }

    /// Removes the temporary files in a folder that were left by processes that have ended.
    ///
    /// # Errors
    /// Server errors. A missing folder is not an error.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let Root::Dav(client) = &self.root else {
            let path = PathBuf::from(&self.path);
            let swept = tokio::task::spawn_blocking(move || temporary::sweep(&path)).await;
            return swept.map_err(|e| Error::bug(format!("sweeping a folder: {e}")));
        };
        let entries = match client.list(&self.path).await {
            Err(e) if e.kind() == Kind::NotFound => return Ok(()),
            listed => listed?,
        };
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            if temporary::is_left(name, || entry.modified.map(Into::into)) {
                client.remove(&entry.path).await?;
            }
        }
        Ok(())
    }

    /// Returns the entries of a folder, in name order, with their modification times and, if requested, their
    /// checksums.
    ///
    /// # Errors
    /// As for [`Location::list`].
    pub(crate) async fn entries(&self, checksums: bool) -> Result<Vec<Entry>> {
        let mut entries = match &self.root {
            Root::Dav(client) if checksums => client.list_with_checksums(&self.path).await?,
            Root::Dav(client) => client.list(&self.path).await?,
            Root::Local => {
                let mut found = Vec::new();
                for entry in std::fs::read_dir(&self.path).map_err(|e| self.no_folder(e))? {
                    let entry = entry.map_err(|e| self.no_folder(e))?;
                    let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
                    if !meta.is_dir() && !meta.is_file() {
                        continue;
                    }
                    found.push(Entry {
                        path: entry.path().to_string_lossy().into_owned(),
                        is_directory: meta.is_dir(),
                        size: meta.is_file().then_some(meta.len()),
                        modified: meta.modified().ok().map(Into::into),
                        checksums: None,
                    });
                }
                found
            }
        };
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk;
    use super::*;

    #[tokio::test]
    async fn folders_of_every_name_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a%20b", "é", "x[1]~{y}", "plain"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("f.fits"), "x").unwrap();
        }
        let top = Location::parse(dir.path().to_str().unwrap()).unwrap();
        for name in top.list().await.unwrap().folders {
            let below = top.child(&name).list().await.unwrap();
            assert_eq!(below.files, [("f.fits".to_owned(), 1)], "{name}");
            assert_eq!(&top.child(&name).child("f.fits").read(9).await.unwrap()[..], b"x");
        }
    }

    #[tokio::test]
    async fn one_odd_entry_does_not_spoil_a_folder() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("f.fits"), "x").unwrap();
        std::fs::create_dir(at("below")).unwrap();
        for (target, name) in [(".", "loop"), ("gone", "dangling"), ("self", "self"), ("f.fits", "link.fits")] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.fits")), "x").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let location = Location::parse(dir.path().to_str().unwrap()).unwrap();
        let folder = location.list().await.unwrap();
        assert_eq!(folder.files, [("f.fits".to_owned(), 1), ("link.fits".to_owned(), 1)]);
        assert_eq!((folder.folders, folder.links), (vec!["below".to_owned()], vec!["loop".to_owned()]));
        let others: Vec<_> = folder.others.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(others, ["caf\u{fffd}.fits", "dangling", "pipe", "self"]);
        assert!(location.child("pipe").stat().await.unwrap_err().message().contains("neither a file nor a folder"));
        let error = location.child("nothing").list().await.unwrap_err();
        assert!(error.kind() == Kind::NotFound && error.message().contains("nothing' does not exist"), "{error}");
        use futures::StreamExt;
        let walked: Vec<_> = walk::walk(location, 4).map(|(location, _)| location.name()).collect().await;
        assert_eq!(walked[1..], ["below"]);
    }
}
