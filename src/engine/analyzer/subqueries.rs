//! Subqueries in conditions and values, with the three truth values of SQL. DataFusion 55 answers some of them wrongly
//! (NOT IN where NULL is about, EXISTS over an aggregate, limits and windows in correlated subqueries) and does not know
//! IN and EXISTS outside WHERE. Here they become forms that it has right; what cannot be is refused.

mod existence;
mod member;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, expr_to_columns, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Distinct, Expr, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Subquery, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use self::existence::{Ungrouped, existence, ungrouped};
use self::member::Member;
use crate::error::{Error, Kind};

/// Rewrites subqueries, or refuses them.
#[derive(Debug)]
pub struct Subqueries;

impl AnalyzerRule for Subqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(node).data()
    }

    fn name(&self) -> &str {
        "subqueries"
    }
}

/// What to say of a subquery that is not understood.
fn refused(why: &str) -> datafusion::error::DataFusionError {
    Error::new(Kind::Unsupported, format!("{why}; write it as a JOIN")).into()
}

/// A name that no column or table has.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("__{what}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut has_any = false;
    let schema = merge_schema(&plan.inputs());
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Some(subquery) = subquery(expr) {
                has_any = true;
                check(subquery, &schema)?;
                // DataFusion asks HAVING of rows that it adds where nothing matches, or of none.
                if matches!(expr, Expr::ScalarSubquery(_))
                    && !subquery.outer_ref_columns.is_empty()
                    && ungrouped(&subquery.subquery).is_some_and(|known| known.having.is_some())
                {
                    return Err(refused("a correlated value with HAVING is not supported"));
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !has_any {
        return Ok(Transformed::no(plan));
    }
    match plan {
        LogicalPlan::Filter(filter) => {
            let mut conditions = Vec::new();
            for condition in split_conjunction_owned(filter.predicate) {
                conditions.extend(condition_of(condition, &schema)?);
            }
            let predicate = conjunction(conditions).unwrap_or_else(|| lit(true));
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
        }
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => values_in(plan, &schema).map(Transformed::yes),
        LogicalPlan::Sort(_) | LogicalPlan::Window(_) => {
            let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
            let rewritten = values_in(plan, &schema)?;
            // Without the columns that the subqueries brought.
            Ok(Transformed::yes(LogicalPlanBuilder::from(rewritten).project(columns)?.build()?))
        }
        LogicalPlan::Join(_) => {
            let mut is_plain = true;
            plan.apply_expressions(|expr| {
                expr.apply(|expr| {
                    is_plain &= match expr {
                        Expr::ScalarSubquery(subquery) => subquery.outer_ref_columns.is_empty(),
                        other => subquery_of_condition(other).is_none(),
                    };
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
            if is_plain {
                return Ok(Transformed::no(plan));
            }
            let said = "a subquery in ON is not supported; put it into WHERE";
            Err(Error::new(Kind::Unsupported, said).into())
        }
        plan => Ok(Transformed::no(plan)),
    }
}

/// The subquery that an expression is, with its own expressions left aside.
fn subquery(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        other => subquery_of_condition(other),
    }
}

fn subquery_of_condition(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(found) => Some(&found.subquery),
        Expr::SetComparison(found) => Some(&found.subquery),
        _ => None,
    }
}

/// Refuses correlated subqueries that DataFusion would take apart wrongly: it puts the conditions that name columns of the
/// query around above all else, also above what must come after them.
fn check(subquery: &Subquery, schema: &DFSchema) -> Result<()> {
    for outer in &subquery.outer_ref_columns {
        if let Expr::OuterReferenceColumn(_, column) = outer
            && !schema.has_column(column)
        {
            return Err(refused(&format!("a subquery names {column} of a query that is not the one around it")));
        }
    }
    if subquery.outer_ref_columns.is_empty() {
        return Ok(());
    }
    let mut plan = subquery.subquery.as_ref();
    // LIMIT at the end of EXISTS only asks whether there is a row.
    while let LogicalPlan::Limit(Limit { input, .. })
    | LogicalPlan::Projection(Projection { input, .. })
    | LogicalPlan::Sort(datafusion::logical_expr::Sort { input, .. }) = plan
    {
        plan = input.as_ref();
    }
    plan.apply(|node| {
        let is_before = match node {
            LogicalPlan::Window(window) => is_correlated(&window.input)?,
            // It has a row where nothing matches, which is lost unless the aggregate is that of the whole subquery.
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                is_correlated(&aggregate.input)?
                    && !ungrouped(&subquery.subquery).is_some_and(|known| std::ptr::eq(known.aggregate, node))
            }
            LogicalPlan::Limit(limit) => is_correlated(&limit.input)?,
            LogicalPlan::Distinct(Distinct::On(on)) => is_correlated(&on.input)?,
            LogicalPlan::Join(join) => {
                let (left, right) = (is_correlated(&join.left)?, is_correlated(&join.right)?);
                match join.join_type {
                    JoinType::Inner => false,
                    JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => right,
                    JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => left,
                    _ => left || right,
                }
            }
            _ => false,
        };
        match is_before {
            true => Err(refused(
                "a correlated subquery with a window, LIMIT, outer join or inner aggregate is not supported",
            )),
            false => Ok(TreeNodeRecursion::Continue),
        }
    })?;
    Ok(())
}

/// Whether a plan names columns of a query around it.
fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= node.contains_outer_reference();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// What stands in WHERE, where unknown is as good as false: conditions, all of which must hold.
fn condition_of(condition: Expr, schema: &DFSchema) -> Result<Vec<Expr>> {
    let condition = match condition {
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(found) => Expr::InSubquery(InSubquery { negated: !found.negated, ..found }),
            Expr::Exists(exists) => Expr::Exists(Exists { negated: !exists.negated, ..exists }),
            inner => Expr::Not(Box::new(inner)),
        },
        other => other,
    };
    match condition {
        Expr::Exists(exists) => Ok(vec![existence(exists)?]),
        Expr::SetComparison(found) => condition_of(Expr::InSubquery(any_of(found)?), schema),
        Expr::InSubquery(found) => {
            if let Some(compared) = with_single_row(&found)? {
                return Ok(vec![compared]);
            }
            // DataFusion knows NULL where a column is looked for in a subquery that stands for itself.
            let is_known = found.subquery.outer_ref_columns.is_empty() && matches!(*found.expr, Expr::Column(_));
            if !found.negated || is_known {
                return Ok(vec![Expr::InSubquery(found)]);
            }
            let member = Member::of(&found, schema)?;
            let mut all = vec![member.exists(member.matching(), true)?];
            if member.may_list_null {
                all.push(member.exists(member.null_listed(), true)?);
            }
            if member.may_be_null {
                all.push(found.expr.is_not_null().or(member.exists(None, true)?));
            }
            Ok(all)
        }
        // DataFusion takes EXISTS anywhere in WHERE.
        other => Ok(vec![values(other, schema)?]),
    }
}

/// IN, EXISTS and ANY in an expression, as true, false or unknown.
fn values(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|expr| match expr {
        Expr::Exists(exists) => Ok(Transformed::yes(existence(exists)?)),
        Expr::InSubquery(found) => membership(found, schema).map(Transformed::yes),
        Expr::SetComparison(found) => membership(any_of(found)?, schema).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn any_of(found: SetComparison) -> Result<InSubquery> {
    let SetComparison { expr, subquery, op, quantifier } = found;
    match (op, quantifier) {
        (Operator::Eq, SetQuantifier::Any) => Ok(InSubquery { expr, subquery, negated: false }),
        _ => Err(Error::new(Kind::Unsupported, "ANY over a subquery is supported with = only").into()),
    }
}

/// Whether a value is among those of a subquery.
fn membership(found: InSubquery, schema: &DFSchema) -> Result<Expr> {
    if let Some(compared) = with_single_row(&found)? {
        return Ok(compared);
    }
    let member = Member::of(&found, schema)?;
    let matched = member.exists(member.matching(), false)?;
    let mut unknown = Vec::new();
    if member.may_list_null {
        unknown.push(member.exists(member.null_listed(), false)?);
    }
    if member.may_be_null {
        unknown.push(found.expr.as_ref().clone().is_null().and(member.exists(None, false)?));
    }
    let is_in = match unknown.into_iter().reduce(Expr::or) {
        None => matched,
        Some(unknown) => Expr::Case(Case {
            expr: None,
            when_then_expr: vec![
                (Box::new(matched), Box::new(lit(true))),
                (Box::new(unknown), Box::new(lit(ScalarValue::Boolean(None)))),
            ],
            else_expr: Some(Box::new(lit(false))),
        }),
    };
    Ok(if found.negated { Expr::Not(Box::new(is_in)) } else { is_in })
}

/// A subquery that has one row whatever it reads is a value.
fn with_single_row(found: &InSubquery) -> Result<Option<Expr>> {
    let one = match ungrouped(&found.subquery.subquery) {
        None => return Ok(None),
        // Only of those that name columns of the query around does DataFusion lose the row.
        Some(_) if found.subquery.outer_ref_columns.is_empty() => return Ok(None),
        Some(Ungrouped { having: Some(_), .. }) => {
            return Err(refused("IN over a correlated aggregate with HAVING is not supported"));
        }
        Some(Ungrouped { having: None, .. }) => Expr::ScalarSubquery(found.subquery.clone()),
    };
    let value = found.expr.as_ref().clone();
    Ok(Some(if found.negated { value.not_eq(one) } else { value.eq(one) }))
}

/// Subqueries where values are computed: EXISTS becomes a column of a join, as DataFusion makes it in WHERE; a correlated
/// value becomes a column before anything but SELECT uses it.
fn values_in(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    let is_projection = matches!(plan, LogicalPlan::Projection(_));
    let inputs = plan.inputs();
    let [input] = inputs.as_slice() else { return Ok(plan) };
    let mut input = (*input).clone();
    let names = NamePreserver::new(&plan);
    let mut computed = Vec::new();
    let expressions = plan.expressions().into_iter().map(|expr| {
        let name = names.save(&expr);
        let expr = values(expr, schema)?.transform_up(|expr| match expr {
            Expr::Exists(exists) => {
                let (joined, mark) = marked(&input, &exists.subquery)?;
                input = joined;
                let mark = Expr::Column(mark);
                Ok(Transformed::yes(if exists.negated { Expr::Not(Box::new(mark)) } else { mark }))
            }
            Expr::ScalarSubquery(subquery) if !is_projection && !subquery.outer_ref_columns.is_empty() => {
                let name = fresh("value");
                computed.push(Expr::ScalarSubquery(subquery).alias(&name));
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(name.restore(expr.data()?))
    });
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    if !computed.is_empty() {
        let columns = input.schema().columns().into_iter().map(Expr::Column).chain(computed);
        input = LogicalPlanBuilder::from(input.clone()).project(columns.collect::<Vec<_>>())?.build()?;
    }
    plan.with_new_exprs(expressions, vec![input])
}

/// A plan with a column that tells of each row whether a subquery has one.
fn marked(left: &LogicalPlan, subquery: &Subquery) -> Result<(LogicalPlan, Column)> {
    let mut pull_up = PullUpCorrelatedExpr::new().with_exists_sub_query(true);
    let pulled = subquery.subquery.as_ref().clone().rewrite(&mut pull_up).data()?;
    if !pull_up.can_pull_up {
        return Err(refused("a correlated subquery of this form is not supported"));
    }
    let alias = fresh("subquery");
    let right = LogicalPlanBuilder::from(pulled).alias(alias.clone())?.build()?;
    let inner: BTreeSet<Column> = pull_up.correlated_subquery_cols_map.into_values().flatten().collect();
    let filter = conjunction(pull_up.join_filters).unwrap_or_else(|| lit(true));
    let filter = filter.transform_up(|expr| match expr {
        Expr::Column(column) if inner.contains(&column) => {
            Ok(Transformed::yes(Expr::Column(Column::new(Some(alias.clone()), column.name))))
        }
        other => Ok(Transformed::no(other)),
    });
    let filter = filter.data()?;
    let mut needed = std::collections::HashSet::new();
    expr_to_columns(&filter, &mut needed)?;
    let mut needed: Vec<Column> = needed.into_iter().filter(|column| right.schema().has_column(column)).collect();
    needed.sort();
    let right = match needed.is_empty() {
        true => right,
        false => LogicalPlanBuilder::from(right).project(needed.into_iter().map(Expr::Column))?.build()?,
    };
    let joined = LogicalPlanBuilder::from(left.clone()).join_on(right, JoinType::LeftMark, Some(filter))?.build()?;
    Ok((joined, Column::new(Some(alias), "mark")))
}
