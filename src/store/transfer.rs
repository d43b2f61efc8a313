//! Transferring files into a datastore.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::join_all;

use super::digest::digest;
use super::local::{placed, same, same_place, written};
use super::transfer_mode::TransferMode;
use super::{FileType, Location, temporary};
use crate::error::{Error, Kind, Result};

/// The source of a transfer.
#[derive(Debug, Clone)]
pub(crate) enum TransferSource {
    /// An existing file.
    File(Location),
    /// Bytes in memory, which are written in any transfer mode.
    Bytes(Bytes),
}

impl std::fmt::Display for TransferSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(location) => write!(f, "'{}'", location.display()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// A transfer of one file.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    /// Source.
    pub from: TransferSource,
    /// Target.
    pub to: Location,
    /// Transfer mode.
    pub mode: TransferMode,
}

/// Number of concurrent transfers.
const AT_ONCE: usize = 16;
/// Number of files that are transferred one after the other before errors are looked at.
const IN_TURN: usize = 64;

/// Folders whose entries have changed and must be synced to disk.
type Changed = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Transfers files and appends the targets that were created to `made`; after an error, the caller rolls them back. A
/// target that exists with the same content is kept. The source of a move is kept until [`remove_sources`]. On success,
/// local files and folders are synced to disk, so that the registry can refer to them.
///
/// # Errors
/// Errors of the file system or the server, with the file name; `Kind::Exists` when a different file exists.
pub(crate) async fn transfer_all(transfers: &[Transfer], made: &mut Vec<Location>) -> Result<()> {
    sweep(transfers).await;
    let changed = Changed::default();
    for some in transfers.chunks(AT_ONCE * IN_TURN) {
        let parts = some.chunks(some.len().div_ceil(AT_ONCE));
        // Waits for all parts, so that none is interrupted when another fails.
        let done = join_all(parts.clone().map(|part| several(part, &changed))).await;
        let mut failed = None;
        for (transfer, done) in parts.zip(done).flat_map(|(part, done)| part.iter().zip(done)) {
            match done {
                Ok(true) => made.push(transfer.to.clone()),
                Ok(false) => {}
                Err(error) => failed = failed.or(Some((transfer, error))),
            }
        }
        if let Some((transfer, error)) = failed {
            return Err(error.context(format_args!("transferring {} to '{}'", transfer.from, transfer.to.display())));
        }
    }
    let folders = std::mem::take(&mut *changed.lock().unwrap_or_else(PoisonError::into_inner));
    blocking(move || folders.iter().try_for_each(|folder| temporary::sync_folder(folder))).await
}

/// Removes the leftovers of killed processes from the target folders. Errors are only logged.
async fn sweep(transfers: &[Transfer]) {
    let mut seen = HashSet::new();
    let folders = transfers.iter().map(|transfer| transfer.to.parent()).filter(|folder| seen.insert(folder.display()));
    for folder in folders {
        if let Err(error) = folder.sweep().await {
            tracing::warn!("leftovers of killed processes stay in '{}': {error}", folder.display());
        }
    }
}

/// Removes transferred files after an error; sources still exist. Errors are only logged, because the first error is
/// reported.
pub(crate) async fn rollback(made: &[Location]) {
    for (done, location) in made.iter().enumerate() {
        if let Err(e) = location.remove().await
            && matches!(e.kind(), Kind::Unreachable | Kind::Denied)
        {
            tracing::warn!(
                "{} orphaned files remain in the datastore, the first is '{}': {e}",
                made.len() - done,
                location.display()
            );
            return;
        }
    }
}

/// Removes the sources of moves after the registry has recorded the targets. Returns the number of removed files. A
/// source is removed only if the target is a separate file with the same bytes. On a server, where two names may denote
/// one file, this is known only for targets in `made`, which this run created.
///
/// # Errors
/// Errors of the file system or the server, with the file name.
pub(crate) async fn remove_sources(transfers: &[Transfer], made: &[Location]) -> Result<u64> {
    let made: HashSet<String> = made.iter().map(Location::display).collect();
    let mut removed = 0;
    for transfer in transfers.iter().filter(|t| t.mode == TransferMode::Move) {
        let TransferSource::File(from) = &transfer.from else { continue };
        let is_made = made.contains(&transfer.to.display());
        let is_safe = match (from.local(), transfer.to.local()) {
            (Ok(from), Ok(to)) => blocking(move || is_spare(&from, &to, is_made)).await,
            _ => Ok(is_made),
        };
        let done = match is_safe {
            Ok(true) => from.remove().await.map(|()| true),
            other => other,
        };
        match done {
            Ok(done) => removed += u64::from(done),
            // The source was removed before.
            Err(e) if e.kind() == Kind::NotFound => {}
            Err(e) => return Err(e.context(format_args!("removing '{}'", from.display()))),
        }
    }
    Ok(removed)
}

/// Returns the moves whose sources an earlier, interrupted run did not remove.
///
/// # Errors
/// File system errors.
pub(crate) async fn unfinished_moves(mut moves: Vec<Transfer>) -> Result<Vec<Transfer>> {
    blocking(move || {
        moves.retain(|transfer| match (&transfer.from, transfer.to.local()) {
            (TransferSource::File(from), Ok(to)) => {
                from.local().is_ok_and(|from| from.exists() && !same_place(&from, &to))
            }
            _ => false,
        });
        Ok(moves)
    })
    .await
}

/// Returns true if the source of a move can be removed without loss: the target is a separate file with the same bytes,
/// not a link to the source or the source itself under another path.
fn is_spare(from: &Path, to: &Path, is_made: bool) -> std::io::Result<bool> {
    let (source, target) = (from.metadata()?, to.symlink_metadata()?);
    if !target.is_file() || same_place(from, to) {
        return Ok(false);
    }
    let one_inode = source.ino() == target.ino();
    if one_inode && source.dev() == target.dev() {
        return Ok(target.nlink() > 1);
    }
    // Inode numbers alone are compared because a server may be mounted twice.
    if one_inode && source.len() == target.len() && source.mtime() == target.mtime() {
        return Ok(false);
    }
    Ok(is_made || same(from, to)?)
}

/// Transfers files one after the other until one fails; local files on one thread.
async fn several(transfers: &[Transfer], changed: &Changed) -> Vec<Result<bool>> {
    let local = |transfer: &Transfer| match &transfer.from {
        TransferSource::File(from) => Some((from.local().ok()?, transfer.to.local().ok()?, transfer.mode)),
        TransferSource::Bytes(_) => None,
    };
    let mut done = Vec::with_capacity(transfers.len());
    let Some(files) = transfers.iter().map(local).collect::<Option<Vec<_>>>() else {
        for transfer in transfers {
            done.push(one(transfer, changed).await);
            if done.last().is_some_and(Result::is_err) {
                break;
            }
        }
        return done;
    };
    let changed = Arc::clone(changed);
    let work = move || {
        for (from, to, mode) in &files {
            done.push(noted(to, &changed, || placed(from, to, *mode)).map_err(Error::from));
            if done.last().is_some_and(Result::is_err) {
                break;
            }
        }
        Ok(done)
    };
    blocking(work).await.unwrap_or_else(|error| vec![Err(error)])
}

/// Transfers one file. Returns true if this call created the target.
async fn one(transfer: &Transfer, changed: &Changed) -> Result<bool> {
    let Transfer { from, to, mode } = transfer;
    let changed = Arc::clone(changed);
    match (from, to.local()) {
        (TransferSource::Bytes(bytes), Ok(to)) => {
            let bytes = bytes.clone();
            blocking(move || noted(&to, &changed, || written(&bytes, &to))).await
        }
        (TransferSource::File(from), Ok(to)) if from.is_local() => {
            let (from, mode) = (from.local()?, *mode);
            blocking(move || noted(&to, &changed, || placed(&from, &to, mode))).await
        }
        _ => remote(from, to, *mode).await,
    }
}

/// Creates a local target and its folder, and records the folders that have new entries.
fn noted(to: &Path, changed: &Changed, make: impl FnOnce() -> std::io::Result<bool>) -> std::io::Result<bool> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    let new = temporary::make_folder(folder)?;
    let changed = || changed.lock().unwrap_or_else(PoisonError::into_inner);
    changed().extend(new.iter().filter_map(|folder| folder.parent()).map(Path::to_owned));
    let made = make()?;
    // An existing file counts too: the run that created it may have been killed before this sync.
    changed().insert(folder.to_owned());
    Ok(made)
}

/// Runs blocking work on a thread pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// Transfers a file to or from a server. Returns true if this call created the target.
async fn remote(from: &TransferSource, to: &Location, mode: TransferMode) -> Result<bool> {
    if let TransferSource::File(from) = from {
        if mode == TransferMode::Direct || from == to {
            return Ok(false);
        }
        if !matches!(mode, TransferMode::Auto | TransferMode::Copy | TransferMode::Move) {
            let name = TransferMode::ALL.into_iter().find(|(_, m)| *m == mode).map_or("", |(name, _)| name);
            let message =
                format!("transfer mode '{name}' requires local files; WebDAV servers support copy, move and direct");
            return Err(Error::new(Kind::Unsupported, message));
        }
    }
    for last in [false, true] {
        if to.stat().await? != FileType::Missing {
            let same = match from {
                TransferSource::Bytes(bytes) => to.digest().await? == digest(bytes),
                TransferSource::File(from) => to.digest().await? == from.digest().await?,
            };
            return if same { Ok(false) } else { Err(Error::new(Kind::Exists, "a different file exists")) };
        }
        let made = match from {
            TransferSource::Bytes(bytes) => to.write(bytes.clone()).await,
            TransferSource::File(from) => from.copy(to).await,
        };
        match made {
            // Another writer created a file concurrently.
            Err(e) if e.kind() == Kind::Exists && !last => {}
            made => return made.map(|()| true),
        }
    }
    Err(Error::bug("a file both exists and does not exist"))
}

#[cfg(test)]
mod tests;
