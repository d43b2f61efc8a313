//! Tokens and passwords, given as values or in protected files; never displayed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::{Error, Kind, Result};

/// A token or password.
#[derive(Clone)]
pub(crate) struct Secret {
    name: Arc<str>,
    file: Option<PathBuf>,
    known: Arc<Mutex<Option<(String, SystemTime)>>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "of file '{}'", file.display()),
            None => write!(f, "of {}", self.name),
        }
    }
}

impl Secret {
    /// Creates a secret from a value, or from a file if the value looks like a path or is the name of a file.
    ///
    /// # Errors
    /// `Kind::Denied` for a file that does not exist or that other users can read, or for a value that is not valid in
    /// a header.
    pub(crate) fn new(name: &str, given: &str) -> Result<Self> {
        let path = given.strip_prefix("file://").unwrap_or(given);
        let like_a_path = ["/", "./", "../", "~", "$", "file:"].iter().any(|start| given.starts_with(start));
        // A password may look like a path.
        let like_a_path = like_a_path && !name.contains("password");
        let file = (like_a_path || Path::new(path).is_file()).then(|| PathBuf::from(path));
        let known = match &file {
            Some(_) => None,
            None => Some((clean(name, given)?, SystemTime::UNIX_EPOCH)),
        };
        let secret = Self { name: name.into(), file, known: Arc::new(Mutex::new(known)) };
        secret.value()?;
        Ok(secret)
    }

    /// Creates a secret from a value that is not the name of a file.
    ///
    /// # Errors
    /// `Kind::Denied` for a value that is not valid in a header.
    pub(crate) fn literal(name: &str, value: &str) -> Result<Self> {
        let known = Some((clean(name, value)?, SystemTime::UNIX_EPOCH));
        Ok(Self { name: name.into(), file: None, known: Arc::new(Mutex::new(known)) })
    }

    /// Returns the value; a file is read again after it has changed.
    ///
    /// # Errors
    /// As for [`Secret::new`].
    pub(crate) fn value(&self) -> Result<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file {
            let changed = protected(&self.name, file)?;
            if known.as_ref().is_none_or(|(_, when)| *when != changed) {
                let message =
                    |e: std::io::Error| Error::from(e).context(format_args!("{} '{}'", self.name, file.display()));
                *known = Some((clean(&self.name, &std::fs::read_to_string(file).map_err(message)?)?, changed));
            }
        }
        Ok(known.as_ref().map(|(value, _)| value.clone()).unwrap_or_default())
    }
}

/// Returns the modification time of a secret's file, after checking its permissions.
///
/// # Errors
/// `Kind::Denied` when the file does not exist or users other than its owner can read it.
pub(crate) fn protected(name: &str, file: &Path) -> Result<SystemTime> {
    let what = if name.to_lowercase().contains("token") { "token file" } else { "file" };
    let found = std::fs::metadata(file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(Kind::Denied, format!("{name}: {what} '{}' does not exist", file.display()))
        }
        _ => Error::from(e).context(format_args!("{name}: {what} '{}'", file.display())),
    })?;
    if found.permissions().mode() & 0o077 != 0 {
        let message = format!("{name}: {what} '{0}' may be read by others; run chmod 600 '{0}'", file.display());
        return Err(Error::new(Kind::Denied, message));
    }
    Ok(found.modified().unwrap_or(SystemTime::UNIX_EPOCH))
}

fn clean(name: &str, value: &str) -> Result<String> {
    let value = value.trim_end_matches(['\n', '\r']);
    if value.is_empty() || !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(Error::new(Kind::Denied, format!("{name} is empty or has characters invalid in a header")));
    }
    Ok(value.to_owned())
}
