//! The repositories of a session as catalogs: its own one, and those that ATTACH adds.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::catalog::{CatalogProvider, CatalogProviderList};

use crate::engine::catalog::Catalog;
use crate::engine::catalog::repository::{OWN, RepositoryCatalog, read};
use crate::error::{Error, Kind, Result};

/// One repository, and its catalog.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Member {
    /// The repository.
    pub repository: Arc<RepositoryCatalog>,
    /// Its schemas and tables.
    pub catalog: Arc<Catalog>,
}

impl Member {
    /// A repository with its catalog.
    pub(crate) fn new(repository: Arc<RepositoryCatalog>) -> Self {
        Self { catalog: Arc::new(Catalog::new(&repository)), repository }
    }
}

/// All repositories of a session, by the names of their catalogs.
#[derive(Debug)]
pub(crate) struct Repositories {
    own: Member,
    attached: RwLock<BTreeMap<String, Member>>,
    /// Catalogs that CREATE DATABASE made.
    others: RwLock<BTreeMap<String, Arc<dyn CatalogProvider>>>,
}

impl Repositories {
    /// The repositories of a session that has attached none.
    pub(in crate::engine) fn new(own: Member) -> Self {
        Self { own, attached: RwLock::default(), others: RwLock::default() }
    }

    /// The repository of a catalog; `None` for other catalogs.
    pub(in crate::engine) fn find(&self, catalog: &str) -> Option<Member> {
        if catalog == OWN { Some(self.own.clone()) } else { read(&self.attached).remove(catalog) }
    }

    /// The repository that a function reads: the session's own one, or an attached one.
    ///
    /// # Errors
    /// `Kind::NotFound` for a name that is not attached.
    pub(crate) fn chosen(&self, name: Option<&str>) -> Result<Arc<RepositoryCatalog>> {
        let Some(name) = name else { return Ok(Arc::clone(&self.own.repository)) };
        let found = self.find(name).map(|member| member.repository);
        found.ok_or_else(|| {
            let attached = read(&self.attached);
            Error::not_found("attached repository", name, attached.keys().map(String::as_str))
        })
    }

    /// The names of the attached repositories.
    pub(crate) fn attached(&self) -> Vec<String> {
        read(&self.attached).into_keys().collect()
    }

    /// Refreshes the snapshots of all repositories.
    ///
    /// # Errors
    /// A repository that cannot be opened, and database errors.
    pub(crate) async fn refresh(&self) -> Result<()> {
        self.own.repository.refresh().await?;
        for (name, member) in read(&self.attached) {
            member.repository.refresh().await.map_err(|e| e.context(format_args!("attached repository '{name}'")))?;
        }
        Ok(())
    }

    /// Adds a repository.
    ///
    /// # Errors
    /// `Kind::Exists` for a name that is taken.
    pub(in crate::engine) fn attach(&self, name: &str, member: Member) -> Result<()> {
        let is_taken = self.catalog_names().iter().any(|known| known == name);
        if is_taken || self.own.catalog.schema(name).is_some() || name == "information_schema" {
            return Err(Error::new(Kind::Exists, format!("'{name}' is already the name of a catalog or schema")));
        }
        self.attached.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), member);
        Ok(())
    }

    /// Removes an attached repository.
    ///
    /// # Errors
    /// `Kind::NotFound` for a name that is not attached.
    pub(in crate::engine) fn detach(&self, name: &str) -> Result<Member> {
        let removed = self.attached.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        removed.ok_or_else(|| {
            let attached = read(&self.attached);
            Error::not_found("attached repository", name, attached.keys().map(String::as_str))
        })
    }
}

impl CatalogProviderList for Repositories {
    fn register_catalog(&self, name: String, catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        self.others.write().unwrap_or_else(PoisonError::into_inner).insert(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        let others = read(&self.others).into_keys();
        std::iter::once(OWN.to_owned()).chain(self.attached()).chain(others).collect()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        match self.find(name) {
            Some(member) => Some(member.catalog),
            None => read(&self.others).get(name).cloned(),
        }
    }
}
