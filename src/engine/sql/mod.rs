//! From text to a syntax tree that DataFusion plans rightly: parsing, rewriting, and errors for what is not supported.

pub mod adql;
pub mod copy_options;
pub mod distinct;
pub mod file_name;
pub mod identifier_case;
pub mod lists;
pub mod names;
pub mod rewrite;
pub mod statement;
pub mod tokens;
pub mod unsupported;
