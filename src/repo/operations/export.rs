//! `export`: writes datasets to an export file, with all records that another repository needs to import them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::BufWriter;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use async_trait::async_trait;
use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::format::export_writer::{Scalar, Writer};
use crate::model::collection::{Collection, CollectionType, Collections};
use crate::model::time::{self, Timespan};
use crate::registry::collections;
use crate::registry::dataset_queries::{self, columns};
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets;
use crate::registry::datasets::NO_COMPONENT;
use crate::registry::db::conn::{Batches, Executor};
use crate::registry::db::rows::{key_predicates, record_batch, required_column};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions;
use crate::registry::optional_string_values;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;
use crate::registry::timestamp_values;
use crate::repo::Operation;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::applier::ChangeApplier;
use crate::repo::changeset::change::Status;
use crate::repo::changeset::comparison::filter_rows;
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::repo::search::ranks;
use crate::store::transfer::{Transfer, TransferMode, TransferSource, rollback, transfer_all};
use crate::store::{Location, path_template, temporary};

/// Exports datasets.
#[derive(Debug)]
pub struct Export {
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

/// Datasets of one type: `dataset_id`, the dimensions, `run`, `path`, `formatter`, sorted by run and data ID.
struct Selected {
    record: TypeRecord,
    rows: SpillBuffer,
}

#[async_trait]
impl Operation for Export {
    async fn run(
        &self,
        handle: &RepositoryHandle,
        rows: Option<Batches>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let repo = handle.repo().await?;
        repo.registry.check_files()?;
        let known = collections::load(&repo.registry).await?;
        let selected = self.select(&repo, rows).await?;
        for one in &selected {
            applier.record("dataset", Status::Exported, &one.record.dataset_type.name, one.rows.len() as u64);
        }
        let chosen = self.chosen(&known, &selected)?;
        applier.record("collection", Status::Exported, "", chosen.len() as u64);
        if applier.is_dry() {
            return Ok(());
        }
        let target = Location::parse(&self.directory)?;
        let folder = target.local()?;
        let named = |e: std::io::Error| Error::from(e).context(format_args!("folder '{}'", folder.display()));
        std::fs::create_dir_all(&folder).map_err(named)?;
        let _ = target.sweep().await;
        let beside = temporary::create(&folder).map_err(named)?;
        let universe = &repo.registry.universe;
        let file = BufWriter::new(beside.reopen().map_err(named)?);
        let mut writer = Writer::begin(file, &universe.namespace, universe.version)?;
        self.write_records(&repo, &selected, &mut writer, applier).await?;
        for collection in &chosen {
            let Collection { name, kind, doc, children, .. } = collection;
            writer.collection(name, *kind, doc.as_deref(), children)?;
        }
        let files = self.write_datasets(&repo, &selected, &target, &mut writer).await?;
        self.write_associations(&repo, &selected, &chosen, &mut writer).await?;
        writer.finish()?;
        let mut made = Vec::new();
        if let Err(error) = transfer_all(&files, &mut made).await {
            rollback(&made).await;
            return Err(error);
        }
        beside.as_file().sync_all().map_err(named)?;
        beside.persist(folder.join(&self.export_file)).map_err(|e| named(e.error))?;
        temporary::sync_folder(&folder).map_err(named)
    }
}

impl Export {
    /// Returns the datasets to export, by type.
    async fn select(&self, repo: &Repo, rows: Option<Batches>) -> Result<Vec<Selected>> {
        let registry = &repo.registry;
        let has_files = registry.has_file_records().await?;
        let ids = if rows.is_some() { read_texts(rows, "dataset_id").await? } else { Vec::new() };
        let kinds = datasets::types_of(&mut Executor::Conn(&registry.conn), &ids).await?;
        let found: HashSet<&String> = kinds.values().flatten().collect();
        if let Some(missing) = ids.iter().find(|id| !found.contains(id)) {
            return Err(Error::new(Kind::NotFound, format!("no dataset has the id '{missing}'")));
        }
        let ranks = if self.collections.is_empty() { Vec::new() } else { ranks(repo, &self.collections).await? };
        let mut all = Vec::new();
        for record in dataset_types::load(registry).await? {
            let mut parts = Vec::new();
            if !ranks.is_empty() {
                parts.push((
                    dataset_queries::find_datasets_sql(registry, &record, &ranks, false),
                    "found",
                    String::new(),
                ));
            }
            for some in kinds.get(&record.id).map_or(&[][..], Vec::as_slice).chunks(4096) {
                let list: Vec<_> = some.iter().filter_map(|id| registry.conn.dialect().uuid(id)).collect();
                let only = format!(" WHERE datasets.dataset_id IN ({})", list.join(", "));
                parts.push((dataset_queries::datasets(registry, &record, false), "datasets", only));
            }
            let mut rows = SpillBuffer::default();
            let mut seen = HashSet::new();
            for (from, alias, only) in parts {
                let (sql, columns) = query(repo, &record, has_files, &from, alias, &only);
                let mut batches = registry.conn.query(sql, columns);
                while let Some(batch) = batches.try_next().await? {
                    let ids = string_values(&batch, 0);
                    let batch = filter_rows(&batch, ids.into_iter().map(|id| seen.insert(id)))?;
                    rows.push(batch)?;
                }
            }
            if !rows.is_empty() {
                all.push(Selected { record, rows });
            }
        }
        Ok(all)
    }

    /// Returns the collections to export: the runs of the datasets and the requested collections, chains after their
    /// children.
    fn chosen<'a>(&self, known: &'a Collections, selected: &[Selected]) -> Result<Vec<&'a Collection>> {
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
        Ok(plain.into_iter().chain(chains).collect())
    }

    /// Writes the records of every element that the data IDs refer to, with the records that they imply.
    async fn write_records(
        &self,
        repo: &Repo,
        selected: &[Selected],
        writer: &mut Writer<BufWriter<std::fs::File>>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let universe = &repo.registry.universe;
        // Data IDs of the records to write, as tuples of the required dimensions of each element.
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
            let found = records_of(repo, &table, &element.required, keys).await?;
            for implied in &element.implied {
                let other = universe.element(implied)?;
                if other.has_table && other.required.iter().all(|d| d == implied || found.column_by_name(d).is_some()) {
                    wanted.entry(&other.name).or_default().push(some_of(&found, &other.required)?);
                }
            }
            records.push((element, table, found));
        }
        for (element, table, found) in records.into_iter().rev().filter(|(.., found)| found.num_rows() > 0) {
            applier.record(&element.name, Status::Exported, "", found.num_rows() as u64);
            writer.dimension(&element.name)?;
            let columns = table.read_columns();
            for row in 0..found.num_rows() {
                let mut fields = Vec::with_capacity(columns.len());
                for (column, array) in columns.iter().zip(found.columns()) {
                    let value = value(column, array, row);
                    match (column.name.as_str(), &value) {
                        ("timespan_begin", Scalar::Null) => fields.push(("timespan", Scalar::Null)),
                        ("timespan_end", Scalar::Null) => {}
                        // An unbounded end is written as null.
                        ("timespan_begin", Scalar::Time(0)) => fields.push(("datetime_begin", Scalar::Null)),
                        ("timespan_end", Scalar::Time(time::MAX)) => fields.push(("datetime_end", Scalar::Null)),
                        ("timespan_begin", _) => fields.push(("datetime_begin", value)),
                        ("timespan_end", _) => fields.push(("datetime_end", value)),
                        (name, _) => fields.push((name, value)),
                    }
                }
                writer.record(&fields)?;
            }
        }
        Ok(())
    }

    /// Writes the datasets by type and run. Returns the files to transfer into the folder.
    async fn write_datasets(
        &self,
        repo: &Repo,
        selected: &[Selected],
        target: &Location,
        writer: &mut Writer<BufWriter<std::fs::File>>,
    ) -> Result<Vec<Transfer>> {
        let root = Location::parse(&repo.datastore_root())?;
        let mut files = Vec::new();
        for Selected { record, rows } in selected {
            let dataset_type = &record.dataset_type;
            let group = repo.registry.universe.group(&dataset_type.dimensions)?;
            let all = repo.registry.universe.elements().iter().map(|e| &e.name);
            let all: Vec<String> =
                all.filter(|n| group.required.contains(n) || group.implied.contains(n)).cloned().collect();
            let mut run = None;
            for batch in rows.batches()? {
                let batch = batch?;
                let last = batch.num_columns() - 3;
                let (ids, runs) = (string_values(&batch, 0), string_values(&batch, last));
                let (paths, formatters) =
                    (optional_string_values(&batch, last + 1), optional_string_values(&batch, last + 2));
                let kinds: Vec<ReadColumn> = columns(record)[1..last].to_vec();
                // Files outside the datastore are named by the file template.
                let in_folder = self.transfer.is_some_and(|mode| mode != TransferMode::Direct);
                let named = if in_folder && paths.iter().flatten().any(|path| path.contains("://")) {
                    placed(repo, record, &batch, &runs).await?
                } else {
                    Vec::new()
                };
                for row in 0..batch.num_rows() {
                    let (Some(path), Some(formatter)) = (&paths[row], &formatters[row]) else {
                        let message = format!(
                            "dataset {} of type '{}' is not stored: it has no file",
                            ids[row], dataset_type.name
                        );
                        return Err(Error::new(Kind::NotFound, message));
                    };
                    if run.as_ref() != Some(&runs[row]) {
                        writer.datasets(dataset_type, &all, &runs[row])?;
                        run = Some(runs[row].clone());
                    }
                    let data_id: Vec<_> = kinds
                        .iter()
                        .zip(batch.columns()[1..].iter())
                        .map(|(c, a)| (c.name.as_str(), value(c, a, row)))
                        .collect();
                    let outside = path.contains("://");
                    let place = if outside { Location::parse(path)? } else { root.child(path) };
                    let shown = match self.transfer {
                        None => path.clone(),
                        Some(TransferMode::Direct) => place.uri(),
                        Some(mode) => {
                            let extension = path_template::extension(path);
                            let inside = if outside { format!("{}{extension}", named[row]) } else { path.clone() };
                            files.push(Transfer { from: TransferSource::File(place), to: target.child(&inside), mode });
                            inside
                        }
                    };
                    writer.dataset(&ids[row], &data_id, &shown, formatter)?;
                }
            }
        }
        Ok(files)
    }

    async fn write_associations(
        &self,
        repo: &Repo,
        selected: &[Selected],
        chosen: &[&Collection],
        writer: &mut Writer<BufWriter<std::fs::File>>,
    ) -> Result<()> {
        for collection in chosen {
            let calibration = collection.kind == CollectionType::Calibration;
            if !calibration && collection.kind != CollectionType::Tagged {
                continue;
            }
            let mut ranges: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
            for Selected { record, .. } in selected {
                let rank = dataset_queries::SearchCollection { rank: 0, name: collection.name.clone(), calibration };
                let all = columns(record);
                let select: Vec<_> = all.iter().map(|c| repo.registry.conn.dialect().quote(&c.name)).collect();
                let from = dataset_queries::find_datasets_sql(&repo.registry, record, &[rank], false);
                let rows =
                    repo.registry.conn.rows(format!("SELECT {} FROM {from} AS found", select.join(", ")), all).await?;
                let spans =
                    match (rows.schema_ref().index_of("timespan_begin"), rows.schema_ref().index_of("timespan_end")) {
                        (Ok(begin), Ok(end)) => {
                            timestamp_values(&rows, begin).into_iter().zip(timestamp_values(&rows, end)).collect()
                        }
                        _ => vec![(None, None); rows.num_rows()],
                    };
                for (id, (begin, end)) in string_values(&rows, 0).into_iter().zip(spans) {
                    ranges.entry((begin.unwrap_or(0), end.unwrap_or(time::MAX))).or_default().push(id);
                }
            }
            if ranges.is_empty() {
                continue;
            }
            writer.associations(&collection.name, collection.kind)?;
            for ((begin, end), ids) in &ranges {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                if calibration {
                    writer.certified(Timespan { begin: *begin, end: *end }, &ids)?;
                } else {
                    ids.into_iter().try_for_each(|id| writer.tagged(id))?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the datastore paths of datasets without extension; rows of the same run are adjacent.
async fn placed(repo: &Repo, record: &TypeRecord, rows: &RecordBatch, runs: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(runs.len());
    for part in runs.chunk_by(|a, b| a == b) {
        let rows = rows.slice(all.len(), part.len());
        all.extend(paths(repo, &record.dataset_type, &part[0], &rows, &PendingRecords::new()).await?);
    }
    Ok(all)
}

/// Returns the query for datasets of a type with their files.
fn query(
    repo: &Repo,
    record: &TypeRecord,
    has_files: bool,
    from: &str,
    alias: &str,
    only: &str,
) -> (String, Vec<ReadColumn>) {
    let (registry, dialect) = (&repo.registry, repo.registry.conn.dialect());
    let identity: Vec<ReadColumn> =
        columns(record).into_iter().take(record.dataset_type.dimensions.len() + 2).collect();
    let mut select: Vec<_> = identity.iter().map(|c| format!("{alias}.{}", dialect.quote(&c.name))).collect();
    // Ordered by the run, then by the data ID.
    let mut order: Vec<String> = vec![(identity.len()).to_string()];
    order.extend((2..identity.len()).map(|i| i.to_string()));
    let join = if has_files {
        select.extend(["f.path".to_owned(), "f.formatter".to_owned()]);
        let records = registry.conn.table(&registry.file_records.name);
        format!(
            " LEFT JOIN {records} f ON f.dataset_id = {alias}.dataset_id AND f.component = {}",
            dialect.text(NO_COMPONENT)
        )
    } else {
        select.extend(["NULL".to_owned(), "NULL".to_owned()]);
        String::new()
    };
    let files = ["path", "formatter"].map(|name| ReadColumn::plain(name, ColumnType::Text(None)));
    let sql = format!(
        "SELECT DISTINCT {} FROM {from} AS {alias}{join}{only} ORDER BY {}",
        select.join(", "),
        order.join(", ")
    );
    (sql, identity.into_iter().chain(files).collect())
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

/// Returns the records with these values of the required dimensions, by primary key.
async fn records_of(
    repo: &Repo,
    table: &crate::registry::schema::TableDef,
    required: &[String],
    keys: Vec<RecordBatch>,
) -> Result<RecordBatch> {
    let dialect = repo.registry.conn.dialect();
    let columns = table.read_columns();
    let select: Vec<_> = columns.iter().map(|c| dialect.select_expr(c, "")).collect();
    let quoted: Vec<_> = table.primary_key.iter().map(|k| dialect.quote(k)).collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for keys in keys {
        let arrays = required.iter().map(|d| required_column(&keys, d)).collect::<Result<Vec<_>>>()?;
        let keys = record_batch(table.primary_key.iter().map(String::as_str).zip(arrays))?;
        for only in key_predicates(dialect, "", table, &table.primary_key, &keys)? {
            let name = repo.registry.conn.table(&table.name);
            let sql = format!("SELECT {} FROM {name} WHERE {only} ORDER BY {}", select.join(", "), quoted.join(", "));
            let rows = repo.registry.conn.rows(sql, columns.clone()).await?;
            let keys = datasets::row_texts(&some_of(&rows, &table.primary_key)?)?;
            found.push(filter_rows(&rows, keys.into_iter().map(|key| seen.insert(key)))?);
        }
    }
    let schema = crate::registry::schema::arrow_schema(&columns);
    Ok(arrow::compute::concat_batches(&schema, &found)?)
}

/// Returns a value as a scalar of the export file.
fn value(column: &ReadColumn, array: &arrow::array::ArrayRef, row: usize) -> Scalar {
    if array.is_null(row) {
        return Scalar::Null;
    }
    match column.kind() {
        ColumnType::Text(_) | ColumnType::Uuid => Scalar::Text(array.as_string::<i32>().value(row).to_owned()),
        ColumnType::Int | ColumnType::Small => Scalar::Int(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float => Scalar::Float(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::Bool => Scalar::Bool(array.as_boolean().value(row)),
        ColumnType::Bytes if column.name == "region" => Scalar::Region(array.as_binary::<i32>().value(row).to_vec()),
        ColumnType::Bytes => Scalar::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        ColumnType::Time | ColumnType::UtcTime | ColumnType::Span => {
            Scalar::Time(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
    }
}
