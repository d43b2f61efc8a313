//! Ingest of datasets with files: compares them with the registry and plans their file transfers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use crate::error::{Error, Kind, Result};
use crate::model::dataset::DatasetType;
use crate::model::zip_member;
use crate::registry::datasets::{self, ExistingDataset};
use crate::registry::db::conn::Executor;
use crate::registry::db::rows::{distinct_texts, record_batch, required_column};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions;
use crate::repo::Repo;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{InsertDatasets, RemoveSources, ReplaceFileRecords, TransferFiles};
use crate::repo::changeset::comparison::filter_rows;
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::repo::ingest::file_sizes::lengths;
use crate::store::transfer::{Transfer, TransferSource, unfinished_moves};
use crate::store::transfer_mode::TransferMode;
use crate::store::{Location, path_template};

/// Options of an ingest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IngestOptions {
    /// How files are transferred into the datastore.
    pub transfer: TransferMode,
    /// True to record file sizes.
    pub track_file_attrs: bool,
    /// True to register datasets without their files.
    pub without_datastore: bool,
}

/// The file of a dataset that is to be ingested.
#[derive(Debug, Clone)]
pub(crate) struct IncomingFile {
    /// Location of the file.
    pub location: Location,
    /// Formatter class.
    pub formatter: Arc<str>,
    /// Its record in the repository that it comes from.
    pub recorded: Option<RecordedFile>,
}

/// A file as the datastore of another repository records it.
#[derive(Debug, Clone)]
pub(crate) struct RecordedFile {
    /// Path below the root of a datastore, with the name of the member of a zip archive; `None` if the file is to be
    /// named by the file template.
    pub path: Option<String>,
    /// Size in bytes, or −1.
    pub size: i64,
    /// Storage class.
    pub storage_class: String,
    /// Checksum of the content.
    pub checksum: Option<String>,
}

/// Datasets of one type and one run that are to be ingested.
#[derive(Debug)]
pub(crate) struct IncomingDatasets<'a> {
    /// Dataset type.
    pub dataset_type: &'a DatasetType,
    /// Run.
    pub run: &'a str,
    /// Rows of `dataset_id` and the dimensions.
    pub rows: RecordBatch,
    /// The file of each row.
    pub files: Vec<IncomingFile>,
    /// The data ID of each row as a key ([`datasets::keys`]).
    pub keys: Vec<String>,
    /// Existing datasets of the run, by key.
    pub there: HashMap<String, ExistingDataset>,
}

/// How an incoming dataset is ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The dataset is inserted, and its file is stored.
    Insert,
    /// The existing dataset is kept.
    Keep,
    /// The existing dataset is kept, and its file record is replaced.
    ReplaceFile,
    /// Another dataset has the data ID.
    Refuse,
}

/// Decides how a dataset is ingested, from the dataset that the run holds for its data ID. `size` is the size of the
/// file in bytes, or −1.
pub(crate) fn classify(
    id: &str,
    location: &Location,
    size: i64,
    existing: Option<&ExistingDataset>,
    options: IngestOptions,
) -> Decision {
    let Some(existing) = existing else { return Decision::Insert };
    if existing.id != id {
        return Decision::Refuse;
    }
    let Some((path, existing_size)) = &existing.file else {
        // The dataset exists but is not stored: its file is stored now.
        return if options.without_datastore { Decision::Keep } else { Decision::Insert };
    };
    // Stored datasets are unchanged; only `direct` can replace the record of a file outside the datastore, as in the
    // Butler.
    let can_replace = options.transfer == TransferMode::Direct && !options.without_datastore && path.contains("://");
    if !can_replace || (*path == location.uri() && (!options.track_file_attrs || *existing_size == size)) {
        return Decision::Keep;
    }
    Decision::ReplaceFile
}

/// The changes for the datasets of one type and run.
#[derive(Debug, Default)]
pub(crate) struct IngestChanges {
    /// Rows to insert, with `path`, `formatter` and `file_size` unless without files.
    pub new: SpillBuffer,
    /// Rows of existing datasets whose file records are to be replaced.
    pub replaced: SpillBuffer,
    /// File transfers for the new rows.
    pub transfers: Vec<Transfer>,
    /// Moves of stored files whose sources still exist.
    pub sources: Vec<Transfer>,
    /// Number of datasets that are unchanged.
    pub unchanged: u64,
}

impl IngestChanges {
    /// Returns the changes, files first.
    pub(crate) fn into_changes(self, dataset_type: &str, run: &str) -> impl Iterator<Item = Change> {
        let Self { new, replaced, transfers, sources, .. } = self;
        let (dataset_type, run) = (dataset_type.to_owned(), run.to_owned());
        let files = (!transfers.is_empty()).then(|| TransferFiles { transfers }.into());
        let datasets =
            (!new.is_empty()).then(|| InsertDatasets { dataset_type: dataset_type.clone(), run, rows: new }.into());
        let records = (!replaced.is_empty()).then(|| ReplaceFileRecords { dataset_type, rows: replaced }.into());
        let sources = (!sources.is_empty()).then(|| RemoveSources { moves: sources }.into());
        [files, datasets, records, sources].into_iter().flatten()
    }
}

impl IncomingDatasets<'_> {
    /// Compares the datasets with the registry, and adds the changes that ingest them.
    ///
    /// # Errors
    /// `Kind::Conflict` for another dataset with the same data ID, `Kind::Stale` for the same id in another run,
    /// `Kind::NotFound` for a missing file; database errors.
    pub(crate) async fn plan(
        self,
        repo: &Repo,
        options: IngestOptions,
        planned: &PendingRecords<'_>,
        changes: &mut IngestChanges,
    ) -> Result<()> {
        let ids = datasets::ids(&self.rows, "dataset_id")?;
        self.check_conflicts(&ids)?;
        self.check_unions(repo, planned).await?;
        self.check_elsewhere(repo, &ids).await?;
        let sizes = self.sizes(options).await?;
        let decide = |(row, id): (usize, &String)| {
            classify(id, &self.files[row].location, sizes[row], self.existing(row), options)
        };
        let decisions: Vec<Decision> = ids.iter().enumerate().map(decide).collect();
        changes.unchanged += decisions.iter().filter(|decision| **decision == Decision::Keep).count() as u64;
        if options.without_datastore {
            let is_new = decisions.iter().map(|decision| *decision == Decision::Insert);
            return push_rows(&mut changes.new, filter_rows(&self.rows, is_new)?);
        }
        changes.sources.append(&mut self.unfinished_moves(repo, options, &decisions).await?);
        for (decision, target) in [(Decision::Insert, &mut changes.new), (Decision::ReplaceFile, &mut changes.replaced)]
        {
            let chosen: Vec<usize> = (0..ids.len()).filter(|row| decisions[*row] == decision).collect();
            let rows = filter_rows(&self.rows, decisions.iter().map(|other| *other == decision))?;
            let (paths, transfers) = self.place(repo, options, &rows, &chosen, planned).await?;
            changes.transfers.extend(transfers);
            let sizes = chosen.iter().map(|row| Some(sizes[*row])).collect::<Int64Array>();
            push_rows(target, self.with_files(&rows, &chosen, &paths, sizes)?)?;
        }
        Ok(())
    }

    /// Adds the columns of the file records to some rows.
    fn with_files(
        &self,
        rows: &RecordBatch,
        chosen: &[usize],
        paths: &[String],
        sizes: Int64Array,
    ) -> Result<RecordBatch> {
        let formatters = chosen.iter().map(|row| &*self.files[*row].formatter);
        let columns = rows.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(rows.columns().to_vec());
        let mut columns: Vec<(&str, ArrayRef)> = columns.collect();
        columns.extend([
            ("path", Arc::new(StringArray::from_iter_values(paths)) as ArrayRef),
            ("formatter", Arc::new(StringArray::from_iter_values(formatters))),
            ("file_size", Arc::new(sizes)),
        ]);
        let recorded: Option<Vec<_>> = chosen.iter().map(|row| self.files[*row].recorded.as_ref()).collect();
        if let Some(recorded) = recorded {
            let classes = recorded.iter().map(|file| file.storage_class.as_str());
            let checksums = recorded.iter().map(|file| file.checksum.as_deref());
            columns.push(("storage_class", Arc::new(StringArray::from_iter_values(classes))));
            columns.push(("checksum", Arc::new(checksums.collect::<StringArray>())));
        }
        record_batch(columns)
    }

    /// Returns the dataset that the run holds for the data ID of a row.
    fn existing(&self, row: usize) -> Option<&ExistingDataset> {
        self.there.get(&self.keys[row])
    }

    /// Checks that the run holds no other dataset for a data ID.
    fn check_conflicts(&self, ids: &[String]) -> Result<()> {
        for (row, id) in ids.iter().enumerate() {
            if let Some(existing) = self.existing(row).filter(|existing| existing.id != *id) {
                let message = format!(
                    "run '{}' already holds dataset {} of type '{}' with the data ID of dataset {id}",
                    self.run, existing.id, self.dataset_type.name
                );
                return Err(Error::new(Kind::Conflict, message));
            }
        }
        Ok(())
    }

    /// Checks that no id of a new data ID belongs to another dataset.
    async fn check_elsewhere(&self, repo: &Repo, ids: &[String]) -> Result<()> {
        let unknown = (0..ids.len()).filter(|row| self.existing(*row).is_none()).map(|row| ids[row].clone());
        let unknown: Vec<String> = unknown.collect();
        let elsewhere = datasets::types_of(&mut Executor::Conn(&repo.registry.conn), &unknown).await?;
        match elsewhere.values().flatten().next() {
            // Another writer may also have inserted it after the run was read; a retry of the operation then finds it.
            Some(id) => {
                let message = format!("dataset {id} already exists, in another run or with another type or data ID");
                Err(Error::new(Kind::Stale, message))
            }
            None => Ok(()),
        }
    }

    /// Returns the sizes of the files in bytes, or −1 for files that are not stored by this ingest or whose size is not
    /// recorded.
    async fn sizes(&self, options: IngestOptions) -> Result<Vec<i64>> {
        let mut sizes = vec![-1; self.files.len()];
        if options.without_datastore {
            return Ok(sizes);
        }
        for (size, file) in sizes.iter_mut().zip(&self.files) {
            *size = file.recorded.as_ref().map_or(-1, |recorded| recorded.size);
        }
        let is_stored = |row: usize| self.existing(row).is_some_and(|existing| existing.file.is_some());
        let direct = options.transfer == TransferMode::Direct;
        let is_wanted = |row: &usize| self.files[*row].recorded.is_none() && (direct || !is_stored(*row));
        let rows: Vec<usize> = (0..self.files.len()).filter(is_wanted).collect();
        // When sizes are not recorded, only some of many files are checked for existence, as in the Butler.
        let step = if options.track_file_attrs { 1 } else { rows.len() / CHECKED + 1 };
        let wanted = rows.into_iter().step_by(step).map(|row| (row, self.files[row].location.clone()));
        for (row, size) in lengths(wanted.collect()).await? {
            if options.track_file_attrs {
                sizes[row] = size;
            }
        }
        Ok(sizes)
    }

    /// Checks the values of dimensions without a table, such as `band`, which have no foreign key. A record of another
    /// element must have each value, otherwise the Butler could not expand the data ID. Datasets of another repository
    /// are accepted without, as by the Butler.
    async fn check_unions(&self, repo: &Repo, planned: &PendingRecords<'_>) -> Result<()> {
        if self.files.iter().any(|file| file.recorded.is_some()) {
            return Ok(());
        }
        let universe = &repo.registry.universe;
        for dimension in &self.dataset_type.dimensions {
            let Some(source) = universe.find(dimension).and_then(|element| element.union_of.as_deref()) else {
                continue;
            };
            let values = distinct_texts(&required_column(&self.rows, dimension)?)?;
            let mut unknown = dimensions::unknown_values(&repo.registry, source, dimension, &values).await?;
            for batch in planned.get(source).map(|rows| rows.batches()).transpose()?.into_iter().flatten() {
                let planned = distinct_texts(&required_column(&batch?, dimension)?)?;
                unknown.retain(|value| !planned.contains(value));
            }
            if let Some(value) = unknown.first() {
                let message = format!("a data ID has {dimension} '{value}', which does not exist in '{source}'");
                return Err(Error::new(Kind::Conflict, message));
            }
        }
        Ok(())
    }

    /// Returns the moves of stored files that an earlier run did not finish.
    async fn unfinished_moves(
        &self,
        repo: &Repo,
        options: IngestOptions,
        decisions: &[Decision],
    ) -> Result<Vec<Transfer>> {
        if options.transfer != TransferMode::Move {
            return Ok(Vec::new());
        }
        let root = Location::parse(&repo.datastore_root())?;
        let kept = (0..decisions.len()).filter(|row| decisions[*row] == Decision::Keep);
        let moves = kept.filter_map(|row| {
            let (path, _) = self.existing(row)?.file.as_ref().filter(|(path, _)| !path.contains("://"))?;
            let from = TransferSource::File(self.files[row].location.clone());
            Some(Transfer { from, to: root.child(path), mode: TransferMode::Move })
        });
        unfinished_moves(moves.collect()).await
    }

    /// Returns the recorded paths of the files of some rows, and their transfers.
    async fn place(
        &self,
        repo: &Repo,
        options: IngestOptions,
        rows: &RecordBatch,
        chosen: &[usize],
        planned: &PendingRecords<'_>,
    ) -> Result<(Vec<String>, Vec<Transfer>)> {
        let root = Location::parse(&repo.datastore_root())?;
        let files = || chosen.iter().map(|row| &self.files[*row]);
        if let Some(paths) = files().map(|file| file.recorded.as_ref()?.path.clone()).collect::<Option<Vec<_>>>() {
            return kept_paths(&root, files(), paths, options.transfer);
        }
        let locations: Vec<&Location> = files().map(|file| &file.location).collect();
        if options.transfer == TransferMode::Direct {
            return Ok((locations.into_iter().map(Location::uri).collect(), Vec::new()));
        }
        if options.transfer == TransferMode::Auto {
            // If some files are inside the datastore, files outside are recorded by URI, as in the Butler.
            let inside: Vec<Option<String>> = locations.iter().map(|location| location.strip_prefix(&root)).collect();
            if inside.iter().any(Option::is_some) {
                let recorded = locations.iter().zip(inside);
                let recorded = recorded.map(|(location, inside)| inside.unwrap_or_else(|| location.uri()));
                return Ok((recorded.collect(), Vec::new()));
            }
        }
        let templated = paths(repo, self.dataset_type, self.run, rows, planned).await?;
        let mut all: Vec<String> = Vec::with_capacity(locations.len());
        let mut transfers: Vec<Transfer> = Vec::with_capacity(locations.len());
        let mut targets: HashMap<String, &Location> = HashMap::new();
        for (at, location) in locations.iter().enumerate() {
            // Datasets of the same file share its path.
            if at > 0 && locations[at - 1] == *location {
                all.push(all[at - 1].clone());
                continue;
            }
            let path = format!("{}{}", templated[at], path_template::extension(&location.name()));
            if let Some(other) = targets.insert(path.clone(), location) {
                let (two, to) = (location.display(), root.child(&path).display());
                let message = format!(
                    "files '{}' and '{two}' map to the path '{to}': the file template is not unique",
                    other.display()
                );
                return Err(Error::new(Kind::Conflict, message));
            }
            let from = TransferSource::File((*location).clone());
            transfers.push(Transfer { from, to: root.child(&path), mode: options.transfer });
            all.push(path);
        }
        Ok((all, transfers))
    }
}

/// Returns the paths that another datastore records, and the transfers of the files to these paths. Files outside of it
/// stay where they are, and an archive is transferred once.
fn kept_paths<'a>(
    root: &Location,
    files: impl Iterator<Item = &'a IncomingFile>,
    paths: Vec<String>,
    mode: TransferMode,
) -> Result<(Vec<String>, Vec<Transfer>)> {
    let mut transfers: Vec<Transfer> = Vec::with_capacity(paths.len());
    let mut seen = HashSet::new();
    for (file, path) in files.zip(&paths) {
        let (path, _) = zip_member::split(path);
        if !path.contains("://") && seen.insert(path) {
            let (from, to) = (TransferSource::File(file.location.clone()), root.inside(path)?);
            transfers.push(Transfer { from, to, mode });
        }
    }
    Ok((paths, transfers))
}

/// Adds rows, if there are any.
fn push_rows(buffer: &mut SpillBuffer, rows: RecordBatch) -> Result<()> {
    if rows.num_rows() > 0 { buffer.push(rows) } else { Ok(()) }
}

/// Number of files that are checked when sizes are not recorded.
const CHECKED: usize = 200;
