//! Writing datasets, their file records and their memberships.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::{sort_to_indices, take};

use crate::error::{Error, Kind, Result};
use crate::registry::Registry;
use crate::registry::collections;
use crate::registry::dataset_types::TypeRecord;
use crate::registry::datasets::NO_COMPONENT;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::rows::{
    constant_instant, constant_int, constant_text, distinct_texts, record_batch, required_column, text_column,
};
use crate::registry::db::tx::{OnConflict, Tx};
use crate::registry::i64_values;
use crate::registry::schema::butler_tables::static_tables;
use crate::registry::schema::{Column, ColumnType, ReadColumn, TableDef};

/// Datasets to be stored: rows with `dataset_id`, the dimensions of the type, and of each file `path`,
/// `formatter`, `file_size`.
#[derive(Debug, Clone)]
pub struct DatasetBatch<'a> {
    /// Their dataset type.
    pub record: &'a TypeRecord,
    /// The RUN collection they are born in.
    pub run: &'a str,
    /// The datastore that holds the files.
    pub datastore: &'a str,
    /// When they were ingested, TAI nanoseconds.
    pub ingest_date: i64,
    /// One row a dataset.
    pub rows: &'a RecordBatch,
}

/// A table that holds datasets; in the order the foreign keys ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetTable {
    /// `dataset`: what there is.
    Datasets,
    /// The tags table of the dataset type: the data IDs, in the RUN.
    Memberships,
    /// `dataset_location`: which datastore has it.
    Locations,
    /// `file_datastore_records`: its file there.
    Files,
}

/// How datasets are best stored.
#[derive(Debug)]
pub struct InsertStrategy {
    /// How many at once.
    pub together: usize,
    /// How often all of them are gone through, and what is stored each time.
    pub passes: &'static [&'static [DatasetTable]],
}

/// SQLite's indexes are of random ids, and one may be as large as the cache: the more datasets at once, and the fewer
/// tables, the fewer times a page is looked for. PostgreSQL finds what a row refers to where it has just been written.
pub fn insert_strategy(tx: &Tx) -> InsertStrategy {
    use DatasetTable::{Datasets, Files, Locations, Memberships};
    match tx.dialect() {
        Dialect::Sqlite => {
            InsertStrategy { together: 32 * 1024, passes: &[&[Datasets], &[Memberships], &[Locations], &[Files]] }
        }
        Dialect::Postgres => InsertStrategy { together: 1, passes: &[&[Datasets, Memberships, Locations, Files]] },
    }
}

/// Stores one part of datasets; what is there already is kept. Returns how many rows are new.
///
/// # Errors
/// What the database says: another dataset with the same data ID, a missing dimension record.
pub async fn store(tx: &mut Tx, registry: &Registry, stored: &DatasetBatch<'_>, part: DatasetTable) -> Result<u64> {
    let (record, rows, n) = (stored.record, stored.rows, stored.rows.num_rows());
    let tables = static_tables(&registry.universe, registry.variant);
    let ids = required_column(rows, "dataset_id")?;
    let has_files = rows.column_by_name("path").is_some();
    match part {
        DatasetTable::Datasets => {
            let run = collections::number(tx, stored.run).await?;
            let datasets = record_batch([
                ("id", ids),
                ("dataset_type_id", constant_int(record.id, n)),
                ("ingest_date", constant_instant(stored.ingest_date, n)),
                ("run_id", constant_int(run, n)),
            ])?;
            insert_or_ignore(tx, named(&tables, "dataset")?, "id", &datasets).await
        }
        DatasetTable::Memberships => {
            let run = collections::number(tx, stored.run).await?;
            update_collection_summary(tx, registry, record, run, rows).await?;
            let members = members(record, run, rows)?;
            insert_or_ignore(tx, &record.tags, "dataset_id", &members).await.map_err(|e| dangling(e, record))
        }
        // Datasets without files are known, but not stored.
        DatasetTable::Locations | DatasetTable::Files if !has_files => Ok(0),
        DatasetTable::Locations => {
            let locations =
                record_batch([("datastore_name", constant_text(stored.datastore, n)), ("dataset_id", ids)])?;
            insert_or_ignore(tx, named(&tables, "dataset_location")?, "dataset_id", &locations).await
        }
        DatasetTable::Files => {
            insert_or_ignore(tx, &registry.file_records, "dataset_id", &file_records(record, rows)?).await
        }
    }
}

/// Inserts rows unless they are there. SQLite is given them in the order of their ids, so that it finds the pages of
/// indexes one after the other, but with the row numbers they would have had: they lie in the table as they came.
async fn insert_or_ignore(tx: &mut Tx, table: &TableDef, id: &str, rows: &RecordBatch) -> Result<u64> {
    if tx.dialect() != Dialect::Sqlite {
        return tx.insert(table, rows, OnConflict::Keep).await;
    }
    let last = format!("SELECT coalesce(max(rowid), 0) FROM {}", tx.table(&table.name));
    let last = i64_values(&tx.rows(last, &[ReadColumn::plain("last", ColumnType::Int)]).await?, 0)[0];
    let order = sort_to_indices(&required_column(rows, id)?, None, None)?;
    let numbers = Int64Array::from_iter_values(order.values().iter().map(|row| last + 1 + i64::from(*row)));
    let mut columns = vec![("rowid", Arc::new(numbers) as ArrayRef)];
    for (field, values) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        columns.push((field.name(), take(values, &order, None)?));
    }
    let mut table = table.clone();
    table.columns.push(Column { name: "rowid".to_owned(), kind: ColumnType::Int, required: true, alias_of: None });
    tx.insert(&table, &record_batch(columns)?, OnConflict::Keep).await
}

/// Says of a broken reference what is missing.
fn dangling(error: Error, record: &TypeRecord) -> Error {
    if !error.is_missing_reference() {
        return error;
    }
    let message = format!("a dataset of type '{}' has a data ID without dimension records", record.dataset_type.name);
    Error::new(Kind::Conflict, message).with_source(error)
}

/// Replaces the file records of datasets, as the Butler does when files are ingested again in place.
///
/// # Errors
/// What the database says.
pub async fn replace_files(tx: &mut Tx, registry: &Registry, record: &TypeRecord, rows: &RecordBatch) -> Result<u64> {
    tx.insert(&registry.file_records, &file_records(record, rows)?, OnConflict::Replace).await
}

/// Puts datasets of one type into a TAGGED collection; rows hold `dataset_id` and the dimensions.
///
/// # Errors
/// Another dataset with the same data ID is in the collection.
pub async fn associate(
    tx: &mut Tx,
    registry: &Registry,
    record: &TypeRecord,
    collection: &str,
    rows: &RecordBatch,
) -> Result<u64> {
    let number = collections::number(tx, collection).await?;
    update_collection_summary(tx, registry, record, number, rows).await?;
    tx.insert(&record.tags, &members(record, number, rows)?, OnConflict::Keep).await
}

/// Takes datasets of one type out of a TAGGED collection; those not in it are passed over.
///
/// # Errors
/// What the database says.
pub async fn disassociate(tx: &mut Tx, record: &TypeRecord, collection: &str, ids: &[String]) -> Result<u64> {
    let number = collections::number(tx, collection).await?;
    let (dialect, table) = (tx.dialect(), tx.table(&record.tags.name));
    let mut removed = 0;
    for some in ids.chunks(1000) {
        let list: Vec<_> = some.iter().filter_map(|id| dialect.uuid(id)).collect();
        let list = list.join(", ");
        removed += tx
            .execute(format!("DELETE FROM {table} WHERE collection_id = {number} AND dataset_id IN ({list})"))
            .await?;
    }
    Ok(removed)
}

/// Tells searches what a collection may hold; must come before the memberships, which refer to it.
///
/// # Errors
/// What the database says.
pub async fn update_collection_summary(
    tx: &mut Tx,
    registry: &Registry,
    record: &TypeRecord,
    collection: i64,
    rows: &RecordBatch,
) -> Result<()> {
    let tables = static_tables(&registry.universe, registry.variant);
    let types = record_batch([
        ("collection_id", constant_int(collection, 1)),
        ("dataset_type_id", constant_int(record.id, 1)),
    ])?;
    tx.insert(named(&tables, "collection_summary_dataset_type")?, &types, OnConflict::Keep).await?;
    for dimension in &record.dataset_type.dimensions {
        if registry.universe.find(dimension).is_some_and(|e| e.governor) {
            let values = distinct_texts(&required_column(rows, dimension)?)?;
            let summary = record_batch([
                ("collection_id", constant_int(collection, values.len())),
                (dimension.as_str(), text_column(values.iter().map(String::as_str))),
            ])?;
            let table = named(&tables, &format!("collection_summary_{dimension}"))?;
            tx.insert(table, &summary, OnConflict::Keep).await?;
        }
    }
    Ok(())
}

fn members(record: &TypeRecord, collection: i64, rows: &RecordBatch) -> Result<RecordBatch> {
    let n = rows.num_rows();
    let mut columns = vec![
        ("dataset_type_id", constant_int(record.id, n)),
        ("dataset_id", required_column(rows, "dataset_id")?),
        ("collection_id", constant_int(collection, n)),
    ];
    for dimension in &record.dataset_type.dimensions {
        columns.push((dimension, required_column(rows, dimension)?));
    }
    record_batch(columns)
}

fn file_records(record: &TypeRecord, rows: &RecordBatch) -> Result<RecordBatch> {
    let n = rows.num_rows();
    record_batch([
        ("dataset_id", required_column(rows, "dataset_id")?),
        ("path", required_column(rows, "path")?),
        ("formatter", required_column(rows, "formatter")?),
        ("storage_class", constant_text(&record.dataset_type.storage_class, n)),
        ("component", constant_text(NO_COMPONENT, n)),
        ("file_size", required_column(rows, "file_size")?),
    ])
}

fn named<'a>(tables: &'a [TableDef], name: &str) -> Result<&'a TableDef> {
    tables.iter().find(|t| t.name == name).ok_or_else(|| Error::bug(format!("no table '{name}'")))
}
