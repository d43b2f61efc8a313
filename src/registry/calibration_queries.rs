//! SQL that finds the datasets of all calibration types in a list of collections.

use std::collections::HashSet;

use crate::error::Result;
use crate::registry::dataset_queries::{SearchCollection, find_datasets_sql};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::{Registry, i64_values};

/// The dimensions by which calibrations are looked up for an exposure.
pub(crate) const DIMENSIONS: [(&str, ColumnType); 7] = [
    ("instrument", ColumnType::Text(None)),
    ("detector", ColumnType::Int),
    ("physical_filter", ColumnType::Text(None)),
    ("band", ColumnType::Text(None)),
    ("exposure", ColumnType::Int),
    ("day_obs", ColumnType::Int),
    ("group", ColumnType::Text(None)),
];

/// Whether calibrations of a type can be looked up for an exposure.
pub(crate) fn is_for_exposures(record: &TypeRecord) -> bool {
    let known = |dimension: &String| DIMENSIONS.iter().any(|(name, _)| name == dimension);
    record.dataset_type.is_calibration && record.dataset_type.dimensions.iter().all(known)
}

/// Returns the columns of [`members_sql`].
pub(crate) fn columns() -> Vec<ReadColumn> {
    let text = |name| ReadColumn::plain(name, ColumnType::Text(None));
    let mut all = vec![text("dataset_type")];
    all.extend(DIMENSIONS.map(|(name, kind)| ReadColumn::plain(name, kind)));
    all.extend([ReadColumn::plain("dataset_id", ColumnType::Uuid), text("run"), text("collection")]);
    all.extend(["timespan_begin", "timespan_end"].map(|name| ReadColumn::plain(name, ColumnType::Time)));
    all.push(ReadColumn::plain("rank", ColumnType::Int));
    all
}

/// Returns a subquery of the datasets of all types for which [`is_for_exposures`] holds, in the collections, with
/// [`columns`]; `None` if the collections have none. Dimensions that a type does not have are NULL.
///
/// # Errors
/// Database errors.
pub(crate) async fn members_sql(
    registry: &Registry,
    types: &[TypeRecord],
    ranks: &[SearchCollection],
) -> Result<Option<String>> {
    let (conn, dialect) = (&registry.conn, registry.conn.dialect());
    let names: Vec<_> = ranks.iter().map(|rank| dialect.text(&rank.name)).collect();
    if names.is_empty() {
        return Ok(None);
    }
    // Collections without datasets of a type are left out by their summaries.
    let sql = format!(
        "SELECT DISTINCT s.dataset_type_id FROM {} s JOIN {} c ON c.collection_id = s.collection_id WHERE c.name IN ({})",
        conn.table("collection_summary_dataset_type"),
        conn.table("collection"),
        names.join(", ")
    );
    let rows = conn.rows(sql, vec![ReadColumn::plain("dataset_type_id", ColumnType::Int)]).await?;
    let present: HashSet<i64> = i64_values(&rows, 0).into_iter().collect();
    let parts: Vec<String> = types
        .iter()
        .filter(|record| present.contains(&record.id) && is_for_exposures(record))
        .map(|record| {
            let name = &record.dataset_type.name;
            let mut select = vec![format!("{} AS dataset_type", dialect.text(name))];
            for (dimension, kind) in DIMENSIONS {
                let quoted = dialect.quote(dimension);
                let has = record.dataset_type.dimensions.iter().any(|d| d == dimension);
                let none = if kind == ColumnType::Int { "CAST(NULL AS BIGINT)" } else { "CAST(NULL AS TEXT)" };
                select.push(if has { format!("s.{quoted}") } else { format!("{none} AS {quoted}") });
            }
            let rest = "s.dataset_id, s.run, s.collection, s.timespan_begin, s.timespan_end, s.rank";
            format!(
                "SELECT {}, {rest} FROM {} AS s",
                select.join(", "),
                find_datasets_sql(registry, record, ranks, false)
            )
        })
        .collect();
    Ok((!parts.is_empty()).then(|| format!("({})", parts.join(" UNION ALL "))))
}
