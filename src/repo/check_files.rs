//! `check_files`: compares the files in the registry with the files in the datastore.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::error::{Error, Kind, Result};
use crate::model::collection::{Collection, CollectionType};
use crate::model::zip_member;
use crate::registry::datasets::known_paths;
use crate::registry::db::Batches;
use crate::registry::file_records;
use crate::registry::i64_values;
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::search::collections;
use crate::store::entry::Entry;
use crate::store::walk::walk;
use crate::store::{DirListing, Location};

/// Number of folders that are listed concurrently, and of files that are read concurrently per folder.
const AT_ONCE: usize = 16;

/// Number of folders whose files are looked up in one query.
const FOLDERS: usize = 64;

/// Options of `check_files`.
#[derive(Debug, Clone)]
pub(crate) struct CheckFilesOptions {
    /// Collections, chains and globs.
    pub collections: Vec<String>,
    /// True to read the first byte of every file.
    pub read: bool,
}

/// A file record. All records of a folder are read, including those of other collections.
#[derive(Debug)]
struct Record {
    dataset_id: String,
    dataset_type: String,
    place: Location,
    /// Size in bytes; negative if it was not recorded.
    size: i64,
    /// Name of the archive member, if the file is in an archive.
    member: Option<String>,
    wanted: bool,
}

/// The result for one file.
#[derive(Debug, Default)]
struct Checked {
    dataset: Option<(String, String)>,
    uri: String,
    state: &'static str,
    expected: Option<i64>,
    size: Option<i64>,
    detail: Option<String>,
}

/// Returns the schema of the result.
pub(crate) fn schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("state", false),
        text("uri", false),
        text("dataset_type", true),
        text("dataset_id", true),
        Field::new("expected_size", DataType::Int64, true),
        Field::new("size", DataType::Int64, true),
        text("detail", true),
    ]))
}

/// Checks the files of some collections, folder by folder, and then lists the files in the folders of their runs that
/// no record names. The rows have the columns of [`schema`].
pub(crate) fn check_files(handle: Arc<RepositoryHandle>, check: CheckFilesOptions) -> Batches {
    let begin = async move {
        let repo = handle.repo().await?;
        repo.registry.check_files()?;
        let root = Location::parse(&repo.datastore_root())?;
        let read = check.read;
        let recorded = check.records(&repo).await?;
        let recorded = recorded.map(move |group| async move { batch(compare(group?, read).await) }).buffered(AT_ONCE);
        let all = collections(&repo).await?;
        let is_run = |collection: &&Collection| collection.kind == CollectionType::Run;
        let runs: Arc<HashSet<String>> = Arc::new(all.iter().filter(is_run).map(|c| c.name.clone()).collect());
        let asked: Vec<String> =
            all.flatten(&check.collections)?.into_iter().filter(is_run).map(|c| c.name.clone()).collect();
        let top = root.clone();
        let walked = stream::iter(asked).flat_map(move |run| {
            let (runs, top) = (Arc::clone(&runs), top.clone());
            // The folder of another run may be inside this folder.
            walk(top.child(&run), AT_ONCE)
                .filter(move |(folder, _)| std::future::ready(run_of(folder, &top, &runs).as_ref() == Some(&run)))
        });
        let orphans = walked.chunks(FOLDERS).then(move |folders| {
            let (repo, root) = (Arc::clone(&repo), root.clone());
            async move { batch(orphans(&repo, &root, folders).await?) }
        });
        Ok::<_, Error>(recorded.chain(orphans))
    };
    stream::once(begin).try_flatten().try_filter(|rows| std::future::ready(rows.num_rows() > 0)).boxed()
}

/// Returns the run whose folder is `folder` or contains it.
fn run_of(folder: &Location, root: &Location, runs: &HashSet<String>) -> Option<String> {
    let mut path = folder.strip_prefix(root)?;
    while !runs.contains(&path) {
        path.truncate(path.rfind('/')?);
    }
    Some(path)
}

impl CheckFilesOptions {
    /// Returns the file records, one folder at a time; folders without a wanted record are skipped.
    async fn records(&self, repo: &Repo) -> Result<impl Stream<Item = Result<Vec<Record>>> + Send + use<>> {
        let root = Location::parse(&repo.datastore_root())?;
        let all = collections(repo).await?;
        let names: Vec<&str> = all.flatten(&self.collections)?.iter().map(|c| c.name.as_str()).collect();
        let batches = file_records::by_folder(&repo.registry, &names).await?;
        let rows = batches.map(move |rows| of_rows(&rows?, &root));
        Ok(folders(rows.map_ok(|rows| stream::iter(rows.into_iter().map(Ok))).try_flatten().boxed()))
    }
}

fn of_rows(rows: &RecordBatch, root: &Location) -> Result<Vec<Record>> {
    let (ids, types, paths) = (string_values(rows, 0), string_values(rows, 1), string_values(rows, 2));
    let numbers = i64_values(rows, 3).into_iter().zip(i64_values(rows, 4));
    ids.into_iter()
        .zip(types)
        .zip(paths.into_iter().zip(numbers))
        .map(|((dataset_id, dataset_type), (path, (size, wanted)))| {
            let (path, member) = zip_member::split(&path);
            let member = member.map(str::to_owned);
            let place = root.of_record(path)?;
            Ok(Record { dataset_id, dataset_type, place, size, member, wanted: wanted == 1 })
        })
        .collect()
}

/// Groups records that are sorted by folder; folders without a wanted record are skipped.
fn folders(rows: BoxStream<'static, Result<Record>>) -> impl Stream<Item = Result<Vec<Record>>> + Send + 'static {
    let groups = stream::try_unfold((rows, None::<Record>), |(mut rows, held)| async move {
        let Some(first) = (match held {
            Some(held) => Some(held),
            None => rows.try_next().await?,
        }) else {
            return Ok::<_, Error>(None);
        };
        let folder = first.place.parent();
        let mut group = vec![first];
        while let Some(next) = rows.try_next().await? {
            if next.place.parent() != folder {
                return Ok(Some((group, (rows, Some(next)))));
            }
            group.push(next);
        }
        Ok(Some((group, (rows, None))))
    });
    groups.try_filter(|group| std::future::ready(group.iter().any(|record| record.wanted)))
}

/// Compares the wanted records of one folder with its files.
async fn compare(records: Vec<Record>, read: bool) -> Vec<Checked> {
    let Some(folder) = records.first().map(|record| record.place.parent()) else { return Vec::new() };
    let of = |record: &Record| Checked {
        dataset: Some((record.dataset_type.clone(), record.dataset_id.clone())),
        uri: record.place.uri(),
        expected: Some(record.size).filter(|size| *size >= 0),
        ..Checked::default()
    };
    let records: Vec<&Record> = records.iter().filter(|record| record.wanted).collect();
    match folder.entries(false).await {
        Ok(entries) => {
            let name = |entry: &Entry| entry.path.rsplit('/').next().unwrap_or_default().to_owned();
            let found: HashMap<String, &Entry> = entries.iter().map(|entry| (name(entry), entry)).collect();
            let mut judged: Vec<BoxFuture<'_, Checked>> = Vec::with_capacity(records.len());
            for record in records {
                let entry = found.get(&record.place.name()).copied();
                judged.push(Box::pin(judge(of(record), entry, record, read)));
            }
            stream::iter(judged).buffered(AT_ONCE).collect().await
        }
        Err(error) => {
            let absent = error.kind() == Kind::NotFound;
            let state = if absent { "missing" } else { "unreadable" };
            let detail = (!absent).then(|| error.message().to_owned());
            records.into_iter().map(|record| Checked { state, detail: detail.clone(), ..of(record) }).collect()
        }
    }
}

/// Determines the state of the file of a record.
async fn judge(row: Checked, entry: Option<&Entry>, record: &Record, read: bool) -> Checked {
    let Some(entry) = entry.filter(|entry| !entry.is_directory) else {
        let detail = entry.map(|_| "it is a folder".to_owned());
        return Checked { state: "missing", detail, ..row };
    };
    let Some(size) = entry.size.and_then(|size| i64::try_from(size).ok()) else {
        return Checked { state: "unreadable", detail: Some("it is still being written".to_owned()), ..row };
    };
    // The recorded size of an archive member is not the size of the archive.
    let row = match &record.member {
        Some(member) => Checked { detail: Some(format!("'{member}' in an archive, which was not opened")), ..row },
        None => Checked { size: Some(size), ..row },
    };
    if record.member.is_none() && row.expected.is_some_and(|expected| expected != size) {
        return Checked { state: "size_mismatch", ..row };
    }
    if read
        && size > 0
        && let Err(error) = record.place.probe().await
    {
        return Checked { state: "unreadable", detail: Some(error.message().to_owned()), ..row };
    }
    Checked { state: "ok", ..row }
}

/// Returns the files in some folders that no record names.
async fn orphans(repo: &Repo, root: &Location, folders: Vec<(Location, Result<DirListing>)>) -> Result<Vec<Checked>> {
    let (mut files, mut rows) = (Vec::new(), Vec::new());
    for (folder, listed) in folders {
        match listed {
            Ok(listed) => files.extend(listed.files.into_iter().map(|(name, size)| (folder.child(&name), size))),
            // The datastore has no folder for this run.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => rows.push(Checked {
                state: "unreadable",
                uri: folder.uri(),
                detail: Some(error.message().to_owned()),
                ..Checked::default()
            }),
        }
    }
    // A file in the datastore may be recorded by its relative path or by its URI.
    let named = |place: &Location| [place.strip_prefix(root).unwrap_or_default(), place.uri()];
    let names: Vec<String> = files.iter().flat_map(|(place, _)| named(place)).collect();
    let known = known_paths(&repo.registry, &names).await?;
    let left = files.into_iter().filter(|(place, _)| !named(place).iter().any(|name| known.contains(name)));
    rows.extend(left.map(|(place, size)| Checked {
        state: "orphan",
        uri: place.uri(),
        size: i64::try_from(size).ok(),
        ..Checked::default()
    }));
    Ok(rows)
}

fn batch(rows: Vec<Checked>) -> Result<RecordBatch> {
    let text = |value: &dyn Fn(&Checked) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let number =
        |value: fn(&Checked) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int64Array>()) };
    let columns = vec![
        text(&|row| Some(row.state.to_owned())),
        text(&|row| Some(row.uri.clone())),
        text(&|row| Some(row.dataset.as_ref()?.0.clone())),
        text(&|row| Some(row.dataset.as_ref()?.1.clone())),
        number(|row| row.expected),
        number(|row| row.size),
        text(&|row| row.detail.clone()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
