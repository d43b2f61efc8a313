//! `certify` and `decertify`: validity ranges of datasets.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampNanosecondType};
use async_trait::async_trait;
use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::model::time::Timespan;
use crate::registry::certifications;
use crate::registry::collections;
use crate::registry::dataset_types;
use crate::registry::datasets;
use crate::registry::db::conn::Executor;
use crate::registry::db::rows::{record_batch, strict_cast};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::schema::{ColumnType, arrow_type};
use crate::repo::Repo;
use crate::repo::changeset::changes::{AddMembers, RemoveValidity};
use crate::repo::changeset::input_rows::read_rows;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::operations::collections::{check, ensure_collection};

/// Certifies datasets in a CALIBRATION collection, which is created if it does not exist.
#[derive(Debug)]
pub(crate) struct Certify {
    /// Collection name.
    pub collection: String,
    /// Validity range of rows without `timespan_begin` and `timespan_end`; TAI nanoseconds.
    pub timespan: Timespan,
}

/// Removes a timespan from the validity ranges of a dataset type.
#[derive(Debug)]
pub(crate) struct Decertify {
    /// Collection name.
    pub collection: String,
    /// Dataset type name.
    pub dataset_type: String,
    /// Timespan to remove; TAI nanoseconds.
    pub timespan: Timespan,
}

#[async_trait]
impl Operation for Certify {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let mut given =
            context.rows.ok_or_else(|| Error::invalid("rows are required: give a subquery in parentheses"))?;
        let mut certified = SpillBuffer::default();
        while let Some(rows) = given.try_next().await? {
            if rows.num_rows() > 0 {
                let rows = self.ranges(&rows)?;
                check_types(&repo, &rows).await?;
                certified.push(rows)?;
            }
        }
        let (collection, kind) = (self.collection.clone(), CollectionType::Calibration);
        let mut set = ChangeSet::default();
        set.extend(ensure_collection(&repo, &collection, kind).await?);
        if !certified.is_empty() {
            set.push(AddMembers { collection, kind, rows: certified });
        }
        Ok(set.into_plan())
    }
}

impl Certify {
    /// Returns the ids with their validity ranges.
    fn ranges(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let ids = rows.column_by_name("dataset_id").unwrap_or_else(|| rows.column(0));
        let ids = cast(ids, &DataType::Utf8)?;
        if ids.null_count() > 0 {
            return Err(Error::invalid("a dataset_id is NULL"));
        }
        let begins = instants(rows, "timespan_begin", self.timespan.begin)?;
        let ends = instants(rows, "timespan_end", self.timespan.end)?;
        let spans = begins.into_iter().zip(ends).map(|(begin, end)| Timespan::checked(Some(begin), Some(end)));
        let spans = spans.collect::<Result<Vec<_>>>()?;
        if let Some(row) = spans.iter().position(|span| span.is_empty()) {
            let id = ids.as_string::<i32>().value(row);
            return Err(Error::invalid(format!("the validity of dataset {id} ends before it begins")));
        }
        let column = |end: fn(&Timespan) -> i64| {
            Arc::new(spans.iter().map(|span| Some(end(span))).collect::<TimestampNanosecondArray>()) as ArrayRef
        };
        let (begins, ends) = (column(|span| span.begin), column(|span| span.end));
        record_batch([("dataset_id", ids), ("timespan_begin", begins), ("timespan_end", ends)])
    }
}

/// Returns a timestamp column in TAI nanoseconds, with `otherwise` for NULL or if the column does not exist.
fn instants(rows: &RecordBatch, name: &str, otherwise: i64) -> Result<Vec<i64>> {
    let Some(column) = rows.column_by_name(name) else { return Ok(vec![otherwise; rows.num_rows()]) };
    let time = arrow_type(ColumnType::Time);
    let column = strict_cast(column, &time).map_err(|e| e.context(format_args!("column '{name}'")))?;
    let column = column.as_primitive::<TimestampNanosecondType>();
    Ok(column.iter().map(|at| at.unwrap_or(otherwise)).collect())
}

/// Checks that every id belongs to a dataset of a calibration type.
async fn check_types(repo: &Repo, rows: &RecordBatch) -> Result<()> {
    let ids = datasets::ids(rows, "dataset_id")?;
    let kinds = datasets::types_of(&mut Executor::Conn(&repo.registry.conn), &ids).await?;
    let known: std::collections::HashSet<&String> = kinds.values().flatten().collect();
    if let Some(missing) = ids.iter().find(|id| !known.contains(id)) {
        return Err(Error::new(Kind::NotFound, format!("no dataset has the id '{missing}'")));
    }
    for record in dataset_types::load(&repo.registry).await? {
        if kinds.contains_key(&record.id) && !record.dataset_type.is_calibration {
            let name = &record.dataset_type.name;
            let message = format!("dataset type '{name}' is not a calibration type and cannot be certified");
            return Err(Error::new(Kind::Conflict, message));
        }
    }
    Ok(())
}

#[async_trait]
impl Operation for Decertify {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let kind = collections::load(&repo.registry).await?.get(&self.collection)?.kind;
        check(&self.collection, kind, CollectionType::Calibration)?;
        let record = dataset_types::get(&repo.registry, &self.dataset_type).await?;
        let data_ids = match context.rows {
            Some(rows) => Some(read_rows(Some(rows)).await?),
            None => None,
        };
        let data_ids = match data_ids {
            Some(rows) if rows.num_rows() == 0 => return Ok(ChangeSet::default().into_plan()),
            Some(rows) => {
                let dimensions = record.dataset_type.dimensions.iter();
                let columns = dimensions.map(|d| match rows.column_by_name(d) {
                    Some(column) => Ok((d.as_str(), Arc::clone(column))),
                    None => Err(Error::invalid(format!("the rows of decertify need the column '{d}'"))),
                });
                Some(record_batch(columns.collect::<Result<Vec<_>>>()?)?)
            }
            None => None,
        };
        let Self { collection, dataset_type, timespan } = self;
        let only = data_ids.as_ref();
        let affected = certifications::count_overlapping(&repo.registry, &record, collection, *timespan, only).await?;
        let mut set = ChangeSet::default();
        if affected == 0 {
            set.record("certification", Status::Unchanged, "none in this time", 1);
        } else {
            let (collection, dataset_type) = (collection.clone(), dataset_type.clone());
            set.push(RemoveValidity { collection, dataset_type, timespan: *timespan, data_ids, affected });
        }
        Ok(set.into_plan())
    }
}
