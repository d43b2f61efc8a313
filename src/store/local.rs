//! How a local file gets to its place, whole or not at all.

use std::fs::File;
use std::io::{ErrorKind as Io, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::temporary;
use super::transfer::TransferMode;

/// Writes bytes to a local file.
pub fn written(bytes: &Bytes, to: &Path) -> std::io::Result<bool> {
    if to.exists() {
        return kept(std::fs::read(to)? == bytes[..]);
    }
    if to.is_symlink() {
        // To what is gone.
        let file = temporary::create(to.parent().unwrap_or(Path::new("/")))?;
        std::fs::write(file.path(), bytes)?;
        file.persist(to).map_err(|e| e.error)?;
        return Ok(true);
    }
    beside(to, |file| std::fs::write(file, bytes), |to| Ok(std::fs::read(to)? == bytes[..]))
}

/// Makes a local file where none is.
pub fn make_file(to: &Path, write: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    let new = temporary::make_folder(folder)?;
    beside(to, write, |_| Ok(false))?;
    new.iter().filter_map(|folder| folder.parent()).chain([folder]).try_for_each(temporary::sync_folder)
}

/// Brings a local file to a local place.
pub fn placed(from: &Path, to: &Path, mode: TransferMode) -> std::io::Result<bool> {
    if mode == TransferMode::Direct || same_place(from, to) {
        return Ok(false);
    }
    // A link to a link would dangle when the first one goes.
    let from = &from.canonicalize()?;
    let is_link_to_stay =
        matches!(mode, TransferMode::Symlink | TransferMode::Relsymlink | TransferMode::Link | TransferMode::Auto);
    match to.symlink_metadata() {
        Err(e) if e.kind() == Io::NotFound => {}
        Err(e) => return Err(e),
        Ok(there) if !there.is_symlink() => return kept(same(from, to)?),
        Ok(_) if to.exists() && (is_link_to_stay || !same(from, to)?) => return kept(same(from, to)?),
        // A link to the source, where a file of its own should be; or one to what is gone.
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
        // Another writer brought the same file meanwhile.
        Err(e) if e.kind() == Io::AlreadyExists => kept(same(from, to)?),
        made => made.map(|()| true),
    }
}

/// Puts a file in the place of a link in one step, so that a reader finds the one or the other.
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

/// Nothing has to be done for a file that is there, if it is the same.
fn kept(same: bool) -> std::io::Result<bool> {
    if same { Ok(false) } else { Err(std::io::Error::new(Io::AlreadyExists, "another file is there")) }
}

/// Whether two paths are the same entry of a folder.
pub fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    place(a).is_some_and(|a| place(b) == Some(a))
}

/// Whether two files are one, or hold the same bytes.
pub fn same(a: &Path, b: &Path) -> std::io::Result<bool> {
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

/// How many bytes are compared at once.
const PIECE: usize = 1 << 20;

/// Reads as much as there is, up to the size of the buffer.
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

/// Copies a file; returns whether it was this that made it.
fn copy(from: &Path, to: &Path) -> std::io::Result<bool> {
    beside(to, |file| std::fs::copy(from, file).map(|_| ()), |to| same(from, to))
}

/// Writes to a temporary file in the same folder, syncs it and renames it, so that no half-written file ever has the name;
/// returns whether it was this that made it.
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
