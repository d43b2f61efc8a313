//! Columns of `USING` that `WHERE` names alone, which DataFusion 55 takes for ambiguous: their owner is written before
//! them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, Query, Select, TableFactor, VisitMut, VisitorMut,
};

use super::statement::simple_name;

/// Qualifies the columns of `USING` where `WHERE` names them alone, which DataFusion 55 takes for ambiguous.
pub struct UsingInWhere;

impl VisitorMut for UsingInWhere {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let (Some(condition), [from]) = (&mut select.selection, select.from.as_slice()) else {
            return ControlFlow::Continue(());
        };
        let mut owners = HashMap::new();
        for join in &from.joins {
            let (constraint, kept) = match &join.join_operator {
                JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => {
                    (c, &from.relation)
                }
                JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (c, &join.relation),
                _ => continue,
            };
            if let (JoinConstraint::Using(columns), Some(owner)) = (constraint, relation_name(kept)) {
                for column in columns.iter().filter_map(simple_name) {
                    owners.entry(column).or_insert_with(|| owner.clone());
                }
            }
        }
        if !owners.is_empty() {
            qualify(condition, &owners);
        }
        ControlFlow::Continue(())
    }
}

/// By what name a relation's columns are qualified.
fn relation_name(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, args: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// Writes the owner before each column of `USING` in a condition; subqueries have names of their own.
fn qualify(condition: &mut Expr, owners: &HashMap<String, Ident>) {
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
    let _ = condition.visit(&mut Qualifier(owners, 0));
}
