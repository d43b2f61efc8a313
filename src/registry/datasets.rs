//! Reading datasets, their file records and their memberships.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::model::zip_member;
use crate::registry::Registry;
use crate::registry::dataset_types::TypeRecord;
use crate::registry::db::conn::Executor;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::predicates::key_predicates;
use crate::registry::db::rows::required_column;
use crate::registry::i64_values;
use crate::registry::optional_string_values;
use crate::registry::schema::{ColumnType, ReadColumn, arrow_schema};
use crate::registry::string_values;

/// The value of the column `component` for a file that is not a component.
pub(crate) const NO_COMPONENT: &str = "__NULL_STRING__";

/// Returns the ids in a column, as text.
pub(crate) fn ids(rows: &RecordBatch, name: &str) -> Result<Vec<String>> {
    Ok(required_column(rows, name)?.as_string::<i32>().iter().flatten().map(str::to_owned).collect())
}

/// Returns the data IDs of rows as text keys, which are equal exactly when the data IDs are.
///
/// # Errors
/// A missing dimension column.
pub(crate) fn keys(record: &TypeRecord, rows: &RecordBatch) -> Result<Vec<String>> {
    let dimensions =
        record.dataset_type.dimensions.iter().map(|d| required_column(rows, d)).collect::<Result<Vec<_>>>()?;
    texts_of(&dimensions, rows.num_rows())
}

/// Returns rows as text keys, which are equal exactly when the rows are.
///
/// # Errors
/// Values that cannot be cast to text.
pub(crate) fn row_texts(rows: &RecordBatch) -> Result<Vec<String>> {
    texts_of(rows.columns(), rows.num_rows())
}

fn texts_of(columns: &[ArrayRef], rows: usize) -> Result<Vec<String>> {
    let mut keys = vec![String::new(); rows];
    for column in columns {
        let texts = cast(column, &DataType::Utf8)?;
        for (key, value) in keys.iter_mut().zip(texts.as_string::<i32>()) {
            key.push_str(value.unwrap_or_default());
            key.push('\u{1f}');
        }
    }
    Ok(keys)
}

/// A dataset that a run already holds for a data ID.
#[derive(Debug)]
pub(crate) struct ExistingDataset {
    /// Dataset id.
    pub id: String,
    /// Path and size in bytes of its file, if it is stored.
    pub file: Option<(String, i64)>,
}

/// Returns the datasets of a type that a run holds for the data IDs of rows, by [`keys`]; empty if the run does not
/// exist.
///
/// # Errors
/// Database errors.
pub(crate) async fn existing_datasets(
    registry: &Registry,
    record: &TypeRecord,
    run: &str,
    rows: &RecordBatch,
) -> Result<HashMap<String, ExistingDataset>> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let dimensions = &record.dataset_type.dimensions;
    let identity = |c: &ReadColumn| c.name == "dataset_id" || dimensions.contains(&c.name);
    let mut columns: Vec<ReadColumn> = record.tags.read_columns().into_iter().filter(identity).collect();
    let mut select: Vec<_> = columns.iter().map(|c| format!("t.{}", dialect.quote(&c.name))).collect();
    columns
        .extend([ReadColumn::plain("path", ColumnType::Text(None)), ReadColumn::plain("file_size", ColumnType::Int)]);
    let join = if registry.has_file_records().await? {
        select.push("f.path, f.file_size".to_owned());
        let whole = dialect.text(NO_COMPONENT);
        let records = conn.table(&registry.file_records.name);
        // The records of a dataset in the trash may remain.
        let stored = format!("SELECT 1 FROM {} l WHERE l.dataset_id = f.dataset_id", conn.table("dataset_location"));
        format!("LEFT JOIN {records} f ON f.dataset_id = t.dataset_id AND f.component = {whole} AND EXISTS ({stored})")
    } else {
        select.push("NULL, NULL".to_owned());
        String::new()
    };
    let base = format!(
        "SELECT {} FROM {} t {join} WHERE t.dataset_type_id = {} AND t.collection_id = \
         (SELECT collection_id FROM {} WHERE name = {})",
        select.join(", "),
        conn.table(&record.tags.name),
        record.id,
        conn.table("collection"),
        dialect.text(run)
    );
    let mut all = HashMap::new();
    for only in key_predicates(dialect, "t.", &record.tags, dimensions, rows)? {
        let found = conn.rows(format!("{base} AND {only}"), columns.clone()).await?;
        let at = |name: &str| found.schema_ref().index_of(name);
        let files = optional_string_values(&found, at("path")?).into_iter().zip(i64_values(&found, at("file_size")?));
        let files = files.map(|(path, size)| path.map(|path| (path, size)));
        let present = ids(&found, "dataset_id")?.into_iter().zip(files).map(|(id, file)| ExistingDataset { id, file });
        all.extend(keys(record, &found)?.into_iter().zip(present));
    }
    Ok(all)
}

/// Returns the paths that occur in file records; zip archives occur with their members.
///
/// # Errors
/// Database errors.
pub(crate) async fn known_paths(registry: &Registry, paths: &[String]) -> Result<HashSet<String>> {
    let conn = &registry.conn;
    let mut found = HashSet::new();
    if !registry.has_file_records().await? {
        return Ok(found);
    }
    let table = conn.table(&registry.file_records.name);
    let dialect = conn.dialect();
    let texts = |paths: &[String]| paths.iter().map(|path| dialect.text(path)).collect::<Vec<_>>().join(", ");
    let mut conditions: Vec<String> = paths.chunks(CHUNK).map(|some| format!("path IN ({})", texts(some))).collect();
    let archives: Vec<&String> = paths.iter().filter(|path| path.ends_with(".zip")).collect();
    let any =
        |some: &[&String]| some.iter().map(|path| members(dialect, "path", path)).collect::<Vec<_>>().join(" OR ");
    conditions.extend(archives.chunks(ARCHIVES).map(any));
    for condition in conditions {
        let sql = format!("SELECT path FROM {table} WHERE {condition}");
        let rows = conn.rows(sql, vec![ReadColumn::plain("path", ColumnType::Text(None))]).await?;
        let file = |path: String| zip_member::split(&path).0.to_owned();
        found.extend(string_values(&rows, 0).into_iter().map(file));
    }
    Ok(found)
}

/// Returns the SQL condition for the paths of the members of a zip archive.
pub(crate) fn members(dialect: Dialect, column: &str, archive: &str) -> String {
    let start = zip_member::join(archive, "");
    match dialect {
        // Texts are compared by bytes, so that the index is used.
        Dialect::Sqlite => {
            let end = format!("{start}{}", char::MAX);
            format!("({column} >= {} AND {column} < {})", dialect.text(&start), dialect.text(&end))
        }
        Dialect::Postgres => format!("starts_with({column}, {})", dialect.text(&start)),
    }
}

/// Number of zip archives per query; databases limit the number of conditions.
pub(crate) const ARCHIVES: usize = 200;

/// Number of ids or paths per query.
const CHUNK: usize = 4096;

fn id_list(dialect: Dialect, ids: &[String]) -> Result<String> {
    let literal = |id: &String| dialect.uuid(id).ok_or_else(|| Error::invalid(format!("'{id}' is not a dataset id")));
    Ok(ids.iter().map(literal).collect::<Result<Vec<_>>>()?.join(", "))
}

/// Returns the ids that belong to datasets, grouped by the key of their dataset type.
///
/// # Errors
/// A malformed id; database errors.
pub(crate) async fn types_of(source: &mut Executor<'_>, wanted: &[String]) -> Result<HashMap<i64, Vec<String>>> {
    let mut found: HashMap<i64, Vec<String>> = HashMap::new();
    for some in wanted.chunks(CHUNK) {
        let (table, list) = (source.table("dataset"), id_list(source.dialect(), some)?);
        let columns =
            [ReadColumn::plain("id", ColumnType::Uuid), ReadColumn::plain("dataset_type_id", ColumnType::Int)];
        let sql = format!("SELECT id, dataset_type_id FROM {table} WHERE id IN ({list})");
        let rows = source.rows(sql, &columns).await?;
        for (id, kind) in string_values(&rows, 0).into_iter().zip(i64_values(&rows, 1)) {
            found.entry(kind).or_default().push(id);
        }
    }
    Ok(found)
}

/// Returns `dataset_id` and the dimensions of datasets, from their RUN memberships.
///
/// # Errors
/// A malformed id; database errors.
pub(crate) async fn data_ids(source: &mut Executor<'_>, record: &TypeRecord, wanted: &[String]) -> Result<RecordBatch> {
    let dialect = source.dialect();
    let identity = |c: &ReadColumn| c.name == "dataset_id" || record.dataset_type.dimensions.contains(&c.name);
    let columns: Vec<ReadColumn> = record.tags.read_columns().into_iter().filter(identity).collect();
    let select: Vec<_> = columns.iter().map(|c| format!("t.{}", dialect.quote(&c.name))).collect();
    // A fixed order prevents deadlocks between two writers of the same rows.
    let keys: Vec<_> = record.dataset_type.dimensions.iter().map(|d| format!("t.{}", dialect.quote(d))).collect();
    let order = if keys.is_empty() { "t.dataset_id".to_owned() } else { keys.join(", ") };
    let mut batches = Vec::new();
    for some in wanted.chunks(CHUNK) {
        let sql = format!(
            "SELECT {} FROM {} t JOIN {} d ON d.id = t.dataset_id AND d.run_id = t.collection_id \
             WHERE t.dataset_id IN ({}) ORDER BY {order}",
            select.join(", "),
            source.table(&record.tags.name),
            source.table("dataset"),
            id_list(dialect, some)?
        );
        batches.push(source.rows(sql, &columns).await?);
    }
    Ok(concat_batches(&arrow_schema(&columns), &batches)?)
}

/// Returns the ids of the datasets of a type in a collection.
///
/// # Errors
/// Database errors.
pub(crate) async fn ids_in(registry: &Registry, record: &TypeRecord, collection: &str) -> Result<HashSet<String>> {
    let conn = &registry.conn;
    let sql = format!(
        "SELECT t.dataset_id FROM {} t JOIN {} c ON c.collection_id = t.collection_id WHERE c.name = {} \
         AND t.dataset_type_id = {}",
        conn.table(&record.tags.name),
        conn.table("collection"),
        conn.dialect().text(collection),
        record.id
    );
    Ok(string_values(&conn.rows(sql, vec![ReadColumn::plain("dataset_id", ColumnType::Uuid)]).await?, 0)
        .into_iter()
        .collect())
}

/// Counts the rows (`dataset_id`) that are members of a collection already.
///
/// # Errors
/// Database errors.
pub(crate) async fn count_members(
    registry: &Registry,
    types: &[TypeRecord],
    collection: &str,
    rows: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<u64> {
    let mut members: HashMap<i64, HashSet<String>> = HashMap::new();
    let mut count = 0;
    for rows in rows {
        let ids = ids(&rows?, "dataset_id")?;
        for (key, ids) in types_of(&mut Executor::Conn(&registry.conn), &ids).await? {
            let Some(record) = types.iter().find(|record| record.id == key) else { continue };
            if let Entry::Vacant(unread) = members.entry(key) {
                unread.insert(ids_in(registry, record, collection).await?);
            }
            count += ids.iter().filter(|id| members[&key].contains(*id)).count() as u64;
        }
    }
    Ok(count)
}

/// Returns the datasets of some exposures in a run, for a type with the dimensions instrument, detector and exposure:
/// `exposure`, `detector`, `dataset_id`, `path`, `file_size`.
///
/// # Errors
/// Database errors.
pub(crate) async fn of_exposures(
    registry: &Registry,
    record: &TypeRecord,
    run: &str,
    instrument: &str,
    exposures: &[i64],
) -> Result<RecordBatch> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let list: Vec<_> = exposures.iter().map(i64::to_string).collect();
    let (select, join) = if registry.has_file_records().await? {
        let records = conn.table(&registry.file_records.name);
        let stored = format!("SELECT 1 FROM {} l WHERE l.dataset_id = r.dataset_id", conn.table("dataset_location"));
        ("r.path, r.file_size", format!("LEFT JOIN {records} r ON r.dataset_id = t.dataset_id AND EXISTS ({stored})"))
    } else {
        ("NULL, NULL", String::new())
    };
    let sql = format!(
        "SELECT t.exposure, t.detector, t.dataset_id, {select} FROM {} t {join} WHERE t.dataset_type_id = {} \
         AND t.collection_id = (SELECT collection_id FROM {} WHERE name = {}) AND t.instrument = {} \
         AND t.exposure IN ({})",
        conn.table(&record.tags.name),
        record.id,
        conn.table("collection"),
        dialect.text(run),
        dialect.text(instrument),
        list.join(", ")
    );
    let columns = [
        ("exposure", ColumnType::Int),
        ("detector", ColumnType::Int),
        ("dataset_id", ColumnType::Uuid),
        ("path", ColumnType::Text(None)),
        ("file_size", ColumnType::Int),
    ];
    conn.rows(sql, columns.map(|(n, k)| ReadColumn::plain(n, k)).to_vec()).await
}
