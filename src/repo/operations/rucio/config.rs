//! The configuration of a registration: the file of `rucio-register`, and arguments that replace its values.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::rucio::did::Did;
use crate::store::Location;

/// Arguments of a registration.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegisterOptions {
    /// Configuration file of `rucio-register`; by default that of the variable `RUCIO_REGISTER_CONFIG`.
    pub config: Option<String>,
    /// Storage element of the files.
    pub rse: Option<String>,
    /// Scope of the files and the dataset.
    pub scope: Option<String>,
    /// The start of the paths of files, which is taken off.
    pub rse_root: Option<String>,
    /// The start of the URIs of files at the storage element.
    pub dtn_url: Option<String>,
    /// Number of files in one request.
    pub chunk_size: usize,
}

/// How files are named in Rucio.
#[derive(Debug, Clone)]
pub(crate) struct RegisterConfig {
    /// Storage element of the files.
    pub rse: String,
    /// Scope of the files and the dataset.
    pub scope: String,
    /// The start of the paths of files, which is taken off.
    pub rse_root: String,
    /// The start of the URIs of files at the storage element.
    pub dtn_url: String,
}

#[derive(Deserialize, Default)]
struct File {
    rucio_rse: Option<String>,
    scope: Option<String>,
    rse_root: Option<String>,
    dtn_url: Option<String>,
}

impl RegisterOptions {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `Kind::Invalid` for a value that neither the file nor an argument sets; a file that cannot be read.
    pub(crate) fn resolve(&self) -> Result<RegisterConfig> {
        let variable = std::env::var("RUCIO_REGISTER_CONFIG").ok().filter(|file| !file.is_empty());
        let file = match self.config.clone().or(variable) {
            Some(path) => {
                let named = |e: Error| e.context(format_args!("configuration '{path}'"));
                let text = std::fs::read_to_string(&path).map_err(|e| named(e.into()))?;
                serde_yaml::from_str(&text).map_err(|e| named(Error::invalid(e.to_string())))?
            }
            None => File::default(),
        };
        let needed = |name: &str, argument: &Option<String>, value: Option<String>| {
            argument.clone().or(value).ok_or_else(|| {
                Error::invalid(format!("'{name}' is set neither by an argument nor by rucio_register_config"))
            })
        };
        Ok(RegisterConfig {
            rse: needed("rucio_rse", &self.rse, file.rucio_rse)?,
            scope: needed("scope", &self.scope, file.scope)?,
            rse_root: needed("rse_root", &self.rse_root, file.rse_root)?,
            dtn_url: needed("dtn_url", &self.dtn_url, file.dtn_url)?,
        })
    }
}

impl RegisterConfig {
    /// Returns the dataset of this name.
    ///
    /// # Errors
    /// `Kind::Invalid` for a name that cannot be registered.
    pub(super) fn did(&self, dataset: &str) -> Result<Did> {
        if dataset.contains(':') {
            return Err(Error::invalid(format!(
                "'{dataset}' has a colon: a dataset of Rucio is named without its scope"
            )));
        }
        let did = Did::new(&self.scope, dataset)?;
        did.check_new()?;
        Ok(did)
    }

    /// Returns the name and the URI of a file. As in `rucio-register`, texts are cut and joined, not paths.
    ///
    /// # Errors
    /// `Kind::Invalid` for a file outside of `rse_root`, or a name that would begin with a slash.
    pub(super) fn name(&self, file: &Location) -> Result<(String, String)> {
        let path = file.path();
        let rest = path.strip_prefix(&self.rse_root);
        let is_below = |rest: &&str| self.rse_root.ends_with('/') || rest.starts_with('/');
        let rest = rest.filter(is_below).ok_or_else(|| {
            Error::invalid(format!("file '{}' is not below rse_root '{}'", file.display(), self.rse_root))
        })?;
        let uri = format!("{}{rest}", self.dtn_url);
        let name = rest.strip_prefix(&format!("/{}/", self.scope)).unwrap_or(rest);
        if name.starts_with('/') {
            let message = format!(
                "the name of file '{}' would begin with a slash: rse_root must be the folder above the folder \
                 '{}', or rse_root and dtn_url must both end with a slash",
                file.display(),
                self.scope
            );
            return Err(Error::invalid(message));
        }
        Ok((name.to_owned(), uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rse_root: &str, dtn_url: &str) -> RegisterConfig {
        let own = str::to_owned;
        RegisterConfig { rse: own("RSE"), scope: own("ancillary"), rse_root: own(rse_root), dtn_url: own(dtn_url) }
    }

    #[test]
    fn names_are_cut_as_the_original_cuts_them() {
        let file = Location::parse("/sdf/repo/ancillary/a b/x.fits").unwrap();
        let expected = |name: &str, uri: &str| (name.to_owned(), uri.to_owned());
        let above = config("/sdf/repo", "davs://d/butler");
        assert_eq!(above.name(&file).unwrap(), expected("a b/x.fits", "davs://d/butler/ancillary/a b/x.fits"));
        let inside = config("/sdf/repo/ancillary/", "davs://d/butler/ancillary/");
        assert_eq!(inside.name(&file).unwrap(), expected("a b/x.fits", "davs://d/butler/ancillary/a b/x.fits"));
        for wrong in [config("/sdf", "davs://d"), config("/elsewhere", "davs://d"), config("/sdf/re", "davs://d")] {
            assert!(wrong.name(&file).is_err(), "{wrong:?}");
        }
        let missing = RegisterOptions { scope: Some("s".to_owned()), ..RegisterOptions::default() };
        assert!(missing.resolve().unwrap_err().message().starts_with("'rucio_rse' is set neither"));
    }
}
