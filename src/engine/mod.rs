//! The SQL engine: a DataFusion session over a repository. Only this room and `cli` use DataFusion.

mod analyzer;
mod catalog;
mod expression;
pub(crate) mod functions;
mod procedure;
mod pushdown;
pub(crate) mod session;
pub(crate) mod sql;
mod unparse;
