//! `register_collection`, `remove_collection`, `rename_collection` and `set_doc`.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::model::collection::{Collection, CollectionType, Collections};
use crate::model::glob;
use crate::registry::collections::load;
use crate::registry::removal::{Scope, impact};
use crate::repo::Repo;
use crate::repo::changeset::changes::{CreateCollection, DeleteCollection, RenameCollection, SetDoc, UnlinkChild};
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Checks the type of a collection.
///
/// # Errors
/// `Kind::Conflict` for a collection of another type.
pub(super) fn check(name: &str, kind: CollectionType, wanted: CollectionType) -> Result<()> {
    if kind == wanted {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, format!("collection '{name}' is {kind}, not {wanted}")))
}

/// Returns the change that creates a collection, or `None` if it exists with this type.
///
/// # Errors
/// `Kind::Conflict` when the collection exists with another type; database errors.
pub(super) async fn ensure_collection(
    repo: &Repo,
    name: &str,
    kind: CollectionType,
) -> Result<Option<CreateCollection>> {
    match load(&repo.registry).await?.find(name) {
        Some(there) => check(name, there.kind, kind).map(|()| None),
        None => Ok(Some(CreateCollection { name: name.to_owned(), kind, doc: None })),
    }
}

/// Creates a collection; an existing collection of the same name and type is not changed.
#[derive(Debug)]
pub(crate) struct RegisterCollection {
    /// Collection name.
    pub name: String,
    /// RUN, TAGGED, CHAINED or CALIBRATION.
    pub kind: CollectionType,
    /// Documentation.
    pub doc: Option<String>,
}

#[async_trait]
impl Operation for RegisterCollection {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        if self.name.trim().is_empty() {
            return Err(Error::invalid("a collection needs a name"));
        }
        let mut set = ChangeSet::default();
        match load(&repo.registry).await?.find(&self.name) {
            Some(there) => {
                check(&self.name, there.kind, self.kind)?;
                set.record("collection", Status::Unchanged, format!("{} {}", self.kind, self.name), 1);
            }
            None => {
                set.push(CreateCollection { name: self.name.clone(), kind: self.kind, doc: self.doc.clone() });
            }
        }
        Ok(set.into_plan())
    }
}

/// Removes collections other than RUN collections. Their associations are removed, their datasets are kept.
#[derive(Debug)]
pub(crate) struct RemoveCollection {
    /// A name or a glob.
    pub name: String,
    /// True to remove the collections from the chains that have them as children.
    pub unlink: bool,
}

#[async_trait]
impl Operation for RemoveCollection {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let all = load(&repo.registry).await?;
        let mut set = ChangeSet::default();
        // A missing collection is not an error, so that a script can be run again.
        if all.find(&self.name).is_none() && !glob::is_pattern(&self.name) {
            set.record("collection", Status::Absent, &self.name, 1);
            return Ok(set.into_plan());
        }
        let chosen = all.select(std::slice::from_ref(&self.name))?;
        let mut removed = Vec::new();
        for collection in &chosen {
            if collection.kind == CollectionType::Run {
                if glob::is_pattern(&self.name) {
                    continue;
                }
                let message =
                    format!("cannot remove collection '{}': a RUN collection contains its datasets", collection.name);
                return Err(Error::new(Kind::Conflict, message));
            }
            let parents = all.parents(&collection.name);
            let outside = parents.iter().find(|p| !chosen.iter().any(|c| c.id == p.id));
            if let Some(parent) = outside.filter(|_| !self.unlink) {
                let message = format!(
                    "cannot remove collection '{}': it is a child of chain '{}'; unlink => true removes it from there",
                    collection.name, parent.name
                );
                return Err(Error::new(Kind::Conflict, message));
            }
            removed.push(*collection);
        }
        if self.unlink {
            let names: Vec<&str> = removed.iter().map(|c| c.name.as_str()).collect();
            set.extend(unlink(&all, &names, &removed));
        }
        let removed = parents_first(&all, removed);
        set.extend(removed.into_iter().map(|c| DeleteCollection { name: c.name, kind: c.kind }));
        Ok(set.into_plan())
    }
}

/// Returns the changes that remove collections from the chains that have them as children, except for chains that are
/// removed themselves.
pub(super) fn unlink(all: &Collections, names: &[&str], removed: &[&Collection]) -> Vec<UnlinkChild> {
    let is_removed = |name: &str| removed.iter().any(|collection| collection.name == name);
    let mut changes = Vec::new();
    for name in names {
        let parents = all.parents(name).into_iter().filter(|parent| !is_removed(&parent.name));
        changes.extend(parents.map(|parent| UnlinkChild { chain: parent.name.clone(), child: (*name).to_owned() }));
    }
    changes
}

/// Sorts collections so that chains come before their children.
fn parents_first(all: &Collections, mut left: Vec<&Collection>) -> Vec<Collection> {
    let mut sorted = Vec::new();
    while let Some(at) =
        left.iter().position(|c| !all.parents(&c.name).iter().any(|p| left.iter().any(|other| other.name == p.name)))
    {
        sorted.push(left.remove(at).clone());
    }
    sorted
}

/// Changes the documentation of a collection.
#[derive(Debug)]
pub(crate) struct SetCollectionDoc {
    /// Collection name.
    pub name: String,
    /// Documentation; `None` for none.
    pub doc: Option<String>,
}

#[async_trait]
impl Operation for SetCollectionDoc {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let all = load(&repo.registry).await?;
        let there = all.get(&self.name)?;
        let doc = self.doc.clone().filter(|doc| !doc.is_empty());
        let mut set = ChangeSet::default();
        if there.doc == doc {
            set.record("collection", Status::Unchanged, &self.name, 1);
        } else {
            set.push(SetDoc { name: self.name.clone(), doc });
        }
        Ok(set.into_plan())
    }
}

/// Changes the name of a collection. Its memberships in chains stay; the files of a RUN collection stay where they are.
#[derive(Debug)]
pub(crate) struct Rename {
    /// Collection name.
    pub name: String,
    /// New name.
    pub to: String,
    /// True to rename a RUN collection whose datasets are stored.
    pub force: bool,
}

#[async_trait]
impl Operation for Rename {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        if self.to.trim().is_empty() {
            return Err(Error::invalid("a collection needs a name"));
        }
        let all = load(&repo.registry).await?;
        let mut set = ChangeSet::default();
        match (all.find(&self.name), all.find(&self.to)) {
            // A repeated call finds the new name.
            (None, Some(_)) => set.record("collection", Status::Unchanged, &self.to, 1),
            (_, Some(_)) if self.name == self.to => set.record("collection", Status::Unchanged, &self.to, 1),
            (Some(_), Some(_)) => {
                let message = format!("cannot rename collection '{}': a collection is named '{}'", self.name, self.to);
                return Err(Error::new(Kind::Exists, message));
            }
            _ => {
                let there = all.get(&self.name)?;
                if there.kind == CollectionType::Run && !self.force {
                    let impact = impact(&repo.registry, &Scope::Run(self.name.clone())).await?;
                    if !impact.datasets.is_empty() {
                        let message = format!(
                            "cannot rename run '{0}': it has datasets, whose files stay in the folder '{0}', where another \
                             run of this name would overwrite them; force => true renames it",
                            self.name
                        );
                        return Err(Error::new(Kind::Conflict, message));
                    }
                }
                set.push(RenameCollection { name: self.name.clone(), to: self.to.clone() });
            }
        }
        Ok(set.into_plan())
    }
}
