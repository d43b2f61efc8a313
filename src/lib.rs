//! SQL over Rubin Observatory Butler repositories: query, build and export them.
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
pub mod store;
pub mod universe;
