//! The SQL face: a DataFusion session over a repository. The only rooms that know DataFusion are this and `cli`.

mod aggregate;
mod allowed;
pub mod arguments;
mod capitals;
mod catalog;
mod comparable;
pub mod copy;
mod durations;
mod files;
pub mod functions;
mod planner;
mod pushdown;
pub mod reference;
mod refused;
mod relation;
mod rewrite;
mod scan;
mod search;
pub mod session;
mod settings;
mod sky;
pub mod statement;
mod stores;
mod tables;
mod verb;
mod world;
