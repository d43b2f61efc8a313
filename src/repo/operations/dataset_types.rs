//! `register_dataset_type` and `remove_dataset_type`.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::model::dataset::{DatasetType, storage_classes};
use crate::model::glob;
use crate::registry::dataset_types::{check_same, has_tables, load, used};
use crate::repo::Repo;
use crate::repo::changeset::changes::{CreateDatasetType, DeleteDatasetType};
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::universe::Universe;

/// Registers a dataset type; an identical one is not changed.
#[derive(Debug)]
pub(crate) struct RegisterDatasetType {
    /// Dataset type name.
    pub name: String,
    /// Storage class name.
    pub storage_class: String,
    /// Dimensions in any order; implied dimensions can be omitted.
    pub dimensions: Vec<String>,
    /// True if the datasets can be certified.
    pub is_calibration: bool,
}

#[async_trait]
impl Operation for RegisterDatasetType {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let universe = &repo.registry.universe;
        check_name(universe, &self.name)?;
        let wanted = DatasetType {
            name: self.name.clone(),
            dimensions: universe.group(&self.dimensions)?.required,
            storage_class: self.storage_class.clone(),
            is_calibration: self.is_calibration,
        };
        check_storage_class(&repo, &self.storage_class)?;
        let mut set = ChangeSet::default();
        let types = load(&repo.registry).await?;
        let existing = types.iter().find(|t| t.dataset_type.name == self.name);
        if let Some(existing) = existing {
            check_same(&wanted, &existing.dataset_type)?;
        }
        match existing {
            Some(existing) if has_tables(&repo.registry, existing).await? => {
                set.record("dataset_type", Status::Unchanged, &self.name, 1);
            }
            _ => set.push(CreateDatasetType(wanted)),
        }
        Ok(set.into_plan())
    }
}

/// Removes dataset types that have no datasets.
#[derive(Debug)]
pub(crate) struct RemoveDatasetType {
    /// A name or a glob.
    pub name: String,
}

#[async_trait]
impl Operation for RemoveDatasetType {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let pattern = glob::is_pattern(&self.name);
        let is_chosen = |name: &str| if pattern { glob::matches(&self.name, name) } else { name == self.name };
        let names: Vec<String> = load(&repo.registry).await?.into_iter().map(|t| t.dataset_type.name).collect();
        let chosen: Vec<&String> = names.iter().filter(|name| is_chosen(name)).collect();
        let mut set = ChangeSet::default();
        if chosen.is_empty() {
            set.record("dataset_type", Status::Absent, &self.name, 1);
        }
        let used = used(&repo.registry).await?;
        if let Some(name) = chosen.iter().find(|name| used.contains(name)) {
            let message = format!("cannot remove dataset type '{name}': it has datasets, which prune removes");
            return Err(Error::new(Kind::Conflict, message));
        }
        set.extend(chosen.into_iter().map(|name| DeleteDatasetType { name: name.clone() }));
        Ok(set.into_plan())
    }
}

/// Checks that a storage class is known to the Butler or configured in the repository; its Python type is not checked.
pub(super) fn check_storage_class(repo: &Repo, name: &str) -> Result<()> {
    let own = repo.config.value(&["storageClasses"]).and_then(serde_yaml::Value::as_mapping);
    let own = own.into_iter().flatten().filter_map(|(name, _)| name.as_str());
    let names: Vec<&str> = storage_classes().map(|(name, _)| name).chain(own).collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(Error::not_found("storage class", name, names))
}

pub(in crate::repo) fn check_name(universe: &Universe, name: &str) -> Result<()> {
    if universe.find(name).is_some_and(|e| e.governor) {
        return Err(Error::invalid(format!("dataset type '{name}' must not have the name of a governor dimension")));
    }
    if name.contains('.') {
        return Err(Error::invalid(format!("'{name}' is a component: register its dataset type")));
    }
    let mut chars = name.chars();
    let head = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if head && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(Error::invalid(format!("'{name}' is not a valid dataset type name: use letters, digits and _")))
}
