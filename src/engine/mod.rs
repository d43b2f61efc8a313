//! The SQL engine: a DataFusion session over a repository. Only this room and `cli` use DataFusion.

mod analyzer;
mod catalog;
pub mod functions;
mod procedure;
mod pushdown;
pub mod session;
pub mod sql;
mod unparse;
