//! Comparison of records with the registry, as in the `sync` of the Butler.

use std::collections::HashMap;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::error::{Error, Kind, Result};
use crate::registry::Registry;
use crate::registry::db::rows::{BoundColumn, Value, bind_columns};
use crate::registry::dimensions;
use crate::registry::schema::TableDef;
use crate::repo::Repo;
use crate::repo::changeset::ChangeSet;
use crate::repo::changeset::changes::WriteRecords;
use crate::repo::changeset::report::Status;

/// How a record compares with the existing record of the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// No existing record has the key.
    New,
    /// The existing record has equal values.
    Unchanged,
    /// The existing record has other values, listed as `column: existing != given`.
    Differs(String),
}

/// Compares every row with the existing record of the same key.
///
/// # Errors
/// A missing key column; database errors.
pub(crate) async fn compare(registry: &Registry, table: &TableDef, rows: &RecordBatch) -> Result<Vec<Comparison>> {
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let given = bind_columns(table, rows)?;
    let keys = key_columns(table, &given)?;
    let there = dimensions::stored(registry, table, rows).await?;
    let stored = bind_columns(table, &there)?;
    let stored_keys = key_columns(table, &stored)?;
    let index: HashMap<String, usize> = (0..there.num_rows()).map(|r| (key(&stored, &stored_keys, r), r)).collect();
    Ok((0..rows.num_rows())
        .map(|row| match index.get(&key(&given, &keys, row)) {
            None => Comparison::New,
            Some(found) => differences(&given, row, &stored, *found),
        })
        .collect())
}

/// Returns the positions of the key columns.
fn key_columns(table: &TableDef, given: &[BoundColumn<'_>]) -> Result<Vec<usize>> {
    let at = |name: &String| {
        given
            .iter()
            .position(|g| g.column.name == *name)
            .ok_or_else(|| Error::invalid(format!("records of '{}' need the column '{name}'", table.name)))
    };
    table.primary_key.iter().map(at).collect()
}

fn key(given: &[BoundColumn<'_>], keys: &[usize], row: usize) -> String {
    keys.iter().map(|k| format!("{:?}\u{1f}", given[*k].values.at(row))).collect()
}

fn differences(given: &[BoundColumn<'_>], row: usize, stored: &[BoundColumn<'_>], found: usize) -> Comparison {
    let mut message = Vec::new();
    for new in given {
        let Some(old) = stored.iter().find(|s| s.column.name == new.column.name) else { continue };
        let (old, new_value) = (old.values.at(found), new.values.at(row));
        if !equal(old, new_value) {
            message.push(format!("{}: {} != {}", new.column.name, show(old), show(new_value)));
        }
    }
    if message.is_empty() { Comparison::Unchanged } else { Comparison::Differs(message.join(", ")) }
}

/// Compares two values; NaN equals NaN and NULL, because SQLite stores NaN as NULL.
fn equal(a: Value<'_>, b: Value<'_>) -> bool {
    let absent = |v: Value<'_>| matches!(v, Value::Null) || matches!(v, Value::Float(f) if f.is_nan());
    a == b || (absent(a) && absent(b))
}

fn show(value: Value<'_>) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Text(text) => format!("'{text}'"),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Span(begin, end) => format!("[{begin}, {end})"),
    }
}

/// Returns the rows whose status is wanted.
///
/// # Errors
/// None if there is one status per row.
pub(crate) fn select(
    rows: &RecordBatch,
    statuses: &[Comparison],
    wanted: impl Fn(&Comparison) -> bool,
) -> Result<RecordBatch> {
    filter_rows(rows, statuses.iter().map(wanted))
}

/// Returns the rows for which `wanted` is true.
///
/// # Errors
/// None if there is one value per row.
pub(crate) fn filter_rows(rows: &RecordBatch, wanted: impl Iterator<Item = bool>) -> Result<RecordBatch> {
    Ok(filter_record_batch(rows, &wanted.map(Some).collect::<BooleanArray>())?)
}

/// Returns the error for a record that differs from the existing one.
pub(crate) fn conflict(table: &str, difference: &str) -> Error {
    Error::new(Kind::Conflict, format!("a record of '{table}' exists with other values: {difference}"))
}

/// For each row, returns the first earlier row with the same key.
///
/// # Errors
/// Columns that the table does not have.
pub(crate) fn find_duplicates(table: &TableDef, rows: &RecordBatch) -> Result<Vec<Option<usize>>> {
    let given = bind_columns(table, rows)?;
    let keys = key_columns(table, &given)?;
    let mut seen = HashMap::new();
    Ok((0..rows.num_rows())
        .map(|row| {
            let first = *seen.entry(key(&given, &keys, row)).or_insert(row);
            (first != row).then_some(first)
        })
        .collect())
}

/// Adds the changes that make records equal to these; records that differ are an error unless they may be updated.
///
/// # Errors
/// Two rows with one key, or a record that differs.
pub(crate) async fn sync_records(
    repo: &Repo,
    element: &str,
    rows: &RecordBatch,
    update: bool,
    set: &mut ChangeSet<'_>,
) -> Result<()> {
    let known = dimensions::table(&repo.registry, element)?;
    let statuses = compare(&repo.registry, &known, rows).await?;
    if let Some((row, first)) = find_duplicates(&known, rows)?.into_iter().enumerate().find_map(|(r, t)| Some((r, t?)))
    {
        let message = format!("rows {} and {} of the new records of '{element}' have the same key", first + 1, row + 1);
        return Err(Error::new(Kind::Conflict, message));
    }
    if let Some(Comparison::Differs(how)) = statuses.iter().find(|s| matches!(s, Comparison::Differs(_)) && !update) {
        return Err(conflict(element, how));
    }
    let new = select(rows, &statuses, |s| *s == Comparison::New)?;
    let changed = select(rows, &statuses, |s| matches!(s, Comparison::Differs(_)))?;
    set.record(element, Status::Unchanged, "", (rows.num_rows() - new.num_rows() - changed.num_rows()) as u64);
    if new.num_rows() > 0 {
        set.push(WriteRecords::insert(element, new));
    }
    if changed.num_rows() > 0 {
        set.push(WriteRecords::replace(element, changed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_sqlite_stores_alike_are_equal() {
        assert!(equal(Value::Float(f64::NAN), Value::Null));
        assert!(equal(Value::Float(f64::NAN), Value::Float(f64::NAN)));
        assert!(equal(Value::Text("a"), Value::Text("a")));
        assert!(!equal(Value::Float(0.0), Value::Null));
        assert!(!equal(Value::Int(1), Value::Int(2)));
    }

    #[test]
    fn differences_are_shown_as_literals() {
        for (value, text) in [
            (Value::Null, "NULL"),
            (Value::Text("a"), "'a'"),
            (Value::Int(-7), "-7"),
            (Value::Float(0.5), "0.5"),
            (Value::Bool(true), "true"),
            (Value::Bytes(b"abc"), "3 bytes"),
            (Value::Span(1, 2), "[1, 2)"),
        ] {
            assert_eq!(show(value), text);
        }
        let error = conflict("detector", "full_name: 'a' != 'b'");
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(error.message(), "a record of 'detector' exists with other values: full_name: 'a' != 'b'");
    }
}
