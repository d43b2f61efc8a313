//! Calls of procedures and table functions in FROM, and their arguments.

use datafusion::common::plan_datafusion_err;
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, Value,
};

use crate::engine::functions;
use crate::engine::functions::args::{ArgDef, ArgType, Args};
use crate::engine::functions::definition::{FunctionDef, FunctionKind};
use crate::engine::sql::file_name::{READERS, extension};
use crate::engine::sql::tokens::{location, location_of, simple_name};
use crate::error::{Error, Result as OwnResult, SourceLocation};

/// A call of a table function in FROM.
pub(super) struct TableFunctionCall {
    pub(super) name: ObjectName,
    pub(super) args: Vec<FunctionArg>,
    pub(super) alias: Option<TableAlias>,
    pub(super) location: Option<SourceLocation>,
}

impl TableFunctionCall {
    /// Returns the function, if it is one of [`functions::all`].
    pub(super) fn function(&self) -> Option<&'static FunctionDef> {
        functions::find(&simple_name(&self.name)?)
    }
}

/// Returns the call of a relation; the file name of a format of [`READERS`] becomes a call of its reader. Other
/// relations are returned as the error.
pub(super) fn function_call(relation: TableFactor) -> std::result::Result<TableFunctionCall, Box<TableFactor>> {
    let (name, args, alias) = match relation {
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args, alias),
        other => match reader_call(&other) {
            Some(read) => read,
            None => return Err(Box::new(other)),
        },
    };
    let location = location_of(&name);
    Ok(TableFunctionCall { name, args, alias, location })
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

/// The arguments of a call, and its subquery.
pub(super) struct BoundCall {
    pub(super) args: Args,
    pub(super) rows: Option<Box<Query>>,
}

/// Binds the arguments of a call; `evaluate` computes constants.
pub(super) fn bind_args(
    function: &'static FunctionDef,
    args: Vec<FunctionArg>,
    evaluate: &mut dyn FnMut(Expr) -> Result<ScalarValue>,
) -> Result<BoundCall> {
    if matches!(function.kind, FunctionKind::Scalar(_)) {
        let message = format!("{0} is a scalar function, not a table function: use SELECT {0}(…)", function.name);
        return Err(Error::invalid(message).into());
    }
    let mut bound = BoundCall { args: Args::default(), rows: None };
    let mut named = false;
    for (position, arg) in args.into_iter().enumerate() {
        let (name, expr) = match arg {
            FunctionArg::Named { name, arg, .. } => (Some(name), arg),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(name), arg),
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
        let start = name.as_ref().map(|name| location(name.span.start)).or_else(|| location_of(&expr));
        let bind = bind_arg(function, (position, name.map(|name| name.value)), expr, evaluate, &mut bound);
        bind.map_err(|e| e.with_location(start))?;
    }
    Ok(bound)
}

/// Binds one argument.
fn bind_arg(
    function: &'static FunctionDef,
    (position, name): (usize, Option<String>),
    expr: Expr,
    evaluate: &mut dyn FnMut(Expr) -> Result<ScalarValue>,
    bound: &mut BoundCall,
) -> OwnResult<()> {
    let argument = argument(function, position, name.as_deref(), &expr)?;
    match (argument.arg_type, expr) {
        (ArgType::Query(_), Expr::Subquery(subquery)) => {
            bound.args.set_rows(function.name, argument)?;
            bound.rows = Some(subquery);
            Ok(())
        }
        (ArgType::Query(columns), _) => Err(Error::invalid(format!(
            "argument '{}' of {} takes a subquery in parentheses that yields {columns}",
            argument.name, function.name
        ))),
        (_, expr) => bound.args.set(function.name, argument, &evaluate(expr)?),
    }
}

/// The argument of a value; a positional subquery is bound to the rows argument at any position.
fn argument<'a>(function: &'a FunctionDef, position: usize, name: Option<&str>, expr: &Expr) -> OwnResult<&'a ArgDef> {
    match (name, expr, function.rows()) {
        (None, Expr::Subquery(_), Some(rows)) => {
            let at = function.argument(position, None);
            Ok(at.ok().filter(|a| matches!(a.arg_type, ArgType::Query(_))).unwrap_or(rows))
        }
        _ => function.argument(position, name),
    }
}
