//! An open repository: its configuration and its registry.

pub mod handle;
pub mod locate;

use crate::error::{Error, Kind, Result};
use crate::format::butler_yaml::Config;
use crate::model::dataset::{DatasetType, storage_classes};
use crate::registry::Registry;
use crate::registry::db::open::Database;

/// An open repository.
#[derive(Debug)]
pub struct Repo {
    /// Where it is: what `<butlerRoot>` stands for.
    pub root: String,
    /// Its configuration.
    pub config: Config,
    /// Its registry.
    pub registry: Registry,
}

impl Repo {
    /// The folder of the datastore.
    pub fn datastore_root(&self) -> String {
        self.config.datastore_root().replace("<butlerRoot>", &self.root)
    }
}

impl Repo {
    /// The class that reads and writes files of a dataset type: by its name or storage class in the configuration,
    /// else the usual one of its storage class.
    ///
    /// # Errors
    /// A storage class without a usual one.
    pub fn formatter(&self, dataset_type: &DatasetType) -> Result<&str> {
        let class = &dataset_type.storage_class;
        let configured = [&dataset_type.name, class].into_iter().find_map(|name| {
            let value = self.config.value(&["datastore", "formatters", name])?;
            value.as_str().or_else(|| value.get("formatter")?.as_str())
        });
        let usual = || storage_classes().find(|(name, _)| name == class)?.1;
        configured.or_else(usual).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("storage class '{class}' has no usual formatter: name one"))
        })
    }
}

/// The registry database that a configuration names.
pub(crate) fn database(config: &Config, root: &str) -> Result<Database> {
    let url = config.registry_db();
    if url.starts_with("sqlite") && url.contains("<butlerRoot>") && root.contains("://") {
        let message = format!(
            "a repository at '{root}' cannot keep its registry there in SQLite: give registry.db in a seed_config"
        );
        return Err(Error::new(Kind::Unsupported, message));
    }
    Ok(Database {
        url: url.replace("<butlerRoot>", root),
        namespace: config.text(&["registry", "namespace"]).map(str::to_owned),
        parts: ["username", "password", "host", "port", "database"].map(|name| config.registry_part(name)),
    })
}
