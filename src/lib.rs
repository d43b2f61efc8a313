//! SQL over Rubin Observatory Butler repositories: query, build and export them.
//!
//! ```no_run
//! # async fn ask() -> butlersql::Result<()> {
//! let session = butlersql::Session::open("butlersql-demo/repo")?;
//! let rows = session.sql("SELECT observation_type, count(*) FROM exposure GROUP BY 1").await?;
//! # let _ = rows; Ok(()) }
//! ```
//!
//! The crate is divided into rooms (modules) on floors; a room uses lower floors only:
//!
//! ```text
//! 8  cli                          the terminal: scripts, shell, output formats
//! 7  engine                       the SQL engine, based on DataFusion
//! 6  repo                         one repository: operations plan changes, one applier writes them
//! 5  registry   store   rucio     the database; the files; the catalogue of Rucio
//! 4  universe instrument format   dimensions and instruments from data files; file formats of others
//!    net                          access to servers
//! 3  model                        plain values: collections, datasets, times
//! 2  sphere                       regions and pixelizations on the sphere
//! 1  error      progress
//! ```
#![warn(missing_docs, unreachable_pub)]

pub mod cli;
mod engine;
mod error;
mod format;
mod instrument;
mod model;
mod net;
mod progress;
mod registry;
mod repo;
mod rucio;
mod sphere;
mod store;
mod universe;

pub use crate::engine::session::{Answer, Session};
pub use crate::error::{Error, Kind, Result, SourceLocation};
pub use crate::progress::{Progress, ProgressTask, Silent};

/// Definitions of procedures and functions, for programs that list or complete them.
pub mod functions {
    pub use crate::engine::functions::args::{ArgDef, ArgType};
    pub use crate::engine::functions::definition::FunctionDef;
    pub use crate::engine::functions::{all, find};
}

/// What the tests, the fuzzers and the benchmarks of this crate use. It is not part of the public API.
#[doc(hidden)]
pub mod internal {
    pub use crate::engine::functions::reference;
    pub use crate::format::{curated, export_yaml, fits_table, index, skymap_config, tables};
    pub use crate::store::webdav;

    /// Regions and pixels.
    pub mod sphere {
        pub use crate::sphere::{healpix, htm, region};
    }
}
