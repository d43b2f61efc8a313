//! Queries of the files that the datastore records.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Kind, Result};
use crate::registry::Registry;
use crate::registry::dataset_queries::{self, SearchCollection, columns};
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets::NO_COMPONENT;
use crate::registry::db::Batches;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::{i64_values, optional_string_values, string_values};

/// Which datasets of a type are selected.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Selection<'a> {
    /// The datasets in collections.
    Collections(&'a [SearchCollection]),
    /// The datasets with these ids.
    Ids(&'a [String]),
}

/// Returns datasets of a type with their files: `dataset_id`, the dimensions, `run`, `path` and `formatter`, ordered by
/// run and data ID. The last two are NULL for datasets without a file.
///
/// # Errors
/// Database errors.
pub(crate) async fn datasets_with_files(
    registry: &Registry,
    record: &TypeRecord,
    selection: Selection<'_>,
) -> Result<Batches> {
    let dialect = registry.conn.dialect();
    let (from, only) = match selection {
        Selection::Collections(ranks) => {
            (dataset_queries::find_datasets_sql(registry, record, ranks, false), String::new())
        }
        Selection::Ids(ids) => {
            let list: Vec<_> = ids.iter().filter_map(|id| dialect.uuid(id)).collect();
            let only = format!(" WHERE s.dataset_id IN ({})", list.join(", "));
            (dataset_queries::datasets(registry, record, false), only)
        }
    };
    // The id, the dimensions and the run.
    let mut all = columns(record);
    all.truncate(record.dataset_type.dimensions.len() + 2);
    let mut select: Vec<_> = all.iter().map(|c| format!("s.{}", dialect.quote(&c.name))).collect();
    let order: Vec<_> = std::iter::once(all.len()).chain(2..all.len()).map(|at| at.to_string()).collect();
    let join = if registry.has_file_records().await? {
        select.extend(["f.path".to_owned(), "f.formatter".to_owned()]);
        let records = registry.conn.table(&registry.file_records.name);
        let component = dialect.text(NO_COMPONENT);
        format!(" LEFT JOIN {records} f ON f.dataset_id = s.dataset_id AND f.component = {component}")
    } else {
        select.extend(["NULL".to_owned(), "NULL".to_owned()]);
        String::new()
    };
    all.extend(["path", "formatter"].map(|name| ReadColumn::plain(name, ColumnType::Text(None))));
    let sql =
        format!("SELECT DISTINCT {} FROM {from} AS s{join}{only} ORDER BY {}", select.join(", "), order.join(", "));
    Ok(registry.conn.query(sql, all))
}

/// Returns the file records of datasets: path and size in bytes (negative if it was not recorded), by dataset id.
///
/// # Errors
/// Database errors.
pub(crate) async fn of_datasets(registry: &Registry, ids: &[String]) -> Result<HashMap<String, (String, i64)>> {
    let mut found = HashMap::new();
    if ids.is_empty() || !registry.has_file_records().await? {
        return Ok(found);
    }
    let conn = &registry.conn;
    let list: Vec<_> = ids.iter().filter_map(|id| conn.dialect().uuid(id)).collect();
    let table = conn.table(&registry.file_records.name);
    let sql = format!("SELECT dataset_id, path, file_size FROM {table} WHERE dataset_id IN ({})", list.join(", "));
    let columns = [("dataset_id", ColumnType::Uuid), ("path", ColumnType::Text(None)), ("file_size", ColumnType::Int)];
    let columns = columns.map(|(name, kind)| ReadColumn::plain(name, kind));
    let mut batches = conn.query(sql, columns.to_vec());
    while let Some(rows) = batches.try_next().await? {
        let sizes = i64_values(&rows, 2);
        let records = string_values(&rows, 0).into_iter().zip(string_values(&rows, 1).into_iter().zip(sizes));
        found.extend(records);
    }
    Ok(found)
}

/// The record of a stored file.
#[derive(Debug, Clone)]
pub(crate) struct StoredFile {
    /// Path below the root of the datastore, or a URI.
    pub path: String,
    /// Formatter class.
    pub formatter: String,
    /// Storage class.
    pub storage_class: String,
    /// Checksum, if it was computed.
    pub checksum: Option<String>,
    /// Size in bytes; negative if it was not recorded.
    pub size: i64,
}

/// Returns the files of datasets that are stored, by dataset id.
///
/// # Errors
/// `Kind::Unsupported` for a dataset whose components are stored as several files; database errors.
pub(crate) async fn stored_files(registry: &Registry, ids: &[String]) -> Result<HashMap<String, StoredFile>> {
    let mut found = HashMap::new();
    if ids.is_empty() || !registry.has_file_records().await? {
        return Ok(found);
    }
    let conn = &registry.conn;
    let list: Vec<_> = ids.iter().filter_map(|id| conn.dialect().uuid(id)).collect();
    let sql = format!(
        "SELECT f.dataset_id, f.path, f.formatter, f.storage_class, f.component, f.checksum, f.file_size FROM {} f \
         WHERE f.dataset_id IN ({}) AND EXISTS (SELECT 1 FROM {} l WHERE l.dataset_id = f.dataset_id)",
        conn.table(&registry.file_records.name),
        list.join(", "),
        conn.table("dataset_location")
    );
    let mut columns = vec![ReadColumn::plain("dataset_id", ColumnType::Uuid)];
    let texts = ["path", "formatter", "storage_class", "component", "checksum"];
    columns.extend(texts.map(|name| ReadColumn::plain(name, ColumnType::Text(None))));
    columns.push(ReadColumn::plain("file_size", ColumnType::Int));
    let mut batches = conn.query(sql, columns);
    while let Some(rows) = batches.try_next().await? {
        let texts = |at| string_values(&rows, at);
        let (ids, paths, formatters, classes, components) = (texts(0), texts(1), texts(2), texts(3), texts(4));
        let (checksums, sizes) = (optional_string_values(&rows, 5), i64_values(&rows, 6));
        if let Some(row) = components.iter().position(|component| component != NO_COMPONENT) {
            let message = format!("dataset {} is stored as several files, one for each component", ids[row]);
            return Err(Error::new(Kind::Unsupported, message));
        }
        for (row, id) in ids.into_iter().enumerate() {
            let file = StoredFile {
                path: paths[row].clone(),
                formatter: formatters[row].clone(),
                storage_class: classes[row].clone(),
                checksum: checksums[row].clone(),
                size: sizes[row],
            };
            found.insert(id, file);
        }
    }
    Ok(found)
}

/// Returns all file records, ordered by folder and path: `dataset_id`, `dataset_type`, `path`, `file_size` (bytes) and
/// `wanted`, which is 1 for the datasets in the given collections, else 0.
///
/// # Errors
/// Database errors.
pub(crate) async fn by_folder(registry: &Registry, collections: &[&str]) -> Result<Batches> {
    if !registry.has_file_records().await? {
        return Ok(futures::stream::empty().boxed());
    }
    let conn = &registry.conn;
    let wanted = if collections.is_empty() {
        "0".to_owned()
    } else {
        let names: Vec<_> = collections.iter().map(|name| conn.dialect().text(name)).collect();
        let members = dataset_queries::memberships(registry, &dataset_types::load(registry).await?);
        let members = format!("SELECT dataset_id FROM {members} AS m WHERE collection IN ({})", names.join(", "));
        format!("CASE WHEN f.dataset_id IN ({members}) THEN 1 ELSE 0 END")
    };
    // Trimming all characters except '/' from the end of a path leaves its folder.
    let sql = format!(
        "SELECT f.dataset_id, t.name AS dataset_type, f.path, f.file_size, {wanted} AS wanted FROM {} f \
         JOIN {} d ON d.id = f.dataset_id JOIN {} t ON t.id = d.dataset_type_id \
         ORDER BY rtrim(f.path, replace(f.path, '/', '')), f.path",
        conn.table(&registry.file_records.name),
        conn.table("dataset"),
        conn.table("dataset_type")
    );
    let text = ColumnType::Text(None);
    let columns = [("dataset_id", ColumnType::Uuid), ("dataset_type", text), ("path", text)];
    let numbers = [("file_size", ColumnType::Int), ("wanted", ColumnType::Int)];
    let columns = columns.into_iter().chain(numbers).map(|(name, kind)| ReadColumn::plain(name, kind));
    Ok(conn.query(sql, columns.collect()))
}
