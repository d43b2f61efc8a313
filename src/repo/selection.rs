//! Datasets that a procedure selects, with their files and the dimension records that they need.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow::array::RecordBatch;
use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::model::collection::{Collection, CollectionType, Collections};
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

/// The keys of dimension records: for each element, tuples of its required dimensions.
type RecordKeys<'a> = BTreeMap<&'a str, Vec<RecordBatch>>;

/// Reads the records of every element that the data IDs refer to, with the records that they imply, in the order of the
/// universe. With `populated`, also those of relations that complete them, such as the exposures of visits.
///
/// # Errors
/// Database errors.
pub(crate) async fn dimension_records(
    repo: &Repo,
    selected: &[SelectedDatasets],
    populated: bool,
) -> Result<Vec<(TableDef, RecordBatch)>> {
    let universe = &repo.registry.universe;
    let mut wanted = RecordKeys::new();
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
    if populated {
        add_populated(repo, &mut wanted).await?;
    }
    let mut records = Vec::new();
    for element in universe.tables().collect::<Vec<_>>().into_iter().rev() {
        let Some(keys) = wanted.remove(element.name.as_str()) else { continue };
        let table = dimensions::table(&repo.registry, &element.name)?;
        let keys = keys.iter().map(|keys| primary_keys(&table, &element.required, keys));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let found = dimensions::records_with_keys(&repo.registry, &table, &table.primary_key, &keys).await?;
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

/// Adds the keys of the relations that complete wanted records, unless data IDs select them, and of the records that
/// these relations refer to.
async fn add_populated<'a>(repo: &'a Repo, wanted: &mut RecordKeys<'a>) -> Result<()> {
    let universe = &repo.registry.universe;
    for relation in universe.tables().filter(|element| element.populated_by.is_some()) {
        let owner = relation.populated_by.as_deref().unwrap_or_default();
        let keys = wanted.get(owner).filter(|_| !wanted.contains_key(&*relation.name));
        let Some(keys) = keys else { continue };
        let table = dimensions::table(&repo.registry, &relation.name)?;
        let by = &universe.element(owner)?.required;
        let found = dimensions::records_with_keys(&repo.registry, &table, by, keys).await?;
        for element in universe.tables().filter(|e| e.required.iter().all(|d| relation.required.contains(d))) {
            wanted.entry(&element.name).or_default().push(some_of(&found, &element.required)?);
        }
    }
    Ok(())
}

/// Returns the collections to transfer or export: the runs of the datasets and the requested collections, chains after
/// their children.
///
/// # Errors
/// `Kind::NotFound` for an unknown collection; read errors.
pub(crate) fn collections_of(
    known: &Collections,
    selected: &[SelectedDatasets],
    requested: &[String],
) -> Result<Vec<Collection>> {
    let mut names = BTreeSet::new();
    for one in selected {
        for batch in one.rows.batches()? {
            let batch = batch?;
            names.extend(string_values(&batch, batch.num_columns() - 3));
        }
    }
    let mut chains: Vec<&Collection> = Vec::new();
    for top in known.select(requested)? {
        // A chain is written after its children: the depth-first order, reversed.
        for line in known.tree(top).iter().rev() {
            match line.collection.kind {
                CollectionType::Chained if !chains.iter().any(|c| c.id == line.collection.id) => {
                    chains.push(line.collection);
                }
                CollectionType::Chained => {}
                _ => drop(names.insert(line.collection.name.clone())),
            }
        }
    }
    let plain = names.iter().map(|name| known.get(name)).collect::<Result<Vec<_>>>()?;
    Ok(plain.into_iter().chain(chains).cloned().collect())
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
