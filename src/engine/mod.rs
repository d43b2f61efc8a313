//! The SQL face: a DataFusion session over a repository. The only rooms that know DataFusion are this and `cli`.

mod aggregate;
pub mod arguments;
mod catalog;
pub mod copy;
mod files;
pub mod functions;
mod pushdown;
pub mod reference;
mod refused;
mod rewrite;
mod scan;
mod search;
pub mod session;
mod sky;
pub mod statement;
mod stores;
mod tables;
mod verb;
