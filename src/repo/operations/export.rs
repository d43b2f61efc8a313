//! `export`: writes datasets to an export file, with all records that another repository needs to import them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::model::collection::{Collection, CollectionType, Collections};
use crate::registry::collections;
use crate::registry::dataset_types;
use crate::registry::datasets;
use crate::registry::db::Batches;
use crate::registry::db::conn::Executor;
use crate::registry::db::rows::{record_batch, required_column};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions;
use crate::registry::file_records::{Selection, datasets_with_files};
use crate::registry::schema::TableDef;
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{SelectedDatasets, WriteExport};
use crate::repo::changeset::comparison::filter_rows;
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::search::ranks;
use crate::store::Location;
use crate::store::transfer_mode::TransferMode;

/// Number of ids per query.
const IDS: usize = 4096;

/// Exports datasets.
#[derive(Debug)]
pub(crate) struct Export {
    /// Folder of the export file and of transferred files; created if it does not exist.
    pub directory: String,
    /// Name of the export file.
    pub export_file: String,
    /// Collections to export with all their datasets; chains are exported with the collections they search.
    pub collections: Vec<String>,
    /// How files are transferred into the folder; `None` keeps them in place, and the export file has their datastore
    /// paths.
    pub transfer: Option<TransferMode>,
}

#[async_trait]
impl Operation for Export {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        repo.registry.check_files()?;
        let known = collections::load(&repo.registry).await?;
        let datasets = self.select(&repo, context.rows).await?;
        let collections = self.chosen(&known, &datasets)?;
        let records = self.records(&repo, &datasets).await?;
        let (directory, export_file) = (Location::parse(&self.directory)?, self.export_file.clone());
        let transfer = self.transfer;
        let change = WriteExport { repo, directory, export_file, transfer, datasets, collections, records };
        let mut set = ChangeSet::default();
        set.push(Change::Standalone(Box::new(change)));
        Ok(set.into_plan())
    }
}

impl Export {
    /// Returns the datasets to export, by type.
    async fn select(&self, repo: &Repo, rows: Option<Batches>) -> Result<Vec<SelectedDatasets>> {
        let registry = &repo.registry;
        let ids = if rows.is_some() { read_texts(rows, "dataset_id").await? } else { Vec::new() };
        let kinds = datasets::types_of(&mut Executor::Conn(&registry.conn), &ids).await?;
        let found: HashSet<&String> = kinds.values().flatten().collect();
        if let Some(missing) = ids.iter().find(|id| !found.contains(id)) {
            return Err(Error::new(Kind::NotFound, format!("no dataset has the id '{missing}'")));
        }
        let ranks = if self.collections.is_empty() { Vec::new() } else { ranks(repo, &self.collections).await? };
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

    /// Returns the collections to export: the runs of the datasets and the requested collections, chains after their
    /// children.
    fn chosen(&self, known: &Collections, selected: &[SelectedDatasets]) -> Result<Vec<Collection>> {
        let mut names = BTreeSet::new();
        for one in selected {
            for batch in one.rows.batches()? {
                let batch = batch?;
                names.extend(string_values(&batch, batch.num_columns() - 3));
            }
        }
        let mut chains: Vec<&Collection> = Vec::new();
        for top in known.select(&self.collections)? {
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

    /// Reads the records of every element that the data IDs refer to, with the records that they imply.
    async fn records(&self, repo: &Repo, selected: &[SelectedDatasets]) -> Result<Vec<(TableDef, RecordBatch)>> {
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
