//! SQL over a repository: a DataFusion session with our tables, functions and procedures. Only this room and `cli` use
//! DataFusion.

mod analyzer;
mod catalog;
pub mod functions;
mod procedure;
mod pushdown;
pub mod session;
pub mod sql;
mod unparse;
