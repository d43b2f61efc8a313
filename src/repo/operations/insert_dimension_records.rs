//! `insert_dimension_records`: inserts records of a dimension element.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::registry::db::rows::{record_batch, strict_cast};
use crate::registry::dimensions::table;
use crate::registry::schema::arrow_type;
use crate::repo::Repo;
use crate::repo::changeset::changes::WriteRecords;
use crate::repo::changeset::comparison::sync_records;
use crate::repo::changeset::comparison::{Comparison, compare, select};
use crate::repo::changeset::input_rows::read_rows;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Inserts records of a dimension element.
#[derive(Debug)]
pub(crate) struct InsertRecords {
    /// Dimension element.
    pub element: String,
    /// True to keep existing records with the same key, whatever their values.
    pub skip_existing: bool,
    /// True to replace existing records with the same key.
    pub replace: bool,
}

#[async_trait]
impl Operation for InsertRecords {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let rows = read_rows(context.rows).await?;
        if rows.num_rows() == 0 {
            return Ok(ChangeSet::default().into_plan());
        }
        let rows = self.conform(&repo, &rows)?;
        let mut set = ChangeSet::default();
        if self.skip_existing {
            let statuses = compare(&repo.registry, &table(&repo.registry, &self.element)?, &rows).await?;
            let new = select(&rows, &statuses, |s| *s == Comparison::New)?;
            set.record(&self.element, Status::Unchanged, "", (rows.num_rows() - new.num_rows()) as u64);
            set.push(WriteRecords::insert(&self.element, new));
        } else {
            sync_records(&repo, &self.element, &rows, self.replace, &mut set).await?;
        }
        Ok(set.into_plan())
    }
}

impl InsertRecords {
    /// Converts rows to the columns and types of the element's table. The key may be named after the dimension, as in
    /// queries.
    fn conform(&self, repo: &Repo, rows: &RecordBatch) -> Result<RecordBatch> {
        let element = repo.registry.universe.element(&self.element)?;
        let known = table(&repo.registry, &self.element)?.read_columns();
        let mut columns = Vec::new();
        for (field, array) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let own = element.key.as_ref().filter(|_| *field.name() == self.element).map(|k| k.name.as_str());
            let name = own.unwrap_or(field.name());
            let column = known.iter().find(|c| c.name == name).ok_or_else(|| {
                let names = known.iter().map(|c| c.name.as_str());
                Error::not_found(&format!("column of '{}'", self.element), name, names)
            })?;
            let array = strict_cast(array, &arrow_type(column.kind()))
                .map_err(|e| e.context(format_args!("column '{name}' of '{}'", self.element)))?;
            columns.push((column.name.clone(), array));
        }
        // Missing columns are NULL, also in records that are replaced.
        for column in &known {
            if columns.iter().any(|(name, _)| *name == column.name) {
                continue;
            }
            if !column.nullable {
                let message = format!("records of '{}' need the column '{}'", self.element, column.name);
                return Err(Error::invalid(message));
            }
            columns.push((column.name.clone(), new_null_array(&arrow_type(column.kind()), rows.num_rows())));
        }
        record_batch(columns.iter().map(|(name, array)| (name.as_str(), Arc::clone(array))))
    }
}
