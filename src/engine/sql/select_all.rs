//! The query that reads a table, for statements that are rewritten to queries.

use datafusion::sql::sqlparser::ast::{ObjectName, Query, SetExpr, TableFactor};
use datafusion::sql::sqlparser::parser::Parser;

use crate::engine::sql::tokens::DIALECT;
use crate::error::{Error, Result};

/// The query `SELECT * FROM table`.
///
/// # Errors
/// `Kind::Bug` if the template is not such a query.
pub(crate) fn select_all(table: ObjectName) -> Result<Box<Query>> {
    let parsed = Parser::new(&DIALECT).try_with_sql("SELECT * FROM x").and_then(|mut parser| parser.parse_query());
    let mut query = parsed.map_err(|e| Error::bug(format!("SELECT * FROM x did not parse: {e}")))?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::bug("SELECT * FROM x is not a query")) };
    if let Some(TableFactor::Table { name, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
        *name = table;
    }
    Ok(query)
}
