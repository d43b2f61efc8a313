//! Datasets that a procedure selects, with their files and the dimension records that they need.

use std::collections::{BTreeMap, HashSet};

use arrow::array::RecordBatch;
use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::registry::dataset_types;
use crate::registry::datasets;
use crate::registry::db::conn::Executor;
use crate::registry::db::rows::{record_batch, required_column};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions;
use crate::registry::file_records::{Selection, datasets_with_files};
use crate::registry::schema::TableDef;
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::changeset::changes::SelectedDatasets;
use crate::repo::changeset::comparison::filter_rows;
use crate::repo::search::ranks;

/// Number of ids per query.
const IDS: usize = 4096;

/// Returns the datasets with these ids and in these collections, by type, each once.
///
/// # Errors
/// `Kind::NotFound` for an unknown id or collection; database errors.
pub(crate) async fn select_datasets(
    repo: &Repo,
    ids: &[String],
    collections: &[String],
) -> Result<Vec<SelectedDatasets>> {
    let registry = &repo.registry;
    let kinds = datasets::types_of(&mut Executor::Conn(&registry.conn), ids).await?;
    let found: HashSet<&String> = kinds.values().flatten().collect();
    if let Some(missing) = ids.iter().find(|id| !found.contains(id)) {
        return Err(Error::new(Kind::NotFound, format!("no dataset has the id '{missing}'")));
    }
    let ranks = if collections.is_empty() { Vec::new() } else { ranks(repo, collections).await? };
    let mut all = Vec::new();
    for record in dataset_types::load(registry).await? {
        let searched = (!ranks.is_empty()).then_some(Selection::Collections(&ranks));
        let ids = kinds.get(&record.id).map_or(&[][..], Vec::as_slice).chunks(IDS).map(Selection::Ids);
        let mut rows = SpillBuffer::default();
        let mut seen = HashSet::new();
        for selection in searched.into_iter().chain(ids) {
            let mut batches = datasets_with_files(registry, &record, selection).await?;
            while let Some(batch) = batches.try_next().await? {
                let ids = string_values(&batch, 0);
                let batch = filter_rows(&batch, ids.into_iter().map(|id| seen.insert(id)))?;
                rows.push(batch)?;
            }
        }
        if !rows.is_empty() {
            all.push(SelectedDatasets { record, rows });
        }
    }
    Ok(all)
}

/// Reads the records of every element that the data IDs refer to, with the records that they imply, in the order of the
/// universe.
///
/// # Errors
/// Database errors.
pub(crate) async fn dimension_records(
    repo: &Repo,
    selected: &[SelectedDatasets],
) -> Result<Vec<(TableDef, RecordBatch)>> {
    let universe = &repo.registry.universe;
    // Data IDs of the records to read, as tuples of the required dimensions of each element.
    let mut wanted: BTreeMap<&str, Vec<RecordBatch>> = BTreeMap::new();
    for one in selected {
        let dimensions = &one.record.dataset_type.dimensions;
        for batch in one.rows.batches()? {
            let batch = batch?;
            for element in universe.tables() {
                if element.required.iter().all(|d| dimensions.contains(d)) {
                    wanted.entry(&element.name).or_default().push(some_of(&batch, &element.required)?);
                }
            }
        }
    }
    let mut records = Vec::new();
    for element in universe.tables().collect::<Vec<_>>().into_iter().rev() {
        let Some(keys) = wanted.remove(element.name.as_str()) else { continue };
        let table = dimensions::table(&repo.registry, &element.name)?;
        let keys = keys.iter().map(|keys| primary_keys(&table, &element.required, keys));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let found = dimensions::records_with_keys(&repo.registry, &table, &keys).await?;
        for implied in &element.implied {
            let other = universe.element(implied)?;
            if other.has_table && other.required.iter().all(|d| d == implied || found.column_by_name(d).is_some()) {
                wanted.entry(&other.name).or_default().push(some_of(&found, &other.required)?);
            }
        }
        if found.num_rows() > 0 {
            records.push((table, found));
        }
    }
    records.reverse();
    Ok(records)
}

/// Returns some columns of rows, without duplicates.
fn some_of(rows: &RecordBatch, names: &[String]) -> Result<RecordBatch> {
    let columns =
        names.iter().map(|name| Ok((name.as_str(), required_column(rows, name)?))).collect::<Result<Vec<_>>>()?;
    let rows = record_batch(columns)?;
    let mut seen = HashSet::new();
    let first: Vec<bool> = datasets::row_texts(&rows)?.into_iter().map(|key| seen.insert(key)).collect();
    filter_rows(&rows, first.into_iter())
}

/// Names the values of the required dimensions by the primary key columns of the element's table.
fn primary_keys(table: &TableDef, required: &[String], rows: &RecordBatch) -> Result<RecordBatch> {
    let arrays = required.iter().map(|d| required_column(rows, d)).collect::<Result<Vec<_>>>()?;
    record_batch(table.primary_key.iter().map(String::as_str).zip(arrays))
}
