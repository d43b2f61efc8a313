//! Finds the configuration of the repository that a user names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Kind, Result, hint};
use crate::format::butler_yaml::Config;
use crate::store::{FileType, Location, local_path};

/// Maximum size in bytes of a configuration.
const LIMIT: u64 = 4 << 20;

/// The first bytes of an SQLite database.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// The location of a repository's configuration file; its folder is `<butlerRoot>` unless the configuration has a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigLocation {
    /// Configuration file.
    pub file: Location,
}

impl ConfigLocation {
    /// Finds a repository by label, folder or configuration file; the file need not exist.
    ///
    /// # Errors
    /// `Kind::Unsupported` for another URI scheme, `Kind::Invalid` for the URL of a registry database.
    pub(crate) async fn find(given: &str) -> Result<Self> {
        // As in the Butler, an unreadable repository index is ignored, and names are treated as paths.
        let labels = labels().await.unwrap_or_default();
        let given = labels.get(given).map_or(given, String::as_str);
        if given.starts_with("postgresql:") || given.starts_with("postgresql+") || given.starts_with("sqlite:") {
            let message =
                "a repository is named by its folder or its butler.yaml, not by the URL of its registry database";
            return Err(Error::invalid(message));
        }
        let place = Location::parse(given)?;
        let named = [".yaml", ".yml"].iter().any(|end| place.name().ends_with(end));
        let is_file = match place.is_local() {
            true => {
                matches!(place.stat().await, Ok(FileType::File(_)))
                    || named && place.stat().await? != FileType::Directory
            }
            false => named,
        };
        Ok(Self { file: if is_file { place } else { place.child("butler.yaml") } })
    }

    /// Reads the configuration; `None` if the file does not exist.
    ///
    /// # Errors
    /// A file that cannot be read or is not a configuration.
    pub(crate) async fn read(&self) -> Result<Option<Config>> {
        let named = |e: Error| e.context(format_args!("configuration '{}'", self.file.display()));
        if self.file.local().is_ok_and(|path| is_sqlite(&path)) {
            let message = format!(
                "'{}' is an SQLite database, perhaps of a registry; a repository is named by its folder: '{}'",
                self.file.display(),
                self.file.parent().display()
            );
            return Err(Error::invalid(message));
        }
        let bytes = match self.file.read(LIMIT).await {
            Err(e) if e.kind() == Kind::NotFound => return Ok(None),
            read => read.map_err(named)?,
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| named(Error::invalid("it is not UTF-8")))?;
        Config::parse(text).map(Some).map_err(named)
    }

    /// Returns the error for a repository that does not exist.
    pub(crate) async fn missing(&self, given: &str) -> Error {
        let labels = labels().await.unwrap_or_default();
        let near = hint(given, labels.keys().map(String::as_str).filter(|label| *label != given));
        let file = self.file.display();
        Error::new(Kind::NotFound, format!("repository '{given}' does not exist: file '{file}' not found{near}"))
    }

    /// Returns the root of the repository, `<butlerRoot>`.
    pub(crate) fn root(&self, config: &Config) -> String {
        let root = config.text(&["root"]).map(|root| match local_path(root) {
            Some(path) => path.display().to_string(),
            None => root.to_owned(),
        });
        root.map_or_else(|| self.file.parent().display(), |root| root.trim_end_matches('/').to_owned())
    }
}

fn is_sqlite(path: &Path) -> bool {
    let mut head = [0; SQLITE.len()];
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *SQLITE
}

/// Returns the labels of the repository index, if exactly one index is configured.
async fn labels() -> Result<BTreeMap<String, String>> {
    let file = std::env::var("DAF_BUTLER_REPOSITORY_INDEX").ok().filter(|v| !v.is_empty());
    let text = std::env::var("DAF_BUTLER_REPOSITORIES").ok().filter(|v| !v.is_empty());
    let (text, named) = match (file, text) {
        (Some(file), None) => {
            let named = format!("repository index '{file}'");
            let bytes = Location::parse(&file)?.read(LIMIT).await?;
            (String::from_utf8_lossy(&bytes).into_owned(), named)
        }
        (None, Some(text)) => (text, "DAF_BUTLER_REPOSITORIES".to_owned()),
        // If both variables are set, the lookup of the Butler fails too, and names are treated as paths.
        _ => return Ok(BTreeMap::new()),
    };
    serde_yaml::from_str(&text)
        .map_err(|e| Error::invalid(format!("{named} does not map labels to locations: {e}")).with_source(e))
}
