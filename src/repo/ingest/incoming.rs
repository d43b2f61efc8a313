//! Ingest of datasets with files: compares them with the registry and plans their file transfers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::error::{Error, Kind, Result};
use crate::model::dataset::DatasetType;
use crate::registry::datasets::{self, ExistingDataset};
use crate::registry::db::conn::Executor;
use crate::registry::db::rows::{distinct_texts, record_batch, required_column};
use crate::registry::dimensions;
use crate::repo::Repo;
use crate::repo::changeset::comparison::filter_rows;
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::store::transfer::{Transfer, TransferMode, TransferSource, unfinished_moves};
use crate::store::{FileType, Location, path_template};

/// Options of an ingest.
#[derive(Debug, Clone, Copy)]
pub struct IngestOptions {
    /// How files are transferred into the datastore.
    pub transfer: TransferMode,
    /// True to record file sizes.
    pub track_file_attrs: bool,
    /// True to register datasets without their files.
    pub without_datastore: bool,
}

/// Datasets of one type and one run that are to be ingested.
#[derive(Debug)]
pub struct IncomingDatasets<'a> {
    /// Dataset type.
    pub dataset_type: &'a DatasetType,
    /// Run.
    pub run: &'a str,
    /// Rows of `dataset_id` and the dimensions.
    pub rows: RecordBatch,
    /// The file of each row, and its formatter.
    pub files: Vec<(Location, Arc<str>)>,
    /// The data ID of each row as a key ([`datasets::keys`]).
    pub keys: Vec<String>,
    /// Existing datasets of the run, by key.
    pub there: HashMap<String, ExistingDataset>,
}

/// How incoming datasets are ingested.
#[derive(Debug)]
pub struct IngestPlan {
    /// Rows to insert, with `path`, `formatter` and `file_size` unless without files.
    pub new: RecordBatch,
    /// Rows of existing datasets whose file records are to be replaced.
    pub moved: RecordBatch,
    /// File transfers for the new rows.
    pub transfers: Vec<Transfer>,
    /// Moves of stored files whose sources still exist.
    pub sources: Vec<Transfer>,
    /// Number of datasets that are unchanged.
    pub same: u64,
}

impl IncomingDatasets<'_> {
    /// Compares the datasets with the registry and returns how to ingest them.
    ///
    /// # Errors
    /// `Kind::Conflict` for another dataset with the same data ID, `Kind::Stale` for the same id in another run,
    /// `Kind::NotFound` for a missing file; database errors.
    pub async fn plan(self, repo: &Repo, options: IngestOptions, planned: &PendingRecords<'_>) -> Result<IngestPlan> {
        let (keys, there) = (&self.keys, &self.there);
        let ids = datasets::ids(&self.rows, "dataset_id")?;
        let mut unknown = Vec::new();
        for (id, key) in ids.iter().zip(keys) {
            match there.get(key) {
                None => unknown.push(id.clone()),
                Some(present) if present.id == *id => {}
                Some(present) => {
                    let message = format!(
                        "run '{}' already holds dataset {} of type '{}' with the data ID of dataset {id}",
                        self.run, present.id, self.dataset_type.name
                    );
                    return Err(Error::new(Kind::Conflict, message));
                }
            }
        }
        self.check_unions(repo, planned).await?;
        let elsewhere = datasets::types_of(&mut Executor::Conn(&repo.registry.conn), &unknown).await?;
        if let Some(id) = elsewhere.values().flatten().next() {
            // Another writer may also have inserted it after the run was read; a retry of the operation then finds it.
            let message = format!("dataset {id} already exists, in another run or with another type or data ID");
            return Err(Error::new(Kind::Stale, message));
        }
        let is_new: Vec<bool> = keys
            .iter()
            .map(|key| there.get(key).is_none_or(|p| p.file.is_none() && !options.without_datastore))
            .collect();
        if options.without_datastore {
            let same = is_new.iter().filter(|new| !**new).count() as u64;
            let new = filter_rows(&self.rows, is_new.into_iter())?;
            return Ok(IngestPlan { moved: new.slice(0, 0), new, transfers: Vec::new(), sources: Vec::new(), same });
        }
        // Stored datasets are unchanged; only `direct` can replace their file record, as in the Butler.
        let looked_at: Vec<bool> = is_new.iter().map(|new| *new || options.transfer == TransferMode::Direct).collect();
        let mut same = looked_at.iter().filter(|looked| !**looked).count() as u64;
        let kept = |i: &usize| looked_at[*i];
        let sources = self.sources(repo, options, &looked_at).await?;
        let rows = filter_rows(&self.rows, looked_at.iter().copied())?;
        let files: Vec<_> = (0..ids.len()).filter(kept).map(|i| self.files[i].clone()).collect();
        let (paths, transfers) = self.place(repo, options, &rows, &files, planned).await?;
        let sizes = sizes(&files, options).await?;
        let mut moved = Vec::with_capacity(files.len());
        for (at, i) in (0..ids.len()).filter(kept).enumerate() {
            let before = there.get(&keys[i]).and_then(|p| p.file.as_ref());
            // A file inside the datastore is not replaced.
            let other = |(path, size): &(String, i64)| {
                path.contains("://") && (*path != paths[at] || (options.track_file_attrs && *size != sizes[at]))
            };
            moved.push(!is_new[i] && before.is_some_and(other));
        }
        let fresh: Vec<bool> = (0..ids.len()).filter(kept).map(|i| is_new[i]).collect();
        same += fresh.iter().zip(&moved).filter(|(new, moved)| !**new && !**moved).count() as u64;
        let formatters: ArrayRef = Arc::new(StringArray::from_iter_values(files.iter().map(|f| &*f.1)));
        let columns = rows.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(rows.columns().to_vec());
        let rows = record_batch(columns.chain([
            ("path", Arc::new(StringArray::from_iter_values(&paths)) as ArrayRef),
            ("formatter", formatters),
            ("file_size", Arc::new(Int64Array::from(sizes))),
        ]))?;
        let transfers = transfers.into_iter().zip(&fresh).filter_map(|(t, new)| t.filter(|_| *new));
        let transfers: Vec<Transfer> = transfers.collect();
        let mut targets = HashMap::new();
        for transfer in &transfers {
            if let Some(other) = targets.insert(transfer.to.display(), &transfer.from) {
                let (two, to) = (&transfer.from, transfer.to.display());
                let message =
                    format!("files {other} and {two} map to the path '{to}': the file template is not unique");
                return Err(Error::new(Kind::Conflict, message));
            }
        }
        let (new, moved) = (filter_rows(&rows, fresh.into_iter())?, filter_rows(&rows, moved.into_iter())?);
        Ok(IngestPlan { new, moved, transfers, sources, same })
    }

    /// Checks the values of dimensions without a table, such as `band`, which have no foreign key. A record of another
    /// element must have each value, otherwise the Butler could not expand the data ID.
    async fn check_unions(&self, repo: &Repo, planned: &PendingRecords<'_>) -> Result<()> {
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
                let message = format!("no record of '{source}' has the {dimension} '{value}' of a data ID");
                return Err(Error::new(Kind::Conflict, message));
            }
        }
        Ok(())
    }

    /// Returns the moves of stored files that an earlier run did not finish.
    async fn sources(&self, repo: &Repo, options: IngestOptions, looked_at: &[bool]) -> Result<Vec<Transfer>> {
        if options.transfer != TransferMode::Move {
            return Ok(Vec::new());
        }
        let root = Location::parse(&repo.datastore_root())?;
        let stored = |i: usize| self.there.get(&self.keys[i]).and_then(|present| present.file.as_ref());
        let moved = (0..self.keys.len()).filter(|i| !looked_at[*i]).filter_map(|i| {
            let (path, _) = stored(i).filter(|(path, _)| !path.contains("://"))?;
            Some(Transfer {
                from: TransferSource::File(self.files[i].0.clone()),
                to: root.child(path),
                mode: TransferMode::Move,
            })
        });
        unfinished_moves(moved.collect()).await
    }

    /// Returns the recorded path of each file and its transfer, if any.
    async fn place(
        &self,
        repo: &Repo,
        options: IngestOptions,
        rows: &RecordBatch,
        files: &[(Location, Arc<str>)],
        planned: &PendingRecords<'_>,
    ) -> Result<(Vec<String>, Vec<Option<Transfer>>)> {
        if options.transfer == TransferMode::Direct {
            return Ok((files.iter().map(|(place, _)| place.uri()).collect(), vec![None; files.len()]));
        }
        let root = Location::parse(&repo.datastore_root())?;
        let inside: Vec<Option<String>> = files.iter().map(|(place, _)| place.strip_prefix(&root)).collect();
        if options.transfer == TransferMode::Auto && inside.iter().all(Option::is_some) {
            return Ok((inside.into_iter().flatten().collect(), vec![None; files.len()]));
        }
        // If some files are inside the datastore, files outside are recorded by URI, as in the Butler.
        if options.transfer == TransferMode::Auto && inside.iter().any(Option::is_some) {
            let named = files.iter().zip(inside).map(|((place, _), inside)| inside.unwrap_or_else(|| place.uri()));
            return Ok((named.collect(), vec![None; files.len()]));
        }
        let mut all: Vec<(String, Option<Transfer>)> = Vec::with_capacity(files.len());
        let templated = paths(repo, self.dataset_type, self.run, rows, planned).await?;
        for (i, (place, _)) in files.iter().enumerate() {
            // Datasets of the same file share its path.
            if i > 0 && files[i - 1].0.display() == place.display() {
                all.push((all[i - 1].0.clone(), None));
                continue;
            }
            let path = format!("{}{}", templated[i], path_template::extension(&place.name()));
            let transfer =
                Transfer { from: TransferSource::File(place.clone()), to: root.child(&path), mode: options.transfer };
            all.push((path, Some(transfer)));
        }
        Ok(all.into_iter().unzip())
    }
}

/// Number of files that are checked when sizes are not recorded.
const SOME: usize = 200;
/// Maximum number of files of a folder that are checked one by one.
const FEW: usize = 4;
/// Number of folders that are listed concurrently.
const AT_ONCE: usize = 16;

/// Returns the sizes of files in bytes, or −1 if they are not recorded. Missing files are an error; when sizes are not
/// recorded, only a sample of many files is checked, as in the Butler.
async fn sizes(files: &[(Location, Arc<str>)], options: IngestOptions) -> Result<Vec<i64>> {
    let step = if options.track_file_attrs { 1 } else { files.len() / SOME + 1 };
    let mut sizes = vec![-1; files.len()];
    let wanted: Vec<(usize, Location)> = (0..files.len()).step_by(step).map(|i| (i, files[i].0.clone())).collect();
    for (i, size) in lengths(wanted).await? {
        if options.track_file_attrs {
            sizes[i] = size;
        }
    }
    Ok(sizes)
}

/// Returns the sizes of numbered files in bytes.
async fn lengths(wanted: Vec<(usize, Location)>) -> Result<Vec<(usize, i64)>> {
    if wanted.iter().all(|(_, place)| place.is_local()) {
        let look = move || {
            let mut last: Option<(&Location, i64)> = None;
            let mut found = Vec::with_capacity(wanted.len());
            for (i, place) in &wanted {
                let size = match last {
                    Some((before, size)) if before == place => size,
                    _ => length(&place.display())?,
                };
                last = Some((place, size));
                found.push((*i, size));
            }
            Ok(found)
        };
        return tokio::task::spawn_blocking(look).await.map_err(|e| Error::bug(format!("reading file sizes: {e}")))?;
    }
    let mut folders: BTreeMap<String, Vec<(usize, Location)>> = BTreeMap::new();
    for (i, place) in wanted {
        folders.entry(place.parent().display()).or_default().push((i, place));
    }
    let looked = stream::iter(folders.into_values()).map(folder_lengths).buffered(AT_ONCE);
    Ok(looked.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

/// Returns the sizes of files in one remote folder, by single requests for few files, else by one listing.
async fn folder_lengths(files: Vec<(usize, Location)>) -> Result<Vec<(usize, i64)>> {
    let missing = |place: &Location| Error::new(Kind::NotFound, format!("file '{}' does not exist", place.display()));
    let mut listed = HashMap::new();
    if files.len() > FEW {
        listed.extend(files[0].1.parent().list().await?.files);
    }
    let mut found = Vec::with_capacity(files.len());
    for (i, place) in files {
        let size = match (listed.get(&place.name()), listed.is_empty()) {
            (Some(size), _) => *size,
            (None, false) => return Err(missing(&place)),
            (None, true) => match place.stat().await? {
                FileType::File(size) => size,
                FileType::Missing => return Err(missing(&place)),
                FileType::Directory => return Err(Error::invalid(format!("'{}' is not a file", place.display()))),
            },
        };
        found.push((i, i64::try_from(size).unwrap_or(-1)));
    }
    Ok(found)
}

fn length(name: &str) -> Result<i64> {
    match std::fs::metadata(name) {
        Ok(found) if found.is_file() => Ok(i64::try_from(found.len()).unwrap_or(-1)),
        Ok(_) => Err(Error::invalid(format!("'{name}' is not a file"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::NotFound, format!("file '{name}' does not exist")))
        }
        Err(e) => Err(Error::from(e).context(format_args!("file '{name}'"))),
    }
}
