//! Reading and writing dimension records.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, filter_record_batch, take};
use arrow::datatypes::DataType;

use crate::error::{Error, Kind, Result};
use crate::registry::Registry;
use crate::registry::datasets::row_texts;
use crate::registry::db::insert::OnConflict;
use crate::registry::db::predicates::key_predicates;
use crate::registry::db::rows::{
    constant_int, constant_text, distinct_texts, record_batch, required_column, text_column,
};
use crate::registry::db::tx::Tx;
use crate::registry::schema::butler_tables::{element_table, static_tables};
use crate::registry::schema::{ReadColumn, TableDef, arrow_schema};
use crate::sphere::region::Region;
use crate::sphere::skypix;
use crate::universe::Element;

/// Returns the table of a dimension element.
///
/// # Errors
/// `Kind::NotFound` for an unknown element, `Kind::Unsupported` for an element without a table.
pub(crate) fn table(registry: &Registry, element: &str) -> Result<TableDef> {
    let found = registry.universe.element(element)?;
    if !found.has_table {
        return Err(Error::new(
            Kind::Unsupported,
            format!("records of '{element}' cannot be written: it has no table"),
        ));
    }
    Ok(element_table(&registry.universe, found))
}

/// Inserts or replaces records. For a governor, also inserts the rows that declare which overlaps are stored for it:
/// without them no region could be inserted later. Returns the number of records written.
///
/// # Errors
/// `Kind::Conflict` for a missing parent record or a duplicate key; other database errors.
pub(crate) async fn insert(
    tx: &mut Tx,
    registry: &Registry,
    element: &str,
    records: &RecordBatch,
    conflict: OnConflict,
) -> Result<u64> {
    let table = table(registry, element)?;
    let written = tx.insert(&table, records, conflict).await.map_err(|e| dangling(e, &table))?;
    let element = registry.universe.element(element)?;
    if element.governor {
        declare_overlaps(tx, registry, &element.name, records).await?;
    }
    if let Some(regions) = records.column_by_name("region").filter(|_| element.spatial) {
        write_overlaps(tx, registry, element, records, regions, conflict).await?;
    }
    Ok(written)
}

/// Names the parent elements in a foreign key error.
fn dangling(error: Error, table: &TableDef) -> Error {
    if !error.is_missing_reference() {
        return error;
    }
    let parents: Vec<_> = table.foreign_keys.iter().map(|key| key.table.as_str()).collect();
    let message = format!("a record of '{}' needs records of {} that do not exist", table.name, parents.join(", "));
    Error::new(Kind::Conflict, message).with_source(error)
}

/// Inserts the pixels that the regions overlap. Spatial joins of the Butler find records only through these rows.
async fn write_overlaps(
    tx: &mut Tx,
    registry: &Registry,
    element: &Element,
    records: &RecordBatch,
    regions: &ArrayRef,
    conflict: OnConflict,
) -> Result<()> {
    let (system, level) = common_skypix(registry)?;
    let regions = cast(regions, &DataType::Binary)?;
    let (mut rows, mut pixels) = (Vec::new(), Vec::new());
    for (row, region) in (0..).zip(regions.as_binary::<i32>()) {
        let Some(bytes) = region else { continue };
        let region = Region::decode(bytes).ok_or_else(|| {
            Error::invalid(format!("a region of '{}' is not in the encoding of sphgeom", element.name))
        })?;
        for touched in region.envelope(level) {
            rows.extend(touched.clone().map(|_| row));
            pixels.extend(touched);
        }
    }
    let name = format!("{}_skypix_overlap", element.name);
    let tables = static_tables(&registry.universe, registry.variant);
    let table = tables.iter().find(|t| t.name == name).ok_or_else(|| Error::bug(format!("no table '{name}'")))?;
    if conflict == OnConflict::Replace {
        delete_overlaps(tx, registry, element, records, table).await?;
    }
    let index = UInt32Array::from(rows);
    let mut columns = vec![
        ("skypix_system", constant_text(system, pixels.len())),
        ("skypix_level", constant_int(level.into(), pixels.len())),
        ("skypix_index", Arc::new(Int64Array::from(pixels)) as ArrayRef),
    ];
    for dimension in &element.required {
        let own = element.key.as_ref().filter(|_| *dimension == element.name).map(|k| k.name.as_str());
        let values = records.column_by_name(own.unwrap_or(dimension));
        let values = values.ok_or_else(|| Error::bug(format!("records without '{dimension}'")))?;
        columns.push((dimension, take(values, &index, None)?));
    }
    tx.insert(table, &record_batch(columns)?, OnConflict::Keep).await?;
    Ok(())
}

/// Deletes the overlap rows of these records.
async fn delete_overlaps(
    tx: &mut Tx,
    registry: &Registry,
    element: &Element,
    records: &RecordBatch,
    table: &TableDef,
) -> Result<()> {
    let own = element_table(&registry.universe, element);
    // The overlap table uses dimension names, the table of the element uses key names.
    let keys = own.primary_key.iter().map(|key| required_column(records, key)).collect::<Result<Vec<_>>>()?;
    let keys = record_batch(element.required.iter().map(String::as_str).zip(keys))?;
    let target = tx.table(&table.name);
    for only in key_predicates(tx.dialect(), "", table, &element.required, &keys)? {
        tx.execute(format!("DELETE FROM {target} WHERE {only}")).await?;
    }
    Ok(())
}

/// Returns the stored records with the primary keys of `rows`, with the columns of `rows`.
///
/// # Errors
/// A missing key column; database errors.
pub(crate) async fn stored(registry: &Registry, table: &TableDef, rows: &RecordBatch) -> Result<RecordBatch> {
    let columns: Vec<_> =
        table.read_columns().into_iter().filter(|c| rows.schema_ref().column_with_name(&c.name).is_some()).collect();
    keyed_values(registry, table, columns, rows).await
}

/// Returns some columns of the stored records with the primary keys of `rows`.
///
/// # Errors
/// A missing key column; database errors.
pub(crate) async fn keyed_values(
    registry: &Registry,
    table: &TableDef,
    columns: Vec<ReadColumn>,
    rows: &RecordBatch,
) -> Result<RecordBatch> {
    let found = keyed_batches(registry, table, &columns, &table.primary_key, rows, "").await?;
    Ok(concat_batches(&arrow_schema(&columns), &found)?)
}

/// Returns all columns of the stored records whose columns `by` have the values of some rows, each once, ordered by
/// primary key within each batch of rows.
///
/// # Errors
/// A missing key column; database errors.
pub(crate) async fn records_with_keys(
    registry: &Registry,
    table: &TableDef,
    by: &[String],
    keys: &[RecordBatch],
) -> Result<RecordBatch> {
    let columns = table.read_columns();
    let quoted: Vec<_> = table.primary_key.iter().map(|key| registry.conn.dialect().quote(key)).collect();
    let order = format!(" ORDER BY {}", quoted.join(", "));
    let at = columns.iter().enumerate().filter(|(_, c)| table.primary_key.contains(&c.name));
    let at: Vec<usize> = at.map(|(at, _)| at).collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for keys in keys {
        for rows in keyed_batches(registry, table, &columns, by, keys, &order).await? {
            let texts = row_texts(&rows.project(&at)?)?;
            let is_first: BooleanArray = texts.into_iter().map(|key| Some(seen.insert(key))).collect();
            found.push(filter_record_batch(&rows, &is_first)?);
        }
    }
    Ok(concat_batches(&arrow_schema(&columns), &found)?)
}

/// Reads the stored records whose columns `by` have the values of some rows, in several queries if there are many rows.
async fn keyed_batches(
    registry: &Registry,
    table: &TableDef,
    columns: &[ReadColumn],
    by: &[String],
    rows: &RecordBatch,
    order: &str,
) -> Result<Vec<RecordBatch>> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    if let Some(missing) = by.iter().find(|key| rows.column_by_name(key).is_none()) {
        return Err(Error::invalid(format!("records of '{}' need the column '{missing}'", table.name)));
    }
    let select: Vec<_> = columns.iter().map(|c| dialect.select_expr(c, "")).collect();
    let base = format!("SELECT {} FROM {} WHERE ", select.join(", "), conn.table(&table.name));
    let mut found = Vec::new();
    for only in key_predicates(dialect, "", table, by, rows)? {
        found.push(conn.rows(format!("{base}{only}{order}"), columns.to_vec()).await?);
    }
    Ok(found)
}

/// Returns the values of a dimension without its own table, such as `band`, that occur in no record of `element`.
///
/// # Errors
/// Database errors.
pub(crate) async fn unknown_values(
    registry: &Registry,
    element: &str,
    column: &str,
    values: &[String],
) -> Result<Vec<String>> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let (quoted, list) = (dialect.quote(column), values.iter().map(|v| dialect.text(v)).collect::<Vec<_>>());
    let sql = format!("SELECT DISTINCT {quoted} FROM {} WHERE {quoted} IN ({})", conn.table(element), list.join(", "));
    let known = crate::registry::string_values(
        &conn.rows(sql, vec![ReadColumn::plain(column, crate::registry::schema::ColumnType::Text(None))]).await?,
        0,
    );
    Ok(values.iter().filter(|value| !known.contains(value)).cloned().collect())
}

/// Returns some columns of the records of an element, for one instrument or for all.
///
/// # Errors
/// Database errors.
pub(crate) async fn values(
    registry: &Registry,
    element: &str,
    columns: Vec<ReadColumn>,
    instrument: Option<&str>,
) -> Result<RecordBatch> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let select: Vec<_> = columns.iter().map(|c| dialect.select_expr(c, "")).collect();
    let only = instrument.map_or_else(String::new, |name| format!(" WHERE instrument = {}", dialect.text(name)));
    conn.rows(format!("SELECT {} FROM {}{only}", select.join(", "), conn.table(element)), columns).await
}

async fn declare_overlaps(tx: &mut Tx, registry: &Registry, governor: &str, records: &RecordBatch) -> Result<()> {
    let values = records.column_by_name("name").map(distinct_texts).transpose()?.unwrap_or_default();
    let (system, level) = common_skypix(registry)?;
    for table in static_tables(&registry.universe, registry.variant) {
        let ours = table.name.ends_with("_skypix_overlap_summary") && table.column(governor).is_some();
        if ours {
            let rows = record_batch([
                ("skypix_system", constant_text(system, values.len())),
                ("skypix_level", constant_int(level.into(), values.len())),
                (governor, text_column(values.iter().map(String::as_str))),
            ])?;
            tx.insert(&table, &rows, OnConflict::Keep).await?;
        }
    }
    Ok(())
}

/// Returns the pixelization system and level in which overlaps are stored.
fn common_skypix(registry: &Registry) -> Result<(&str, u32)> {
    let name = &registry.universe.common_skypix;
    skypix::split(name).ok_or_else(|| Error::bug(format!("'{name}' is not a skypix dimension")))
}
