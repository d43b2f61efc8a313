//! SQL over Rubin Observatory Butler repositories: query, build and export them.
//!
//! ```no_run
//! # async fn ask() -> butlersql::error::Result<()> {
//! let session = butlersql::engine::session::Session::open("butlersql-demo/repo")?;
//! let rows = session.sql("SELECT observation_type, count(*) FROM exposure GROUP BY 1").await?;
//! # let _ = rows; Ok(()) }
//! ```
//!
//! SQL in, Arrow through, a real Butler repository out. A room uses lower floors only:
//!
//! ```text
//! 8  cli                          the terminal: scripts, shell, output
//! 7  engine                       the SQL face, on DataFusion
//! 6  repo                         one repository: decides what has to change; one hand writes
//! 5  registry   store             the database; the files
//! 4  universe instrument format   dimensions, instruments, outside files: data
//! 3  model                        the nouns, plain values
//! 2  sphere                       geometry on the sky
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
