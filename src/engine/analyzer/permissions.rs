//! Checks that only procedures change the repository.

use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    CreateMemoryTable, CreateView, DdlStatement, DmlStatement, DropTable, DropView, LogicalPlan, WriteOp,
};
use datafusion::optimizer::AnalyzerRule;

use crate::engine::analyzer::comparison_types::CheckComparisonTypes;
use crate::engine::catalog::repositories::{Member, Repositories};
use crate::engine::catalog::repository::OWN;
use crate::engine::procedure;
use crate::engine::session::copy_target;
use crate::error::{Error, Result};

/// Refuses views that call procedures, DROP and INSERT on tables of the repository, and COPY into the repository.
///
/// # Errors
/// `Kind::Invalid` for refused statements; see also [`target::check`].
pub(crate) async fn check(plan: &LogicalPlan, repositories: &Repositories, options: &ConfigOptions) -> Result<()> {
    let Some(Member { repository, catalog }) = repositories.find(OWN) else { return Ok(()) };
    if let Some(name) = written_table(plan).and_then(TableReference::catalog).filter(|name| *name != OWN)
        && repositories.find(name).is_some()
    {
        return Err(Error::invalid(format!("repository '{name}' is attached read-only")));
    }
    for name in repositories.attached() {
        let attached = repositories.chosen(Some(&name))?;
        copy_target::check(plan, &attached.handle, options).await?;
    }
    match plan {
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => {
            // DataFusion stores the plan of the view after type coercion.
            CheckComparisonTypes.analyze(view.input.as_ref().clone(), options)?;
            let Some((call, _)) = procedure::procedure_calls(&view.input)?.into_iter().next() else { return Ok(()) };
            let message =
                format!("cannot create a view over {}: it would run whenever the view is read", call.function);
            Err(Error::invalid(message))
        }
        LogicalPlan::Ddl(
            DdlStatement::DropTable(DropTable { name, .. }) | DdlStatement::DropView(DropView { name, .. }),
        ) if catalog.is_repository_table(name) => {
            Err(Error::invalid(format!("cannot drop '{name}': it belongs to the repository")))
        }
        LogicalPlan::Dml(DmlStatement { op: WriteOp::Insert(_), table_name, .. })
            if catalog.is_repository_table(table_name) =>
        {
            let name = table_name.table();
            let is_element =
                repository.snapshot().is_ok_and(|known| known.repo.registry.universe.element(name).is_ok());
            let procedure = match is_element && table_name.schema() != Some("registry") {
                true => format!("CALL insert_dimension_records('{name}', (SELECT …))"),
                false => "a procedure (\\df lists them)".to_owned(),
            };
            Err(Error::invalid(format!("cannot INSERT into '{table_name}'; use {procedure}")))
        }
        LogicalPlan::Dml(DmlStatement { op: WriteOp::Insert(_), target, .. }) => {
            // INSERT into a table of files writes files.
            let table = source_as_provider(target)?;
            for path in table.downcast_ref::<ListingTable>().iter().flat_map(|files| files.table_paths()) {
                copy_target::check_outside(path.as_str(), &repository.handle).await?;
            }
            Ok(())
        }
        _ => copy_target::check(plan, &repository.handle, options).await,
    }
}

/// The table that a statement creates, drops or writes.
fn written_table(plan: &LogicalPlan) -> Option<&TableReference> {
    match plan {
        LogicalPlan::Ddl(
            DdlStatement::DropTable(DropTable { name, .. })
            | DdlStatement::DropView(DropView { name, .. })
            | DdlStatement::CreateView(CreateView { name, .. })
            | DdlStatement::CreateMemoryTable(CreateMemoryTable { name, .. }),
        ) => Some(name),
        LogicalPlan::Dml(DmlStatement { table_name, .. }) => Some(table_name),
        _ => None,
    }
}
