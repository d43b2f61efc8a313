//! Bringing files into a datastore.

use std::collections::HashSet;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::future::join_all;

use super::webdav::digest;
use super::{Place, Seen};
use crate::error::{Error, Kind, Result};

/// How a file gets into the datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In place if it is inside the datastore, else a link.
    Auto,
    /// Hard link, else symbolic link.
    Link,
    /// Symbolic link.
    Symlink,
    /// Symbolic link by a relative path.
    Relsymlink,
    /// Hard link.
    Hardlink,
    /// Copy.
    Copy,
    /// Move.
    Move,
    /// Not at all: the registry names the file where it is.
    Direct,
}

impl Mode {
    const ALL: [(&'static str, Self); 8] = [
        ("auto", Self::Auto),
        ("link", Self::Link),
        ("symlink", Self::Symlink),
        ("hardlink", Self::Hardlink),
        ("copy", Self::Copy),
        ("move", Self::Move),
        ("relsymlink", Self::Relsymlink),
        ("direct", Self::Direct),
    ];

    /// From the word of `--transfer`.
    ///
    /// # Errors
    /// A word that is no mode.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(n, _)| *n == name);
        found.map(|f| f.1).ok_or_else(|| Error::not_found("transfer mode", name, Self::ALL.map(|(n, _)| n)))
    }
}

/// What is brought in.
#[derive(Debug, Clone)]
pub enum Content {
    /// A file.
    File(Place),
    /// Bytes that are no file yet: whatever the mode, they are written.
    Bytes(Bytes),
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(place) => write!(f, "'{}'", place.shown()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// One file to be brought in.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// What it is.
    pub from: Content,
    /// Where it shall be.
    pub to: Place,
    /// How.
    pub mode: Mode,
}

/// So many files are brought at the same time.
const AT_ONCE: usize = 16;

/// Brings files in, and adds what was made to `made`, which is for the caller to take back when something fails; files
/// that are there with the same content are kept. The source of a move stays until [`finish`].
///
/// # Errors
/// What the file system or a door says, naming the file.
pub async fn bring(transfers: &[Transfer], made: &mut Vec<Place>) -> Result<()> {
    for some in transfers.chunks(AT_ONCE) {
        // All are waited for, so that none is left half-way when one fails.
        let mut failed = None;
        for (transfer, done) in some.iter().zip(join_all(some.iter().map(one)).await) {
            match done {
                Ok(true) => made.push(transfer.to.clone()),
                Ok(false) => {}
                Err(error) => failed = failed.or(Some((transfer, error))),
            }
        }
        if let Some((transfer, error)) = failed {
            return Err(error.context(format_args!("bringing {} to '{}'", transfer.from, transfer.to.shown())));
        }
    }
    Ok(())
}

/// Undoes transfers that were made: no source has gone yet. As far as a door lets us: the first error is the one to tell.
pub async fn take_back(made: &[Place]) {
    for (done, place) in made.iter().enumerate() {
        if let Err(e) = place.remove().await
            && matches!(e.kind(), Kind::Unreachable | Kind::Denied)
        {
            tracing::warn!("{} files stay that no record names, from '{}' on: {e}", made.len() - done, place.shown());
            return;
        }
    }
}

/// Ends moves once the registry knows the files: their sources go. With a door, a source goes only when this run has
/// `made` its target, since a file may have two names there.
///
/// # Errors
/// What the file system or a door says, naming the file.
pub async fn finish(transfers: &[Transfer], made: &[Place]) -> Result<()> {
    let made: HashSet<String> = made.iter().map(Place::shown).collect();
    for transfer in transfers.iter().filter(|t| t.mode == Mode::Move) {
        let Content::File(from) = &transfer.from else { continue };
        // A file that lies at its place already has not moved.
        let stays = match (from.local(), transfer.to.local()) {
            (Ok(from), Ok(to)) => same_place(&from, &to),
            _ => !made.contains(&transfer.to.shown()),
        };
        if stays {
            continue;
        }
        match from.remove().await {
            Err(e) if e.kind() != Kind::NotFound => return Err(e.context(format_args!("removing '{}'", from.shown()))),
            _ => {}
        }
    }
    Ok(())
}

/// Brings one file in; returns whether it was this that made it.
async fn one(transfer: &Transfer) -> Result<bool> {
    let Transfer { from, to, mode } = transfer;
    match (from, to.local()) {
        (Content::Bytes(bytes), Ok(to)) => {
            let bytes = bytes.clone();
            apart(move || written(&bytes, &to)).await
        }
        (Content::File(from), Ok(to)) if from.is_local() => {
            let (from, mode) = (from.local()?, *mode);
            apart(move || placed(&from, &to, mode)).await
        }
        _ => remote(from, to, *mode).await,
    }
}

/// Does what keeps a thread waiting.
async fn apart(work: impl FnOnce() -> std::io::Result<bool> + Send + 'static) -> Result<bool> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// Brings a file to a door or from it.
async fn remote(from: &Content, to: &Place, mode: Mode) -> Result<bool> {
    if let Content::File(from) = from {
        if mode == Mode::Direct || from == to {
            return Ok(false);
        }
        if !matches!(mode, Mode::Auto | Mode::Copy | Mode::Move) {
            let name = Mode::ALL.into_iter().find(|(_, m)| *m == mode).map_or("", |(name, _)| name);
            let said =
                format!("transfer mode '{name}' is for local files; with a door there are copy, move and direct");
            return Err(Error::new(Kind::Unsupported, said));
        }
    }
    for last in [false, true] {
        if to.look().await? != Seen::Nothing {
            let same = match from {
                Content::Bytes(bytes) => to.digest().await? == digest(bytes),
                Content::File(from) => to.digest().await? == from.digest().await?,
            };
            return if same { Ok(false) } else { Err(Error::new(Kind::Exists, "another file is there")) };
        }
        let made = match from {
            Content::Bytes(bytes) => to.write(bytes.clone()).await,
            Content::File(from) => from.copy(to).await,
        };
        match made {
            // Another writer brought a file meanwhile.
            Err(e) if e.kind() == Kind::Exists && !last => {}
            made => return made.map(|()| true),
        }
    }
    Err(Error::bug("a file is there and is not"))
}

/// Writes bytes to a local file.
fn written(bytes: &Bytes, to: &Path) -> std::io::Result<bool> {
    if to.exists() {
        return kept(std::fs::read(to)? == bytes[..]);
    }
    make_folder(to)?;
    beside(to, |file| std::fs::write(file, bytes), |to| Ok(std::fs::read(to)? == bytes[..]))
}

/// Makes a local file where none is.
pub(super) fn make_file(to: &Path, write: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    make_folder(to)?;
    beside(to, write, |_| Ok(false)).map(drop)
}

/// Brings a local file to a local place.
fn placed(from: &Path, to: &Path, mode: Mode) -> std::io::Result<bool> {
    let there = to.exists();
    if there && same_place(from, to) {
        return Ok(false);
    }
    // A link to a link would dangle when the first one goes.
    let from = &from.canonicalize()?;
    if there {
        return kept(same(from, to)?);
    }
    make_folder(to)?;
    match mode {
        Mode::Copy => return copy(from, to),
        Mode::Move => return std::fs::hard_link(from, to).map(|()| true).or_else(|_| copy(from, to)),
        Mode::Hardlink => std::fs::hard_link(from, to)?,
        Mode::Symlink => std::os::unix::fs::symlink(from, to)?,
        Mode::Relsymlink => std::os::unix::fs::symlink(relative(from, to), to)?,
        Mode::Link | Mode::Auto => std::fs::hard_link(from, to).or_else(|_| std::os::unix::fs::symlink(from, to))?,
        Mode::Direct => return Ok(false),
    }
    Ok(true)
}

/// Nothing has to be done for a file that is there, if it is the same.
fn kept(same: bool) -> std::io::Result<bool> {
    if same { Ok(false) } else { Err(std::io::Error::new(Io::AlreadyExists, "another file is there")) }
}

/// Whether two paths are the same entry of a folder.
fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    place(a).is_some_and(|a| place(b) == Some(a))
}

/// Whether two files are one, or hold the same bytes.
fn same(a: &Path, b: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (left, right) = (a.metadata()?, b.metadata()?);
    if (left.dev(), left.ino()) == (right.dev(), right.ino()) {
        return Ok(true);
    }
    Ok(left.len() == right.len() && std::fs::read(a)? == std::fs::read(b)?)
}

fn make_folder(file: &Path) -> std::io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}

/// Copies a file; returns whether it was this that made it.
fn copy(from: &Path, to: &Path) -> std::io::Result<bool> {
    beside(to, |file| std::fs::copy(from, file).map(|_| ()), |to| same(from, to))
}

/// Writes beside the target and renames, so that no half-written file ever has the name; returns whether it was this that
/// made it.
fn beside(
    to: &Path,
    write: impl Fn(&Path) -> std::io::Result<()>,
    same: impl Fn(&Path) -> std::io::Result<bool>,
) -> std::io::Result<bool> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let beside = tempfile::Builder::new().permissions(mode).tempfile_in(folder)?;
    write(beside.path())?;
    match beside.persist_noclobber(to) {
        Ok(_) => Ok(true),
        // Another writer brought the same file meanwhile.
        Err(e) if e.error.kind() == Io::AlreadyExists && same(to)? => Ok(false),
        Err(e) => Err(e.error),
    }
}

/// `from` as seen from the folder of `to`; both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let base: Vec<_> = to.parent().into_iter().flat_map(Path::components).collect();
    let target: Vec<_> = from.components().collect();
    let shared = base.iter().zip(&target).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", base.len() - shared).map(PathBuf::from);
    up.chain(target[shared..].iter().map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: impl AsRef<Path>) -> Place {
        Place::parse(path.as_ref().to_str().unwrap()).unwrap()
    }

    async fn brought(transfers: &[Transfer]) -> Result<Vec<Place>> {
        let mut made = Vec::new();
        match bring(transfers, &mut made).await {
            Ok(()) => Ok(made),
            Err(e) => {
                take_back(&made).await;
                Err(e)
            }
        }
    }

    #[tokio::test]
    async fn every_mode_brings_the_bytes_and_repeats_harmlessly() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in Mode::ALL.into_iter().filter(|(_, m)| *m != Mode::Direct) {
            let transfer = Transfer {
                from: Content::File(place(dir.path().join(name))),
                to: place(dir.path().join("in/deep").join(name)),
                mode,
            };
            std::fs::write(dir.path().join(name), name).unwrap();
            assert_eq!(brought(std::slice::from_ref(&transfer)).await.unwrap().len(), 1, "{name}");
            assert_eq!(std::fs::read_to_string(transfer.to.local().unwrap()).unwrap(), name);
            assert!(brought(std::slice::from_ref(&transfer)).await.unwrap().is_empty(), "{name}");
            finish(std::slice::from_ref(&transfer), &[]).await.unwrap();
            assert_eq!(dir.path().join(name).exists(), mode != Mode::Move, "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_moved_to_where_it_lies_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "a").unwrap();
        let transfer =
            Transfer { from: Content::File(place(dir.path().join(".").join("a"))), to: place(&path), mode: Mode::Move };
        assert!(brought(std::slice::from_ref(&transfer)).await.unwrap().is_empty());
        finish(&[transfer], &[]).await.unwrap();
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_failure_takes_back_what_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        let good = Transfer { from: Content::File(place(at("a"))), to: place(at("x/a")), mode: Mode::Copy };
        let bad = Transfer { from: Content::File(place(at("missing"))), to: place(at("x/b")), mode: Mode::Copy };
        assert!(brought(&[good, bad]).await.unwrap_err().said().contains("missing"));
        assert!(!at("x/a").exists());
        // Another file of the same size is not taken for this one.
        std::fs::write(at("x/c"), "c").unwrap();
        let other = Transfer { from: Content::File(place(at("a"))), to: place(at("x/c")), mode: Mode::Copy };
        assert!(brought(&[other]).await.unwrap_err().said().contains("another file is there"));
    }
}
