//! Reading and writing dimension records.

use arrow::array::RecordBatch;

use super::Registry;
use super::conn::{OnConflict, Tx};
use super::rows::{batch, constant_int, constant_text, distinct_texts, give, text_column};
use super::schema::{Scanned, Table, element_table, static_tables};
use crate::error::{Error, Kind, Result};

/// The table of an element.
///
/// # Errors
/// No such element, or one whose records are not kept in a table.
pub fn table(registry: &Registry, element: &str) -> Result<Table> {
    let found = registry.universe.element(element)?;
    if !found.has_table {
        return Err(Error::new(
            Kind::Unsupported,
            format!("records of '{element}' cannot be written: it has no table"),
        ));
    }
    Ok(element_table(&registry.universe, found))
}

/// Inserts or replaces records. A governor brings the rows that declare which overlaps are kept for it; without
/// them every later region would be refused.
///
/// # Errors
/// What the database says: a missing parent record, a value that is taken.
pub async fn insert(
    tx: &mut Tx,
    registry: &Registry,
    element: &str,
    records: &RecordBatch,
    conflict: OnConflict,
) -> Result<u64> {
    let table = table(registry, element)?;
    let written = tx.insert(&table, records, conflict).await?;
    if registry.universe.element(element)?.governor {
        declare_overlaps(tx, registry, element, records).await?;
    }
    Ok(written)
}

/// The records of a table that have the keys of these rows, with the columns that the rows have.
///
/// # Errors
/// Rows without a key, or what the database says.
pub async fn stored(registry: &Registry, table: &Table, rows: &RecordBatch) -> Result<RecordBatch> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let given = give(table, rows)?;
    let keys: Vec<_> = table.primary_key.iter().filter_map(|k| given.iter().find(|g| g.column.name == *k)).collect();
    let columns: Vec<_> =
        table.scanned().into_iter().filter(|c| rows.schema_ref().column_with_name(&c.name).is_some()).collect();
    let mut tuples = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        let literals: Option<Vec<_>> = keys.iter().map(|k| dialect.literal(k.column.kind, k.values.at(row))).collect();
        let literals = literals.ok_or_else(|| Error::invalid(format!("a key of '{}' has no value", table.name)))?;
        tuples.push(format!("({})", literals.join(", ")));
    }
    tuples.sort_unstable();
    tuples.dedup();
    let select: Vec<_> = columns.iter().map(|c| dialect.reads(c)).collect();
    let key: Vec<_> = table.primary_key.iter().map(|k| dialect.quote(k)).collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE ({}) IN (VALUES {})",
        select.join(", "),
        conn.table(&table.name),
        key.join(", "),
        tuples.join(", ")
    );
    conn.rows(sql, columns).await
}

/// Some columns of the records of an element, of one instrument or of all.
///
/// # Errors
/// What the database says.
pub async fn values(
    registry: &Registry,
    element: &str,
    columns: Vec<Scanned>,
    instrument: Option<&str>,
) -> Result<RecordBatch> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let select: Vec<_> = columns.iter().map(|c| dialect.reads(c)).collect();
    let only = instrument.map_or_else(String::new, |name| format!(" WHERE instrument = {}", dialect.text(name)));
    conn.rows(format!("SELECT {} FROM {}{only}", select.join(", "), conn.table(element)), columns).await
}

async fn declare_overlaps(tx: &mut Tx, registry: &Registry, governor: &str, records: &RecordBatch) -> Result<()> {
    let values = records.column_by_name("name").map(distinct_texts).transpose()?.unwrap_or_default();
    let (system, level) = split_skypix(&registry.universe.common_skypix)?;
    for table in static_tables(&registry.universe, registry.shape) {
        let ours = table.name.ends_with("_skypix_overlap_summary") && table.column(governor).is_some();
        if ours {
            let rows = batch([
                ("skypix_system", constant_text(system, values.len())),
                ("skypix_level", constant_int(level, values.len())),
                (governor, text_column(values.iter().map(String::as_str))),
            ])?;
            tx.insert(&table, &rows, OnConflict::Keep).await?;
        }
    }
    Ok(())
}

/// `htm7` as `("htm", 7)`.
fn split_skypix(name: &str) -> Result<(&str, i64)> {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let level = digits.parse().map_err(|_| Error::bug(format!("'{name}' is no skypix dimension")))?;
    Ok((&name[..name.len() - digits.len()], level))
}
