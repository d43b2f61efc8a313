//! Bringing files into a datastore.

use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::{Error, Result};

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
    File(PathBuf),
    /// Bytes that are no file yet: whatever the mode, they are written.
    Bytes(Bytes),
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "'{}'", path.display()),
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
    pub to: PathBuf,
    /// How.
    pub mode: Mode,
}

/// Brings files in; those that are there with the same content are kept. If one fails, those made are taken back.
/// The source of a move stays until [`finish`]. Returns what was made.
///
/// # Errors
/// What the file system says, naming the file.
pub fn bring(transfers: &[Transfer]) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for transfer in transfers {
        match one(transfer) {
            Ok(true) => made.push(transfer.to.clone()),
            Ok(false) => {}
            Err(error) => {
                take_back(&made);
                return Err(Error::from(error).context(format_args!(
                    "bringing {} to '{}'",
                    transfer.from,
                    transfer.to.display()
                )));
            }
        }
    }
    Ok(made)
}

/// Undoes transfers that were made: no source has gone yet.
pub fn take_back(made: &[PathBuf]) {
    for path in made {
        // Best effort: the first error is the one to tell.
        let _ = std::fs::remove_file(path);
    }
}

/// Ends moves once the registry knows the files: their sources go.
///
/// # Errors
/// What the file system says, naming the file.
pub fn finish(transfers: &[Transfer]) -> Result<()> {
    for transfer in transfers.iter().filter(|t| t.mode == Mode::Move) {
        let Content::File(from) = &transfer.from else { continue };
        // A file that lies at its place already has not moved.
        if same_place(from, &transfer.to) {
            continue;
        }
        match std::fs::remove_file(from) {
            Err(e) if e.kind() != Io::NotFound => {
                return Err(Error::from(e).context(format_args!("removing '{}'", from.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

fn one(transfer: &Transfer) -> std::io::Result<bool> {
    let Transfer { from, to, mode } = transfer;
    let there = to.exists();
    let from = match from {
        Content::File(from) if there && same_place(from, to) => return Ok(false),
        // A link to a link would dangle when the first one goes.
        Content::File(from) => &from.canonicalize()?,
        Content::Bytes(bytes) if there => return kept(std::fs::read(to)? == bytes[..]),
        Content::Bytes(bytes) => {
            make_folder(to)?;
            return beside(to, |file| std::fs::write(file, bytes), |to| Ok(std::fs::read(to)? == bytes[..]));
        }
    };
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

    #[test]
    fn every_mode_brings_the_bytes_and_repeats_harmlessly() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in Mode::ALL.into_iter().filter(|(_, m)| *m != Mode::Direct) {
            let transfer = Transfer {
                from: Content::File(dir.path().join(name)),
                to: dir.path().join("in/deep").join(name),
                mode,
            };
            std::fs::write(dir.path().join(name), name).unwrap();
            assert_eq!(bring(std::slice::from_ref(&transfer)).unwrap().len(), 1, "{name}");
            assert_eq!(std::fs::read_to_string(&transfer.to).unwrap(), name);
            assert!(bring(std::slice::from_ref(&transfer)).unwrap().is_empty(), "{name}");
            finish(std::slice::from_ref(&transfer)).unwrap();
            assert_eq!(dir.path().join(name).exists(), mode != Mode::Move, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_moved_to_where_it_lies_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "a").unwrap();
        let transfer =
            Transfer { from: Content::File(dir.path().join(".").join("a")), to: path.clone(), mode: Mode::Move };
        assert!(bring(std::slice::from_ref(&transfer)).unwrap().is_empty());
        finish(&[transfer]).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_failure_takes_back_what_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        let good = Transfer { from: Content::File(at("a")), to: at("x/a"), mode: Mode::Copy };
        let bad = Transfer { from: Content::File(at("missing")), to: at("x/b"), mode: Mode::Copy };
        assert!(bring(&[good, bad]).unwrap_err().said().contains("missing"));
        assert!(!at("x/a").exists());
        // Another file of the same size is not taken for this one.
        std::fs::write(at("x/c"), "c").unwrap();
        let other = Transfer { from: Content::File(at("a")), to: at("x/c"), mode: Mode::Copy };
        assert!(bring(&[other]).unwrap_err().said().contains("another file is there"));
    }
}
