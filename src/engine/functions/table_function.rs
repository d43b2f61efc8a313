//! Plans relations in FROM: calls of procedures and table functions, and files that DataFusion does not read.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{FunctionArg, TableFactor};

use crate::engine::catalog::repositories::Repositories;
use crate::engine::functions;
use crate::engine::functions::call::{TableFunctionCall, bind_args, function_call};
use crate::engine::functions::definition::{FunctionDef, FunctionKind, REPOSITORY, SearchContext};
use crate::engine::functions::resolve::resolved;
use crate::engine::procedure::{OutputMode, bind_procedure, fold_constant, procedure_plan};
use crate::engine::sql::tokens::simple_name;
use crate::error::{Error, Kind, hint};

/// Plans procedures and table functions in FROM, with positional and named arguments and subqueries as rows.
#[derive(Debug)]
pub(crate) struct TableFunctionPlanner(pub Arc<Repositories>);

impl RelationPlanner for TableFunctionPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let call = match function_call(relation) {
            Ok(call) => call,
            Err(other) => return Ok(RelationPlanning::Original(other)),
        };
        let Some(function) = call.function() else { return builtin_table_function(call) };
        let plan = self.plan(function, call.args, context).map_err(|e| Error::from(e).with_location(call.location))?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation { plan, alias: call.alias })))
    }
}

/// Leaves table functions of DataFusion to it; other names are an error.
fn builtin_table_function(call: TableFunctionCall) -> Result<RelationPlanning> {
    let TableFunctionCall { name, args, alias, location } = call;
    let called = simple_name(&name).unwrap_or_else(|| name.to_string());
    let known = ["generate_series", "range", "unnest"];
    if known.contains(&called.as_str()) {
        let (lateral, with_ordinality) = (false, false);
        let relation = TableFactor::Function { lateral, name, args, with_ordinality, alias };
        return Ok(RelationPlanning::Original(Box::new(relation)));
    }
    let ours = functions::all().iter().filter(|f| !matches!(f.kind, FunctionKind::Scalar(_))).map(|f| f.name);
    let near = hint(&called, ours.chain(known));
    Err(Error::new(Kind::NotFound, format!("no table function named '{called}'{near}")).with_location(location).into())
}

impl TableFunctionPlanner {
    fn plan(
        &self,
        function: &'static FunctionDef,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let bound = bind_args(function, args, &mut |expr| {
            context.sql_to_expr(expr, &DFSchema::empty()).and_then(fold_constant)
        })?;
        let derived = |subquery| TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
        let rows = bound.rows.as_ref().map(ToString::to_string);
        let is_query = matches!(function.kind, FunctionKind::Query(_));
        let input = bound.rows.filter(|_| !is_query).map(|subquery| context.plan(derived(subquery))).transpose()?;
        bound.args.check_complete(function.name, &function.arguments)?;
        let table = match &function.kind {
            FunctionKind::Operation(_) => {
                let handle = &self.0.chosen(None)?.handle;
                let call = bind_procedure(function, &bound.args, handle, OutputMode::Report)?;
                return procedure_plan(call, input);
            }
            FunctionKind::Search(table) => {
                // In a view of an attached repository, functions read that repository.
                let default = &context.context_provider().options().catalog.default_catalog;
                let repository = self.0.chosen(bound.args.text(REPOSITORY).as_deref().or(Some(default)))?;
                let known = repository.snapshot()?;
                table(&bound.args, &SearchContext { handle: &repository.handle, types: &known.types })?
            }
            FunctionKind::Table(table) => table(&bound.args)?,
            FunctionKind::Query(_) | FunctionKind::Read(_) => resolved(function.name, &bound.args, rows.as_deref())
                .ok_or_else(|| {
                    Error::invalid(format!("{} is planned by Session::sql and Session::execute only", function.name))
                })?,
            FunctionKind::Scalar(_) => return Err(Error::bug("a scalar function in FROM").into()),
        };
        LogicalPlanBuilder::scan(function.name, provider_as_source(table), None)?.build()
    }
}
