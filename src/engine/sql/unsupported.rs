//! Refuses SQL that DataFusion 55 accepts but executes wrongly; the message names an alternative.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, GroupByExpr, JoinConstraint, JoinOperator, PipeOperator, Query, Select, SetExpr,
    SetOperator, SetQuantifier, TableFactor, Visit, Visitor,
};

use crate::error::{Error, Kind, Result};

/// Checks a statement and all its subqueries.
///
/// # Errors
/// `Kind::Unsupported` for the first refused syntax.
pub(crate) fn check(statement: &impl Visit) -> Result<()> {
    match statement.visit(&mut Refused) {
        ControlFlow::Break(message) => Err(Error::new(Kind::Unsupported, message)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

const SAMPLE: &str = "TABLESAMPLE is not supported; use WHERE random() < 0.1";
const MULTISET: &str = "INTERSECT ALL and EXCEPT ALL are not supported; INTERSECT, EXCEPT and UNION ALL are";

struct Refused;

impl Visitor for Refused {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<&'static str> {
        match query.fetch {
            Some(_) => ControlFlow::Break(
                "FETCH is supported only as FETCH FIRST n ROWS ONLY of the outermost query; use LIMIT",
            ),
            None => multiset(&query.body),
        }?;
        query.pipe_operators.iter().try_for_each(|piped| match piped {
            PipeOperator::Join(piped) => join(piped),
            PipeOperator::TableSample { .. } => ControlFlow::Break(SAMPLE),
            PipeOperator::Intersect { set_quantifier, .. } | PipeOperator::Except { set_quantifier, .. }
                if counts(*set_quantifier) =>
            {
                ControlFlow::Break(MULTISET)
            }
            _ => ControlFlow::Continue(()),
        })
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<&'static str> {
        let grouped = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => !modifiers.is_empty(),
        };
        if grouped {
            return ControlFlow::Break("GROUP BY … WITH is not supported; use GROUP BY ROLLUP (…) or CUBE (…)");
        }
        if select.prewhere.is_some() {
            return ControlFlow::Break("PREWHERE is not supported; use WHERE");
        }
        if select.top.is_some() {
            return ControlFlow::Break("TOP is not supported; use LIMIT at the end of the query");
        }
        if !select.connect_by.is_empty() {
            return ControlFlow::Break("CONNECT BY is not supported; use WITH RECURSIVE");
        }
        select.from.iter().flat_map(|from| &from.joins).try_for_each(join)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<&'static str> {
        match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                ControlFlow::Break(SAMPLE)
            }
            TableFactor::NestedJoin { table_with_joins, .. } => table_with_joins.joins.iter().try_for_each(join),
            TableFactor::Pivot { .. } => ControlFlow::Break(
                "PIVOT is not supported; use an aggregate for each column: count(*) FILTER (WHERE band = 'r') AS r",
            ),
            TableFactor::Unpivot { .. } => {
                ControlFlow::Break("UNPIVOT is not supported; use UNION ALL with a SELECT for each column")
            }
            TableFactor::MatchRecognize { .. } => ControlFlow::Break("MATCH_RECOGNIZE is not supported"),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<&'static str> {
        let rows = |right: &Expr| matches!(right, Expr::Subquery(_));
        match expr {
            Expr::AllOp { right, .. } if rows(right) => ControlFlow::Break(
                "ALL over a subquery is not supported; compare with its min or max, or use NOT IN or NOT EXISTS",
            ),
            Expr::AnyOp { right, compare_op, .. } if rows(right) && *compare_op != BinaryOperator::Eq => {
                ControlFlow::Break(
                    "ANY over a subquery is supported with = only; compare with its min or max, or use EXISTS",
                )
            }
            Expr::Collate { .. } => {
                ControlFlow::Break("COLLATE is not supported; strings are compared and sorted by Unicode code point")
            }
            Expr::SimilarTo { .. } => {
                ControlFlow::Break("SIMILAR TO is not supported; use LIKE, or ~ with a regular expression")
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Checks a join: without a condition it would be a cross join, and for USING in a RIGHT or FULL JOIN the merged column
/// would be that of the left side.
fn join(join: &ast::Join) -> ControlFlow<&'static str> {
    use JoinOperator::{
        Anti, FullOuter, Inner, Join, Left, LeftAnti, LeftOuter, LeftSemi, Right, RightAnti, RightOuter, RightSemi,
        Semi, StraightJoin,
    };
    match &join.join_operator {
        Join(on) | Inner(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on) | FullOuter(on) | Semi(on)
        | LeftSemi(on) | RightSemi(on) | Anti(on) | LeftAnti(on) | RightAnti(on) | StraightJoin(on)
            if *on == JoinConstraint::None =>
        {
            ControlFlow::Break("a JOIN needs ON or USING; use CROSS JOIN for all pairs of rows")
        }
        JoinOperator::AsOf { .. } => ControlFlow::Break(
            "ASOF JOIN is not supported; find_first searches by validity range, and row_number() OVER (PARTITION BY … \
             ORDER BY …) finds the last row before another",
        ),
        Right(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | RightOuter(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | FullOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) => ControlFlow::Break(
            "a RIGHT or FULL JOIN is supported with ON only: a column of USING would be that of the left side",
        ),
        _ => ControlFlow::Continue(()),
    }
}

/// Refuses `INTERSECT ALL` and `EXCEPT ALL`, for which DataFusion ignores the number of duplicates.
fn multiset(body: &SetExpr) -> ControlFlow<&'static str> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return ControlFlow::Continue(()) };
    if counts(*set_quantifier) && !matches!(op, SetOperator::Union) {
        return ControlFlow::Break(MULTISET);
    }
    multiset(left)?;
    multiset(right)
}

fn counts(quantifier: SetQuantifier) -> bool {
    matches!(quantifier, SetQuantifier::All | SetQuantifier::AllByName)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::engine::sql::tokens::DIALECT;

    fn checked(sql: &str) -> Result<()> {
        check(&Parser::parse_sql(&DIALECT, sql).expect(sql)[0])
    }

    #[test]
    fn what_would_be_answered_wrongly_is_refused_with_another_way() {
        for (sql, message) in [
            ("SELECT * FROM t TABLESAMPLE (10)", "WHERE random() < 0.1"),
            ("SELECT a FROM t INTERSECT ALL SELECT a FROM u", "INTERSECT ALL and EXCEPT ALL"),
            ("SELECT 1 UNION ALL (SELECT a FROM t EXCEPT ALL SELECT a FROM u)", "INTERSECT ALL and EXCEPT ALL"),
            ("SELECT * FROM (SELECT a FROM t FETCH FIRST 2 ROWS ONLY)", "use LIMIT"),
            ("SELECT a, count(*) FROM t GROUP BY a WITH ROLLUP", "GROUP BY ROLLUP (…)"),
            ("SELECT TOP 5 * FROM t", "use LIMIT"),
            ("SELECT * FROM t WHERE a > ALL (SELECT b FROM u)", "its min or max"),
            ("SELECT * FROM t WHERE a > ANY (SELECT b FROM u)", "supported with = only"),
            ("SELECT a COLLATE \"C\" FROM t", "Unicode code point"),
            ("SELECT * FROM t WHERE a SIMILAR TO 'x'", "use LIKE"),
            ("SELECT * FROM t JOIN u", "needs ON or USING"),
            ("SELECT * FROM t WHERE a IN (SELECT a FROM u JOIN v)", "needs ON or USING"),
            ("SELECT * FROM t FULL JOIN u USING (a)", "supported with ON only"),
            ("SELECT * FROM t RIGHT JOIN u USING (a)", "supported with ON only"),
            ("SELECT * FROM t NATURAL FULL JOIN u", "supported with ON only"),
        ] {
            let error = checked(sql).expect_err(sql);
            assert_eq!(error.kind(), Kind::Unsupported, "{sql}");
            assert!(error.message().contains(message), "{sql}: {error}");
        }
    }

    #[test]
    fn the_neighbours_are_accepted() {
        for sql in [
            "SELECT a FROM t INTERSECT SELECT a FROM u",
            "SELECT a FROM t UNION ALL SELECT a FROM u",
            "SELECT a, count(*) FROM t GROUP BY ROLLUP (a)",
            "SELECT * FROM t WHERE a = ANY (SELECT b FROM u)",
            "SELECT * FROM t CROSS JOIN u",
            "SELECT * FROM t LEFT JOIN u USING (a)",
            "SELECT * FROM t FULL JOIN u ON t.a = u.a",
            "SELECT * FROM t NATURAL JOIN u",
        ] {
            assert!(checked(sql).is_ok(), "{sql}");
        }
    }
}
