//! What a statement may not do to the repository, which only verbs change.

use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{DdlStatement, DmlStatement, DropTable, DropView, LogicalPlan, WriteOp};
use datafusion::optimizer::AnalyzerRule;

use crate::engine::analyzer::comparison_types::CheckComparisonTypes;
use crate::engine::catalog::Catalog;
use crate::engine::catalog::repository::RepositoryCatalog;
use crate::engine::procedure;
use crate::engine::session::copy_target;
use crate::error::{Error, Result};

/// Refuses views that hold verbs, which would run whenever the view is read; changes of what the repository shows as
/// tables; and files that COPY must not write.
///
/// # Errors
/// What is refused.
pub async fn check(
    plan: &LogicalPlan,
    repository: &RepositoryCatalog,
    catalog: &Catalog,
    options: &ConfigOptions,
) -> Result<()> {
    match plan {
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => {
            // DataFusion keeps it with its types made equal.
            CheckComparisonTypes.analyze(view.input.as_ref().clone(), options)?;
            let Some((call, _)) = procedure::procedure_calls(&view.input)?.into_iter().next() else { return Ok(()) };
            let message =
                format!("a view cannot be made over {}: it would run whenever the view is read", call.function);
            Err(Error::invalid(message))
        }
        LogicalPlan::Ddl(
            DdlStatement::DropTable(DropTable { name, .. }) | DdlStatement::DropView(DropView { name, .. }),
        ) if catalog.is_repository_table(name) => {
            Err(Error::invalid(format!("'{name}' is of the repository and cannot be dropped")))
        }
        LogicalPlan::Dml(DmlStatement { op: WriteOp::Insert(_), table_name, .. })
            if catalog.is_repository_table(table_name) =>
        {
            let name = table_name.table();
            let is_element =
                repository.snapshot().is_ok_and(|known| known.repo.registry.universe.element(name).is_ok());
            let procedure = match is_element && table_name.schema() != Some("registry") {
                true => format!("CALL insert_dimension_records('{name}', (SELECT …)) does"),
                false => "verbs do (\\df lists them)".to_owned(),
            };
            Err(Error::invalid(format!("INSERT does not change '{table_name}'; {procedure}")))
        }
        LogicalPlan::Dml(DmlStatement { op: WriteOp::Insert(_), target, .. }) => {
            // A table over files writes files.
            let table = source_as_provider(target)?;
            for path in table.downcast_ref::<ListingTable>().iter().flat_map(|files| files.table_paths()) {
                copy_target::check_outside(path.as_str(), &repository.handle).await?;
            }
            Ok(())
        }
        _ => copy_target::check(plan, &repository.handle, options).await,
    }
}
