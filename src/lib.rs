//! SQL over Rubin Observatory Butler repositories: query, build and export them.
//!
//! ```no_run
//! # async fn ask() -> butlersql::error::Result<()> {
//! let session = butlersql::engine::session::Session::open("butlersql-demo/repo")?;
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
//! 5  registry   store             the database; the files
//! 4  universe instrument format   dimensions and instruments from data files; file formats of others
//! 3  model                        plain values: collections, datasets, times
//! 2  sphere                       regions and pixelizations on the sphere
//! 1  error      progress
//! ```
#![warn(missing_docs)]

pub mod cli;
pub mod engine;
pub mod error;
pub mod format;
pub mod instrument;
pub mod model;
pub mod progress;
pub mod registry;
pub mod repo;
pub mod sphere;
pub mod store;
pub mod universe;
