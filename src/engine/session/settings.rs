//! The settings `butler.…`.

use std::any::Any;

use datafusion::common::plan_err;
use datafusion::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};

/// The settings of the engine, for example `SET butler.pushdown = false`.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whether joins, aggregates, sorts and limits are pushed down to the database.
    pub pushdown: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pushdown: true }
    }
}

/// The default value of a setting; `None` for an unknown setting.
pub(crate) fn default(name: &str) -> Option<String> {
    Settings::default().entries().into_iter().find(|entry| entry.key == name)?.value
}

impl ConfigExtension for Settings {
    const PREFIX: &'static str = "butler";
}

/// Implemented without DataFusion's macro, which omits the prefix from entries, so that SHOW does not find them.
impl ExtensionOptions for Settings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "pushdown" => {
                self.pushdown = value
                    .parse()
                    .map_err(|_| DataFusionError::Plan(format!("butler.pushdown is true or false, not '{value}'")))?;
                Ok(())
            }
            other => plan_err!("no setting named 'butler.{other}'; available: butler.pushdown"),
        }
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        vec![ConfigEntry {
            key: "butler.pushdown".to_owned(),
            value: Some(self.pushdown.to_string()),
            description: "Whether joins, aggregates, sorts and limits are pushed down to the database.",
        }]
    }
}
