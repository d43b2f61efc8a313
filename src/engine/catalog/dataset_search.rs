//! Table providers of the functions `find_first`, `members`, `collection_tree` and `check_files`.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryStreamExt;

use crate::engine::catalog::registry_table::RegistryTable;
use crate::engine::functions::args::Args;
use crate::engine::functions::definition::SearchContext;
use crate::error::Error;
use crate::model::collection::TreeLine;
use crate::model::time::Timespan;
use crate::registry::dataset_queries::{columns, find_datasets_sql, ranked_datasets};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::datasets::keys;
use crate::registry::i64_values;
use crate::registry::schema::arrow_schema;
use crate::registry::timestamp_values;
use crate::repo::RepositoryHandle;
use crate::repo::check_files::{self, CheckFilesOptions};
use crate::repo::search::{collections, ranks};

/// The table of `find_first`.
///
/// # Errors
/// `Kind::NotFound` for an unknown dataset type.
pub(crate) fn find_first(args: &Args, context: &SearchContext<'_>) -> Result<Arc<dyn TableProvider>, Error> {
    search(args, context, true)
}

/// The table of `members`.
///
/// # Errors
/// `Kind::NotFound` for an unknown dataset type.
pub(crate) fn members(args: &Args, context: &SearchContext<'_>) -> Result<Arc<dyn TableProvider>, Error> {
    search(args, context, false)
}

fn search(args: &Args, context: &SearchContext<'_>, first: bool) -> Result<Arc<dyn TableProvider>, Error> {
    let wanted = args.required("dataset_type")?;
    let names = || context.types.iter().map(|t| t.dataset_type.name.as_str());
    let record = context.types.iter().find(|t| t.dataset_type.name == wanted);
    let record = record.ok_or_else(|| Error::not_found("dataset type", &wanted, names()))?.clone();
    let schema = arrow_schema(&columns(&record));
    let names = args.list("collections").unwrap_or_default();
    Ok(Arc::new(DatasetSearch { handle: Arc::clone(context.handle), record, names, first, schema }))
}

/// The table of `collection_tree`.
///
/// # Errors
/// None.
pub(crate) fn collection_tree(args: &Args, context: &SearchContext<'_>) -> Result<Arc<dyn TableProvider>, Error> {
    let (names, flatten) = (args.list("collections").unwrap_or_default(), args.bool("flatten", false));
    Ok(Arc::new(CollectionTree { handle: Arc::clone(context.handle), names, flatten }))
}

/// The table of `check_files`.
///
/// # Errors
/// Errors of DataFusion's setup.
pub(crate) fn check_files(args: &Args, context: &SearchContext<'_>) -> Result<Arc<dyn TableProvider>, Error> {
    let collections = args.list("collections").unwrap_or_default();
    let check = CheckFilesOptions { collections, read: args.bool("read", false) };
    let files = CheckFiles { handle: Arc::clone(context.handle), check, schema: check_files::schema() };
    Ok(Arc::new(StreamingTable::try_new(check_files::schema(), vec![Arc::new(files)])?))
}

/// A search for datasets of one type in collections (`find_first` and `members`).
#[derive(Debug)]
pub(crate) struct DatasetSearch {
    handle: Arc<RepositoryHandle>,
    record: TypeRecord,
    names: Vec<String>,
    first: bool,
    schema: SchemaRef,
}

impl DatasetSearch {
    /// The search as one query of the registry; `None` for `find_first` of a calibration type, which needs validity
    /// ranges.
    ///
    /// # Errors
    /// `Kind::NotFound` for a collection that does not exist, and database errors.
    pub(crate) async fn as_table(&self) -> Result<Option<RegistryTable>> {
        if self.first && self.record.dataset_type.is_calibration {
            return Ok(None);
        }
        let repo = self.handle.repo().await?;
        let ranks = ranks(&repo, &self.names).await?;
        let from = find_datasets_sql(&repo.registry, &self.record, &ranks, self.first);
        let table = RegistryTable::query(repo.registry.conn.clone(), from, columns(&self.record)).filtered_subset();
        let certified = self.record.calibs.as_ref().filter(|_| ranks.iter().any(|rank| rank.calibration));
        Ok(Some(table.row_count_table(&certified.unwrap_or(&self.record.tags).name)))
    }
}

#[async_trait]
impl TableProvider for DatasetSearch {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(table) = self.as_table().await? {
            return table.scan(state, projection, filters, limit).await;
        }
        let repo = self.handle.repo().await?;
        let ranks = ranks(&repo, &self.names).await?;
        let rows = ranked_datasets(&repo.registry, &self.record, &ranks).await?;
        let batch = resolve_validity(&self.record, &rows, &self.schema)?;
        MemTable::try_new(Arc::clone(&self.schema), vec![vec![batch]])?.scan(state, projection, &[], limit).await
    }
}

/// Subtracts from each validity range the ranges of the same data ID in collections that are searched before.
fn resolve_validity(record: &TypeRecord, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let at = |name: &str| rows.schema_ref().index_of(name);
    let begins = timestamp_values(rows, at("timespan_begin")?);
    let ends = timestamp_values(rows, at("timespan_end")?);
    let rank = i64_values(rows, at("rank")?);
    let keys = keys(record, rows)?;
    let mut order: Vec<usize> = (0..rows.num_rows()).collect();
    order.sort_by(|a, b| (&keys[*a], rank[*a], begins[*a]).cmp(&(&keys[*b], rank[*b], begins[*b])));
    let mut out: Vec<(u32, Timespan)> = Vec::new();
    let (mut covered, mut pending): (Vec<Timespan>, Vec<Timespan>) = (Vec::new(), Vec::new());
    for (i, row) in order.iter().enumerate() {
        let before = i.checked_sub(1).map(|p| order[p]);
        let same_key = before.is_some_and(|p| keys[p] == keys[*row]);
        if !same_key {
            covered.clear();
            pending.clear();
        } else if before.is_some_and(|p| rank[p] != rank[*row]) {
            covered.append(&mut pending);
        }
        let own = Timespan::new(begins[*row], ends[*row]);
        for rest in subtract(own, &covered) {
            out.push((u32::try_from(*row).unwrap_or(u32::MAX), rest));
        }
        pending.push(own);
    }
    let index: UInt32Array = out.iter().map(|(row, _)| *row).collect();
    let taken = take_record_batch(rows, &index)?;
    let mut arrays = Vec::new();
    for field in schema.fields() {
        arrays.push(match field.name().as_str() {
            "timespan_begin" => Arc::new(out.iter().map(|(_, t)| Some(t.begin)).collect::<TimestampNanosecondArray>()),
            "timespan_end" => Arc::new(out.iter().map(|(_, t)| Some(t.end)).collect::<TimestampNanosecondArray>()),
            name => Arc::clone(taken.column(taken.schema_ref().index_of(name)?)),
        });
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
}

/// The parts of `own` that no range in `others` covers.
fn subtract(own: Timespan, others: &[Timespan]) -> Vec<Timespan> {
    others.iter().fold(vec![own], |left, other| left.into_iter().flat_map(|t| t.without(*other)).collect())
}

/// The files of collections, checked while the rows are read.
#[derive(Debug)]
struct CheckFiles {
    handle: Arc<RepositoryHandle>,
    check: CheckFilesOptions,
    schema: SchemaRef,
}

impl PartitionStream for CheckFiles {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = check_files::check_files(Arc::clone(&self.handle), self.check.clone());
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows.map_err(Into::into)))
    }
}

/// The collections as a tree of chains, or flattened in search order.
#[derive(Debug)]
struct CollectionTree {
    handle: Arc<RepositoryHandle>,
    names: Vec<String>,
    flatten: bool,
}

#[async_trait]
impl TableProvider for CollectionTree {
    fn schema(&self) -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        Arc::new(Schema::new(vec![
            text("tree"),
            text("type"),
            text("name"),
            Field::new("depth", DataType::Int64, false),
        ]))
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = collections(&*self.handle.repo().await?).await?;
        let lines: Vec<_> = if self.flatten {
            all.flatten(&self.names)?.into_iter().map(|collection| TreeLine { collection, depth: 0 }).collect()
        } else {
            let mut tops = all.select(&self.names)?;
            tops.sort_by(|a, b| a.name.cmp(&b.name));
            tops.into_iter().flat_map(|top| all.tree(top)).collect()
        };
        let text = |value: &dyn Fn(usize) -> String| {
            Arc::new((0..lines.len()).map(|i| Some(value(i))).collect::<StringArray>())
        };
        let batch = RecordBatch::try_new(
            self.schema(),
            vec![
                text(&|i| format!("{:indent$}{}", "", lines[i].collection.name, indent = 2 * lines[i].depth)),
                text(&|i| lines[i].collection.kind.to_string()),
                text(&|i| lines[i].collection.name.clone()),
                Arc::new(lines.iter().map(|l| Some(l.depth as i64)).collect::<Int64Array>()),
            ],
        )?;
        MemTable::try_new(self.schema(), vec![vec![batch]])?.scan(state, projection, filters, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_collections_cut_holes() {
        let span = |begin, end| Timespan { begin, end };
        assert_eq!(subtract(span(0, 10), &[span(3, 5), span(8, 20)]), [span(0, 3), span(5, 8)]);
        assert_eq!(subtract(span(0, 10), &[Timespan::ALL]), []);
        assert_eq!(subtract(span(0, 10), &[Timespan::EMPTY]), [span(0, 10)]);
    }
}
