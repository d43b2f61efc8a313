//! Decorrelates subqueries (T. Neumann and A. Kemper, "Unnesting Arbitrary Queries", BTW 2015). The distinct values
//! that a subquery reads from the outer query are its domain. Each node of the subquery is computed for all rows of the
//! domain at once: the columns of the domain become group keys of aggregates, and partition keys of windows and limits.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, FetchType, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    SkipType, Union, Window, WindowFrame, WindowFunctionDefinition, binary_expr, lit,
};

mod join;

use super::{fresh, unsupported};

/// The columns of an outer query that a subquery reads.
pub(super) struct Domain<'a> {
    outer_query: &'a LogicalPlan,
    columns: Vec<Column>,
}

/// A plan computed for all rows of a domain.
pub(super) struct Dependent {
    /// The plan, with the columns of the original plan and additional ones.
    pub plan: LogicalPlan,
    /// The columns with the values of the domain.
    pub keys: Vec<Column>,
    /// The column that numbers the rows of each key in the order of the plan.
    rank: Option<Column>,
}

impl<'a> Domain<'a> {
    /// The domain of a subquery; it may have no columns.
    ///
    /// # Errors
    /// `Kind::Unsupported` if two executions of the outer query may return different rows.
    pub(super) fn of(outer_query: &'a LogicalPlan, subquery: &LogicalPlan) -> Result<Self> {
        let schema = outer_query.schema();
        let mut columns = BTreeSet::new();
        outer_references(subquery, &mut |column| {
            if schema.has_column(column) {
                columns.insert(column.clone());
            }
        })?;
        if !columns.is_empty() && (!is_stable(outer_query)? || is_volatile(subquery)?) {
            return Err(unsupported(
                "a correlated subquery of this form with volatile functions, or over rows that depend on LIMIT, a window or \
                 row order, is not supported",
            ));
        }
        Ok(Self { outer_query, columns: columns.into_iter().collect() })
    }

    /// The join conditions between the outer query and the rows of the domain.
    pub(super) fn ties(&self, keys: &[Column]) -> Vec<Expr> {
        self.equal(&self.columns, keys)
    }

    /// Computes a plan for each row of the domain.
    ///
    /// # Errors
    /// `Kind::Unsupported` for nodes that cannot be decorrelated.
    pub(super) fn each(&self, plan: &LogicalPlan) -> Result<Dependent> {
        if !self.is_read_by(plan)? {
            if self.columns.is_empty() {
                return Ok(Dependent { plan: plan.clone(), keys: Vec::new(), rank: None });
            }
            let rows = self.rows()?;
            let plan = LogicalPlanBuilder::from(rows.plan).cross_join(plan.clone())?.build()?;
            return Ok(Dependent { plan, ..rows });
        }
        match plan {
            LogicalPlan::Subquery(lateral) => self.each(&lateral.subquery),
            LogicalPlan::Filter(filter) => {
                let Dependent { plan: input, keys, rank } = self.each(&filter.input)?;
                let predicate = self.bound(filter.predicate.clone(), &keys)?;
                Ok(Dependent { plan: LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?), keys, rank })
            }
            LogicalPlan::Projection(projection) => {
                let input = self.each(&projection.input)?;
                let expressions = self.all_bound(plan, &projection.expr, &input.keys)?;
                input.project(expressions)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = alias.input.schema().columns().into_iter().map(Expr::Column);
                let renamed = inner.zip(alias.schema.columns()).map(|(inner, column)| renamed(inner, &column));
                self.each(&alias.input)?.project(renamed.collect())
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(plan, aggregate),
            LogicalPlan::Window(window) => {
                let Dependent { plan: input, keys, .. } = self.each(&window.input)?;
                let expressions = self.all_bound(plan, &window.window_expr, &keys)?;
                let names = NamePreserver::new(plan);
                let partitioned = expressions.into_iter().map(|expr| {
                    let name = names.save(&expr);
                    let partitioned = expr.transform_down(|expr| match expr {
                        Expr::WindowFunction(mut function) => {
                            function.params.partition_by.extend(keys.iter().cloned().map(Expr::Column));
                            Ok(Transformed::new(Expr::WindowFunction(function), true, TreeNodeRecursion::Jump))
                        }
                        other => Ok(Transformed::no(other)),
                    });
                    Ok(name.restore(partitioned.data()?))
                });
                let partitioned = partitioned.collect::<Result<Vec<_>>>()?;
                let plan = LogicalPlan::Window(Window::try_new(partitioned, Arc::new(input))?);
                Ok(Dependent { plan, keys, rank: None })
            }
            LogicalPlan::Sort(sort) => {
                let input = self.each(&sort.input)?;
                let by = sort.expr.iter().map(|by| Ok(by.with_expr(self.bound(by.expr.clone(), &input.keys)?)));
                let by = by.collect::<Result<Vec<_>>>()?;
                let ranked = input.ranked(by)?;
                match sort.fetch {
                    Some(fetch) => ranked.limited(0, Some(fetch)),
                    None => Ok(ranked),
                }
            }
            LogicalPlan::Limit(limit) => {
                let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
                    (limit.get_skip_type()?, limit.get_fetch_type()?)
                else {
                    return Err(unsupported("a correlated subquery with a computed LIMIT is not supported"));
                };
                let input = self.each(&limit.input)?;
                let by = input.rank.iter().map(|rank| Expr::Column(rank.clone()).sort(true, false)).collect();
                input.ranked(by)?.limited(skip, fetch)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Dependent { plan, keys, .. } = self.each(input)?.narrowed(input)?;
                Ok(Dependent { plan: LogicalPlan::Distinct(Distinct::All(Arc::new(plan))), keys, rank: None })
            }
            LogicalPlan::Union(union) => self.union(plan, union),
            LogicalPlan::Join(join) => self.join(plan, join),
            _ => Err(unsupported("a correlated subquery of this form is not supported")),
        }
    }

    /// The rows of the domain.
    fn rows(&self) -> Result<Dependent> {
        let alias = fresh("domain");
        let named = self.columns.iter().map(|column| Expr::Column(column.clone()).alias(fresh("key")));
        let rows = LogicalPlanBuilder::from(self.outer_query.clone()).project(named)?.distinct()?.alias(alias)?;
        let plan = rows.build()?;
        let keys = plan.schema().columns();
        Ok(Dependent { plan, keys, rank: None })
    }

    fn is_read_by(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut is_read = false;
        outer_references(plan, &mut |column| is_read |= self.columns.contains(column))?;
        Ok(is_read)
    }

    /// Replaces outer references by columns of the domain.
    fn bound(&self, expr: Expr, keys: &[Column]) -> Result<Expr> {
        let bound = expr.transform_up(|expr| match &expr {
            Expr::OuterReferenceColumn(_, column) => Ok(match self.columns.iter().position(|outer| outer == column) {
                Some(at) => Transformed::yes(Expr::Column(keys[at].clone())),
                None => Transformed::no(expr),
            }),
            _ => Ok(Transformed::no(expr)),
        });
        bound.data()
    }

    /// Replaces outer references in the expressions of a node, which keep their names.
    fn all_bound(&self, node: &LogicalPlan, expressions: &[Expr], keys: &[Column]) -> Result<Vec<Expr>> {
        let names = NamePreserver::new(node);
        let bound = expressions.iter().map(|expr| {
            let name = names.save(expr);
            Ok(name.restore(self.bound(expr.clone(), keys)?))
        });
        bound.collect()
    }

    fn equal(&self, left: &[Column], right: &[Column]) -> Vec<Expr> {
        let schema = self.outer_query.schema();
        let pairs = self.columns.iter().zip(left.iter().zip(right));
        let equal = pairs.map(|(column, (left, right))| {
            let may_be_null = schema.qualified_field_from_column(column).is_ok_and(|(_, field)| field.is_nullable());
            let operator = if may_be_null { Operator::IsNotDistinctFrom } else { Operator::Eq };
            binary_expr(Expr::Column(left.clone()), operator, Expr::Column(right.clone()))
        });
        equal.collect()
    }

    fn aggregate(&self, node: &LogicalPlan, aggregate: &Aggregate) -> Result<Dependent> {
        if aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
            return Err(unsupported("a correlated subquery with GROUPING SETS, ROLLUP or CUBE is not supported"));
        }
        let input = self.each(&aggregate.input)?;
        let keys = input.keys.iter().cloned().map(Expr::Column);
        let groups = keys.chain(self.all_bound(node, &aggregate.group_expr, &input.keys)?).collect();
        let computed = self.all_bound(node, &aggregate.aggr_expr, &input.keys)?;
        let grouped = Aggregate::try_new(Arc::new(input.plan), groups, computed)?;
        let grouped = LogicalPlan::Aggregate(grouped);
        if !aggregate.group_expr.is_empty() {
            return Ok(Dependent { plan: grouped, keys: input.keys, rank: None });
        }
        // An aggregate without GROUP BY has a row for each row of the domain, also for those without matching rows.
        let rows = self.rows()?;
        let ties = conjunction(self.equal(&rows.keys, &input.keys));
        let joined = LogicalPlanBuilder::from(rows.plan).join_on(grouped, JoinType::Left, ties)?.build()?;
        let schema = Arc::clone(&aggregate.schema);
        let values = aggregate.aggr_expr.iter().zip(schema.columns()).map(|(expr, column)| {
            let value = Expr::Column(column.clone());
            let empty = of_no_rows(expr, schema.qualified_field_from_column(&column)?.1.data_type())?;
            Ok(if empty.is_null() { value } else { renamed(coalesce(vec![value, lit(empty)]), &column) })
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        Dependent { plan: joined, keys: rows.keys, rank: None }.project(values)
    }

    /// Computes a UNION, which matches columns by position and takes the names of the first part.
    fn union(&self, node: &LogicalPlan, union: &Union) -> Result<Dependent> {
        let mut keys = Vec::new();
        let parts = union.inputs.iter().map(|part| {
            let dependent = self.each(part)?;
            let columns = dependent.keys.iter().cloned().chain(part.schema().columns());
            let named = columns.enumerate().map(|(at, column)| Expr::Column(column).alias(format!("column{at}")));
            keys.clone_from(&dependent.keys);
            Ok(Arc::new(LogicalPlanBuilder::from(dependent.plan).project(named)?.build()?))
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let united = LogicalPlan::Union(Union::try_new_with_loose_types(parts)?);
        let columns = united.schema().columns();
        let names = keys.iter().cloned().chain(node.schema().columns());
        let named = columns.into_iter().zip(names).map(|(column, name)| renamed(Expr::Column(column), &name));
        let plan = LogicalPlanBuilder::from(united).project(named.collect::<Vec<_>>())?.build()?;
        Ok(Dependent { plan, keys, rank: None })
    }
}

impl Dependent {
    /// Projects to the keys, the rank and `expressions`.
    fn project(self, expressions: Vec<Expr>) -> Result<Self> {
        let own = self.keys.iter().chain(&self.rank).cloned().map(Expr::Column);
        let projection = Projection::try_new(own.chain(expressions).collect(), Arc::new(self.plan))?;
        Ok(Self { plan: LogicalPlan::Projection(projection), ..self })
    }

    /// Projects to the keys and the columns of a plan.
    fn narrowed(mut self, of: &LogicalPlan) -> Result<Self> {
        self.rank = None;
        self.project(of.schema().columns().into_iter().map(Expr::Column).collect())
    }

    /// Gives the keys the table name of the plan's columns: a mark join names its mark after the only table of its
    /// side.
    fn of_one_table(self, of: &LogicalPlan) -> Result<Self> {
        let Some(table) = of.schema().columns().into_iter().find_map(|column| column.relation) else { return Ok(self) };
        let names: Vec<_> = self.keys.iter().map(|_| fresh("key")).collect();
        let keys = self.keys.iter().zip(&names).map(|(key, name)| Expr::Column(key.clone()).alias(name));
        let columns = keys.chain(of.schema().columns().into_iter().map(Expr::Column)).collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(self.plan).project(columns)?.alias(table.clone())?.build()?;
        let keys = names.into_iter().map(|name| Column::new(Some(table.clone()), name)).collect();
        Ok(Self { plan, keys, rank: None })
    }

    /// Numbers the rows of each key in the given order.
    fn ranked(self, order_by: Vec<datafusion::logical_expr::SortExpr>) -> Result<Self> {
        let rank = fresh("rank");
        let params = WindowFunctionParams {
            args: Vec::new(),
            partition_by: self.keys.iter().cloned().map(Expr::Column).collect(),
            window_frame: WindowFrame::new((!order_by.is_empty()).then_some(false)),
            order_by,
            filter: None,
            null_treatment: None,
            distinct: false,
        };
        let function = WindowFunction { fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()), params };
        let number = Expr::WindowFunction(Box::new(function)).alias(&rank);
        let plan = LogicalPlan::Window(Window::try_new(vec![number], Arc::new(self.plan))?);
        Ok(Self { plan, keys: self.keys, rank: Some(Column::new_unqualified(rank)) })
    }

    /// Applies OFFSET and LIMIT to the numbered rows of each key.
    fn limited(self, skip: usize, fetch: Option<usize>) -> Result<Self> {
        let Some(rank) = self.rank.clone().map(Expr::Column) else { return Ok(self) };
        let number = |number: usize| lit(ScalarValue::UInt64(u64::try_from(number).ok()));
        let mut is_taken = rank.clone().gt(number(skip));
        if let Some(fetch) = fetch {
            is_taken = is_taken.and(rank.lt_eq(number(skip.saturating_add(fetch))));
        }
        Ok(Self { plan: LogicalPlan::Filter(Filter::try_new(is_taken, Arc::new(self.plan))?), ..self })
    }
}

/// Gives an expression the qualified name of a column.
fn renamed(expr: Expr, column: &Column) -> Expr {
    expr.alias_qualified(column.relation.clone(), &column.name)
}

/// The value of an aggregate over no rows.
fn of_no_rows(expr: &Expr, data_type: &datafusion::arrow::datatypes::DataType) -> Result<ScalarValue> {
    let mut expr = expr;
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    match expr {
        Expr::AggregateFunction(call) => call.func.default_value(data_type),
        _ => ScalarValue::try_from(data_type),
    }
}

/// Calls `found` for all columns of outer queries that a plan reads.
pub(super) fn outer_references(plan: &LogicalPlan, found: &mut dyn FnMut(&Column)) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::OuterReferenceColumn(_, column) = expr {
                    found(column);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Whether a plan returns the same rows in each execution.
fn is_stable(plan: &LogicalPlan) -> Result<bool> {
    let mut is_stable = true;
    plan.apply_with_subqueries(|node| {
        is_stable &= match node {
            LogicalPlan::Limit(limit) => is_sorted_by_all(&limit.input),
            LogicalPlan::Distinct(Distinct::On(_)) | LogicalPlan::Window(_) => false,
            _ => true,
        };
        if let LogicalPlan::Aggregate(aggregate) = node {
            let schema = aggregate.input.schema();
            is_stable &= aggregate.aggr_expr.iter().all(|expr| depends_on_no_order(expr, schema));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(is_stable && !is_volatile(plan)?)
}

fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut is_volatile = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            is_volatile |= expr.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(is_volatile)
}

/// Whether an aggregate is independent of the order of its rows.
fn depends_on_no_order(expr: &Expr, schema: &DFSchema) -> bool {
    let call = match expr {
        Expr::Alias(alias) => return depends_on_no_order(&alias.expr, schema),
        Expr::AggregateFunction(call) => call,
        _ => return false,
    };
    match call.func.name() {
        "count" | "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "bit_xor" => true,
        "sum" => expr.get_type(schema).is_ok_and(|kind| !kind.is_floating()),
        _ => false,
    }
}

/// Whether a plan is sorted by all its columns, so that rows with equal sort keys are equal.
fn is_sorted_by_all(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_sorted_by_all(&alias.input),
        LogicalPlan::Projection(Projection { input, expr, .. }) => {
            expr.iter().all(|expr| expr.column_refs().is_empty()) || is_sorted_by_all(input)
        }
        LogicalPlan::Sort(sort) => sort.input.schema().columns().into_iter().all(|column| {
            let column = Expr::Column(column);
            sort.expr.iter().any(|by| by.expr == column)
        }),
        _ => false,
    }
}
