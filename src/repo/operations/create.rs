//! `create_repository`: creates an empty repository at the location of the session.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::format::butler_yaml::Config;
use crate::registry::Registry;
use crate::registry::db::conn::{Batches, Conn};
use crate::registry::db::open::Database;
use crate::registry::db::open::OpenMode;
use crate::repo::Operation;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::applier::ChangeApplier;
use crate::repo::changeset::change::Status;
use crate::repo::repository::locate::ConfigLocation;
use crate::universe::{DEFAULT, Universe};

/// Creates `butler.yaml` and the registry tables; an existing repository with the same configuration is not changed.
#[derive(Debug)]
pub struct CreateRepository {
    /// Path of a configuration to start from.
    pub seed_config: Option<String>,
    /// Path of another dimension universe, in YAML or JSON.
    pub dimension_config: Option<String>,
    /// True to keep the root and the database of the seed configuration.
    pub keep: bool,
}

#[async_trait]
impl Operation for CreateRepository {
    async fn run(
        &self,
        handle: &RepositoryHandle,
        _rows: Option<Batches>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let located = ConfigLocation::find(handle.uri()).await?;
        let config = self.config()?.for_new_repository(self.keep);
        config.check_supported()?;
        config.check_managers()?;
        let universe = self.universe()?;
        let text = config.to_yaml();
        let there = located.read().await?;
        if let Some(other) = &there
            && other.to_yaml() != text
        {
            let message = format!("repository '{}' exists with another configuration", handle.uri());
            return Err(Error::new(Kind::Exists, message));
        }
        if applier.is_dry() {
            let status = if there.is_some() { Status::Unchanged } else { Status::Inserted };
            applier.record("repository", status, handle.uri(), 1);
            return Ok(());
        }
        handle.check_writable()?;
        handle.close().await;
        let database = crate::repo::repository::database(&config, &located.root(&config))?;
        let before = Before::of(&located, &database);
        let _ = located.file.parent().sweep().await;
        let written = there.is_none() && write_new(&located, &text).await?;
        match make(&database, &universe).await {
            Ok(made) => {
                let status = if made { Status::Inserted } else { Status::Unchanged };
                applier.record("repository", status, handle.uri(), 1);
                Ok(())
            }
            Err(error) => {
                if written {
                    // Removes the incomplete repository; the first error is reported.
                    let _ = located.file.remove().await;
                    before.restore();
                }
                Err(error)
            }
        }
    }
}

impl CreateRepository {
    fn config(&self) -> Result<Config> {
        let Some(path) = &self.seed_config else { return Ok(Config::default()) };
        let named = |e: Error| e.context(format_args!("seed configuration '{path}'"));
        let text = std::fs::read_to_string(path).map_err(|e| named(e.into()))?;
        Config::parse(&text).map_err(named)
    }

    /// Returns the validated text of the dimension universe.
    fn universe(&self) -> Result<String> {
        let Some(path) = &self.dimension_config else { return Ok(DEFAULT.to_owned()) };
        let named = |e: Error| e.context(format_args!("dimension configuration '{path}'"));
        let text = std::fs::read_to_string(path).map_err(|e| named(e.into()))?;
        let value: serde_json::Value =
            serde_yaml::from_str(&text).map_err(|e| named(Error::invalid(format!("not YAML: {e}"))))?;
        let text = value.to_string();
        Universe::parse(&text).map_err(named)?;
        Ok(text)
    }
}

/// What does not exist before a repository is created: its missing folders, innermost first, and its database file.
struct Before {
    folders: Vec<PathBuf>,
    database: Option<PathBuf>,
}

impl Before {
    fn of(located: &ConfigLocation, database: &Database) -> Self {
        let folder = located.file.parent().local();
        let missing =
            |folder: PathBuf| folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        Self {
            folders: folder.map(missing).unwrap_or_default(),
            database: database.file().filter(|file| !file.exists()),
        }
    }

    /// Removes the database file and the empty folders that were created.
    fn restore(&self) {
        if let Some(database) = &self.database {
            let _ = std::fs::remove_file(database);
        }
        self.folders.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    }
}

/// Writes the configuration. Returns true if this call created the file.
async fn write_new(located: &ConfigLocation, text: &str) -> Result<bool> {
    match located.file.write(text.to_owned().into()).await {
        // Another process created the file first.
        Err(e) if e.kind() == Kind::Exists => match located.read().await? {
            Some(other) if other.to_yaml() == text => Ok(false),
            _ => Err(e),
        },
        Err(e) => Err(e.context(format_args!("creating repository '{}'", located.file.parent().display()))),
        Ok(()) => Ok(true),
    }
}

/// Creates the tables of the registry. Returns false if they exist.
async fn make(database: &Database, universe: &str) -> Result<bool> {
    let conn = Conn::open(database, OpenMode::Create).await?;
    let made = Registry::create(&conn, universe).await;
    conn.close().await;
    made
}
