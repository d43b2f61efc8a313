//! An open repository: its configuration and its registry.

pub(crate) mod handle;
pub(crate) mod locate;

use crate::error::{Error, Kind, Result};
use crate::format::butler_yaml::Config;
use crate::model::dataset::{DatasetType, storage_classes};
use crate::registry::Registry;
use crate::registry::db::open::Database;

/// An open repository.
#[derive(Debug)]
pub(crate) struct Repo {
    /// Root of the repository, the value of `<butlerRoot>`.
    pub root: String,
    /// Configuration.
    pub config: Config,
    /// Registry.
    pub registry: Registry,
}

impl Repo {
    /// Returns the root folder of the datastore.
    pub(crate) fn datastore_root(&self) -> String {
        self.config.datastore_root().replace("<butlerRoot>", &self.root)
    }

    /// Checks that files can be removed: the repository has one datastore, whose root is known.
    ///
    /// # Errors
    /// `Kind::Unsupported` for a repository with chained datastores.
    pub(crate) fn check_datastore(&self) -> Result<()> {
        match self.config.value(&["datastore", "datastores"]) {
            Some(_) => {
                Err(Error::new(Kind::Unsupported, "the repository has chained datastores: files cannot be removed"))
            }
            None => Ok(()),
        }
    }
}

impl Repo {
    /// Returns the formatter class of a dataset type: configured for its name or its storage class, else the default of
    /// its storage class.
    ///
    /// # Errors
    /// `Kind::NotFound` for a storage class without a default formatter.
    pub(crate) fn formatter(&self, dataset_type: &DatasetType) -> Result<&str> {
        let class = &dataset_type.storage_class;
        let configured = [&dataset_type.name, class].into_iter().find_map(|name| {
            let value = self.config.value(&["datastore", "formatters", name])?;
            value.as_str().or_else(|| value.get("formatter")?.as_str())
        });
        let usual = || storage_classes().find(|(name, _)| name == class)?.1;
        configured.or_else(usual).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("storage class '{class}' has no default formatter: give one"))
        })
    }
}

/// Returns the address of the registry database from a configuration.
pub(crate) fn database(config: &Config, root: &str) -> Result<Database> {
    let url = config.registry_db();
    if url.starts_with("sqlite") && url.contains("<butlerRoot>") && root.contains("://") {
        let message = format!(
            "a repository at '{root}' cannot have a registry database in SQLite: set registry.db in a seed_config"
        );
        return Err(Error::new(Kind::Unsupported, message));
    }
    Ok(Database {
        url: url.replace("<butlerRoot>", root),
        namespace: config.text(&["registry", "namespace"]).map(str::to_owned),
        parts: ["username", "password", "host", "port", "database"].map(|name| config.registry_part(name)),
    })
}
