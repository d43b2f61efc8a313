//! Rewrites of the syntax tree for SQL that DataFusion 55 does not plan, or plans wrongly.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Fetch, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, JoinConstraint, JoinOperator, LimitClause,
    ObjectName, OrderBy, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor, Value,
    ValueWithSpan, Visit, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use crate::engine::analyzer::check_depth;
use crate::engine::functions;
use crate::engine::functions::args::ArgType;
use crate::engine::functions::sky::udf::PairsAsArguments;
use crate::engine::sql::distinct::AsWritten;
use crate::engine::sql::select_all::select_all;
use crate::engine::sql::tokens::simple_name;
use crate::engine::sql::unsupported;
use crate::error::{Error, Result};

/// Rewrites a statement for DataFusion, and refuses syntax that DataFusion would answer wrongly.
///
/// # Errors
/// `Kind::Unsupported` for refused syntax and for expressions that are too deep.
pub(crate) fn normalize(what: &mut (impl Visit + VisitMut)) -> Result<()> {
    check_depth(what)?;
    let _ = VisitMut::visit(what, &mut AsWritten);
    let _ = VisitMut::visit(what, &mut AliasProjections);
    let _ = VisitMut::visit(what, &mut PairsAsArguments);
    let _ = VisitMut::visit(what, &mut RowsFromFiles);
    let _ = VisitMut::visit(what, &mut QualifyUsingColumns);
    unsupported::check(what)
}

/// Rewrites the outermost query: `FROM t` without SELECT becomes `SELECT * FROM t`, and `FETCH FIRST n ROWS ONLY`
/// becomes LIMIT.
///
/// # Errors
/// `Kind::Invalid` if the query has both LIMIT and FETCH.
pub(crate) fn desugar_query(query: &mut Query) -> Result<()> {
    if let SetExpr::Select(select) = query.body.as_mut()
        && select.flavor == SelectFlavor::FromFirstNoSelect
    {
        select.flavor = SelectFlavor::Standard;
        select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    }
    if let Some(Fetch { with_ties: false, percent: false, quantity }) = &query.fetch {
        if !matches!(&query.limit_clause, None | Some(LimitClause::LimitOffset { limit: None, .. })) {
            return Err(Error::invalid("LIMIT and FETCH cannot be combined"));
        }
        let limit = quantity.clone().unwrap_or_else(|| Expr::Value(Value::Number("1".to_owned(), false).into()));
        let offset = match query.limit_clause.take() {
            Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
            _ => None,
        };
        query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(limit), offset, limit_by: Vec::new() });
        query.fetch = None;
    }
    Ok(())
}

/// Names result columns by their text, as DuckDB does: `sum(seq_num)`, not `sum(exposure.seq_num)`; 1, not `Int64(1)`.
/// In queries with DISTINCT or set operations, ORDER BY expressions that repeat a column are replaced by its name,
/// because DataFusion 55 does not match them.
struct AliasProjections;

impl VisitorMut for AliasProjections {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some((select, is_distinct)) = first(&mut query.body) else { return ControlFlow::Continue(()) };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && !is_column(expr)
            {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        if is_distinct && let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &mut query.order_by {
            // ORDER BY takes a plain name as a result column, and a number as its position.
            for ordered in order.iter_mut().filter(|o| !is_column(&o.expr) && !matches!(o.expr, Expr::Value(_))) {
                let same = select.projection.iter().find_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias } if *expr == ordered.expr => Some(alias.clone()),
                    _ => None,
                });
                if let Some(alias) = same {
                    ordered.expr = Expr::Identifier(alias);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// The SELECT that names the result columns, and whether the query has DISTINCT or a set operation.
fn first(body: &mut SetExpr) -> Option<(&mut Select, bool)> {
    match body {
        SetExpr::SetOperation { left, .. } => Some((first(left)?.0, true)),
        SetExpr::Select(select) => {
            let is_distinct = select.distinct.is_some();
            Some((select, is_distinct))
        }
        _ => None,
    }
}

/// Qualifies unqualified columns of `USING`. DataFusion 55 reports them as ambiguous in WHERE, and in a subquery it
/// resolves them to the outer query.
struct QualifyUsingColumns;

impl VisitorMut for QualifyUsingColumns {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let [from] = select.from.as_slice() else { return ControlFlow::Continue(()) };
        let mut owners = HashMap::new();
        for join in &from.joins {
            let (JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)) = &join.join_operator
            else {
                continue;
            };
            if let (JoinConstraint::Using(columns), Some(owner)) = (constraint, relation_name(&from.relation)) {
                for column in columns.iter().filter_map(simple_name) {
                    owners.entry(column).or_insert_with(|| owner.clone());
                }
            }
        }
        if !owners.is_empty() {
            let items = select.projection.iter_mut().filter_map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                _ => None,
            });
            let groups = match &mut select.group_by {
                GroupByExpr::Expressions(groups, _) => groups.as_mut_slice(),
                GroupByExpr::All(_) => &mut [],
            };
            let conditions = select.selection.iter_mut().chain(&mut select.having);
            items.chain(groups).chain(conditions).for_each(|expr| qualify(expr, &owners));
        }
        ControlFlow::Continue(())
    }
}

/// Replaces a file name that is given for a rows argument by a subquery; DataFusion resolves files only in FROM.
struct RowsFromFiles;

impl VisitorMut for RowsFromFiles {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Function { name, args, .. } => rows_from_file(name, args),
            TableFactor::Table { name, args: Some(args), .. } => rows_from_file(name, &mut args.args),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Replaces a string literal for a rows argument of `function` by `(SELECT * FROM 'file')`.
pub(crate) fn rows_from_file(function: &ObjectName, args: &mut [FunctionArg]) {
    let Some(function) = simple_name(function).and_then(|name| functions::find(&name)) else { return };
    for (position, arg) in args.iter_mut().enumerate() {
        let (name, expr) = match arg {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
            | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                (Some(name.value.as_str()), expr)
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (None, expr),
            _ => continue,
        };
        let takes_rows = function.argument(position, name).is_ok_and(|a| matches!(a.arg_type, ArgType::Query(_)));
        if let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(file), span }) = expr
            && takes_rows
            && let Ok(query) = select_all(Ident { span: *span, ..Ident::with_quote('\'', file.as_str()) }.into())
        {
            *expr = Expr::Subquery(query);
        }
    }
}

/// The name that qualifies the columns of a relation: its alias or its table name.
fn relation_name(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, args: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// Qualifies the columns of `owners` in an expression, except inside subqueries, which have their own scope.
fn qualify(expr: &mut Expr, owners: &HashMap<String, Ident>) {
    struct Qualifier<'a>(&'a HashMap<String, Ident>, usize);
    impl VisitorMut for Qualifier<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.1 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.1 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(name) = expr
                && self.1 == 0
                && let Some(owner) = self.0.get(&name.value.to_lowercase())
            {
                *expr = Expr::CompoundIdentifier(vec![owner.clone(), name.clone()]);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = expr.visit(&mut Qualifier(owners, 0));
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::engine::sql::tokens::DIALECT;

    fn query(sql: &str) -> Query {
        *Parser::new(&DIALECT).try_with_sql(sql).unwrap().parse_query().expect(sql)
    }

    fn rewritten(sql: &str) -> String {
        let mut query = query(sql);
        desugar_query(&mut query).expect(sql);
        normalize(&mut query).expect(sql);
        query.to_string()
    }

    #[test]
    fn short_forms_become_standard_queries() {
        assert_eq!(rewritten("FROM t"), "SELECT * FROM t");
        assert_eq!(rewritten("SELECT a FROM t FETCH FIRST 3 ROWS ONLY"), "SELECT a FROM t LIMIT 3");
        assert_eq!(rewritten("SELECT a FROM t OFFSET 2 FETCH FIRST ROW ONLY"), "SELECT a FROM t LIMIT 1 OFFSET 2");
        let error = desugar_query(&mut query("SELECT a FROM t LIMIT 1 FETCH FIRST 3 ROWS ONLY")).unwrap_err();
        assert_eq!(error.message(), "LIMIT and FETCH cannot be combined");
    }

    #[test]
    fn columns_are_named_by_their_text() {
        assert_eq!(
            rewritten("SELECT a, sum(b), 1 AS one FROM t GROUP BY a"),
            "SELECT a, sum(b) AS \"sum(b)\", 1 AS one FROM t GROUP BY a"
        );
        assert_eq!(
            rewritten("SELECT DISTINCT a + 1 FROM t ORDER BY a + 1 DESC"),
            "SELECT DISTINCT a + 1 AS \"a + 1\" FROM t ORDER BY \"a + 1\" DESC"
        );
        assert_eq!(
            rewritten("SELECT a + 1 FROM t UNION SELECT b FROM u ORDER BY 1"),
            "SELECT a + 1 AS \"a + 1\" FROM t UNION SELECT b FROM u ORDER BY 1"
        );
    }

    #[test]
    fn columns_of_using_are_those_of_the_left_table() {
        assert_eq!(
            rewritten("SELECT k, x FROM t JOIN u USING (k) WHERE k = 1 GROUP BY k, x HAVING max(k) > 2"),
            "SELECT t.k, x FROM t JOIN u USING(k) WHERE t.k = 1 GROUP BY t.k, x HAVING max(t.k) > 2"
        );
        // A subquery has its own scope, an alias names the table.
        assert_eq!(
            rewritten("SELECT x FROM t AS a JOIN u USING (k) WHERE k IN (SELECT k FROM v)"),
            "SELECT x FROM t AS a JOIN u USING(k) WHERE a.k IN (SELECT k FROM v)"
        );
        let outer = "SELECT t.k FROM t FULL JOIN u ON t.k = u.k WHERE k = 1";
        assert_eq!(rewritten(outer), outer);
    }

    #[test]
    fn a_file_name_is_the_rows_of_the_file() {
        assert_eq!(
            rewritten("SELECT * FROM associate('tag', 'x.csv')"),
            "SELECT * FROM associate('tag', (SELECT * FROM 'x.csv'))"
        );
        assert_eq!(
            rewritten("SELECT * FROM certify('c', rows => 'x.csv')"),
            "SELECT * FROM certify('c', rows => (SELECT * FROM 'x.csv'))"
        );
    }
}
