//! The files and the database of a new repository.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::error::{Kind, Result};
use crate::format::butler_yaml::Config;
use crate::registry::Registry;
use crate::registry::db::conn::Conn;
use crate::registry::db::open::{Database, OpenMode};
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::repository::database;
use crate::repo::repository::locate::ConfigLocation;

/// Creates `butler.yaml` and the registry tables.
#[derive(Debug)]
pub(crate) struct CreateRepositoryFiles {
    /// Location of the session.
    pub uri: String,
    /// Configuration file.
    pub location: ConfigLocation,
    /// Configuration.
    pub config: Config,
    /// Text of the dimension universe.
    pub universe: String,
    /// True if the configuration file exists, with the same text.
    pub has_config: bool,
}

#[async_trait]
impl StandaloneChange for CreateRepositoryFiles {
    fn describe(&self) -> Vec<ReportRow> {
        vec![ReportRow::new("repository", Status::Inserted, &self.uri, 1)]
    }

    fn is_done(&self) -> bool {
        self.has_config
    }

    async fn apply(&self, handle: &RepositoryHandle) -> Result<Applied> {
        handle.close().await;
        let database = database(&self.config, &self.location.root(&self.config))?;
        let before = Before::of(&self.location, &database);
        let _ = self.location.file.parent().sweep().await;
        let written = !self.has_config && self.write_config().await?;
        let created = create_tables(&database, &self.universe).await;
        if created.is_err() && written {
            // Removes the incomplete repository; the first error is reported.
            let _ = self.location.file.remove().await;
            before.restore();
        }
        created.map(Applied::from)
    }
}

impl CreateRepositoryFiles {
    /// Writes the configuration. Returns true if this call created the file.
    async fn write_config(&self) -> Result<bool> {
        let (file, text) = (&self.location.file, self.config.to_yaml());
        match file.write(text.clone().into()).await {
            // Another process created the file first.
            Err(e) if e.kind() == Kind::Exists => match self.location.read().await? {
                Some(other) if other.to_yaml() == text => Ok(false),
                _ => Err(e),
            },
            Err(e) => Err(e.context(format_args!("creating repository '{}'", file.parent().display()))),
            Ok(()) => Ok(true),
        }
    }
}

/// What does not exist before a repository is created: its missing folders, innermost first, and its database file.
struct Before {
    folders: Vec<PathBuf>,
    database: Option<PathBuf>,
}

impl Before {
    fn of(location: &ConfigLocation, database: &Database) -> Self {
        let folder = location.file.parent().local();
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

/// Creates the tables of the registry. Returns false if they exist.
async fn create_tables(database: &Database, universe: &str) -> Result<bool> {
    let conn = Conn::open(database, OpenMode::Create).await?;
    let created = Registry::create(&conn, universe).await;
    conn.close().await;
    created
}
