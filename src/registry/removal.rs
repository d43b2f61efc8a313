//! Removal of datasets: what it affects, and the trash of the datastore.
//!
//! A dataset is first moved from `dataset_location` to `dataset_location_trash`. When its file is gone, its file record
//! and its row in the trash are deleted.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::Result;
use crate::model::collection::CollectionType;
use crate::model::zip_member;
use crate::registry::Registry;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets::{ARCHIVES, members};
use crate::registry::db::conn::Conn;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::tx::Tx;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::{i64_values, optional_string_values, string_values};

const TEXT: ColumnType = ColumnType::Text(None);

/// Maximum number of ids in one scope.
pub(crate) const IDS: usize = 16_384;

/// Datasets to be removed.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    /// The datasets with these ids, at most [`IDS`].
    Ids(Vec<String>),
    /// The datasets of a RUN collection.
    Run(String),
}

impl Scope {
    /// Returns what stands in `IN (…)` for the ids of the datasets.
    fn sql(&self, dialect: Dialect, table: impl Fn(&str) -> String) -> String {
        match self {
            Self::Ids(ids) => ids.iter().filter_map(|id| dialect.uuid(id)).collect::<Vec<_>>().join(", "),
            Self::Run(name) => format!(
                "SELECT d.id FROM {} d JOIN {} c ON c.collection_id = d.run_id WHERE c.name = {}",
                table("dataset"),
                table("collection"),
                dialect.text(name)
            ),
        }
    }
}

/// What the removal of datasets affects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Impact {
    /// Number of datasets by type.
    pub datasets: BTreeMap<String, u64>,
    /// Number of stored datasets.
    pub stored: u64,
    /// Number of files in the datastore that no other dataset needs.
    pub files: u64,
    /// Size in bytes of these files.
    pub bytes: u64,
    /// Number of memberships by TAGGED collection.
    pub tags: BTreeMap<String, u64>,
    /// Number of certifications by CALIBRATION collection.
    pub certifications: BTreeMap<String, u64>,
}

/// Returns what the removal of datasets affects.
///
/// # Errors
/// Database errors.
pub(crate) async fn impact(registry: &Registry, scope: &Scope) -> Result<Impact> {
    let conn = &registry.conn;
    let ids = scope.sql(conn.dialect(), |name| conn.table(name));
    let mut impact = Impact::default();
    let sql = format!(
        "SELECT t.name, count(*) FROM {} d JOIN {} t ON t.id = d.dataset_type_id WHERE d.id IN ({ids}) GROUP BY t.name",
        conn.table("dataset"),
        conn.table("dataset_type")
    );
    impact.datasets = counts(conn, sql).await?;
    for record in dataset_types::load(registry).await? {
        if !impact.datasets.contains_key(&record.dataset_type.name) {
            continue;
        }
        let members = |table: &str, kind: CollectionType| {
            format!(
                "SELECT c.name, count(*) FROM {} m JOIN {} c ON c.collection_id = m.collection_id WHERE c.type = {} \
                 AND m.dataset_id IN ({ids}) GROUP BY c.name",
                conn.table(table),
                conn.table("collection"),
                kind as i64
            )
        };
        for (name, count) in counts(conn, members(&record.tags.name, CollectionType::Tagged)).await? {
            *impact.tags.entry(name).or_default() += count;
        }
        if let Some(calibs) = &record.calibs {
            for (name, count) in counts(conn, members(&calibs.name, CollectionType::Calibration)).await? {
                *impact.certifications.entry(name).or_default() += count;
            }
        }
    }
    let location = conn.table("dataset_location");
    let sql = format!("SELECT 'stored', count(*) FROM {location} WHERE dataset_id IN ({ids})");
    impact.stored = counts(conn, sql).await?.values().sum();
    if impact.stored > 0 && registry.has_file_records().await? {
        (impact.files, impact.bytes) = files(registry, &ids).await?;
    }
    Ok(impact)
}

/// Returns number and size of the files of stored datasets that no other stored dataset needs.
async fn files(registry: &Registry, ids: &str) -> Result<(u64, u64)> {
    let conn = &registry.conn;
    let (records, location) = (conn.table(&registry.file_records.name), conn.table("dataset_location"));
    let size = "CASE WHEN r.file_size > 0 THEN r.file_size ELSE 0 END";
    let stored = format!(
        "{records} r JOIN {location} l ON l.dataset_id = r.dataset_id WHERE r.dataset_id IN ({ids}) \
         AND r.path NOT LIKE '%://%'"
    );
    let sql = format!(
        "SELECT count(*), CAST(coalesce(sum(f.size), 0) AS BIGINT) FROM (SELECT r.path, max({size}) AS size \
         FROM {stored} AND r.path NOT LIKE '%#zip-path=%' GROUP BY r.path) f WHERE NOT EXISTS (SELECT 1 FROM {records} o \
         JOIN {location} l ON l.dataset_id = o.dataset_id WHERE o.path = f.path AND o.dataset_id NOT IN ({ids}))"
    );
    let columns = vec![ReadColumn::plain("files", ColumnType::Int), ReadColumn::plain("bytes", ColumnType::Int)];
    let rows = conn.rows(sql, columns).await?;
    let value = |column| i64_values(&rows, column).first().and_then(|value| u64::try_from(*value).ok()).unwrap_or(0);
    let (mut files, mut bytes) = (value(0), value(1));
    let sql = format!("SELECT r.path, {size} FROM {stored} AND r.path LIKE '%#zip-path=%'");
    let mut archives: BTreeMap<String, u64> = BTreeMap::new();
    for (path, size) in counts(conn, sql).await? {
        *archives.entry(zip_member::split(&path).0.to_owned()).or_default() += size;
    }
    let names: Vec<String> = archives.keys().cloned().collect();
    let needed = needed_archives(registry, &names, &format!(" AND r.dataset_id NOT IN ({ids})")).await?;
    for (_, size) in archives.iter().filter(|(name, _)| !needed.contains(*name)) {
        files += 1;
        bytes += size;
    }
    Ok((files, bytes))
}

/// Returns those of some zip archives that have members of stored datasets which fulfil a condition.
async fn needed_archives(registry: &Registry, archives: &[String], condition: &str) -> Result<HashSet<String>> {
    let conn = &registry.conn;
    let (records, location) = (conn.table(&registry.file_records.name), conn.table("dataset_location"));
    let mut needed = HashSet::new();
    for some in archives.chunks(ARCHIVES) {
        let any: Vec<String> = some.iter().map(|archive| members(conn.dialect(), "r.path", archive)).collect();
        let sql = format!(
            "SELECT DISTINCT r.path FROM {records} r JOIN {location} l ON l.dataset_id = r.dataset_id \
             WHERE ({}){condition}",
            any.join(" OR ")
        );
        let rows = conn.rows(sql, vec![ReadColumn::plain("path", TEXT)]).await?;
        needed.extend(string_values(&rows, 0).iter().filter_map(|path| zip_member::archive(path)).map(str::to_owned));
    }
    Ok(needed)
}

async fn counts(conn: &Conn, sql: String) -> Result<BTreeMap<String, u64>> {
    let columns = vec![ReadColumn::plain("name", TEXT), ReadColumn::plain("count", ColumnType::Int)];
    let rows = conn.rows(sql, columns).await?;
    let counts = i64_values(&rows, 1).into_iter().map(|count| u64::try_from(count).unwrap_or(0));
    Ok(string_values(&rows, 0).into_iter().zip(counts).filter(|(_, count)| *count > 0).collect())
}

/// Moves stored datasets to the trash. Returns the number of datasets.
///
/// # Errors
/// Database errors.
pub(crate) async fn move_to_trash(tx: &mut Tx, scope: &Scope) -> Result<u64> {
    let ids = scope.sql(tx.dialect(), |name| tx.table(name));
    let (location, trash) = (tx.table("dataset_location"), tx.table("dataset_location_trash"));
    let names = "dataset_id, datastore_name";
    let insert = format!(
        "INSERT INTO {trash} ({names}) SELECT {names} FROM {location} WHERE dataset_id IN ({ids}) ON CONFLICT DO NOTHING"
    );
    tx.execute(insert).await?;
    tx.execute(format!("DELETE FROM {location} WHERE dataset_id IN ({ids})")).await
}

/// Deletes datasets with all their memberships. Returns their number.
///
/// # Errors
/// `Kind::Conflict` for a dataset that is stored; other database errors.
pub(crate) async fn delete_datasets(tx: &mut Tx, scope: &Scope) -> Result<u64> {
    let ids = scope.sql(tx.dialect(), |name| tx.table(name));
    tx.execute(format!("DELETE FROM {} WHERE id IN ({ids})", tx.table("dataset"))).await
}

/// Returns the summary rows of dataset types that collections no longer hold: dataset type and number of collections.
///
/// # Errors
/// Database errors.
pub(crate) async fn stale_summaries(registry: &Registry) -> Result<BTreeMap<String, u64>> {
    let mut stale = BTreeMap::new();
    for record in dataset_types::load(registry).await? {
        let only = unused_summaries(&record, |name| registry.conn.table(name));
        let sql = format!("SELECT 'n', count(*) FROM {only}");
        let count = counts(&registry.conn, sql).await?.values().sum();
        if count > 0 {
            stale.insert(record.dataset_type.name, count);
        }
    }
    Ok(stale)
}

/// Deletes the summary rows of a dataset type for collections that no longer hold it. Returns their number.
///
/// # Errors
/// Database errors.
pub(crate) async fn refresh_summaries(tx: &mut Tx, record: &TypeRecord) -> Result<u64> {
    let only = unused_summaries(record, |name| tx.table(name));
    tx.execute(format!("DELETE FROM {only}")).await
}

/// Returns the table of summaries, and the condition for rows of a dataset type without memberships.
fn unused_summaries(record: &TypeRecord, table: impl Fn(&str) -> String) -> String {
    let summary = table("collection_summary_dataset_type");
    let tables = std::iter::once(&record.tags).chain(&record.calibs);
    let members = tables.map(|members| {
        let members = table(&members.name);
        format!(
            " AND NOT EXISTS (SELECT 1 FROM {members} m WHERE m.dataset_type_id = {} \
             AND m.collection_id = {summary}.collection_id)",
            record.id
        )
    });
    format!("{summary} WHERE dataset_type_id = {}{}", record.id, members.collect::<String>())
}

/// A dataset in the trash.
#[derive(Debug, Clone)]
pub(crate) struct Trashed {
    /// Dataset id.
    pub id: String,
    /// Path of a file record of the dataset; `None` if it has no record.
    pub path: Option<String>,
    /// True if a stored dataset needs the file.
    pub is_shared: bool,
}

/// Returns the file records of the first datasets in the trash after an id, at most [`IDS`] datasets, ordered by id.
///
/// # Errors
/// Database errors.
pub(crate) async fn read_trash(registry: &Registry, after: Option<&str>) -> Result<Vec<Trashed>> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let trash = conn.table("dataset_location_trash");
    let after = after.and_then(|id| dialect.uuid(id)).map_or(String::new(), |id| format!("WHERE dataset_id > {id}"));
    let page = format!("SELECT DISTINCT dataset_id FROM {trash} {after} ORDER BY dataset_id LIMIT {IDS}");
    let id = ReadColumn::plain("dataset_id", ColumnType::Uuid);
    if !registry.has_file_records().await? {
        let rows = conn.rows(page, vec![id]).await?;
        let ids = string_values(&rows, 0).into_iter();
        return Ok(ids.map(|id| Trashed { id, path: None, is_shared: false }).collect());
    }
    let (records, location) = (conn.table(&registry.file_records.name), conn.table("dataset_location"));
    let sql = format!(
        "SELECT p.dataset_id, r.path FROM ({page}) p LEFT JOIN {records} r ON r.dataset_id = p.dataset_id \
         ORDER BY p.dataset_id"
    );
    let rows = conn.rows(sql, vec![id, ReadColumn::plain("path", TEXT)]).await?;
    let sql = format!(
        "SELECT DISTINCT r.path FROM {records} r JOIN {location} l ON l.dataset_id = r.dataset_id WHERE r.path IN \
         (SELECT o.path FROM {records} o WHERE o.dataset_id IN (SELECT dataset_id FROM ({page}) p))"
    );
    let path = ReadColumn::plain("path", TEXT);
    let mut shared: HashSet<String> = string_values(&conn.rows(sql, vec![path]).await?, 0).into_iter().collect();
    let trashed: Vec<(String, Option<String>)> =
        string_values(&rows, 0).into_iter().zip(optional_string_values(&rows, 1)).collect();
    let archives: BTreeSet<&str> =
        trashed.iter().filter_map(|(_, path)| zip_member::archive(path.as_deref()?)).collect();
    let archives: Vec<String> = archives.into_iter().map(str::to_owned).collect();
    shared.extend(needed_archives(registry, &archives, "").await?);
    let is_shared =
        |path: &Option<String>| path.as_ref().is_some_and(|path| shared.contains(zip_member::split(path).0));
    Ok(trashed.into_iter().map(|(id, path)| Trashed { is_shared: is_shared(&path), id, path }).collect())
}

/// Deletes the rows in the trash of datasets whose files are gone, and their file records. Datasets that another writer
/// has stored again keep their records; they are returned.
///
/// # Errors
/// Database errors.
pub(crate) async fn forget(tx: &mut Tx, registry: &Registry, ids: &[String]) -> Result<Vec<String>> {
    let has_records = registry.has_file_records().await?;
    let (trash, location) = (tx.table("dataset_location_trash"), tx.table("dataset_location"));
    let mut stored = Vec::new();
    for some in ids.chunks(IDS) {
        let id = [ReadColumn::plain("dataset_id", ColumnType::Uuid)];
        let list = Scope::Ids(some.to_vec()).sql(tx.dialect(), |name| tx.table(name));
        // A writer that stores the datasets again takes them from the trash, and waits for this lock.
        let lock = if tx.dialect() == Dialect::Postgres { " FOR UPDATE" } else { "" };
        let trashed = format!("SELECT dataset_id FROM {trash} WHERE dataset_id IN ({list}) ORDER BY dataset_id{lock}");
        let trashed: HashSet<String> = string_values(&tx.rows(trashed, &id).await?, 0).into_iter().collect();
        let again = format!("SELECT dataset_id FROM {location} WHERE dataset_id IN ({list})");
        stored.extend(string_values(&tx.rows(again.clone(), &id).await?, 0));
        if trashed.is_empty() {
            continue;
        }
        let list: Vec<String> = some.iter().filter(|id| trashed.contains(*id)).cloned().collect();
        let list = Scope::Ids(list).sql(tx.dialect(), |name| tx.table(name));
        if has_records {
            let records = tx.table(&registry.file_records.name);
            tx.execute(format!("DELETE FROM {records} WHERE dataset_id IN ({list}) AND dataset_id NOT IN ({again})"))
                .await?;
        }
        tx.execute(format!("DELETE FROM {trash} WHERE dataset_id IN ({list})")).await?;
    }
    Ok(stored)
}

/// Deletes the rows in the trash of datasets that are stored again.
///
/// # Errors
/// Database errors.
pub(crate) async fn take_from_trash(tx: &mut Tx, ids: &[String]) -> Result<()> {
    let trash = tx.table("dataset_location_trash");
    let any = tx.rows(format!("SELECT 1 FROM {trash} LIMIT 1"), &[ReadColumn::plain("one", ColumnType::Int)]).await?;
    if any.num_rows() == 0 {
        return Ok(());
    }
    for some in ids.chunks(IDS) {
        let list = Scope::Ids(some.to_vec()).sql(tx.dialect(), |name| tx.table(name));
        tx.execute(format!("DELETE FROM {trash} WHERE dataset_id IN ({list})")).await?;
    }
    Ok(())
}

/// Returns those of some URIs that are the files of stored datasets.
///
/// # Errors
/// Database errors.
pub(crate) async fn stored_uris(registry: &Registry, uris: &[String]) -> Result<HashSet<String>> {
    let conn = &registry.conn;
    let (records, location) = (conn.table(&registry.file_records.name), conn.table("dataset_location"));
    let mut stored = HashSet::new();
    for some in uris.chunks(IDS / 4) {
        let list: Vec<_> = some.iter().map(|uri| conn.dialect().text(uri)).collect();
        let sql = format!(
            "SELECT r.path FROM {records} r JOIN {location} l ON l.dataset_id = r.dataset_id WHERE r.path IN ({})",
            list.join(", ")
        );
        stored.extend(string_values(&conn.rows(sql, vec![ReadColumn::plain("path", TEXT)]).await?, 0));
    }
    Ok(stored)
}
