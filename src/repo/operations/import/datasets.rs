//! The datasets of an export file: ids, data IDs and files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::error::{Error, Result};
use crate::format::export_item::File;
use crate::model::dataset::DatasetType;
use crate::registry::dataset_types::TypeRecord;
use crate::registry::datasets;
use crate::registry::db::rows::{BATCH, BatchBuilder};
use crate::registry::schema::butler_tables::tags_table;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::repo::Repo;
use crate::repo::changeset::ChangeSet;
use crate::repo::changeset::report::Status;
use crate::repo::ingest::file_paths::PendingRecords;
use crate::repo::ingest::incoming::{IncomingDatasets, IncomingFile, IngestChanges, IngestOptions, RecordedFile};
use crate::repo::operations::import::Import;
use crate::repo::operations::import::records::{Records, fill};
use crate::store::Location;
use crate::store::transfer_mode::TransferMode;

/// The datasets of all types and runs.
pub(in crate::repo) struct Datasets<'a> {
    repo: &'a Repo,
    options: IngestOptions,
    /// Folder that relative paths refer to.
    folder: Location,
    groups: BTreeMap<(String, String), Group>,
    /// A hash of every id in the file.
    marks: Vec<u64>,
}

/// Returns a 64-bit hash of an id; it rarely collides, for any version of UUID.
pub(super) fn mark(id: uuid::Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    high ^ low
}

/// The datasets of one type in one run.
struct Group {
    dataset_type: DatasetType,
    record: Option<TypeRecord>,
    run: String,
    gather: BatchBuilder,
    /// The file of each row in `gather`.
    files: Vec<IncomingFile>,
    changes: IngestChanges,
}

impl<'a> Datasets<'a> {
    pub(in crate::repo) fn new(task: &Import, repo: &'a Repo) -> Result<Self> {
        let options = IngestOptions {
            transfer: task.transfer,
            track_file_attrs: task.track_file_attrs,
            without_datastore: task.without_datastore,
        };
        let folder = Location::parse(&task.directory)?;
        Ok(Self { repo, options, folder, groups: BTreeMap::new(), marks: Vec::new() })
    }

    /// Returns the runs of the datasets.
    pub(super) fn runs(&self) -> impl Iterator<Item = &String> {
        self.groups.keys().map(|(_, run)| run)
    }

    /// Adds a file with its datasets; `recorded` is its location and its record in another repository, if it has one.
    pub(super) async fn take(
        &mut self,
        dataset_type: &DatasetType,
        record: Option<&TypeRecord>,
        file: File,
        recorded: Option<(Location, RecordedFile)>,
        records: &mut Records<'_>,
    ) -> Result<()> {
        let (place, recorded) = match recorded {
            Some((location, recorded)) => (location, Some(recorded)),
            None if file.path.contains("://") || file.path.starts_with('/') => (Location::parse(&file.path)?, None),
            None => (self.folder.child(&file.path), None),
        };
        let group = self.groups.entry((file.dataset_type.clone(), file.run.clone()));
        let group = group.or_insert_with(|| Group::new(self.repo, dataset_type, record, &file.run));
        let formatter = group.formatter(self.repo, file.formatter)?;
        for (id, data_id) in file.datasets {
            self.marks.push(mark(id));
            group.push(id, data_id, file.line)?;
            let (location, formatter) = (place.clone(), Arc::clone(&formatter));
            group.files.push(IncomingFile { location, formatter, recorded: recorded.clone() });
        }
        if group.gather.rows() >= BATCH {
            group.flush(self.repo, self.options, records).await?;
        }
        Ok(())
    }

    /// Adds datasets: rows of `dataset_id` and the dimensions, and their files.
    pub(super) async fn take_rows(
        &mut self,
        dataset_type: &DatasetType,
        record: Option<&TypeRecord>,
        run: &str,
        (rows, files): (RecordBatch, Vec<IncomingFile>),
        records: &mut Records<'_>,
    ) -> Result<()> {
        let group = self.groups.entry((dataset_type.name.clone(), run.to_owned()));
        let group = group.or_insert_with(|| Group::new(self.repo, dataset_type, record, run));
        group.add(self.repo, self.options, rows, files, records).await
    }

    /// Processes the remaining rows.
    pub(super) async fn flush(&mut self, records: &mut Records<'_>) -> Result<()> {
        for group in self.groups.values_mut() {
            group.flush(self.repo, self.options, records).await?;
        }
        Ok(())
    }

    /// Returns the hashes that occur more than once; their ids may be duplicates.
    pub(super) fn take_twice(&mut self) -> HashSet<u64> {
        let mut marks = std::mem::take(&mut self.marks);
        marks.sort_unstable();
        marks.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
    }

    /// Adds the changes for the datasets to a change set.
    pub(super) fn finish(&mut self, set: &mut ChangeSet<'_>) {
        for ((name, run), group) in std::mem::take(&mut self.groups) {
            set.record("dataset", Status::Unchanged, &name, group.changes.unchanged);
            set.extend(group.changes.into_changes(&name, &run));
        }
    }
}

impl Group {
    fn new(repo: &Repo, dataset_type: &DatasetType, record: Option<&TypeRecord>, run: &str) -> Self {
        let registry = &repo.registry;
        let tags = tags_table(&registry.universe, registry.variant, "", &dataset_type.dimensions);
        let mut columns = vec![ReadColumn::plain("dataset_id", ColumnType::Uuid)];
        for dimension in &dataset_type.dimensions {
            columns
                .push(ReadColumn::plain(dimension, tags.column(dimension).map_or(ColumnType::Text(None), |c| c.kind)));
        }
        Self {
            dataset_type: dataset_type.clone(),
            record: record.cloned(),
            run: run.to_owned(),
            gather: BatchBuilder::new(&columns),
            files: Vec::new(),
            changes: IngestChanges::default(),
        }
    }

    fn formatter(&self, repo: &Repo, given: Option<String>) -> Result<Arc<str>> {
        let name = match &given {
            Some(name) => name,
            None => repo.formatter(&self.dataset_type)?,
        };
        Ok(match self.files.last() {
            Some(IncomingFile { formatter: last, .. }) if **last == *name => Arc::clone(last),
            _ => Arc::from(name),
        })
    }

    fn push(
        &mut self,
        id: uuid::Uuid,
        mut data_id: Vec<(String, crate::format::yaml_nodes::Node)>,
        line: usize,
    ) -> Result<()> {
        let mut cells = self.gather.columns().iter_mut();
        if let Some(cell) = cells.next() {
            cell.uuid(id);
        }
        for (dimension, cell) in self.dataset_type.dimensions.iter().zip(cells) {
            let Some(at) = data_id.iter().position(|(name, node)| name == dimension && !node.is_null()) else {
                return Err(Error::invalid(format!("line {line}: the data ID of dataset {id} has no '{dimension}'")));
            };
            fill(cell, data_id.swap_remove(at).1).map_err(|e| e.context(format_args!("dimension '{dimension}'")))?;
        }
        self.gather.end_row();
        Ok(())
    }

    /// Processes the collected datasets.
    async fn flush(&mut self, repo: &Repo, options: IngestOptions, records: &mut Records<'_>) -> Result<()> {
        if self.gather.rows() == 0 {
            return Ok(());
        }
        let (rows, files) = (self.gather.take()?, std::mem::take(&mut self.files));
        self.add(repo, options, rows, files, records).await
    }

    /// Compares datasets with the registry and decides how each is ingested.
    async fn add(
        &mut self,
        repo: &Repo,
        options: IngestOptions,
        rows: RecordBatch,
        files: Vec<IncomingFile>,
        records: &mut Records<'_>,
    ) -> Result<()> {
        // File templates and dimensions without a table need the pending records.
        let unions = |dimension: &String| repo.registry.universe.find(dimension).is_some_and(|e| e.union_of.is_some());
        let in_store = options.transfer != TransferMode::Direct && !options.without_datastore;
        let is_needed = in_store || self.dataset_type.dimensions.iter().any(unions);
        let planned = if is_needed { records.planned().await? } else { PendingRecords::new() };
        let (keys, there) = match &self.record {
            Some(record) => {
                let there = datasets::existing_datasets(&repo.registry, record, &self.run, &rows).await?;
                (datasets::keys(record, &rows)?, there)
            }
            None => (vec![String::new(); rows.num_rows()], HashMap::new()),
        };
        let incoming = IncomingDatasets { dataset_type: &self.dataset_type, run: &self.run, rows, files, keys, there };
        incoming.plan(repo, options, &planned, &mut self.changes).await
    }
}
