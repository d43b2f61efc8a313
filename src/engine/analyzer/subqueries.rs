//! Subqueries in conditions and values, with SQL's three-valued logic. DataFusion 55 executes some wrongly (NOT IN with
//! NULL, EXISTS over an aggregate, LIMIT and windows in correlated subqueries) and does not support IN and EXISTS
//! outside WHERE. Subqueries that it executes correctly are left to it; all others are rewritten to joins.

mod domain;
mod existence;
mod member;
mod simple;
mod single;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue, Spans};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit};
use datafusion::optimizer::AnalyzerRule;

use self::domain::{Domain, outer_references};
use self::existence::{existence, has_no_two_rows, has_single_row};
use self::member::Member;
use self::simple::{has_plain_rows, has_plain_value, is_correlated};
use self::single::single;
use crate::error::{Error, Kind};

/// Rewrites subqueries, or refuses them.
#[derive(Debug)]
pub(super) struct Subqueries;

impl AnalyzerRule for Subqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(node).data()
    }

    fn name(&self) -> &str {
        "subqueries"
    }
}

/// The error for a subquery that is not supported.
fn unsupported(why: &str) -> datafusion::error::DataFusionError {
    Error::new(Kind::Unsupported, format!("{why}; write it as a JOIN")).into()
}

/// A unique name for a column or table.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("__{what}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Join(join) = plan {
        return lateral(join);
    }
    if !has_subquery(&plan)? {
        return Ok(Transformed::no(plan));
    }
    match plan {
        LogicalPlan::Filter(filter) => conditions(filter).map(Transformed::yes),
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => values(plan).map(Transformed::yes),
        LogicalPlan::Sort(_) | LogicalPlan::Window(_) => {
            let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
            // Removes the columns that the subqueries added.
            Ok(Transformed::yes(LogicalPlanBuilder::from(values(plan)?).project(columns)?.build()?))
        }
        plan => Ok(Transformed::no(plan)),
    }
}

/// The subquery of an expression node, without looking at its children.
fn subquery(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(found) => Some(&found.subquery),
        Expr::SetComparison(found) => Some(&found.subquery),
        _ => None,
    }
}

fn has_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= expr.exists(|expr| Ok(subquery(expr).is_some()))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// A subquery with the list of outer columns that it reads.
fn correlated(plan: Arc<LogicalPlan>, spans: Spans) -> Subquery {
    Subquery { outer_ref_columns: plan.all_out_ref_exprs(), subquery: plan, spans }
}

/// Rewrites a LATERAL join: a subquery in FROM that reads columns of the tables before it.
fn lateral(join: Join) -> Result<Transformed<LogicalPlan>> {
    let is_lateral = join.right.exists(|node| Ok(matches!(node, LogicalPlan::Subquery(_))))?;
    if is_lateral && matches!(join.join_type, JoinType::Inner | JoinType::Left) && !has_subquery_in_on(&join)? {
        let columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        let domain = Domain::of(&join.left, &join.right)?;
        let right = domain.each(&join.right)?;
        let mut conditions = domain.ties(&right.keys);
        conditions.extend(join.on.into_iter().map(|(left, right)| left.eq(right)));
        conditions.extend(join.filter);
        let condition = conjunction(conditions).unwrap_or_else(|| lit(true));
        let joined = LogicalPlanBuilder::from(Arc::unwrap_or_clone(join.left));
        let joined = joined.join_on(right.plan, join.join_type, Some(condition))?;
        return Ok(Transformed::yes(joined.project(columns)?.build()?));
    }
    if has_subquery_in_on(&join)? {
        let message = "a subquery in ON is not supported; put it into WHERE";
        return Err(Error::new(Kind::Unsupported, message).into());
    }
    Ok(Transformed::no(LogicalPlan::Join(join)))
}

/// Whether the condition of a join has a subquery other than an uncorrelated scalar subquery.
fn has_subquery_in_on(join: &Join) -> Result<bool> {
    let on = join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter);
    let mut found = false;
    for condition in on {
        found |= condition.exists(|expr| match expr {
            Expr::ScalarSubquery(value) => is_correlated(&value.subquery),
            other => Ok(subquery(other).is_some()),
        })?;
    }
    Ok(found)
}

/// Rewrites WHERE and HAVING, where NULL is equivalent to false.
fn conditions(filter: Filter) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut attached = Attached::to(&filter.input, true, true);
    let mut kept = Vec::new();
    for condition in split_conjunction_owned(filter.predicate) {
        for condition in attached.condition(condition)? {
            kept.extend(attached.filter(condition)?);
        }
    }
    let is_wider = attached.joined.schema().fields().len() > columns.len();
    let mut plan = attached.joined;
    if let Some(predicate) = conjunction(kept) {
        plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
    }
    if is_wider { LogicalPlanBuilder::from(plan).project(columns)?.build() } else { Ok(plan) }
}

/// Rewrites subqueries in the expressions of other nodes.
fn values(plan: LogicalPlan) -> Result<LogicalPlan> {
    let inputs = plan.inputs();
    let [input] = inputs.as_slice() else { return Ok(plan) };
    let names = NamePreserver::new(&plan);
    let mut attached = Attached::to(input, false, matches!(plan, LogicalPlan::Projection(_)));
    let expressions = plan.expressions().into_iter().map(|expr| {
        let name = names.save(&expr);
        Ok(name.restore(attached.placed(expr)?))
    });
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    let input = attached.joined;
    plan.with_new_exprs(expressions, vec![input])
}

/// The input of a node, with the subqueries of its expressions joined to it.
struct Attached<'a> {
    input: &'a LogicalPlan,
    joined: LogicalPlan,
    /// Whether DataFusion supports EXISTS, and correlated scalar subqueries, in this node.
    takes_exists: bool,
    takes_values: bool,
}

impl<'a> Attached<'a> {
    fn to(input: &'a LogicalPlan, takes_exists: bool, takes_values: bool) -> Self {
        Self { input, joined: input.clone(), takes_exists, takes_values }
    }

    fn schema(&self) -> &'a DFSchema {
        self.input.schema()
    }

    /// Splits a condition into conditions that must all be true.
    fn condition(&mut self, condition: Expr) -> Result<Vec<Expr>> {
        let condition = match condition {
            Expr::Not(inner) => match *inner {
                Expr::InSubquery(found) => Expr::InSubquery(InSubquery { negated: !found.negated, ..found }),
                Expr::Exists(exists) => Expr::Exists(Exists { negated: !exists.negated, ..exists }),
                inner => Expr::Not(Box::new(inner)),
            },
            other => other,
        };
        let found = match condition {
            Expr::Exists(exists) => return Ok(vec![existence(exists)?]),
            Expr::SetComparison(found) => any_of(found)?,
            Expr::InSubquery(found) => found,
            other => return Ok(vec![other]),
        };
        if self.is_left_to_datafusion(&found)? {
            return Ok(vec![Expr::InSubquery(found)]);
        }
        let found = self.with_own_value(found)?;
        let member = Member::of(&found, self.joined.schema())?;
        if found.negated { member.is_not_listed() } else { Ok(vec![member.is_listed()?]) }
    }

    /// Whether DataFusion executes IN correctly as a condition.
    fn is_left_to_datafusion(&self, found: &InSubquery) -> Result<bool> {
        let listed = &found.subquery.subquery;
        if has_subquery_within(&found.expr)? || found.expr.contains_outer() {
            return Ok(false);
        }
        if !is_correlated(listed)? {
            // DataFusion handles NULL correctly if the value is a column.
            return Ok(!found.negated || matches!(*found.expr, Expr::Column(_)));
        }
        // Columns of the value would be resolved to columns of the same name in the subquery.
        let is_hidden =
            listed.exists(|node| Ok(found.expr.column_refs().iter().any(|column| node.schema().has_column(column))))?;
        Ok(!found.negated && !is_hidden && has_plain_rows(listed, self.schema())?)
    }

    /// The condition that remains in WHERE; `None` if a join replaces it.
    fn filter(&mut self, condition: Expr) -> Result<Option<Expr>> {
        match condition {
            Expr::InSubquery(found) => Ok(Some(Expr::InSubquery(found))),
            Expr::Exists(exists) if !self.takes(&exists.subquery)? => {
                let join_type = if exists.negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
                self.join_rows(&exists.subquery, join_type)?;
                Ok(None)
            }
            other => self.placed(other).map(Some),
        }
    }

    /// Replaces the subqueries of an expression by columns of joins, unless DataFusion supports them.
    fn placed(&mut self, expr: Expr) -> Result<Expr> {
        let placed = expr.transform_down(|expr| {
            let placed = match expr {
                Expr::Exists(exists) => match existence(exists)? {
                    Expr::Exists(exists) if self.takes(&exists.subquery)? => Expr::Exists(exists),
                    Expr::Exists(exists) => {
                        let mark = Expr::Column(self.join_rows(&exists.subquery, JoinType::LeftMark)?);
                        if exists.negated { Expr::Not(Box::new(mark)) } else { mark }
                    }
                    known => known,
                },
                Expr::InSubquery(found) => self.membership(found)?,
                Expr::SetComparison(found) => self.membership(any_of(found)?)?,
                Expr::ScalarSubquery(value) if self.takes_value(&value)? => Expr::ScalarSubquery(value_or_null(value)?),
                Expr::ScalarSubquery(value) => Expr::Column(self.join_value(&value)?),
                other => return Ok(Transformed::no(other)),
            };
            Ok(Transformed::new(placed, true, TreeNodeRecursion::Jump))
        });
        placed.data()
    }

    fn takes(&self, subquery: &Subquery) -> Result<bool> {
        Ok(self.takes_exists && has_plain_rows(&subquery.subquery, self.schema())?)
    }

    fn takes_value(&self, value: &Subquery) -> Result<bool> {
        let is_taken = self.takes_values && has_plain_value(&value.subquery, self.schema())?;
        Ok(is_taken || !is_correlated(&value.subquery)?)
    }

    /// The value of IN with a subquery: true, false or NULL.
    fn membership(&mut self, found: InSubquery) -> Result<Expr> {
        let found = self.with_own_value(found)?;
        let member = Member::of(&found, self.joined.schema())?;
        let matched = member.is_listed()?;
        let is_in = match member.is_unknown()? {
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
        self.placed(if found.negated { Expr::Not(Box::new(is_in)) } else { is_in })
    }

    /// Replaces the subqueries in the value of IN by columns, because the value moves into the subquery.
    fn with_own_value(&mut self, found: InSubquery) -> Result<InSubquery> {
        let takes = (self.takes_exists, self.takes_values);
        (self.takes_exists, self.takes_values) = (false, false);
        let value = self.placed(*found.expr);
        (self.takes_exists, self.takes_values) = takes;
        Ok(InSubquery { expr: Box::new(value?), ..found })
    }

    /// The plan with the columns that a subquery reads: the input, or the current join.
    fn read_by(&self, subquery: &Subquery) -> Result<LogicalPlan> {
        let mut is_of_input = true;
        outer_references(&subquery.subquery, &mut |column| {
            is_of_input &= self.schema().has_column(column) || !self.joined.schema().has_column(column);
        })?;
        Ok(if is_of_input { self.input.clone() } else { self.joined.clone() })
    }

    /// Joins the rows of a subquery as a semi, anti or mark join; returns the mark column.
    fn join_rows(&mut self, subquery: &Subquery, join_type: JoinType) -> Result<Column> {
        let outer = self.read_by(subquery)?;
        let domain = Domain::of(&outer, &subquery.subquery)?;
        let alias = fresh("subquery");
        let rows = domain.each(&subquery.subquery)?;
        let keys = rows.keys.iter().enumerate().map(|(at, key)| Expr::Column(key.clone()).alias(format!("tie{at}")));
        // A join needs at least one column.
        let columns = keys.chain([lit(true).alias("has_row")]).collect::<Vec<_>>();
        let right = LogicalPlanBuilder::from(rows.plan).project(columns)?.alias(alias.clone())?;
        // Without keys, one row decides for all rows of the outer query.
        let right = if rows.keys.is_empty() { right.limit(0, Some(1))? } else { right }.build()?;
        let named = |at| Column::new(Some(alias.clone()), format!("tie{at}"));
        let keys: Vec<_> = (0..rows.keys.len()).map(named).collect();
        let ties = conjunction(domain.ties(&keys)).unwrap_or_else(|| lit(true));
        self.joined = LogicalPlanBuilder::from(self.joined.clone()).join_on(right, join_type, Some(ties))?.build()?;
        Ok(Column::new(Some(alias), "mark"))
    }

    /// Joins the value of a scalar subquery; returns its column.
    fn join_value(&mut self, value: &Subquery) -> Result<Column> {
        let outer = self.read_by(value)?;
        let domain = Domain::of(&outer, &value.subquery)?;
        let column = Column::from(value.subquery.schema().qualified_field(0));
        let rows = domain.each(&value.subquery)?;
        let name = fresh("value");
        let keys = rows.keys.iter().cloned().map(Expr::Column);
        let right = LogicalPlanBuilder::from(rows.plan);
        let right = match has_no_two_rows(&value.subquery) {
            true => right.project(keys.chain([Expr::Column(column).alias(&name)]).collect::<Vec<_>>())?,
            false => right.aggregate(keys, [single(Expr::Column(column)).alias(&name)])?,
        };
        let right = right.build()?;
        let ties = conjunction(domain.ties(&rows.keys)).unwrap_or_else(|| lit(true));
        self.joined =
            LogicalPlanBuilder::from(self.joined.clone()).join_on(right, JoinType::Left, Some(ties))?.build()?;
        Ok(Column::new_unqualified(name))
    }
}

/// Makes a scalar subquery nullable if it may have no row; DataFusion derives nullability only from the column.
fn value_or_null(value: Subquery) -> Result<Subquery> {
    let plan = &value.subquery;
    if is_correlated(plan)? || has_single_row(plan) {
        return Ok(value);
    }
    let column = Column::from(plan.schema().qualified_field(0));
    let row = LogicalPlanBuilder::empty(true).join_on(plan.as_ref().clone(), JoinType::Left, Some(lit(true)))?;
    let nullable = row.project([Expr::Column(column)])?.build()?;
    Ok(Subquery { subquery: Arc::new(nullable), ..value })
}

fn has_subquery_within(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| Ok(subquery(expr).is_some()))
}

fn any_of(found: SetComparison) -> Result<InSubquery> {
    let SetComparison { expr, subquery, op, quantifier } = found;
    match (op, quantifier) {
        (Operator::Eq, SetQuantifier::Any) => Ok(InSubquery { expr, subquery, negated: false }),
        _ => Err(Error::new(Kind::Unsupported, "ANY over a subquery is supported with = only").into()),
    }
}
