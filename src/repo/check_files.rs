//! `check_files`: the files that the registry names against those that are there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesOrdered, Stream, StreamExt, TryStreamExt};

use super::search::collections;
use super::{Access, Repo};
use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::registry::conn::Batches;
use crate::registry::dataset_types;
use crate::registry::datasets::recorded;
use crate::registry::schema::{Kind as ColumnKind, Scanned};
use crate::registry::{ints, optional_texts, search, texts};
use crate::store::Place;
use crate::store::walk::walk;
use crate::store::webdav::Entry;

/// How many folders are listed at the same time.
const AT_ONCE: usize = 16;

/// What is to be checked.
#[derive(Debug, Clone)]
pub struct Check {
    /// Collections, chains and globs.
    pub collections: Vec<String>,
    /// Whether the first byte of every file is read.
    pub read: bool,
}

/// A file that the registry names; others of its folder come with it, wanted or not.
#[derive(Debug)]
struct Record {
    dataset_id: String,
    dataset_type: String,
    path: String,
    /// Bytes; negative when it was not recorded.
    size: i64,
    wanted: bool,
}

/// A file and what was found.
#[derive(Debug, Default)]
struct Checked {
    dataset: Option<(String, String)>,
    uri: String,
    state: &'static str,
    expected: Option<i64>,
    size: Option<i64>,
    detail: Option<String>,
}

/// The columns of the answer.
pub fn schema() -> SchemaRef {
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

/// The files of some collections as rows of [`schema`], folder by folder; then the files in the folders of their runs
/// that no record names.
pub fn check_files(access: Arc<Access>, check: Check) -> Batches {
    let begin = async move {
        let repo = access.repo().await?;
        let runs = check.runs(&repo).await?;
        let root = Place::parse(&repo.datastore_root())?;
        let visited = Arc::new(std::sync::Mutex::new(HashSet::new()));
        let (seen, read, home) = (Arc::clone(&visited), check.read, root.clone());
        let recorded = check.records(&repo).await?.map(move |group| {
            let (seen, home) = (Arc::clone(&seen), home.clone());
            async move {
                let (folder, records) = group?;
                let inside = folder.below(&home).is_some();
                if inside {
                    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(folder.shown());
                }
                batch(compare(&folder, records, inside.then_some(&home), read).await)
            }
        });
        let walked = stream::iter(runs).flat_map({
            let root = root.clone();
            move |run| walk(root.child(&run), AT_ONCE)
        });
        let orphans = walked.map(move |(folder, listed)| {
            let visited = Arc::clone(&visited);
            let (repo, root) = (Arc::clone(&repo), root.clone());
            async move {
                let known = visited.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&folder.shown());
                let files = match listed {
                    Ok(listed) if !known => listed.files,
                    Ok(_) => Vec::new(),
                    // No file of the run is in the datastore.
                    Err(error) if error.kind() == Kind::NotFound => Vec::new(),
                    Err(error) => return batch(vec![unlisted(&folder, &error)]),
                };
                batch(orphans(&repo, &root, &folder, files).await?)
            }
        });
        Ok::<_, Error>(recorded.buffered(AT_ONCE).chain(orphans.buffered(1)))
    };
    stream::once(begin).try_flatten().try_filter(|rows| std::future::ready(rows.num_rows() > 0)).boxed()
}

impl Check {
    /// The RUN collections among those that are checked.
    async fn runs(&self, repo: &Repo) -> Result<Vec<String>> {
        let all = collections(repo).await?;
        let found = all.flatten(&self.collections)?;
        Ok(found.into_iter().filter(|c| c.kind == CollectionType::Run).map(|c| c.name.clone()).collect())
    }

    /// The file records, a folder at a time; folders without a wanted one are left out.
    async fn records(&self, repo: &Repo) -> Result<impl Stream<Item = Result<(Place, Vec<Record>)>> + Send + use<>> {
        let registry = &repo.registry;
        let root = Place::parse(&repo.datastore_root())?;
        let batches = if registry.has_file_records().await? {
            let all = collections(repo).await?;
            let conn = &registry.conn;
            let names: Vec<_> = all.flatten(&self.collections)?.iter().map(|c| conn.dialect().text(&c.name)).collect();
            let types = dataset_types::load(registry).await?;
            let wanted = match names.is_empty() {
                true => "0".to_owned(),
                false => format!(
                    "CASE WHEN f.dataset_id IN (SELECT dataset_id FROM {} AS m WHERE collection IN ({})) THEN 1 ELSE 0 END",
                    search::memberships(registry, &types),
                    names.join(", ")
                ),
            };
            // What is left of a path when all characters but the slash go from its end is its folder.
            let sql = format!(
                "SELECT f.dataset_id, t.name AS dataset_type, f.path, f.file_size, {wanted} AS wanted FROM {} f \
                 JOIN {} d ON d.id = f.dataset_id JOIN {} t ON t.id = d.dataset_type_id \
                 ORDER BY rtrim(f.path, replace(f.path, '/', '')), f.path",
                conn.table(&registry.file_records.name),
                conn.table("dataset"),
                conn.table("dataset_type")
            );
            let text = ColumnKind::Text(None);
            let columns = [("dataset_id", ColumnKind::Uuid), ("dataset_type", text), ("path", text)];
            let numbers = [("file_size", ColumnKind::Int), ("wanted", ColumnKind::Int)];
            let columns = columns.into_iter().chain(numbers).map(|(name, kind)| Scanned::plain(name, kind)).collect();
            conn.query(sql, columns)
        } else {
            stream::empty().boxed()
        };
        let rows = batches.map_ok(|rows| stream::iter(of_rows(&rows).into_iter().map(Ok))).try_flatten();
        Ok(folders(rows.boxed(), root))
    }
}

fn of_rows(rows: &RecordBatch) -> Vec<Record> {
    let (ids, types, paths) = (texts(rows, 0), texts(rows, 1), optional_texts(rows, 2));
    let numbers = ints(rows, 3).into_iter().zip(ints(rows, 4));
    ids.into_iter()
        .zip(types)
        .zip(paths.into_iter().zip(numbers))
        .map(|((dataset_id, dataset_type), (path, (size, wanted)))| Record {
            dataset_id,
            dataset_type,
            // A part of an archive is named behind `#`.
            path: path.unwrap_or_default().split('#').next().unwrap_or_default().to_owned(),
            size,
            wanted: wanted == 1,
        })
        .collect()
}

/// Records that come sorted by folder, a folder at a time.
fn folders(
    rows: BoxStream<'static, Result<Record>>,
    root: Place,
) -> impl Stream<Item = Result<(Place, Vec<Record>)>> + Send + 'static {
    let of = move |path: &str| if path.contains("://") { Place::parse(path) } else { Ok(root.child(path)) };
    let groups = stream::try_unfold((rows, None::<Record>), |(mut rows, held)| async move {
        let Some(first) = (match held {
            Some(held) => Some(held),
            None => rows.try_next().await?,
        }) else {
            return Ok::<_, Error>(None);
        };
        let folder = |path: &str| path.rfind('/').map_or(0, |at| at + 1);
        let name = first.path[..folder(&first.path)].to_owned();
        let mut group = vec![first];
        while let Some(next) = rows.try_next().await? {
            if next.path[..folder(&next.path)] != *name {
                return Ok(Some((group, (rows, Some(next)))));
            }
            group.push(next);
        }
        Ok(Some((group, (rows, None))))
    });
    groups
        .try_filter(|group| std::future::ready(group.iter().any(|record| record.wanted)))
        .map(move |group| group.and_then(|group| Ok((of(&group[0].path)?.parent(), group))))
}

/// The records of one folder against its files; where the folder is the datastore's, with those that no record names.
async fn compare(folder: &Place, records: Vec<Record>, root: Option<&Place>, read: bool) -> Vec<Checked> {
    let of = |record: &Record| Checked {
        dataset: Some((record.dataset_type.clone(), record.dataset_id.clone())),
        uri: folder.child(record.path.rsplit('/').next().unwrap_or_default()).uri(),
        expected: Some(record.size).filter(|size| *size >= 0),
        ..Checked::default()
    };
    let entries = match folder.entries(false).await {
        Ok(entries) => entries,
        Err(error) => {
            let absent = error.kind() == Kind::NotFound;
            let state = if absent { "missing" } else { "unreadable" };
            let detail = (!absent).then(|| error.said().to_owned());
            let wanted = records.iter().filter(|record| record.wanted);
            return wanted.map(|record| Checked { state, detail: detail.clone(), ..of(record) }).collect();
        }
    };
    let name = |entry: &Entry| entry.path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut found: HashMap<String, &Entry> = entries.iter().map(|entry| (name(entry), entry)).collect();
    let mut rows = FuturesOrdered::<BoxFuture<'_, Checked>>::new();
    for record in records.iter().filter(|record| record.wanted) {
        let base = record.path.rsplit('/').next().unwrap_or_default();
        let (entry, place) = (found.get(base).copied(), folder.child(base));
        let row = of(record);
        rows.push_back(Box::pin(async move { judge(row, entry, &place, read).await }));
    }
    let mut all: Vec<_> = rows.collect().await;
    if root.is_some() {
        for record in &records {
            found.remove(record.path.rsplit('/').next().unwrap_or_default());
        }
        let mut left: Vec<_> = found.into_iter().filter(|(_, entry)| !entry.is_directory).collect();
        left.sort_by(|a, b| a.0.cmp(&b.0));
        all.extend(left.into_iter().map(|(name, entry)| orphan(&folder.child(&name), entry.size)));
    }
    all
}

/// What a record's file is.
async fn judge(row: Checked, entry: Option<&Entry>, place: &Place, read: bool) -> Checked {
    let Some(entry) = entry.filter(|entry| !entry.is_directory) else {
        let detail = entry.map(|_| "it is a folder".to_owned());
        return Checked { state: "missing", detail, ..row };
    };
    let Some(size) = entry.size.and_then(|size| i64::try_from(size).ok()) else {
        return Checked { state: "unreadable", detail: Some("it is still being written".to_owned()), ..row };
    };
    let row = Checked { size: Some(size), ..row };
    if row.expected.is_some_and(|expected| expected != size) {
        return Checked { state: "other size", ..row };
    }
    if read
        && size > 0
        && let Err(error) = place.try_read().await
    {
        return Checked { state: "unreadable", detail: Some(error.said().to_owned()), ..row };
    }
    Checked { state: "ok", ..row }
}

/// Those of some files that no record names.
async fn orphans(repo: &Repo, root: &Place, folder: &Place, files: Vec<(String, u64)>) -> Result<Vec<Checked>> {
    let below: Vec<_> = files.iter().map(|(name, _)| folder.child(name).below(root).unwrap_or_default()).collect();
    let known = recorded(&repo.registry, &below).await?;
    let left = files.iter().zip(&below).filter(|(_, path)| !known.contains(*path));
    Ok(left.map(|((name, size), _)| orphan(&folder.child(name), Some(*size))).collect())
}

fn orphan(place: &Place, size: Option<u64>) -> Checked {
    let size = size.and_then(|size| i64::try_from(size).ok());
    Checked { state: "orphan", uri: place.uri(), size, ..Checked::default() }
}

fn unlisted(folder: &Place, error: &Error) -> Checked {
    let detail = Some(error.said().to_owned());
    Checked { state: "unreadable", uri: folder.uri(), detail, ..Checked::default() }
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
