//! The table of `calibration_members`: the datasets of all calibration types in collections.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::engine::catalog::registry_table::RegistryTable;
use crate::engine::functions::args::Args;
use crate::engine::functions::definition::SearchContext;
use crate::error::Error;
use crate::registry::calibration_queries::{columns, members_sql};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::schema::arrow_schema;
use crate::repo::RepositoryHandle;
use crate::repo::search::ranks;

/// The table of `calibration_members`.
///
/// # Errors
/// None.
pub(crate) fn calibration_members(args: &Args, context: &SearchContext<'_>) -> Result<Arc<dyn TableProvider>, Error> {
    Ok(Arc::new(CalibrationMembers {
        handle: Arc::clone(context.handle),
        types: context.types.to_vec(),
        names: args.list("collections").unwrap_or_default(),
        schema: arrow_schema(&columns()),
    }))
}

#[derive(Debug)]
struct CalibrationMembers {
    handle: Arc<RepositoryHandle>,
    types: Vec<TypeRecord>,
    names: Vec<String>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for CalibrationMembers {
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
        let repo = self.handle.repo().await?;
        let ranks = ranks(&repo, &self.names).await?;
        match members_sql(&repo.registry, &self.types, &ranks).await? {
            Some(from) => {
                let table = RegistryTable::query(repo.registry.conn.clone(), from, columns());
                table.scan(state, projection, filters, limit).await
            }
            None => {
                let table = MemTable::try_new(Arc::clone(&self.schema), vec![vec![]])?;
                table.scan(state, projection, filters, limit).await
            }
        }
    }
}
