//! Expands `butler_where('…')`, a query expression of the Butler as a predicate on a table of the statement.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, Select, TableFactor, Value,
    ValueWithSpan, VisitorMut, visit_relations_mut,
};
use datafusion::sql::sqlparser::parser::Parser;

use crate::engine::catalog::repositories::Repositories;
use crate::engine::catalog::repository::{OWN, Snapshot};
use crate::engine::expression::OuterTable;
use crate::engine::expression::predicate::predicate;
use crate::engine::sql::attach::folded;
use crate::engine::sql::tokens::{DIALECT, location_of, simple_name};
use crate::engine::sql::visit::visit_statement;
use crate::error::{Error, Result, SourceLocation};

/// The name of the function.
pub(crate) const NAME: &str = "butler_where";

/// Replaces all calls in a statement.
///
/// # Errors
/// `Kind::Invalid` for an expression that the Butler does not accept, with the location of the character; and for a query
/// whose FROM does not have exactly one table of an element or a dataset type.
pub(crate) fn expand(statement: &mut Statement, repositories: &Repositories) -> Result<()> {
    match visit_statement(statement, &mut Expander { repositories, tables: Vec::new() }) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// A table in FROM to which an expression may refer.
#[derive(Debug, Clone)]
struct Table {
    /// The element or dataset type.
    name: String,
    /// Its name in the statement.
    alias: Ident,
    /// Whether the table is of a dataset type.
    is_dataset: bool,
    /// The required dimensions.
    dimensions: Vec<String>,
    /// Its repository, and the name of the catalog if that is an attached one.
    known: Arc<Snapshot>,
    catalog: Option<String>,
}

struct Expander<'a> {
    repositories: &'a Repositories,
    /// The tables of the queries around the current node, the innermost last.
    tables: Vec<Vec<Table>>,
}

impl VisitorMut for Expander<'_> {
    type Break = Box<Error>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let joined = select
            .from
            .iter()
            .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
        let tables = joined.filter_map(|factor| self.table(factor)).collect();
        self.tables.push(tables);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<Self::Break> {
        self.tables.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match self.expanded(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(condition)) => {
                *expr = condition;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error.with_location(location_of(expr)))),
        }
    }
}

impl Expander<'_> {
    /// The element or dataset type that a table is.
    fn table(&self, factor: &TableFactor) -> Option<Table> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let own = *parts.last()?;
        let schema = parts.len().checked_sub(2).map(|at| parts[at].value.as_str());
        let catalog = parts.len().checked_sub(3).map(|at| folded(parts[at])).filter(|name| name != OWN);
        let known = self.repositories.find(catalog.as_deref().unwrap_or(OWN))?.repository.snapshot().ok()?;
        let name = folded(own);
        let alias = alias.as_ref().map_or_else(|| own.clone(), |alias| alias.name.clone());
        let universe = &known.repo.registry.universe;
        let element = universe.find(&name).filter(|e| !e.is_skypix());
        if let Some(element) = element.filter(|_| matches!(schema, None | Some("public"))) {
            let dimensions = element.required.clone();
            return Some(Table { name, alias, is_dataset: false, dimensions, known, catalog });
        }
        let record = known.types.iter().find(|t| t.dataset_type.name == name)?;
        let dimensions = record.dataset_type.dimensions.clone();
        let is_there = matches!(schema, None | Some("public" | "dataset"));
        is_there.then_some(Table { name, alias, is_dataset: true, dimensions, known, catalog })
    }

    /// The condition of a call; `None` for other expressions.
    fn expanded(&self, expr: &Expr) -> Result<Option<Expr>> {
        let Expr::Function(function) = expr else { return Ok(None) };
        if simple_name(&function.name).is_none_or(|name| name != NAME) {
            return Ok(None);
        }
        let usage = || Error::invalid(format!("{NAME} takes an expression of the Butler as a literal text"));
        let FunctionArguments::List(list) = &function.args else { return Err(usage()) };
        let value = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        };
        let arguments: Vec<Expr> = list.args.iter().map(value).collect::<Option<_>>().ok_or_else(usage)?;
        let (alias, text) = match arguments.as_slice() {
            [text] => (None, text),
            [Expr::Identifier(alias), text] => (Some(alias), text),
            _ => return Err(usage()),
        };
        let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. }) = text else {
            return Err(usage());
        };
        let table = self.meant(alias)?;
        let universe = &table.known.repo.registry.universe;
        let name = format!("\"{}\"", folded(&table.alias).replace('"', "\"\""));
        let outer = OuterTable { name: &table.name, alias: &name };
        let types = table.known.types.iter().map(|record| &record.dataset_type);
        let dataset = types.filter(|_| table.is_dataset).find(|kind| kind.name == table.name);
        let start = location_of(text).map(|at| SourceLocation { column: at.column + 1, ..at });
        let condition = predicate(universe, outer, &table.dimensions, dataset, written);
        let condition = condition.map_err(|e| e.within(start))?;
        let parsed = Parser::new(&DIALECT).try_with_sql(&condition).and_then(|mut parser| parser.parse_expr());
        let mut parsed = parsed.map_err(|e| Error::bug(format!("{NAME} became '{condition}': {e}")))?;
        if let Some(catalog) = &table.catalog {
            let _ = visit_relations_mut(&mut parsed, |name| {
                name.0.insert(0, ObjectNamePart::Identifier(Ident::with_quote('"', catalog)));
                ControlFlow::<()>::Continue(())
            });
        }
        Ok(Some(Expr::Nested(Box::new(parsed))))
    }

    /// The table that a call refers to.
    fn meant(&self, alias: Option<&Ident>) -> Result<&Table> {
        let tables = self.tables.last().map(Vec::as_slice).unwrap_or_default();
        let names = || tables.iter().map(|table| table.alias.value.as_str());
        match (alias, tables) {
            (Some(alias), _) => {
                let found = tables.iter().find(|table| table.alias.value.eq_ignore_ascii_case(&alias.value));
                found.ok_or_else(|| Error::not_found("table of an element or dataset type", &alias.value, names()))
            }
            (None, [table]) => Ok(table),
            (None, []) => {
                let message = format!("{NAME} needs a table of a dimension element or dataset type in FROM");
                Err(Error::invalid(message))
            }
            (None, _) => {
                let all = names().collect::<Vec<_>>().join(", ");
                Err(Error::invalid(format!("{NAME} needs the name of one of the tables {all} as its first argument")))
            }
        }
    }
}
