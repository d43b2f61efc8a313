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
use crate::registry::db::insert::OnConflict;
use crate::registry::db::rows::{
    constant_instant, constant_int, constant_text, distinct_texts, record_batch, required_column, text_column,
};
use crate::registry::db::tx::Tx;
use crate::registry::i64_values;
use crate::registry::removal::{self, IDS};
use crate::registry::schema::butler_tables::static_tables;
use crate::registry::schema::{Column, ColumnType, ReadColumn, TableDef};
use crate::registry::string_values;

/// Datasets to insert: rows with `dataset_id`, the dimensions of the type, and for stored datasets `path`, `formatter`
/// and `file_size` (bytes); `storage_class` and `checksum` if they come from another repository.
#[derive(Debug, Clone)]
pub(crate) struct DatasetBatch<'a> {
    /// Dataset type.
    pub record: &'a TypeRecord,
    /// RUN collection of the datasets.
    pub run: &'a str,
    /// Datastore that holds the files.
    pub datastore: &'a str,
    /// Ingest time, TAI nanoseconds.
    pub ingest_date: i64,
    /// One row per dataset.
    pub rows: &'a RecordBatch,
}

/// The tables that an inserted dataset has rows in, in foreign key order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatasetTable {
    /// `dataset`: the datasets.
    Datasets,
    /// The tags table of the dataset type: the data IDs and the RUN.
    Memberships,
    /// `dataset_location`: the datastores that hold a dataset.
    Locations,
    /// `file_datastore_records`: the files of a dataset.
    Files,
}

/// How datasets are inserted efficiently.
#[derive(Debug)]
pub(crate) struct InsertStrategy {
    /// Number of datasets per chunk.
    pub together: usize,
    /// The tables written in each pass over a chunk.
    pub passes: &'static [&'static [DatasetTable]],
}

/// Returns the insert strategy for a database. SQLite indexes on random ids may exceed the page cache, so large chunks
/// and one table per pass reduce page lookups. PostgreSQL checks a reference fastest when its target was just written.
pub(crate) fn insert_strategy(tx: &Tx) -> InsertStrategy {
    use DatasetTable::{Datasets, Files, Locations, Memberships};
    match tx.dialect() {
        Dialect::Sqlite => {
            InsertStrategy { together: 32 * 1024, passes: &[&[Datasets], &[Memberships], &[Locations], &[Files]] }
        }
        Dialect::Postgres => InsertStrategy { together: 1, passes: &[&[Datasets, Memberships, Locations, Files]] },
    }
}

/// Inserts datasets into one table; existing rows are kept. Returns the number of new rows.
///
/// # Errors
/// `Kind::Conflict` for another dataset with the same data ID, or a missing dimension record; other database errors.
pub(crate) async fn store(
    tx: &mut Tx,
    registry: &Registry,
    stored: &DatasetBatch<'_>,
    part: DatasetTable,
) -> Result<u64> {
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
            let written = insert_or_ignore(tx, named(&tables, "dataset")?, "id", &datasets).await?;
            if written < n as u64 {
                check_run(tx, &datasets, run, stored).await?;
            }
            Ok(written)
        }
        DatasetTable::Memberships => {
            let run = collections::number(tx, stored.run).await?;
            update_collection_summary(tx, registry, record, run, rows).await?;
            let members = members(record, run, rows)?;
            insert_or_ignore(tx, &record.tags, "dataset_id", &members).await.map_err(|e| dangling(e, record))
        }
        // Datasets without files have no locations and no file records.
        DatasetTable::Locations | DatasetTable::Files if !has_files => Ok(0),
        DatasetTable::Locations => {
            let locations =
                record_batch([("datastore_name", constant_text(stored.datastore, n)), ("dataset_id", ids)])?;
            let written = insert_or_ignore(tx, named(&tables, "dataset_location")?, "dataset_id", &locations).await?;
            removal::take_from_trash(tx, &string_values(&locations, 1)).await?;
            Ok(written)
        }
        DatasetTable::Files => {
            insert_or_ignore(tx, &registry.file_records, "dataset_id", &file_records(record, rows)?).await
        }
    }
}

/// Checks that existing datasets are in the run: ids that follow from the name of the run are the same after it was
/// renamed.
async fn check_run(tx: &mut Tx, datasets: &RecordBatch, run: i64, stored: &DatasetBatch<'_>) -> Result<()> {
    for ids in string_values(datasets, 0).chunks(IDS) {
        let list: Vec<_> = ids.iter().filter_map(|id| tx.dialect().uuid(id)).collect();
        let sql = format!(
            "SELECT c.name FROM {} d JOIN {} c ON c.collection_id = d.run_id WHERE d.run_id <> {run} AND d.id IN ({}) \
             LIMIT 1",
            tx.table("dataset"),
            tx.table("collection"),
            list.join(", ")
        );
        let found = tx.rows(sql, &[ReadColumn::plain("name", ColumnType::Text(None))]).await?;
        if let Some(other) = string_values(&found, 0).first() {
            let message = format!(
                "a dataset of type '{}' for run '{}' has the id of one in run '{other}'",
                stored.record.dataset_type.name, stored.run
            );
            return Err(Error::new(Kind::Conflict, message));
        }
    }
    Ok(())
}

/// Inserts rows unless they exist. SQLite gets them in the order of their ids, which visits index pages sequentially,
/// but with the row numbers of their original order, which stays their order in the table.
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

/// Names the missing reference in a foreign key error.
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
/// Database errors.
pub(crate) async fn replace_files(
    tx: &mut Tx,
    registry: &Registry,
    record: &TypeRecord,
    rows: &RecordBatch,
) -> Result<u64> {
    tx.insert(&registry.file_records, &file_records(record, rows)?, OnConflict::Replace).await
}

/// Adds datasets of one type to a TAGGED collection. The rows hold `dataset_id` and the dimensions. Returns the number
/// of new memberships.
///
/// # Errors
/// `Kind::Conflict` when the collection holds another dataset with the same data ID; other database errors.
pub(crate) async fn associate(
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

/// Removes datasets of one type from a TAGGED collection; ids that are not in it are ignored. Returns the number
/// removed.
///
/// # Errors
/// Database errors.
pub(crate) async fn disassociate(tx: &mut Tx, record: &TypeRecord, collection: &str, ids: &[String]) -> Result<u64> {
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

/// Records in the summary tables which dataset types and governors a collection may hold. Memberships refer to these
/// rows, so this runs first.
///
/// # Errors
/// Database errors.
pub(crate) async fn update_collection_summary(
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
            tx.insert(table, &summary, OnConflict::Keep).await.map_err(|e| dangling(e, record))?;
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
    let usual = || constant_text(&record.dataset_type.storage_class, n);
    let mut columns = vec![
        ("dataset_id", required_column(rows, "dataset_id")?),
        ("path", required_column(rows, "path")?),
        ("formatter", required_column(rows, "formatter")?),
        ("storage_class", rows.column_by_name("storage_class").cloned().unwrap_or_else(usual)),
        ("component", constant_text(NO_COMPONENT, n)),
        ("file_size", required_column(rows, "file_size")?),
    ];
    columns.extend(rows.column_by_name("checksum").map(|checksums| ("checksum", checksums.clone())));
    record_batch(columns)
}

fn named<'a>(tables: &'a [TableDef], name: &str) -> Result<&'a TableDef> {
    tables.iter().find(|t| t.name == name).ok_or_else(|| Error::bug(format!("no table '{name}'")))
}
