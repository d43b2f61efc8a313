//! What may stand in `FROM`: our functions with positional and named arguments, and files DataFusion does not read.

use std::sync::Arc;

use datafusion::common::{DFSchema, plan_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor, Value,
};

use super::arguments::{Argument, Does, Function, Given, Takes};
use super::files::end;
use super::functions;
use super::statement::{at, simple_name, spot};
use super::verb::{Face, constant, deed, plan};
use super::world::World;
use crate::error::{Error, Kind, Result as OwnResult, SourceLocation, hint};

/// Plans our functions in `FROM`, with positional and named arguments and subqueries as rows.
#[derive(Debug)]
pub struct Functions(pub Arc<World>);

impl RelationPlanner for Functions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (name, args, alias) = match relation {
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args, alias),
            other => match reader(&other) {
                Some(read) => read,
                None => return Ok(RelationPlanning::Original(Box::new(other))),
            },
        };
        let location = spot(&name);
        match simple_name(&name).and_then(|n| functions::find(&n)) {
            Some(function) => {
                let plan = self.plan(function, args, context).map_err(|e| Error::from(e).with_location(location))?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation { plan, alias })))
            }
            None => other(name, args, alias, location),
        }
    }
}

/// What a planner must know now, though it takes reading; planning itself cannot wait.
fn waited<T: Send>(work: impl Future<Output = OwnResult<T>> + Send) -> OwnResult<T> {
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        scope.spawn(move || runtime.block_on(work)).join().unwrap_or_else(|e| std::panic::resume_unwind(e))
    })
}

/// Ends of names of table files that DataFusion does not read, and the functions that do.
pub const READERS: [(&str, &str); 2] = [("ecsv", "read_ecsv"), ("fits", "read_fits")];

/// The function that reads a table file, where DataFusion does not, with its argument and alias.
fn reader(relation: &TableFactor) -> Option<(ObjectName, Vec<FunctionArg>, Option<TableAlias>)> {
    let TableFactor::Table { name, args: None, alias, .. } = relation else { return None };
    let [ObjectNamePart::Identifier(Ident { value, quote_style: Some('\''), span })] = name.0.as_slice() else {
        return None;
    };
    let end = end(value);
    let (_, reader) = READERS.into_iter().find(|reader| reader.0 == end)?;
    let file = Expr::Value(Value::SingleQuotedString(value.clone()).into());
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(file))];
    Some((ObjectName::from(vec![Ident::with_span(*span, reader)]), args, alias.clone()))
}

/// A function that is not ours, if DataFusion has it.
fn other(
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
    let ours = functions::all().iter().filter(|f| !matches!(f.does, Does::Scalar(_))).map(|f| f.name);
    let near = hint(&called, ours.chain(known));
    Err(Error::new(Kind::NotFound, format!("no function named '{called}' yields rows{near}"))
        .with_location(location)
        .into())
}

impl Functions {
    fn plan(
        &self,
        function: &'static Function,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        if matches!(function.does, Does::Scalar(_)) {
            let message = format!("{0} computes a value, it yields no rows: SELECT {0}(…)", function.name);
            return Err(Error::invalid(message).into());
        }
        let mut given = Given::default();
        let mut input = None;
        let mut named = false;
        for (position, arg) in args.into_iter().enumerate() {
            let named_at = match &arg {
                FunctionArg::Named { name, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => {
                    Some(at(name.span.start))
                }
                _ => None,
            };
            let (name, expr) = match arg {
                FunctionArg::Named { name, arg, .. } => (Some(name.value), arg),
                FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(name.value), arg),
                FunctionArg::ExprNamed { name, .. } => return Err(plan_datafusion_err!("{name} is no argument name")),
                FunctionArg::Unnamed(arg) => (None, arg),
            };
            if named && name.is_none() {
                let message = format!("in {}, arguments without a name come first", function.name);
                return Err(Error::invalid(message).into());
            }
            named |= name.is_some();
            let FunctionArgExpr::Expr(expr) = expr else {
                return Err(Error::invalid(format!("{} takes no *", function.name)).into());
            };
            let start = named_at.or_else(|| spot(&expr));
            let argument =
                self.argument(function, position, name.as_deref(), &expr).map_err(|e| e.with_location(start))?;
            match (argument.takes, expr) {
                (Takes::Rows(_), Expr::Subquery(subquery)) => {
                    given.set_rows(function, argument)?;
                    let derived = TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
                    input = Some(context.plan(derived)?);
                }
                (Takes::Rows(columns), _) => {
                    let message = format!(
                        "argument '{}' of {} takes a subquery in parentheses that yields {columns}",
                        argument.name, function.name
                    );
                    return Err(Error::invalid(message).into());
                }
                (_, expr) => {
                    let value = context.sql_to_expr(expr, &DFSchema::empty()).and_then(constant);
                    let value = value.map_err(|e| Error::from(e).with_location(start))?;
                    given.set(function, argument, &value).map_err(|e| e.with_location(start))?;
                }
            }
        }
        given.check_complete(function)?;
        match &function.does {
            Does::Verb(_) => plan(deed(function, &given, &self.0.access, Face::Report)?, input),
            Does::Search => {
                let known = self.0.snapshot()?;
                let table = super::search::table(function.name, &given, &self.0.access, &known.types)?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(table), None)?.build()
            }
            Does::Query(text) => {
                let text = text(&given, &self.0.snapshot()?.repo.registry.universe)?;
                let view = waited(self.0.view(&text))?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(view), None)?.build()
            }
            Does::Read(reader) => {
                let table = waited(reader.table(&given))?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(table), None)?.build()
            }
            Does::Scalar(_) => Err(Error::bug("a function of values yields rows").into()),
        }
    }

    /// The argument meant; a subquery without a name goes to the rows, wherever they are.
    fn argument<'a>(
        &self,
        function: &'a Function,
        position: usize,
        name: Option<&str>,
        expr: &Expr,
    ) -> OwnResult<&'a Argument> {
        match (name, expr, function.rows()) {
            (None, Expr::Subquery(_), Some(rows)) => {
                let at = function.argument(position, None);
                Ok(at.ok().filter(|a| matches!(a.takes, Takes::Rows(_))).unwrap_or(rows))
            }
            _ => function.argument(position, name),
        }
    }
}
