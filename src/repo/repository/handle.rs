//! The repository of a session: opened on first use, and read-only unless writing is enabled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::RwLock;

use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::registry::db::conn::Conn;
use crate::registry::db::open::OpenMode;
use crate::repo::Repo;
use crate::repo::repository::locate::ConfigLocation;

/// A repository that may not be open yet, or may not exist yet.
#[derive(Debug)]
pub(crate) struct RepositoryHandle {
    uri: String,
    write: AtomicBool,
    open: RwLock<Option<Arc<Repo>>>,
    /// Repositories that are read beside this one, by name.
    attached: Mutex<BTreeMap<String, Arc<RepositoryHandle>>>,
}

impl RepositoryHandle {
    /// Creates a handle without opening the repository.
    pub(crate) fn new(uri: &str, write: bool) -> Self {
        Self { uri: uri.to_owned(), write: AtomicBool::new(write), open: RwLock::new(None), attached: Mutex::default() }
    }

    /// Returns the repository location as the user wrote it.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns true if writing is enabled.
    pub(crate) fn is_writable(&self) -> bool {
        self.write.load(Ordering::Relaxed)
    }

    /// Enables or disables writing; the repository is reopened on the next use.
    pub(crate) async fn set_write(&self, write: bool) {
        self.write.store(write, Ordering::Relaxed);
        self.close().await;
    }

    /// Closes the repository, if it is open.
    pub(crate) async fn close(&self) {
        if let Some(repo) = self.open.write().await.take() {
            repo.registry.conn.close().await;
        }
    }

    /// Waits until no transaction is open; no transaction can begin afterwards.
    pub(crate) async fn end_writing(&self) {
        // A repository that is being opened has no transaction.
        let open = self.open.try_read().ok().and_then(|open| open.clone());
        if let Some(repo) = open {
            repo.registry.conn.end_writing().await;
        }
    }

    /// Returns the repository, and opens it if necessary.
    ///
    /// # Errors
    /// `Kind::NotFound` when the repository does not exist, `Kind::Unsupported` when its configuration or version is
    /// not supported; database errors.
    pub(crate) async fn repo(&self) -> Result<Arc<Repo>> {
        if let Some(repo) = &*self.open.read().await {
            return Ok(Arc::clone(repo));
        }
        let mut slot = self.open.write().await;
        if let Some(repo) = &*slot {
            return Ok(Arc::clone(repo));
        }
        let repo = Arc::new(self.connect().await?);
        *slot = Some(Arc::clone(&repo));
        Ok(repo)
    }

    async fn connect(&self) -> Result<Repo> {
        let located = ConfigLocation::find(&self.uri).await?;
        let config = located.read().await?;
        let Some(config) = config else { return Err(located.missing(&self.uri).await) };
        config.check_supported()?;
        let root = located.root(&config);
        let mode = if self.is_writable() { OpenMode::Write } else { OpenMode::Read };
        let database = crate::repo::repository::database(&config, &root)?;
        let conn = Conn::open(&database, mode).await?;
        let named = |e: Error| e.context(format_args!("registry database {}", database.display()));
        let mut registry = Registry::open(conn, config.records_table()).await.map_err(named)?;
        if let Some(class) = config.other_datastore() {
            let reason = format!("its datastore is a {class}, only FileDatastore is supported");
            registry.partial_files = Some(reason.clone());
            registry.read_only = Some(reason);
        } else if config.manager("obscore").is_some() {
            registry.read_only = Some("it has an obscore table, which butlersql does not maintain".to_owned());
        } else if config.keeps_checksums() {
            registry.read_only = Some("its datastore keeps checksums, which butlersql does not compute".to_owned());
        }
        Ok(Repo { root, config, registry })
    }

    /// Attaches a repository under a name.
    pub(crate) fn attach(&self, name: &str, other: Arc<Self>) {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), other);
    }

    /// Removes an attached repository.
    pub(crate) fn detach(&self, name: &str) {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Returns the repository that an operation reads from: the name of an attached one, or a location.
    pub(crate) fn source(&self, from: &str) -> Arc<Self> {
        let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner).get(from).cloned();
        attached.unwrap_or_else(|| Arc::new(Self::new(from, false)))
    }

    /// Checks that writing is enabled.
    ///
    /// # Errors
    /// `Kind::Invalid` when the session is read-only.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.is_writable() {
            return Ok(());
        }
        Err(Error::invalid("this session is read-only: start it with --write, or enter \\write on in the shell"))
    }
}
