//! Procedures that change Rucio, or the repository from Rucio.

mod config;
mod files;
mod ingest;
mod known;
mod register;
mod register_raws;
mod rules;
mod tracts;

pub(crate) use self::config::RegisterOptions;
pub(crate) use self::files::FileKind;
pub(crate) use self::ingest::IngestRucio;
pub(crate) use self::register::{RucioRegister, RucioRegisterFiles};
pub(crate) use self::register_raws::RucioRegisterRaws;
pub(crate) use self::rules::{RucioAddRule, RucioClose, RucioDeleteRule, RucioWait};
