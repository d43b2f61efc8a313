//! SQL conditions on keys.

use arrow::array::RecordBatch;

use crate::error::{Error, Result};
use crate::registry::db::dialect::Dialect;
use crate::registry::db::rows::{bind_columns, record_batch, required_column};
use crate::registry::schema::TableDef;

/// Number of keys in one condition.
const KEYS: usize = 4096;

/// Returns conditions that select the rows of a table whose columns `names` have the values of `rows`. Each condition
/// has at most 4096 keys, which databases accept. Without names, the condition is always true.
///
/// # Errors
/// A missing column, or a NULL in it.
pub(crate) fn key_predicates(
    dialect: Dialect,
    alias: &str,
    table: &TableDef,
    names: &[String],
    rows: &RecordBatch,
) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(vec!["1 = 1".to_owned()]);
    }
    let columns =
        names.iter().map(|name| Ok((name.as_str(), required_column(rows, name)?))).collect::<Result<Vec<_>>>()?;
    let rows = record_batch(columns)?;
    let given = bind_columns(table, &rows)?;
    let mut tuples = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        let literals: Option<Vec<_>> = given.iter().map(|k| dialect.literal(k.column.kind, k.values.at(row))).collect();
        let literals = literals.ok_or_else(|| Error::invalid(format!("a key of '{}' has no value", table.name)))?;
        tuples.push(format!("({})", literals.join(", ")));
    }
    tuples.sort_unstable();
    tuples.dedup();
    let quoted: Vec<_> = names.iter().map(|name| format!("{alias}{}", dialect.quote(name))).collect();
    let quoted = quoted.join(", ");
    Ok(tuples.chunks(KEYS).map(|some| format!("({quoted}) IN (VALUES {})", some.join(", "))).collect())
}
