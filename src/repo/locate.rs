//! From what a user writes for a repository to its configuration.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Kind, Result, hint};
use crate::format::bounded;
use crate::format::butler_yaml::Config;
use crate::store::local_path;

/// The most bytes a configuration is read with.
const LIMIT: u64 = 4 << 20;

/// Where the configuration of a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The configuration file.
    pub file: String,
    /// The folder it is in: `<butlerRoot>` unless the configuration says otherwise.
    pub folder: String,
}

impl Located {
    /// Finds a repository by label, folder or configuration file; the file need not exist.
    ///
    /// # Errors
    /// A location that is not in the local file system, or a repository index that cannot be read.
    pub fn find(given: &str) -> Result<Self> {
        // As in the Butler, an index that cannot be read leaves paths as they are.
        let given = labels().unwrap_or_default().get(given).cloned().unwrap_or_else(|| given.to_owned());
        let path = local_path(&given).ok_or_else(|| {
            let scheme = given.split("://").next().unwrap_or_default();
            Error::new(Kind::Unsupported, format!("repositories at {scheme}:// are not supported yet ('{given}')"))
        })?;
        let path = std::path::absolute(path)?;
        let is_file = path.is_file() || path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let file = if is_file && !path.is_dir() { path } else { path.join("butler.yaml") };
        let folder = file.parent().unwrap_or(Path::new("/"));
        Ok(Self { file: file.display().to_string(), folder: folder.display().to_string() })
    }

    /// The configuration, or nothing when the file does not exist.
    ///
    /// # Errors
    /// A file that cannot be read or is no configuration.
    pub fn read(&self) -> Result<Option<Config>> {
        let named = |e: Error| e.context(format_args!("configuration '{}'", self.file));
        match std::fs::metadata(&self.file) {
            Ok(found) => bounded(&format!("configuration '{}'", self.file), found.len(), LIMIT)?,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(named(e.into())),
        }
        let text = std::fs::read_to_string(&self.file).map_err(|e| named(e.into()))?;
        Config::parse(&text).map(Some).map_err(named)
    }

    /// The sentence for a repository that is not there.
    pub fn missing(&self, given: &str) -> Error {
        let labels = labels().unwrap_or_default();
        let near = hint(given, labels.keys().map(String::as_str).filter(|label| *label != given));
        Error::new(Kind::NotFound, format!("repository '{given}' does not exist: there is no '{}'{near}", self.file))
    }

    /// Where `<butlerRoot>` is, by the configuration.
    pub fn root(&self, config: &Config) -> String {
        let told = config.text(&["root"]).map(|root| match local_path(root) {
            Some(path) => path.display().to_string(),
            None => root.to_owned(),
        });
        told.map_or_else(|| self.folder.clone(), |root| root.trim_end_matches('/').to_owned())
    }
}

/// The labels of the repository index, when there is exactly one index.
fn labels() -> Result<BTreeMap<String, String>> {
    let file = std::env::var("DAF_BUTLER_REPOSITORY_INDEX").ok().filter(|v| !v.is_empty());
    let text = std::env::var("DAF_BUTLER_REPOSITORIES").ok().filter(|v| !v.is_empty());
    let (text, named) = match (file, text) {
        (Some(file), None) => {
            let named = format!("repository index '{file}'");
            let path = local_path(&file)
                .ok_or_else(|| Error::new(Kind::Unsupported, format!("{named} is not in the local file system")))?;
            (std::fs::read_to_string(path).map_err(|e| Error::from(e).context(&named))?, named)
        }
        (None, Some(text)) => (text, "DAF_BUTLER_REPOSITORIES".to_owned()),
        // With both the Butler's look-up fails too, and names are paths.
        _ => return Ok(BTreeMap::new()),
    };
    serde_yaml::from_str(&text)
        .map_err(|e| Error::invalid(format!("{named} does not map labels to locations: {e}")).because(e))
}
