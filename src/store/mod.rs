//! Files: from a URI to an object store, walking folders, and where a datastore puts what it takes in.

pub mod placement;
pub mod transfer;

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, Kind, Result};
use crate::format::bounded;

/// What Python's `urllib.parse.quote` leaves as it is, so that URIs equal the Butler's.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// A file or folder in some object store.
#[derive(Debug, Clone)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

/// The contents of one folder, without what is in its folders.
#[derive(Debug, Default)]
pub struct Folder {
    /// Files by name, with their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Folders by name.
    pub folders: Vec<String>,
}

impl Place {
    /// The place of a path or URI; a relative path counts from the working directory.
    ///
    /// # Errors
    /// A scheme that is not supported, or a URI that is none.
    pub fn parse(text: &str) -> Result<Self> {
        let path = local_path(text).ok_or_else(|| {
            let scheme = text.split("://").next().unwrap_or_default();
            let said =
                format!("files at {scheme}:// are not supported yet, only local paths and file:// are ('{text}')");
            Error::new(Kind::Unsupported, said)
        })?;
        let absolute = std::path::absolute(&path).map_err(|e| Error::from(e).context(format_args!("path '{text}'")))?;
        let path = Path::from_absolute_path(plain(&absolute)).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(Self { store: Arc::new(LocalFileSystem::new()), path })
    }

    /// The place of this name below a folder.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        // Not by `Path::join`, which would write some characters as %XX.
        let path = plain(FsPath::new(&format!("/{}/{name}", self.path)));
        let path = Path::from_absolute_path(path).unwrap_or_else(|_| self.path.clone().join(name));
        Self { store: Arc::clone(&self.store), path }
    }

    /// The URI, quoted as the Butler quotes it.
    pub fn uri(&self) -> String {
        format!("file://{}", utf8_percent_encode(&self.local(), QUOTED))
    }

    /// The path in the local file system.
    pub fn local(&self) -> String {
        format!("/{}", self.path)
    }

    /// The last part of the path.
    pub fn name(&self) -> String {
        self.local().rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// What a folder holds, in name order.
    ///
    /// # Errors
    /// No such folder, or what the store says.
    pub async fn list(&self) -> Result<Folder> {
        let named = |e: object_store::Error| Error::from(e).context(format_args!("folder '{}'", self.local()));
        let found = self.store.list_with_delimiter(Some(&self.path)).await.map_err(named)?;
        let last = |path: &Path| path.filename().unwrap_or_default().to_owned();
        let mut folder = Folder {
            files: found.objects.iter().map(|o| (last(&o.location), o.size)).collect(),
            folders: found.common_prefixes.iter().map(last).collect(),
        };
        folder.files.sort();
        folder.folders.sort();
        Ok(folder)
    }

    /// The bytes of a file that is at most `limit` bytes long.
    ///
    /// # Errors
    /// No such file, one that is too large, or what the store says.
    pub async fn read(&self, limit: u64) -> Result<Bytes> {
        let named = |e: object_store::Error| match e {
            object_store::Error::NotFound { .. } => {
                Error::new(Kind::NotFound, format!("file '{}' does not exist", self.local()))
            }
            other => Error::from(other).context(format_args!("file '{}'", self.local())),
        };
        let found = self.store.get(&self.path).await.map_err(named)?;
        bounded(&format!("file '{}'", self.local()), found.meta.size, limit)?;
        found.bytes().await.map_err(named)
    }

    /// Whether it is a folder, a file of some size, or nothing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn look(&self) -> Result<Seen> {
        match tokio::fs::metadata(self.local()).await {
            Ok(found) if found.is_dir() => Ok(Seen::Folder),
            Ok(found) => Ok(Seen::File(found.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Seen::Nothing),
            Err(e) => Err(Error::from(e).context(format_args!("'{}'", self.local()))),
        }
    }

    /// The path below a folder, if it is below it.
    pub fn below(&self, folder: &Self) -> Option<String> {
        let (own, folder) = (self.local(), folder.local());
        own.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/').map(str::to_owned)
    }
}

/// The local path of a path or `file:` URL; nothing for a URL of another scheme.
pub fn local_path(text: &str) -> Option<PathBuf> {
    match text.split_once("://") {
        Some(("file", rest)) => {
            let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
            Some(PathBuf::from(percent_decode_str(path).decode_utf8_lossy().into_owned()))
        }
        Some(_) => None,
        None => Some(PathBuf::from(text)),
    }
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
}

/// A path without `.` and `..`, which object stores do not know.
fn plain(path: &FsPath) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn folders_of_every_name_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a%20b", "é", "x[1]~{y}", "plain"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("f.fits"), "x").unwrap();
        }
        let top = Place::parse(dir.path().to_str().unwrap()).unwrap();
        for name in top.list().await.unwrap().folders {
            let below = top.child(&name).list().await.unwrap();
            assert_eq!(below.files, [("f.fits".to_owned(), 1)], "{name}");
            assert_eq!(&top.child(&name).child("f.fits").read(9).await.unwrap()[..], b"x");
        }
    }

    #[test]
    fn uris_are_quoted_as_the_butlers_are() {
        let place = Place::parse("/data/a b+c/./x/../é~1.fits").unwrap();
        assert_eq!(place.uri(), "file:///data/a%20b%2Bc/%C3%A9~1.fits");
        assert_eq!(Place::parse(&place.uri()).unwrap().local(), place.local());
        assert_eq!(local_path("file://localhost/a%20b").unwrap(), PathBuf::from("/a b"));
        assert_eq!(place.below(&Place::parse("/data").unwrap()).as_deref(), Some("a b+c/é~1.fits"));
        assert_eq!(place.below(&Place::parse("/dat").unwrap()), None);
        for name in ["a%20b", "é", "x[1]~{y}", "what?"] {
            assert_eq!(place.child(name).name(), name);
        }
        assert_eq!(place.child("../b/./c").local(), "/data/a b+c/b/c");
        assert!(Place::parse("davs://x/y").unwrap_err().said().contains("davs://"));
    }
}
