//! `create_repository`: an empty repository where the session looks for one.

use async_trait::async_trait;

use super::change::Outcome;
use super::hand::Hand;
use super::locate::Located;
use super::{Access, Verb};
use crate::error::{Error, Kind, Result};
use crate::format::butler_yaml::Config;
use crate::registry::Registry;
use crate::registry::conn::{Batches, Conn};
use crate::registry::open::Mode;
use crate::universe::{DEFAULT, Universe};

/// Makes `butler.yaml` and the tables of the registry; a repository of the same configuration is left as it is.
#[derive(Debug)]
pub struct CreateRepository {
    /// A configuration to start from.
    pub seed_config: Option<String>,
    /// Another dimension universe, YAML or JSON.
    pub dimension_config: Option<String>,
    /// Whether the seed's root and database are kept.
    pub keep: bool,
}

#[async_trait]
impl Verb for CreateRepository {
    async fn run(&self, access: &Access, _rows: Option<Batches>, hand: &mut Hand<'_>) -> Result<()> {
        let located = Located::find(access.given())?;
        let config = self.config()?.for_new_repository(self.keep);
        config.check_supported()?;
        config.check_managers()?;
        let universe = self.universe()?;
        let text = config.to_yaml();
        let there = located.read()?;
        if let Some(other) = &there
            && other.to_yaml() != text
        {
            let said = format!("repository '{}' exists with another configuration", access.given());
            return Err(Error::new(Kind::Exists, said));
        }
        if hand.is_dry() {
            let outcome = if there.is_some() { Outcome::Existing } else { Outcome::Inserted };
            hand.note("repository", outcome, access.given(), 1);
            return Ok(());
        }
        access.check_writes()?;
        access.forget().await;
        write_new(&located, there.is_none().then_some(&*text))?;
        match make(&located, &config, &universe).await {
            Ok(made) => {
                let outcome = if made { Outcome::Inserted } else { Outcome::Existing };
                hand.note("repository", outcome, access.given(), 1);
                Ok(())
            }
            Err(error) => {
                if there.is_none() {
                    // Nothing half-made stays; the first error is the one to tell.
                    let _ = std::fs::remove_file(&located.file);
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

    /// The text of the universe, checked.
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

/// Makes the folder and, if given, the configuration; whole or not at all.
fn write_new(located: &Located, text: Option<&str>) -> Result<()> {
    let named = |e: std::io::Error| Error::from(e).context(format_args!("making repository '{}'", located.folder));
    std::fs::create_dir_all(&located.folder).map_err(named)?;
    let Some(text) = text else { return Ok(()) };
    let beside = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(&located.folder)
        .map_err(named)?;
    std::fs::write(beside.path(), text).map_err(named)?;
    beside.persist(&located.file).map_err(|e| named(e.error))?;
    Ok(())
}

async fn make(located: &Located, config: &Config, universe: &str) -> Result<bool> {
    let conn = Conn::open(&super::database(config, &located.root(config)), Mode::Create).await?;
    let made = Registry::create(&conn, universe).await;
    conn.close().await;
    made
}
