//! Local temporary files: hidden, next to their target, and named after the process that writes them, so that leftovers
//! of killed processes can be distinguished from files in use.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tempfile::{NamedTempFile, TempDir};

/// Prefix of temporary file names.
const PREFIX: &str = ".butlersql-";
/// Suffix of temporary file names.
const SUFFIX: &str = ".tmp";
/// Age after which a temporary file of another machine counts as left over.
const LEFT: Duration = Duration::from_secs(24 * 3600);

/// A process as encoded in the file name: host, process id and start time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    host: String,
    process: u32,
    begin: u64,
}

impl Owner {
    /// Returns the current process.
    fn own() -> &'static Self {
        static OWN: OnceLock<Owner> = OnceLock::new();
        OWN.get_or_init(|| {
            let process = std::process::id();
            Self { host: host(), process, begin: begin(process).unwrap_or(0) }
        })
    }

    /// Parses the name of a temporary file.
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.splitn(4, '.');
        let mut next = || parts.next();
        Some(Self { host: next()?.to_owned(), process: next()?.parse().ok()?, begin: next()?.parse().ok()? })
    }

    /// Returns true if the process has ended, or `None` if unknown because it runs on another host.
    fn has_ended(&self) -> Option<bool> {
        if self.host != Self::own().host {
            return None;
        }
        match begin(self.process) {
            Some(begin) => Some(begin != self.begin),
            // If even process 1 is invisible, processes of other users are hidden and the state is unknown.
            None => begin(1).map(|_| true),
        }
    }
}

/// Returns an identifier of this host and its process namespace, without dots, which separate the parts of the name.
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let name = read("/proc/sys/kernel/hostname");
    let machine = read("/etc/machine-id");
    let digest = sha1_smol::Sha1::from(format!("{name}{machine}{}", namespace.display())).digest().to_string();
    let plain = name.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    format!("{}-{}", plain.take(24).collect::<String>(), &digest[..8])
}

/// Returns the start time of a process in clock ticks since boot.
fn begin(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program name in parentheses may contain any character.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Returns the prefix of temporary file names of this process.
pub(crate) fn prefix() -> String {
    let Owner { host, process, begin } = Owner::own();
    format!("{PREFIX}{host}.{process}.{begin}.")
}

/// Creates a temporary file in a folder.
///
/// # Errors
/// File system errors.
pub(crate) fn create(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    tempfile::Builder::new().prefix(&prefix()).suffix(SUFFIX).permissions(mode).tempfile_in(folder)
}

/// Creates a temporary entry in a folder by a function that fails if the entry exists.
///
/// # Errors
/// Errors of the function.
pub(crate) fn create_by(
    folder: &Path,
    make: impl FnMut(&Path) -> std::io::Result<()>,
) -> std::io::Result<NamedTempFile<()>> {
    tempfile::Builder::new().prefix(&prefix()).suffix(SUFFIX).make_in(folder, make)
}

/// Creates a temporary folder in a folder.
///
/// # Errors
/// File system errors.
pub(crate) fn create_folder(folder: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix(&prefix()).suffix(SUFFIX).tempdir_in(folder)
}

/// Creates a temporary file in the system folder for temporary files.
///
/// # Errors
/// File system errors.
pub(crate) fn scratch() -> std::io::Result<NamedTempFile> {
    static SWEPT: OnceLock<()> = OnceLock::new();
    let folder = std::env::temp_dir();
    SWEPT.get_or_init(|| sweep(&folder));
    create(&folder)
}

/// Returns true if a name is that of a temporary file whose process has ended. Processes of other machines cannot be
/// checked: their files count as left over 24 hours after the last change.
pub(crate) fn is_left(name: &str, changed: impl FnOnce() -> Option<SystemTime>) -> bool {
    let is_old = || changed().and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > LEFT);
    Owner::of(name).is_some_and(|owner| owner.has_ended().unwrap_or_else(is_old))
}

/// Removes the leftovers of processes that have ended from a folder. Leftovers that cannot be removed are logged and
/// kept.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let changed = || entry.metadata().and_then(|found| found.modified()).ok();
        let remove = |path: PathBuf| match entry.file_type() {
            Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(path),
            _ => std::fs::remove_file(path),
        };
        if entry.file_name().to_str().is_some_and(|name| is_left(name, changed))
            && let Err(error) = remove(entry.path())
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!("cannot remove '{}', left by a process that has ended: {error}", entry.path().display());
        }
    }
}

/// Creates a folder and its missing ancestors. Returns the folders that were created, the outermost last.
///
/// # Errors
/// File system errors.
pub(crate) fn make_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
    std::fs::create_dir_all(folder)?;
    Ok(missing)
}

/// Syncs the entries of a folder to disk; file systems that do not support this are ignored.
///
/// # Errors
/// File system errors.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_processes_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let own = create(dir.path()).unwrap();
        let Owner { host, process, begin } = Owner::own().clone();
        assert_eq!(Owner::of(own.path().file_name().unwrap().to_str().unwrap()).as_ref(), Some(Owner::own()));
        let name = |host: &str, process: u32, begin: u64| format!("{PREFIX}{host}.{process}.{begin}.x{SUFFIX}");
        let ended = [name(&host, u32::MAX, begin), name(&host, process, begin + 1)];
        let kept = [
            name("other", u32::MAX, begin),
            ".tmpabcdef".to_owned(),
            "a.fits".to_owned(),
            ".butlersql-x.tmp".to_owned(),
        ];
        ended.iter().chain(&kept).for_each(|name| std::fs::write(dir.path().join(name), "x").unwrap());
        let old = File::options().write(true).open(dir.path().join(&kept[0])).unwrap();
        sweep(dir.path());
        assert!(ended.iter().all(|name| !dir.path().join(name).exists()));
        assert!(own.path().exists() && kept.iter().all(|name| dir.path().join(name).exists()));
        old.set_modified(SystemTime::now() - LEFT - Duration::from_secs(60)).unwrap();
        sweep(dir.path());
        assert!(!dir.path().join(&kept[0]).exists());
    }
}
