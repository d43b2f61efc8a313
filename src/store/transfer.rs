//! Bringing files into a datastore.

use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

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

/// One file to be brought in.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Where it is.
    pub from: PathBuf,
    /// Where it shall be.
    pub to: PathBuf,
    /// How.
    pub mode: Mode,
}

/// Brings files in; those that are there with the same size are kept. If one fails, those made are taken back.
/// Returns what was made.
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
                take_back(transfers, &made);
                return Err(Error::from(error).context(format_args!(
                    "bringing '{}' to '{}'",
                    transfer.from.display(),
                    transfer.to.display()
                )));
            }
        }
    }
    Ok(made)
}

/// Undoes transfers that were made.
pub fn take_back(transfers: &[Transfer], made: &[PathBuf]) {
    for transfer in transfers.iter().filter(|t| made.contains(&t.to)) {
        // Best effort: the first error is the one to tell.
        let _ = match transfer.mode {
            Mode::Move => std::fs::rename(&transfer.to, &transfer.from),
            _ => std::fs::remove_file(&transfer.to),
        };
    }
}

fn one(transfer: &Transfer) -> std::io::Result<bool> {
    let Transfer { from, to, mode } = transfer;
    if let Ok(there) = to.metadata() {
        let source = from.metadata();
        if source.as_ref().map_or(true, |s| s.len() == there.len()) {
            // Only a move interrupted between rename and commit leaves no source.
            return Ok(false);
        }
        return Err(std::io::Error::new(Io::AlreadyExists, "another file is there"));
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match mode {
        Mode::Copy => copy(from, to)?,
        Mode::Move => {
            std::fs::rename(from, to).or_else(|_| copy(from, to).and_then(|()| std::fs::remove_file(from)))?
        }
        Mode::Hardlink => std::fs::hard_link(from, to)?,
        Mode::Symlink => std::os::unix::fs::symlink(from, to)?,
        Mode::Relsymlink => std::os::unix::fs::symlink(relative(from, to), to)?,
        Mode::Link | Mode::Auto => std::fs::hard_link(from, to).or_else(|_| std::os::unix::fs::symlink(from, to))?,
        Mode::Direct => return Ok(false),
    }
    Ok(true)
}

/// Copies beside the target and renames, so that no half-written file ever has the name.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let beside = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::copy(from, beside.path())?;
    beside.persist(to).map_err(|e| e.error)?;
    Ok(())
}

/// `from` as seen from the folder of `to`; both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let base: Vec<_> = to.parent().into_iter().flat_map(Path::components).collect();
    let target: Vec<_> = from.components().collect();
    let shared = base.iter().zip(&target).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", base.len() - shared).map(PathBuf::from);
    up.chain(target[shared..].iter().map(PathBuf::from)).collect()
}

/// Refuses a file that is not there, before anything is written.
///
/// # Errors
/// No such file.
pub fn check_source(path: &Path) -> Result<u64> {
    match path.metadata() {
        Ok(found) if found.is_file() => Ok(found.len()),
        _ => Err(Error::new(Kind::NotFound, format!("file '{}' does not exist", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_brings_the_bytes_and_repeats_harmlessly() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in Mode::ALL.into_iter().filter(|(_, m)| *m != Mode::Direct) {
            let transfer = Transfer { from: dir.path().join(name), to: dir.path().join("in/deep").join(name), mode };
            std::fs::write(&transfer.from, name).unwrap();
            assert_eq!(bring(std::slice::from_ref(&transfer)).unwrap().len(), 1, "{name}");
            assert_eq!(std::fs::read_to_string(&transfer.to).unwrap(), name);
            assert!(bring(&[transfer]).unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn a_failure_takes_back_what_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        let good = Transfer { from: at("a"), to: at("x/a"), mode: Mode::Copy };
        let bad = Transfer { from: at("missing"), to: at("x/b"), mode: Mode::Copy };
        assert!(bring(&[good, bad]).unwrap_err().said().contains("missing"));
        assert!(!at("x/a").exists());
    }
}
