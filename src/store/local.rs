//! Creating and transferring local files atomically.

use std::fs::File;
use std::io::{ErrorKind as Io, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::temporary;
use super::transfer_mode::TransferMode;

/// Writes bytes to a local file. Returns true if the file is new.
pub(super) fn written(bytes: &Bytes, to: &Path) -> std::io::Result<bool> {
    if to.exists() {
        return kept(std::fs::read(to)? == bytes[..]);
    }
    if to.is_symlink() {
        // The target is a dangling link.
        let file = temporary::create(to.parent().unwrap_or(Path::new("/")))?;
        std::fs::write(file.path(), bytes)?;
        file.persist(to).map_err(|e| e.error)?;
        return Ok(true);
    }
    beside(to, |file| std::fs::write(file, bytes), |to| Ok(std::fs::read(to)? == bytes[..]))
}

/// Creates a local file that does not exist yet.
pub(super) fn make_file(to: &Path, write: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    let new = temporary::make_folder(folder)?;
    beside(to, write, |_| Ok(false))?;
    new.iter().filter_map(|folder| folder.parent()).chain([folder]).try_for_each(temporary::sync_folder)
}

/// Transfers a local file to a local path. Returns true if the target is new or was replaced.
pub(super) fn placed(from: &Path, to: &Path, mode: TransferMode) -> std::io::Result<bool> {
    if mode == TransferMode::Direct {
        return Ok(false);
    }
    let there = to.symlink_metadata();
    if there.is_ok() && same_place(from, to) {
        return Ok(false);
    }
    // Most files are linked under their own names: canonical paths cost a system call for each part.
    let is_linkable =
        matches!(mode, TransferMode::Hardlink | TransferMode::Link | TransferMode::Auto | TransferMode::Move);
    let is_new = there.as_ref().is_err_and(|e| e.kind() == Io::NotFound);
    if is_linkable && is_new && from.symlink_metadata()?.is_file() && std::fs::hard_link(from, to).is_ok() {
        return Ok(true);
    }
    // A link to a link would dangle when the first one is removed.
    let from = &from.canonicalize()?;
    let is_link_to_stay =
        matches!(mode, TransferMode::Symlink | TransferMode::Relsymlink | TransferMode::Link | TransferMode::Auto);
    match there {
        Err(e) if e.kind() == Io::NotFound => {}
        Err(e) => return Err(e),
        Ok(there) if !there.is_symlink() => return kept(same(from, to)?),
        Ok(_) if to.exists() && (is_link_to_stay || !same(from, to)?) => return kept(same(from, to)?),
        // The target is a link to the source where a separate file is wanted, or a dangling link.
        Ok(_) => return replaced(from, to, mode),
    }
    let made = match mode {
        TransferMode::Copy | TransferMode::Direct => return copy(from, to),
        TransferMode::Move => return std::fs::hard_link(from, to).map(|()| true).or_else(|_| copy(from, to)),
        TransferMode::Hardlink => std::fs::hard_link(from, to),
        TransferMode::Symlink => symlink(from, to),
        TransferMode::Relsymlink => symlink(relative(from, to), to),
        TransferMode::Link | TransferMode::Auto => std::fs::hard_link(from, to).or_else(|_| symlink(from, to)),
    };
    match made {
        // Another writer created the target concurrently.
        Err(e) if e.kind() == Io::AlreadyExists => kept(same(from, to)?),
        made => made.map(|()| true),
    }
}

/// Replaces a link by a file atomically, so that a reader sees either the one or the other.
fn replaced(from: &Path, to: &Path, mode: TransferMode) -> std::io::Result<bool> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    let require_size = |file: &Path| {
        std::fs::copy(from, file)?;
        File::open(file)?.sync_all()
    };
    let entry = temporary::create_by(folder, |file| match mode {
        TransferMode::Symlink => symlink(from, file),
        TransferMode::Relsymlink => symlink(relative(from, to), file),
        TransferMode::Hardlink => std::fs::hard_link(from, file),
        TransferMode::Link | TransferMode::Auto => std::fs::hard_link(from, file).or_else(|_| symlink(from, file)),
        TransferMode::Move => std::fs::hard_link(from, file).or_else(|_| require_size(file)),
        TransferMode::Copy | TransferMode::Direct => require_size(file),
    })?;
    entry.persist(to).map_err(|e| e.error)?;
    Ok(true)
}

/// Accepts an existing target if it is the same file.
fn kept(same: bool) -> std::io::Result<bool> {
    if same { Ok(false) } else { Err(std::io::Error::new(Io::AlreadyExists, "a different file exists")) }
}

/// Returns true if two paths denote the same directory entry.
pub(super) fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    place(a).is_some_and(|a| place(b) == Some(a))
}

/// Returns true if two paths lead to the same file, or to files with the same bytes.
pub(super) fn same(a: &Path, b: &Path) -> std::io::Result<bool> {
    let (left, right) = (a.metadata()?, b.metadata()?);
    if (left.dev(), left.ino()) == (right.dev(), right.ino()) {
        return Ok(true);
    }
    if left.len() != right.len() {
        return Ok(false);
    }
    let [mut left, mut right] = [File::open(a)?, File::open(b)?];
    let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
    loop {
        let [one, other] = &mut pieces;
        let read = fill(&mut left, one)?;
        if read != fill(&mut right, other)? || one[..read] != other[..read] {
            return Ok(false);
        }
        if read < PIECE {
            return Ok(true);
        }
    }
}

/// Number of bytes that are compared at once.
const PIECE: usize = 1 << 20;

/// Reads until the buffer is full or the file ends. Returns the number of bytes read.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Copies a file. Returns true if this call created the target.
fn copy(from: &Path, to: &Path) -> std::io::Result<bool> {
    beside(to, |file| std::fs::copy(from, file).map(|_| ()), |to| same(from, to))
}

/// Writes to a temporary file in the same folder, syncs it and renames it, so that the target never exists
/// half-written. Returns true if this call created the target.
fn beside(
    to: &Path,
    write: impl Fn(&Path) -> std::io::Result<()>,
    same: impl Fn(&Path) -> std::io::Result<bool>,
) -> std::io::Result<bool> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let beside = temporary::create(folder)?;
    write(beside.path())?;
    beside.as_file().sync_all()?;
    match beside.persist_noclobber(to) {
        Ok(_) => Ok(true),
        // Another writer created the same file concurrently.
        Err(e) if e.error.kind() == Io::AlreadyExists && same(to)? => Ok(false),
        Err(e) => Err(e.error),
    }
}

/// Returns `from` relative to the folder of `to`; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let base: Vec<_> = to.parent().into_iter().flat_map(Path::components).collect();
    let target: Vec<_> = from.components().collect();
    let shared = base.iter().zip(&target).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", base.len() - shared).map(PathBuf::from);
    up.chain(target[shared..].iter().map(PathBuf::from)).collect()
}
