//! SQL that finds datasets: all datasets of a type, or the datasets in a list of collections, in search order.

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::model::collection::CollectionType;
use crate::model::time;
use crate::registry::Registry;
use crate::registry::dataset_types::TypeRecord;
use crate::registry::db::dialect::Dialect;
use crate::registry::schema::{ColumnSource, ColumnType, ReadColumn};

/// A collection in a dataset search.
#[derive(Debug, Clone)]
pub(crate) struct SearchCollection {
    /// Position in the search order; lower ranks are preferred.
    pub rank: usize,
    /// Collection name.
    pub name: String,
    /// True for a CALIBRATION collection, which holds validity ranges.
    pub calibration: bool,
}

/// Returns the columns of a search: id, dimensions, run, collection, and for a calibration type its validity range.
pub(crate) fn columns(record: &TypeRecord) -> Vec<ReadColumn> {
    let mut all = identity(record);
    all.push(named("collection", ColumnType::Text(None)));
    if record.dataset_type.is_calibration {
        all.extend(["timespan_begin", "timespan_end"].map(|name| ReadColumn::plain(name, ColumnType::Time)));
    }
    all
}

/// Returns the columns of [`datasets`]: id, dimensions, run, ingest date.
pub(crate) fn dataset_columns(registry: &Registry, record: &TypeRecord) -> Vec<ReadColumn> {
    let mut all = identity(record);
    all.push(named(
        "ingest_date",
        if registry.variant.utc_ingest_date { ColumnType::UtcTime } else { ColumnType::Time },
    ));
    all
}

fn identity(record: &TypeRecord) -> Vec<ReadColumn> {
    let mut all = vec![named("dataset_id", ColumnType::Uuid)];
    for dimension in &record.dataset_type.dimensions {
        all.push(named(dimension, record.tags.column(dimension).map_or(ColumnType::Text(None), |c| c.kind)));
    }
    all.push(named("run", ColumnType::Text(None)));
    all
}

fn named(name: &str, kind: ColumnType) -> ReadColumn {
    ReadColumn { nullable: false, ..ReadColumn::plain(name, kind) }
}

/// Returns a subquery of all datasets of a type, each once, with [`dataset_columns`]; `ingest_date` is left out unless
/// `dated`, because it costs a join. The RUN memberships are used: each dataset has exactly one.
///
/// In SQLite, where looking up millions of random ids is slow, the row of a dataset is first guessed: `dataset` and the
/// tags table were usually written in the same order, so the distance between their row numbers is the same as for
/// another dataset. The id shows whether the guess is right; otherwise the row is looked up by id.
pub(crate) fn datasets(registry: &Registry, record: &TypeRecord, dated: bool) -> String {
    let conn = &registry.conn;
    let (key, role, _) = keys(registry);
    let [dataset, collection, tags] = ["dataset", "collection", &record.tags.name].map(|name| conn.table(name));
    let kind = CollectionType::Run as i64;
    let (date, join) = match (dated, conn.dialect()) {
        (false, _) => ("", String::new()),
        (true, Dialect::Postgres) => (", d.ingest_date", format!(" JOIN {dataset} d ON d.id = t.dataset_id")),
        (true, Dialect::Sqlite) => (
            ", coalesce(d.ingest_date, (SELECT e.ingest_date FROM dataset e WHERE e.id = t.dataset_id)) \
             AS ingest_date",
            format!(
                " LEFT JOIN dataset d ON d.id = t.dataset_id AND d.rowid = t.rowid + (SELECT e.rowid - m.rowid \
                 FROM {tags} m JOIN {collection} c ON c.{key} = m.{role} AND c.type = {kind} \
                 JOIN dataset e ON e.id = m.dataset_id WHERE m.dataset_type_id = {} LIMIT 1)",
                record.id
            ),
        ),
    };
    format!(
        "(SELECT {}, r.name AS run{date} FROM {tags} t JOIN {collection} r ON r.{key} = t.{role} \
         AND r.type = {kind}{join} WHERE t.dataset_type_id = {})",
        members(registry, record).join(", "),
        record.id
    )
}

/// Number of terms in one UNION; SQLite allows 500.
const TERMS: usize = 400;

/// Returns the columns of [`memberships`].
pub(crate) fn membership_columns() -> Vec<ReadColumn> {
    let text = |name: &str| named(name, ColumnType::Text(None));
    let mut all = vec![text("collection"), text("dataset_type"), named("dataset_id", ColumnType::Uuid)];
    all.extend(["timespan_begin", "timespan_end"].map(|name| ReadColumn::plain(name, ColumnType::Time)));
    all
}

/// Returns a subquery of every dataset in every collection that holds it, with [`membership_columns`]. Validity ranges
/// are NULL except for certifications.
pub(crate) fn memberships(registry: &Registry, types: &[TypeRecord]) -> String {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let (key, role, _) = keys(registry);
    let mut tables: Vec<(&str, bool)> = Vec::new();
    for record in types {
        let calibs = record.calibs.iter().map(|t| (t.name.as_str(), true));
        for table in std::iter::once((record.tags.name.as_str(), false)).chain(calibs) {
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
    }
    let span = |ranged: bool, source: ColumnSource| {
        let column = ReadColumn { name: String::new(), source, nullable: true };
        if ranged { dialect.select_expr(&column, "") } else { "CAST(NULL AS BIGINT)".to_owned() }
    };
    let parts = tables.into_iter().map(|(table, ranged)| {
        format!(
            "SELECT c.name AS collection, t.name AS dataset_type, m.dataset_id, {} AS timespan_begin, \
             {} AS timespan_end FROM {} m JOIN {} c ON c.{key} = m.{role} JOIN {} t ON t.id = m.dataset_type_id",
            span(ranged, ColumnSource::Begin("timespan".to_owned())),
            span(ranged, ColumnSource::End("timespan".to_owned())),
            conn.table(table),
            conn.table("collection"),
            conn.table("dataset_type"),
        )
    });
    let none = "SELECT '' AS collection, '' AS dataset_type, id AS dataset_id, CAST(NULL AS BIGINT) AS timespan_begin, \
         CAST(NULL AS BIGINT) AS timespan_end FROM ";
    let none = format!("{none}{} WHERE 1 = 0", conn.table("dataset"));
    let parts: Vec<String> = std::iter::once(none).chain(parts).collect();
    let groups: Vec<String> = parts.chunks(TERMS).map(|group| group.join(" UNION ALL ")).collect();
    match groups.as_slice() {
        [all] => format!("({all})"),
        _ => {
            let groups = groups.iter().map(|group| format!("SELECT * FROM ({group}) AS some"));
            format!("({})", groups.collect::<Vec<_>>().join(" UNION ALL "))
        }
    }
}

/// Returns the key column of `collection` and the columns that refer to it in membership tables and in `dataset`.
fn keys(registry: &Registry) -> (&'static str, &'static str, &'static str) {
    if registry.variant.collections_by_name {
        ("name", "collection_name", "run_name")
    } else {
        ("collection_id", "collection_id", "run_id")
    }
}

fn members(registry: &Registry, record: &TypeRecord) -> Vec<String> {
    let dialect = registry.conn.dialect();
    let dimensions = record.dataset_type.dimensions.iter().map(|d| format!("t.{}", dialect.quote(d)));
    std::iter::once("t.dataset_id".to_owned()).chain(dimensions).collect()
}

/// Returns a subquery of the datasets in the collections, with [`columns`]. With `first`, only the first dataset per
/// data ID is returned (not for calibration types, whose order depends on the instant: see [`ranked_datasets`]).
pub(crate) fn find_datasets_sql(
    registry: &Registry,
    record: &TypeRecord,
    ranks: &[SearchCollection],
    first: bool,
) -> String {
    let dialect = registry.conn.dialect();
    let union = union(registry, record, ranks);
    if !first {
        return format!("({union})");
    }
    let keys: Vec<_> = record.dataset_type.dimensions.iter().map(|d| dialect.quote(d)).collect();
    let by = if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) };
    format!(
        "(SELECT * FROM (SELECT *, row_number() OVER ({by}ORDER BY rank) AS place FROM ({union}) AS found) AS ranked \
         WHERE place = 1)"
    )
}

/// Returns the datasets of a type in one collection, with [`columns`].
///
/// # Errors
/// Database errors.
pub(crate) async fn collection_members(
    registry: &Registry,
    record: &TypeRecord,
    name: &str,
    calibration: bool,
) -> Result<RecordBatch> {
    let all = columns(record);
    let select: Vec<_> = all.iter().map(|c| registry.conn.dialect().quote(&c.name)).collect();
    let rank = SearchCollection { rank: 0, name: name.to_owned(), calibration };
    let from = find_datasets_sql(registry, record, &[rank], false);
    registry.conn.rows(format!("SELECT {} FROM {from} AS found", select.join(", ")), all).await
}

/// Returns the datasets in the collections, with [`columns`] and `rank`.
///
/// # Errors
/// Database errors.
pub(crate) async fn ranked_datasets(
    registry: &Registry,
    record: &TypeRecord,
    ranks: &[SearchCollection],
) -> Result<RecordBatch> {
    let mut all = columns(record);
    all.push(ReadColumn::plain("rank", ColumnType::Int));
    let select: Vec<_> = all.iter().map(|c| registry.conn.dialect().quote(&c.name)).collect();
    let sql = format!("SELECT {} FROM ({}) AS found", select.join(", "), union(registry, record, ranks));
    registry.conn.rows(sql, all).await
}

fn union(registry: &Registry, record: &TypeRecord, ranks: &[SearchCollection]) -> String {
    let (certified, plain): (Vec<&SearchCollection>, Vec<&SearchCollection>) =
        ranks.iter().partition(|r| r.calibration);
    let ranged = record.dataset_type.is_calibration;
    let mut parts = vec![part(registry, record, &record.tags.name, &plain, ranged.then_some(false))];
    if let Some(calibs) = record.calibs.as_ref().filter(|_| !certified.is_empty()) {
        parts.push(part(registry, record, &calibs.name, &certified, Some(true)));
    }
    parts.join(" UNION ALL ")
}

/// Returns the SELECT over one association table for some collections. `span` is `None` when validity ranges are not
/// needed, otherwise whether the table stores them.
fn part(
    registry: &Registry,
    record: &TypeRecord,
    table: &str,
    ranks: &[&SearchCollection],
    span: Option<bool>,
) -> String {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let (key, role, run) = keys(registry);
    let mut select = members(registry, record);
    select.extend(["r.name AS run".to_owned(), "c.name AS collection".to_owned()]);
    if let Some(stored) = span {
        let source = || "timespan".to_owned();
        for (name, source, open) in [
            ("timespan_begin", ColumnSource::Begin(source()), 0),
            ("timespan_end", ColumnSource::End(source()), time::MAX),
        ] {
            let column = ReadColumn { name: name.to_owned(), source, nullable: true };
            let value = if stored { dialect.select_expr(&column, "") } else { open.to_string() };
            select.push(format!("{value} AS {name}"));
        }
    }
    let order: Vec<_> = ranks.iter().map(|r| format!("WHEN {} THEN {}", dialect.text(&r.name), r.rank)).collect();
    let rank = if order.is_empty() { "0".to_owned() } else { format!("CASE c.name {} END", order.join(" ")) };
    let names: Vec<_> = ranks.iter().map(|r| dialect.text(&r.name)).collect();
    let inside = if names.is_empty() { "1 = 0".to_owned() } else { format!("c.name IN ({})", names.join(", ")) };
    format!(
        "SELECT {}, {rank} AS rank FROM {} t JOIN {collection} c ON c.{key} = t.{role} \
         JOIN {} d ON d.id = t.dataset_id JOIN {collection} r ON r.{key} = d.{run} \
         WHERE t.dataset_type_id = {} AND {inside}",
        select.join(", "),
        conn.table(table),
        conn.table("dataset"),
        record.id,
        collection = conn.table("collection"),
    )
}
