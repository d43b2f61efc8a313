//! Resolves names that DataFusion does not find although they are unambiguous: columns that differ only in case, and
//! tables of an outer query whose name is also a column of the subquery.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr as Expression, ExprSchemable, LogicalPlan};
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias,
    TableFactor, VisitMut, VisitorMut,
};

use crate::error::datafusion_text::Text;

/// Rewrites the names of a statement if that may resolve `error`; otherwise `None`.
pub(crate) fn meant(statement: &Statement, error: &DataFusionError) -> Option<Statement> {
    let root = error.find_root();
    if let DataFusionError::SchemaError(inner, _) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = inner.as_ref()
    {
        return with_capitals(statement, field, valid_fields);
    }
    // DataFusion's error for `visit.visit` if `visit` is a column.
    if matches!(Text::of(&root.message()), Text::NoFields(_)) {
        return with_aliases(statement);
    }
    None
}

/// Rewrites the names of a statement if its plan accesses a field of a value that is not a struct; in a subquery,
/// DataFusion 55 checks this only later.
///
/// # Errors
/// Internal errors of DataFusion.
pub(crate) fn meant_in_plan(statement: &Statement, plan: &LogicalPlan) -> Result<Option<Statement>, DataFusionError> {
    let mut takes_field = false;
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expression::ScalarFunction(function) = expr
                    && function.name() == "get_field"
                    && let Some(of) = function.args.first()
                {
                    takes_field |= of.get_type(&schema).is_ok_and(|kind| !kind.is_nested());
                }
                Ok(if takes_field { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(takes_field.then(|| with_aliases(statement)).flatten())
}

/// Visits the parts of a statement that contain names.
fn visit(statement: &mut Statement, visitor: &mut impl VisitorMut<Break = ()>) {
    let _ = match statement {
        Statement::Statement(ast) => VisitMut::visit(ast.as_mut(), visitor),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => VisitMut::visit(query.as_mut(), visitor),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Statement::Explain(explain) => {
            visit(explain.statement.as_mut(), visitor);
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    };
}

/// Quotes unquoted names that differ from exactly one column only in case, in the query that has the missing column.
fn with_capitals(statement: &Statement, missing: &Column, valid: &[Column]) -> Option<Statement> {
    let mut columns: HashMap<String, Option<&str>> = HashMap::new();
    for column in valid {
        let known = columns.entry(column.name.to_lowercase()).or_insert(Some(&column.name));
        if *known != Some(&column.name) {
            *known = None;
        }
    }
    columns.get(&missing.name).copied().flatten().filter(|name| *name != missing.name)?;
    let place = missing.spans.first().map(|span| (span.start.line, span.start.column));
    let mut capitals =
        Capitals { columns, missing: &missing.name, place, query: None, open: Vec::new(), queries: 0, changed: false };
    // Two passes: the first finds the query, the second changes its names.
    for changes in [false, true] {
        (capitals.open, capitals.queries) = (Vec::new(), 0);
        if changes && capitals.query.is_none() {
            return None;
        }
        let mut meant = statement.clone();
        let query = capitals.query;
        let mut pass = Pass { capitals: &mut capitals, only: query };
        visit(&mut meant, &mut pass);
        if changes {
            return capitals.changed.then_some(meant);
        }
    }
    None
}

struct Capitals<'a> {
    /// The column of each lower-case name; `None` if several columns match.
    columns: HashMap<String, Option<&'a str>>,
    missing: &'a str,
    place: Option<(u64, u64)>,
    /// The number of the query that contains the missing name.
    query: Option<usize>,
    open: Vec<usize>,
    queries: usize,
    changed: bool,
}

struct Pass<'p, 'a> {
    capitals: &'p mut Capitals<'a>,
    /// The query whose names are changed; `None` in the pass that finds it.
    only: Option<usize>,
}

impl Pass<'_, '_> {
    fn name(&mut self, ident: &mut Ident) {
        let lower = ident.value.to_lowercase();
        if ident.quote_style.is_some() {
            return;
        }
        let current = self.capitals.open.last().copied();
        let Some(only) = self.only else {
            let start = ident.span.start;
            let is_there = self.capitals.place.is_none_or(|place| place == (start.line, start.column));
            if lower == self.capitals.missing && (is_there || self.capitals.query.is_none()) {
                self.capitals.query = current;
            }
            return;
        };
        if current == Some(only)
            && let Some(Some(column)) = self.capitals.columns.get(&lower)
            && *column != lower
        {
            *ident = Ident { value: (*column).to_owned(), quote_style: Some('"'), ..ident.clone() };
            self.capitals.changed = true;
        }
    }
}

impl VisitorMut for Pass<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.capitals.open.push(self.capitals.queries);
        self.capitals.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.capitals.open.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.name(ident),
            Expr::CompoundIdentifier(parts) => {
                if let Some(last) = parts.last_mut() {
                    self.name(last);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Renames outer tables that subqueries refer to, so that their name is not also a column.
fn with_aliases(statement: &Statement) -> Option<Statement> {
    let mut meant = statement.clone();
    let mut around = Around::default();
    visit(&mut meant, &mut around);
    if around.named.is_empty() {
        return None;
    }
    around.changes = true;
    visit(&mut meant, &mut around);
    Some(meant)
}

/// The suffix of the new names.
const AROUND: &str = " around";

#[derive(Default)]
struct Around {
    /// The tables of the enclosing queries, outermost first.
    open: Vec<HashSet<String>>,
    /// Outer tables that a subquery refers to.
    named: HashSet<String>,
    changes: bool,
}

impl Around {
    fn renamed(&self, name: &str) -> Option<Ident> {
        let is_known = self.open.iter().any(|tables| tables.contains(name));
        (self.changes && is_known && self.named.contains(name))
            .then(|| Ident::with_quote('"', format!("{name}{AROUND}")))
    }
}

fn lower(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Collects the names or aliases of the tables of a query.
fn tables(body: &SetExpr, names: &mut HashSet<String>) {
    match body {
        SetExpr::Select(select) => {
            for from in &select.from {
                names.extend(table_name(&from.relation));
                names.extend(from.joins.iter().filter_map(|join| table_name(&join.relation)));
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            tables(left, names);
            tables(right, names);
        }
        _ => {}
    }
}

fn table_name(table: &TableFactor) -> Option<String> {
    match table {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(lower(&alias.name)),
        TableFactor::Table { name, args: None, .. } => name.0.last()?.as_ident().map(lower),
        _ => None,
    }
}

impl VisitorMut for Around {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut names = HashSet::new();
        tables(&query.body, &mut names);
        self.open.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.open.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        let Some(renamed) = table_name(table).and_then(|name| self.renamed(&name)) else {
            return ControlFlow::Continue(());
        };
        if let TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. } = table
        {
            match alias {
                Some(alias) => alias.name = renamed,
                None => *alias = Some(TableAlias { explicit: true, name: renamed, columns: Vec::new(), at: None }),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut datafusion::sql::sqlparser::ast::Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(ObjectName(parts)), _) =
                item
                && let [ObjectNamePart::Identifier(table)] = parts.as_mut_slice()
                && let Some(renamed) = self.renamed(&lower(table))
            {
                *table = renamed;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::CompoundIdentifier(parts) = expr else { return ControlFlow::Continue(()) };
        let [table, _, ..] = parts.as_mut_slice() else { return ControlFlow::Continue(()) };
        let name = lower(table);
        if let Some(renamed) = self.renamed(&name) {
            *table = Ident { span: table.span, ..renamed };
        } else if !self.changes
            && let Some((own, around)) = self.open.split_last()
            && !own.contains(&name)
            && !name.ends_with(AROUND)
            && around.iter().any(|tables| tables.contains(&name))
        {
            self.named.insert(name);
        }
        ControlFlow::Continue(())
    }
}
