//! The Butler's query expressions, such as `exposure.day_obs > 20241101 AND instrument = 'LSSTCam'`, as SQL.
//!
//! An expression is parsed ([`parser`]), its names are resolved in the dimensions of the query ([`names`]), its types are
//! checked, and it is written as a condition of SQL ([`conditions`]). [`query`] joins the tables that it needs. The
//! meaning is that of the query system of `daf_butler` 29, with the functions of regions of version 30.

mod bind;
mod conditions;
mod lexer;
mod names;
pub(super) mod overlap;
mod parser;
pub(super) mod predicate;
pub(super) mod query;
mod regions;
mod sources;
mod time_literal;
mod translator;
mod values;

pub(crate) use self::bind::Binds;
pub(super) use self::translator::OuterTable;
use crate::error::{Error, SourceLocation};

/// An error at an offset of an expression, in characters from 0. Its location is relative to the expression.
fn error_at(message: String, text: &str, at: usize) -> Error {
    let before = || text.chars().take(at);
    let line = 1 + before().filter(|c| *c == '\n').count();
    let before: Vec<char> = before().collect();
    let on_line = || before.iter().rev().take_while(|c| **c != '\n');
    let column = 1 + on_line().count();
    let place =
        if text.contains('\n') { format!("line {line}, position {column}") } else { format!("position {column}") };
    // A literal has each quote twice.
    let quotes = on_line().filter(|c| **c == '\'').count();
    let location = SourceLocation { line: line as u64, column: (column + quotes) as u64 };
    Error::invalid(format!("{message} ({place})")).with_location(Some(location))
}

/// A text as an SQL literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as an SQL identifier.
/// The alias of a table of a query; a query within another statement does not hide the names of that statement.
fn alias(name: &str, within: bool) -> String {
    if within { quoted(&format!("where {name}")) } else { quoted(name) }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
