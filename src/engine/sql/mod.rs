//! From text to a syntax tree that DataFusion plans rightly: parsing, rewriting, and errors for what is not supported.

pub(crate) mod adql;
pub(crate) mod attach;
pub(crate) mod butler_where;
pub(crate) mod copy;
pub(crate) mod copy_options;
pub(crate) mod distinct;
pub(crate) mod file_name;
pub(crate) mod identifier_case;
pub(crate) mod lists;
pub(crate) mod names;
pub(crate) mod rewrite;
pub(crate) mod select_all;
pub(crate) mod statement;
pub(crate) mod syntax_error;
pub(crate) mod tokens;
pub(crate) mod unsupported;
pub(crate) mod visit;
