//! Procedures that change Rucio, or the repository from Rucio.

mod config;
mod ingest;
mod register;
mod rules;

pub(crate) use self::config::RegisterOptions;
pub(crate) use self::ingest::IngestRucio;
pub(crate) use self::register::{FileKind, RucioRegister, RucioRegisterFiles};
pub(crate) use self::rules::{RucioAddRule, RucioClose, RucioDeleteRule, RucioWait};
