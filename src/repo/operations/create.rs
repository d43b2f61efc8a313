//! `create_repository`: creates an empty repository at the location of the session.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::format::butler_yaml::Config;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::CreateRepositoryFiles;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::repository::locate::ConfigLocation;
use crate::universe::{DEFAULT, Universe};

/// Creates `butler.yaml` and the registry tables; an existing repository with the same configuration is not changed.
#[derive(Debug)]
pub(crate) struct CreateRepository {
    /// Path of a configuration to start from.
    pub seed_config: Option<String>,
    /// Path of another dimension universe, in YAML or JSON.
    pub dimension_config: Option<String>,
    /// True to keep the root and the database of the seed configuration.
    pub keep: bool,
}

#[async_trait]
impl Operation for CreateRepository {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let uri = context.handle.uri();
        let location = ConfigLocation::find(uri).await?;
        let config = self.config()?.for_new_repository(self.keep);
        config.check_supported()?;
        config.check_managers()?;
        let universe = self.universe()?;
        let existing = location.read().await?;
        if existing.as_ref().is_some_and(|other| other.to_yaml() != config.to_yaml()) {
            let message = format!("repository '{uri}' exists with another configuration");
            return Err(Error::new(Kind::Exists, message));
        }
        let has_config = existing.is_some();
        let mut set = ChangeSet::default();
        set.push(Change::Standalone(Box::new(CreateRepositoryFiles {
            uri: uri.to_owned(),
            location,
            config,
            universe,
            has_config,
        })));
        Ok(set.into_plan())
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
