//! The repository of a session, as seen by the planner.

use std::sync::{Arc, PoisonError, RwLock};

use datafusion::catalog::{CatalogProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::execution::session_state::SessionState;

use crate::engine::sql::file_name::is_file_name;
use crate::error::{Error, Kind, Result};
use crate::registry::dataset_types::{self, TypeRecord};
use crate::repo::Repo;
use crate::repo::RepositoryHandle;

/// The catalog of the session's own repository.
pub(crate) const OWN: &str = "butler";

/// The state of the repository while a statement is planned.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The open repository.
    pub repo: Arc<Repo>,
    /// All dataset types of the repository.
    pub types: Vec<TypeRecord>,
    /// Whether the table of file records exists; the first write of files creates it.
    pub has_files: bool,
}

/// The repository of a session; its snapshot is refreshed before each statement.
pub(crate) struct RepositoryCatalog {
    /// The handle that opens the repository.
    pub handle: Arc<RepositoryHandle>,
    /// The name of the catalog, if the repository is attached.
    pub attached_as: Option<String>,
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    /// The error of the last refresh, if the repository does not exist.
    missing: RwLock<Option<Error>>,
    state: RwLock<Option<State>>,
}

/// Returns the state of the session, or `None` after the session has ended.
type State = Arc<dyn Fn() -> Option<SessionState> + Send + Sync>;

impl std::fmt::Debug for RepositoryCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("access", &self.handle).finish_non_exhaustive()
    }
}

pub(in crate::engine) fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn write<T>(lock: &RwLock<T>, value: T) {
    *lock.write().unwrap_or_else(PoisonError::into_inner) = value;
}

impl RepositoryCatalog {
    /// The catalog of a repository, without a snapshot.
    pub(crate) fn new(handle: Arc<RepositoryHandle>, attached_as: Option<&str>) -> Self {
        let (snapshot, missing, state) = Default::default();
        Self { handle, attached_as: attached_as.map(str::to_owned), snapshot, missing, state }
    }

    /// Sets the session that plans views.
    pub(crate) fn set_session_state(&self, state: impl Fn() -> Option<SessionState> + Send + Sync + 'static) {
        write(&self.state, Some(Arc::new(state)));
    }

    /// Refreshes the snapshot. A repository that does not exist is not an error until a table is resolved.
    ///
    /// # Errors
    /// A repository that exists but cannot be opened, and database errors.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let looked = async {
            let repo = self.handle.repo().await?;
            let types = dataset_types::load(&repo.registry).await?;
            let has_files = repo.registry.has_file_records().await?;
            Ok::<_, Error>(Snapshot { repo, types, has_files })
        };
        match looked.await {
            Ok(snapshot) => write(&self.snapshot, Some(Arc::new(snapshot))),
            Err(error) if error.kind() == Kind::NotFound => {
                write(&self.snapshot, None);
                *self.missing.write().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The current snapshot.
    ///
    /// # Errors
    /// `Kind::NotFound` if the repository does not exist.
    pub(crate) fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let missing = || {
            let missing = self.missing.read().unwrap_or_else(PoisonError::into_inner);
            missing.as_ref().map_or_else(|| Error::bug("the repository has no snapshot"), Error::clone)
        };
        read(&self.snapshot).ok_or_else(missing)
    }

    /// The error for a table that DataFusion did not resolve, with its full name.
    pub(crate) fn unknown_table(&self, catalog: &dyn CatalogProvider, full_name: &str) -> Error {
        let catalog_name = self.attached_as.as_deref().unwrap_or(OWN);
        let name = full_name.strip_prefix(catalog_name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full_name);
        let (schema, name) = name.split_once('.').unwrap_or(("public", full_name));
        if let Err(missing) = self.snapshot() {
            return missing;
        }
        let Some(tables) = catalog.schema(schema) else {
            return Error::not_found("schema", schema, catalog.schema_names().iter().map(String::as_str));
        };
        if schema == "public" && is_file_name(name) {
            let folders = name.rsplit_once('/').is_some_and(|(folders, _)| folders.contains(['*', '?', '[']));
            let why = if folders { "; only the last part of a name may be a pattern" } else { "" };
            return Error::new(Kind::NotFound, format!("no file named '{name}'{why}")).with_subject(name);
        }
        let what = if schema == "dataset" { "dataset type" } else { "table" };
        let names = tables.table_names();
        // Unquoted names are folded to lower case.
        let capitals = |known: &&String| *known != name && known.eq_ignore_ascii_case(name);
        if let Some(same) = names.iter().filter(|known| known.contains(char::is_uppercase)).find(capitals) {
            let message = format!("no {what} named '{name}'; write \"{same}\" in double quotes");
            return Error::new(Kind::NotFound, message).with_subject(name);
        }
        Error::not_found(what, name, names.iter().map(String::as_str))
    }

    /// The state of the session, in which names refer to this repository.
    ///
    /// # Errors
    /// `Kind::Bug` after the session has ended.
    pub(crate) fn state(&self) -> Result<SessionState> {
        let state = read(&self.state).and_then(|state| state());
        let mut state = state.ok_or_else(|| Error::bug("the session has ended"))?;
        if let Some(catalog) = &self.attached_as {
            state.config_mut().options_mut().catalog.default_catalog.clone_from(catalog);
        }
        Ok(state)
    }

    /// Plans a query as a view.
    ///
    /// # Errors
    /// A query that cannot be planned.
    pub(crate) async fn view(&self, sql: &str) -> Result<Arc<dyn TableProvider>> {
        let state = self.state()?;
        let plan = Box::pin(state.create_logical_plan(sql)).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(sql.to_owned()))))
    }
}
