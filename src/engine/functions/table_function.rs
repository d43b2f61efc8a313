//! Plans relations in FROM: calls of procedures and table functions, and files that DataFusion does not read.

use std::sync::Arc;

use datafusion::common::{DFSchema, plan_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor, Value,
};

use crate::engine::catalog::repository::RepositoryCatalog;
use crate::engine::functions;
use crate::engine::functions::definition::{ArgDef, ArgType, Args, FunctionDef, FunctionKind};
use crate::engine::procedure::{OutputMode, bind_procedure, fold_constant, procedure_plan};
use crate::engine::sql::file_name::{READERS, extension};
use crate::engine::sql::tokens::{location, location_of, simple_name};
use crate::error::{Error, Kind, Result as OwnResult, SourceLocation, hint};

/// Plans procedures and table functions in FROM, with positional and named arguments and subqueries as rows.
#[derive(Debug)]
pub struct TableFunctionPlanner(pub Arc<RepositoryCatalog>);

impl RelationPlanner for TableFunctionPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (name, args, alias) = match relation {
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args, alias),
            other => match reader_call(&other) {
                Some(read) => read,
                None => return Ok(RelationPlanning::Original(Box::new(other))),
            },
        };
        let location = location_of(&name);
        match simple_name(&name).and_then(|n| functions::find(&n)) {
            Some(function) => {
                let plan = self.plan(function, args, context).map_err(|e| Error::from(e).with_location(location))?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation { plan, alias })))
            }
            None => builtin_table_function(name, args, alias, location),
        }
    }
}

/// Runs an asynchronous computation to its end on a separate thread, because planning is synchronous.
fn block_on<T: Send>(work: impl Future<Output = OwnResult<T>> + Send) -> OwnResult<T> {
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        scope.spawn(move || runtime.block_on(work)).join().unwrap_or_else(|e| std::panic::resume_unwind(e))
    })
}

/// Converts a file name in FROM to a call of its reader function: name, arguments and alias.
fn reader_call(relation: &TableFactor) -> Option<(ObjectName, Vec<FunctionArg>, Option<TableAlias>)> {
    let TableFactor::Table { name, args: None, alias, .. } = relation else { return None };
    let [ObjectNamePart::Identifier(Ident { value, quote_style: Some('\''), span })] = name.0.as_slice() else {
        return None;
    };
    let end = extension(value);
    let (_, reader) = READERS.into_iter().find(|reader| reader.0 == end)?;
    let file = Expr::Value(Value::SingleQuotedString(value.clone()).into());
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(file))];
    Some((ObjectName::from(vec![Ident::with_span(*span, reader)]), args, alias.clone()))
}

/// Leaves table functions of DataFusion to it; other names are an error.
fn builtin_table_function(
    name: ObjectName,
    args: Vec<FunctionArg>,
    alias: Option<TableAlias>,
    location: Option<SourceLocation>,
) -> Result<RelationPlanning> {
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
        if matches!(function.kind, FunctionKind::Scalar(_)) {
            let message = format!("{0} is a scalar function, not a table function: use SELECT {0}(…)", function.name);
            return Err(Error::invalid(message).into());
        }
        let mut bound = Args::default();
        let mut input = None;
        let mut named = false;
        for (position, arg) in args.into_iter().enumerate() {
            let named_at = match &arg {
                FunctionArg::Named { name, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => {
                    Some(location(name.span.start))
                }
                _ => None,
            };
            let (name, expr) = match arg {
                FunctionArg::Named { name, arg, .. } => (Some(name.value), arg),
                FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(name.value), arg),
                FunctionArg::ExprNamed { name, .. } => return Err(plan_datafusion_err!("{name} is not an argument")),
                FunctionArg::Unnamed(arg) => (None, arg),
            };
            if named && name.is_none() {
                let message = format!("in {}, positional arguments must come before named arguments", function.name);
                return Err(Error::invalid(message).into());
            }
            named |= name.is_some();
            let FunctionArgExpr::Expr(expr) = expr else {
                return Err(Error::invalid(format!("{} does not take *", function.name)).into());
            };
            let start = named_at.or_else(|| location_of(&expr));
            let argument =
                self.argument(function, position, name.as_deref(), &expr).map_err(|e| e.with_location(start))?;
            match (argument.arg_type, expr) {
                (ArgType::Query(_), Expr::Subquery(subquery)) => {
                    bound.set_rows(function, argument)?;
                    let derived = TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
                    input = Some(context.plan(derived)?);
                }
                (ArgType::Query(columns), _) => {
                    let message = format!(
                        "argument '{}' of {} takes a subquery in parentheses that yields {columns}",
                        argument.name, function.name
                    );
                    return Err(Error::invalid(message).into());
                }
                (_, expr) => {
                    let value = context.sql_to_expr(expr, &DFSchema::empty()).and_then(fold_constant);
                    let value = value.map_err(|e| Error::from(e).with_location(start))?;
                    bound.set(function, argument, &value).map_err(|e| e.with_location(start))?;
                }
            }
        }
        bound.check_complete(function)?;
        match &function.kind {
            FunctionKind::Operation(_) => {
                procedure_plan(bind_procedure(function, &bound, &self.0.handle, OutputMode::Report)?, input)
            }
            FunctionKind::Search => {
                let known = self.0.snapshot()?;
                let table =
                    crate::engine::catalog::dataset_search::table(function.name, &bound, &self.0.handle, &known.types)?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(table), None)?.build()
            }
            FunctionKind::Query(text) => {
                let text = text(&bound, &self.0.snapshot()?.repo.registry.universe)?;
                let view = block_on(self.0.view(&text))?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(view), None)?.build()
            }
            FunctionKind::Read(reader) => {
                let table = block_on(reader.table(&bound))?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(table), None)?.build()
            }
            FunctionKind::Scalar(_) => Err(Error::bug("a scalar function in FROM").into()),
        }
    }

    /// The argument of a value; a positional subquery is bound to the rows argument at any position.
    fn argument<'a>(
        &self,
        function: &'a FunctionDef,
        position: usize,
        name: Option<&str>,
        expr: &Expr,
    ) -> OwnResult<&'a ArgDef> {
        match (name, expr, function.rows()) {
            (None, Expr::Subquery(_), Some(rows)) => {
                let at = function.argument(position, None);
                Ok(at.ok().filter(|a| matches!(a.arg_type, ArgType::Query(_))).unwrap_or(rows))
            }
            _ => function.argument(position, name),
        }
    }
}
