//! Validity ranges of datasets in CALIBRATION collections, and memberships of datasets given by id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};

use crate::error::{Error, Kind, Result};
use crate::model::calendar;
use crate::model::time::{self, Timespan};
use crate::registry::Registry;
use crate::registry::collections;
use crate::registry::dataset_types::TypeRecord;
use crate::registry::dataset_writer;
use crate::registry::datasets;
use crate::registry::db::conn::Executor;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::insert::OnConflict;
use crate::registry::db::predicates::key_predicates;
use crate::registry::db::rows::{constant_int, record_batch, required_column};
use crate::registry::db::tx::Tx;
use crate::registry::i64_values;
use crate::registry::schema::{ColumnType, ReadColumn, TableDef, arrow_schema};
use crate::registry::string_values;
use crate::registry::timestamp_values;

/// A row of a calibration table.
struct Certified {
    id: i64,
    dataset: String,
    key: String,
    span: Timespan,
    row: u32,
}

/// Certifies datasets of one type. The rows hold `dataset_id`, the dimensions, `timespan_begin` and `timespan_end`
/// (TAI nanoseconds). Existing identical certifications are kept. Returns the number of new ones.
///
/// # Errors
/// `Kind::Conflict` for a type that is not a calibration type, or when another dataset with the same data ID is valid
/// at the same time.
pub(crate) async fn certify(
    tx: &mut Tx,
    registry: &Registry,
    record: &TypeRecord,
    collection: &str,
    rows: &RecordBatch,
) -> Result<u64> {
    let (table, number) = (calibs(record)?, collections::number(tx, collection).await?);
    dataset_writer::update_collection_summary(tx, registry, record, number, rows).await?;
    lock(tx, table).await?;
    let there = overlapping_keys(&mut Executor::Tx(tx), record, table, number, Some(rows)).await?;
    let given = certified(record, rows)?;
    let mut taken: HashMap<&str, Vec<&Certified>> = HashMap::new();
    for old in &there.1 {
        taken.entry(&old.key).or_default().push(old);
    }
    let mut new = Vec::new();
    for row in &given {
        let others = taken.entry(&row.key).or_default();
        if others.iter().any(|other| other.dataset == row.dataset && other.span == row.span) {
            continue;
        }
        // The Butler does not compare the datasets of one call with each other. Two datasets that are valid at the same
        // time would make its lookups ambiguous.
        if let Some(other) = others.iter().find(|other| overlap(other.span, row.span)) {
            let message = format!(
                "dataset {} of type '{}' is valid in collection '{collection}' for {} already, which overlaps {} of \
                 dataset {} with the same data ID",
                other.dataset,
                record.dataset_type.name,
                shown(other.span),
                shown(row.span),
                row.dataset
            );
            return Err(Error::new(Kind::Conflict, message));
        }
        others.push(row);
        new.push(row.row);
    }
    insert(tx, record, table, number, rows, &new, None).await
}

/// Removes a timespan from the validity ranges of a type, for the given data IDs or for all. The remainder of each
/// range is kept. Returns the number of ranges that changed.
///
/// # Errors
/// `Kind::Conflict` for a type that is not a calibration type; database errors.
pub(crate) async fn decertify(
    tx: &mut Tx,
    record: &TypeRecord,
    collection: &str,
    span: Timespan,
    data_ids: Option<&RecordBatch>,
) -> Result<u64> {
    let (table, number) = (calibs(record)?, collections::number(tx, collection).await?);
    lock(tx, table).await?;
    let (rows, all) = overlapping_keys(&mut Executor::Tx(tx), record, table, number, data_ids).await?;
    let hit: Vec<&Certified> = all.iter().filter(|row| overlap(row.span, span)).collect();
    let name = tx.table(&table.name);
    for some in hit.chunks(1000) {
        let list: Vec<_> = some.iter().map(|row| row.id.to_string()).collect();
        tx.execute(format!("DELETE FROM {name} WHERE id IN ({})", list.join(", "))).await?;
    }
    let (mut left, mut spans) = (Vec::new(), Vec::new());
    for row in &hit {
        for rest in row.span.without(span) {
            left.push(row.row);
            spans.push(rest);
        }
    }
    insert(tx, record, table, number, &rows, &left, Some(&spans)).await?;
    Ok(hit.len() as u64)
}

/// Counts the validity ranges of a type that overlap a timespan, for the given data IDs or for all.
///
/// # Errors
/// `Kind::Conflict` for a type that is not a calibration type, `Kind::NotFound` for an unknown collection; database
/// errors.
pub(crate) async fn count_overlapping(
    registry: &Registry,
    record: &TypeRecord,
    collection: &str,
    span: Timespan,
    data_ids: Option<&RecordBatch>,
) -> Result<u64> {
    let number = number(registry, collection).await?.ok_or_else(|| Error::not_found("collection", collection, []))?;
    let mut source = Executor::Conn(&registry.conn);
    let (_, all) = overlapping_keys(&mut source, record, calibs(record)?, number, data_ids).await?;
    Ok(all.iter().filter(|row| overlap(row.span, span)).count() as u64)
}

/// Counts the rows (`dataset_id`, `timespan_begin`, `timespan_end`) that a collection already has.
///
/// # Errors
/// Database errors.
pub(crate) async fn count_known(
    registry: &Registry,
    types: &[TypeRecord],
    collection: &str,
    rows: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<u64> {
    let Some(number) = number(registry, collection).await? else { return Ok(0) };
    let mut known = HashSet::new();
    for record in types {
        if let Some(table) = &record.calibs {
            let mut source = Executor::Conn(&registry.conn);
            let (_, all) = overlapping_keys(&mut source, record, table, number, None).await?;
            known.extend(all.into_iter().map(|row| (row.dataset, row.span)));
        }
    }
    let mut count = 0;
    for rows in rows {
        let rows = rows?;
        let (ids, spans) = (datasets::ids(&rows, "dataset_id")?, spans(&rows)?);
        count += ids.into_iter().zip(spans).filter(|row| known.contains(row)).count() as u64;
    }
    Ok(count)
}

/// Returns the key of a collection, if it exists.
async fn number(registry: &Registry, collection: &str) -> Result<Option<i64>> {
    let conn = &registry.conn;
    let (table, name) = (conn.table("collection"), conn.dialect().text(collection));
    let sql = format!("SELECT collection_id FROM {table} WHERE name = {name}");
    Ok(i64_values(&conn.rows(sql, vec![ReadColumn::plain("collection_id", ColumnType::Int)]).await?, 0)
        .first()
        .copied())
}

/// Adds datasets that are given by id to a TAGGED collection or, with `timespan_begin` and `timespan_end`, to a
/// CALIBRATION collection. Returns the number of new associations.
///
/// # Errors
/// `Kind::NotFound` for an id without a dataset, and the errors of [`certify`] and [`dataset_writer::associate`].
pub(crate) async fn join(
    tx: &mut Tx,
    registry: &Registry,
    types: &[TypeRecord],
    collection: &str,
    rows: &RecordBatch,
) -> Result<u64> {
    let ids = datasets::ids(rows, "dataset_id")?;
    let mut kinds = datasets::types_of(&mut Executor::Tx(tx), &ids).await?;
    let known: HashSet<&String> = kinds.values().flatten().collect();
    if let Some(missing) = ids.iter().find(|id| !known.contains(id)) {
        return Err(Error::new(Kind::NotFound, format!("no dataset has the id '{missing}'")));
    }
    let mut new = 0;
    for record in types {
        let Some(wanted) = kinds.remove(&record.id) else { continue };
        let data_ids = datasets::data_ids(&mut Executor::Tx(tx), record, &wanted).await?;
        if rows.num_columns() == 1 {
            new += dataset_writer::associate(tx, registry, record, collection, &data_ids).await?;
            continue;
        }
        // A dataset can be valid for several timespans.
        let known = string_values(&data_ids, 0);
        let at: HashMap<&str, u32> = known.iter().map(String::as_str).zip(0..).collect();
        let pairs: Vec<(u32, u32)> =
            ids.iter().zip(0..).filter_map(|(id, row)| Some((*at.get(id.as_str())?, row))).collect();
        let data_ids = take_record_batch(&data_ids, &pairs.iter().map(|pair| Some(pair.0)).collect::<UInt32Array>())?;
        let spans = take_record_batch(rows, &pairs.iter().map(|pair| Some(pair.1)).collect::<UInt32Array>())?;
        let columns = data_ids.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(data_ids.columns().to_vec());
        let spans = spans.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(spans.columns().to_vec()).skip(1);
        new += certify(tx, registry, record, collection, &record_batch(columns.chain(spans))?).await?;
    }
    Ok(new)
}

fn calibs(record: &TypeRecord) -> Result<&TableDef> {
    record.calibs.as_ref().ok_or_else(|| {
        let name = &record.dataset_type.name;
        Error::new(Kind::Conflict, format!("dataset type '{name}' is not a calibration type and cannot be certified"))
    })
}

/// Locks the table as the Butler does, so that two writers cannot certify overlapping ranges.
async fn lock(tx: &mut Tx, table: &TableDef) -> Result<()> {
    if tx.dialect() == Dialect::Postgres {
        let name = tx.table(&table.name);
        tx.execute(format!("LOCK TABLE {name} IN EXCLUSIVE MODE")).await?;
    }
    Ok(())
}

/// Returns the certifications of a type in a collection, for the data IDs of `only` or for all.
async fn overlapping_keys(
    source: &mut Executor<'_>,
    record: &TypeRecord,
    table: &TableDef,
    collection: i64,
    only: Option<&RecordBatch>,
) -> Result<(RecordBatch, Vec<Certified>)> {
    let dimensions = &record.dataset_type.dimensions;
    let wanted = |name: &str| {
        name == "id" || name == "dataset_id" || name.starts_with("timespan") || dimensions.iter().any(|d| d == name)
    };
    let columns: Vec<ReadColumn> = table.read_columns().into_iter().filter(|c| wanted(&c.name)).collect();
    let dialect = source.dialect();
    let select: Vec<_> = columns.iter().map(|c| dialect.select_expr(c, "")).collect();
    let base = format!(
        "SELECT {} FROM {} WHERE dataset_type_id = {} AND collection_id = {collection}",
        select.join(", "),
        source.table(&table.name),
        record.id
    );
    let conditions = match only {
        Some(rows) => key_predicates(dialect, "", table, dimensions, rows)?,
        None => vec!["1 = 1".to_owned()],
    };
    let mut batches = Vec::new();
    for only in conditions {
        batches.push(source.rows(format!("{base} AND {only}"), &columns).await?);
    }
    let rows = concat_batches(&arrow_schema(&columns), &batches)?;
    let all = certified(record, &rows)?;
    Ok((rows, all))
}

/// Returns the validity ranges of rows; NULL means unbounded.
fn spans(rows: &RecordBatch) -> Result<Vec<Timespan>> {
    let at = |name: &str| Ok::<_, Error>(timestamp_values(rows, rows.schema_ref().index_of(name)?));
    let ends = at("timespan_begin")?.into_iter().zip(at("timespan_end")?);
    Ok(ends.map(|(begin, end)| Timespan { begin: begin.unwrap_or(0), end: end.unwrap_or(time::MAX) }).collect())
}

fn certified(record: &TypeRecord, rows: &RecordBatch) -> Result<Vec<Certified>> {
    let at = |name: &str| rows.schema_ref().index_of(name);
    let numbers = at("id").map_or_else(|_| vec![0; rows.num_rows()], |column| i64_values(rows, column));
    let (ids, keys) = (datasets::ids(rows, "dataset_id")?, datasets::keys(record, rows)?);
    let spans = spans(rows)?;
    let row = |(((id, dataset), (key, span)), row)| Certified { id, dataset, key, span, row };
    Ok(numbers.into_iter().zip(ids).zip(keys.into_iter().zip(spans)).zip(0..).map(row).collect())
}

/// Inserts the rows with the numbers `some`, with their own validity ranges or with `spans`.
async fn insert(
    tx: &mut Tx,
    record: &TypeRecord,
    table: &TableDef,
    collection: i64,
    rows: &RecordBatch,
    some: &[u32],
    spans: Option<&[Timespan]>,
) -> Result<u64> {
    if some.is_empty() {
        return Ok(0);
    }
    let rows = take_record_batch(rows, &UInt32Array::from(some.to_vec()))?;
    let column = |name: &str| required_column(&rows, name);
    let span = |name: &str, end: fn(&Timespan) -> i64| match spans {
        Some(spans) => {
            Ok(Arc::new(spans.iter().map(|s| Some(end(s))).collect::<arrow::array::TimestampNanosecondArray>()) as _)
        }
        None => column(name),
    };
    let mut columns = vec![
        ("dataset_type_id", constant_int(record.id, rows.num_rows())),
        ("dataset_id", column("dataset_id")?),
        ("collection_id", constant_int(collection, rows.num_rows())),
    ];
    for dimension in &record.dataset_type.dimensions {
        columns.push((dimension, column(dimension)?));
    }
    columns.push(("timespan_begin", span("timespan_begin", |s| s.begin)?));
    columns.push(("timespan_end", span("timespan_end", |s| s.end)?));
    tx.insert(table, &record_batch(columns)?, OnConflict::Fail).await
}

fn overlap(a: Timespan, b: Timespan) -> bool {
    !a.is_empty() && !b.is_empty() && a.end > b.begin && b.end > a.begin
}

/// Formats a validity range for an error message.
fn shown(span: Timespan) -> String {
    let end = |at: i64, open: i64| if at == open { "unbounded".to_owned() } else { calendar::format(at) };
    if span.is_empty() {
        "(empty)".to_owned()
    } else {
        format!("[{}, {})", end(span.begin, 0), end(span.end, time::MAX))
    }
}
