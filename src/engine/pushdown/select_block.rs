//! A query block: one SELECT, built from the nodes of a plan.

mod joins;

use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Aggregate, Expr, Limit, LogicalPlan, TableScan};
use datafusion::scalar::ScalarValue;

use crate::engine::catalog::registry_table::{Estimate, RegistryScan, RegistryTable};
use crate::engine::unparse::{NotPushed, SqlExpr, SqlExprWriter, Translated, all};
use crate::registry::db::conn::Conn;
use crate::registry::db::dialect::Dialect;
use crate::registry::schema::{ReadColumn, arrow_type};

/// Finds the registry table behind a scan.
pub(super) type TableLookup<'a> = dyn Fn(&TableScan) -> Option<Arc<RegistryTable>> + 'a;

/// One SELECT under construction.
pub(super) struct SelectBlock {
    conn: Conn,
    /// The output expressions, in the order of the plan's schema.
    exprs: Vec<SqlExpr>,
    /// The first table, and the JOIN clauses of the others.
    from: Vec<String>,
    /// Unique keys of the tables, as column expressions.
    keys: Vec<Vec<String>>,
    filters: Vec<String>,
    group: Option<Vec<String>>,
    having: Vec<String>,
    order: Vec<String>,
    skip: u64,
    fetch: Option<u64>,
    /// Whether a table or subquery in FROM is a filtered subset of a table.
    is_filtered: bool,
    /// The estimated number of rows before OFFSET and LIMIT.
    estimate: Estimate,
}

/// Builds query blocks from plans.
pub(super) struct BlockBuilder<'a> {
    /// Finds the registry table of a scan.
    pub tables: &'a TableLookup<'a>,
    /// The number of table aliases in use.
    pub named: usize,
    /// Whether a LIMIT applies to the current node.
    pub limited: bool,
}

impl SelectBlock {
    fn new(conn: Conn, exprs: Vec<SqlExpr>, from: Vec<String>, filters: Vec<String>) -> Self {
        let (keys, group, having, order, estimate) = Default::default();
        Self {
            conn,
            exprs,
            from,
            keys,
            filters,
            group,
            having,
            order,
            skip: 0,
            fetch: None,
            is_filtered: false,
            estimate,
        }
    }

    fn dialect(&self) -> Dialect {
        self.conn.dialect()
    }

    /// Whether the block has neither aggregation nor OFFSET or LIMIT.
    fn is_simple(&self) -> bool {
        self.group.is_none() && self.is_whole()
    }

    /// Whether it is an aggregate without GROUP BY, which returns one row.
    fn is_one_row(&self) -> bool {
        self.group.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether the block has neither OFFSET nor LIMIT.
    fn is_whole(&self) -> bool {
        self.skip == 0 && self.fetch.is_none()
    }

    /// Whether the block is more than all rows of its tables in no order.
    fn is_reduced(&self) -> bool {
        !(self.is_simple() && self.filters.is_empty() && self.order.is_empty()) || self.is_filtered
    }

    /// Whether the columns `values` contain a unique key.
    fn is_unique_on(&self, values: &[String]) -> bool {
        self.keys.iter().any(|key| key.iter().all(|column| values.contains(column)))
    }

    /// Completes the block to a scan; an error is the reason why it is not pushed down.
    pub(super) fn finish(self, schema: &DFSchema) -> Translated<RegistryScan> {
        if self.from.len() > 1 && !self.is_reduced() {
            // The joined rows are usually more data than the tables.
            return Err(NotPushed::CompleteTables);
        }
        let mut columns = Vec::with_capacity(self.exprs.len());
        for (cell, field) in self.exprs.iter().zip(schema.fields()) {
            if arrow_type(cell.kind) != *field.data_type() {
                return Err(NotPushed::OtherType(field.name().clone()));
            }
            columns.push(ReadColumn { nullable: field.is_nullable(), ..ReadColumn::plain(field.name(), cell.kind) });
        }
        let names: Vec<_> = columns.iter().map(|c| c.name.clone()).collect();
        let (sql, estimate) = (self.select(&names), self.estimate());
        if let Some(why) = self.dialect().beyond(&sql, sql.matches(" AS t").count()) {
            return Err(NotPushed::DatabaseLimit(why));
        }
        Ok(RegistryScan::new(self.conn, sql, columns, estimate))
    }

    /// The estimated number of rows.
    fn estimate(&self) -> Estimate {
        if self.is_one_row() {
            return Estimate { table: None, rows: Some(1) };
        }
        let fetch = self.fetch.and_then(|rows| usize::try_from(rows).ok());
        Estimate { rows: self.estimate.rows.into_iter().chain(fetch).min(), ..self.estimate.clone() }
    }

    /// The SQL text, with `names` as the names of the output columns.
    fn select(&self, names: &[String]) -> String {
        let quote = |name: &String| self.dialect().quote(name);
        let named: Vec<_> =
            self.exprs.iter().zip(names).map(|(cell, name)| format!("{} AS {}", cell.text, quote(name))).collect();
        let mut sql = format!("SELECT {} FROM {}", listed(&named), self.from.join(" "));
        let mut add = |word: &str, parts: String| {
            if !parts.is_empty() {
                sql.push_str(&format!(" {word} {parts}"));
            }
        };
        add("WHERE", all(&self.filters));
        add("GROUP BY", self.group.as_deref().unwrap_or_default().join(", "));
        add("HAVING", all(&self.having));
        add("ORDER BY", self.order.join(", "));
        sql.push_str(&self.dialect().limit(self.skip, self.fetch));
        sql
    }
}

/// The SELECT list; `1` if there is no column.
fn listed(items: &[String]) -> String {
    if items.is_empty() { "1".to_owned() } else { items.join(", ") }
}

impl BlockBuilder<'_> {
    /// A new table alias.
    fn name(&mut self) -> String {
        self.named += 1;
        format!("t{}", self.named)
    }

    /// Translates a plan to a block; an error is the reason why it is not pushed down.
    pub(super) fn block(&mut self, plan: &LogicalPlan) -> Translated<SelectBlock> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.block(&alias.input),
            LogicalPlan::Projection(projection) => {
                let mut block = self.block(&projection.input)?;
                // Without GROUP BY and without an aggregate in its list, the SELECT would return every row.
                let keeps = !projection.expr.is_empty() && projection.expr.iter().all(is_column);
                if block.is_one_row() && !keeps {
                    block = self.as_subquery(block);
                }
                let schema = projection.input.schema();
                block.exprs = projection
                    .expr
                    .iter()
                    .map(|expr| writing(&block, schema, |writer| writer.value(expr)))
                    .collect::<Translated<_>>()?;
                Ok(block)
            }
            LogicalPlan::Filter(filter) => {
                let mut block = self.block(&filter.input)?;
                if !block.is_whole() || block.is_one_row() {
                    block = self.as_subquery(block);
                }
                let text = writing(&block, filter.input.schema(), |writer| writer.predicate(&filter.predicate))?;
                if block.group.is_some() {
                    block.having.push(text)
                } else {
                    block.filters.push(text)
                }
                Ok(block)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Sort(sort) => {
                let mut block = self.unlimited(&sort.input)?;
                if !block.is_whole() {
                    block = self.as_subquery(block);
                }
                if block.is_simple() && sort.fetch.is_none() && !block.dialect().has_statistics() {
                    return Err(NotPushed::SortOfAllRows);
                }
                let schema = sort.input.schema();
                block.order = sort
                    .expr
                    .iter()
                    .map(|key| writing(&block, schema, |writer| writer.sort(key)))
                    .collect::<Translated<_>>()?;
                block.fetch = sort.fetch.map(|fetch| fetch as u64);
                Ok(block)
            }
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            other => Err(NotPushed::node(other)),
        }
    }

    /// Translates a plan without the LIMIT of the nodes above it.
    fn unlimited(&mut self, plan: &LogicalPlan) -> Translated<SelectBlock> {
        let limited = std::mem::replace(&mut self.limited, false);
        let block = self.block(plan);
        self.limited = limited;
        block
    }

    fn scan(&mut self, scan: &TableScan) -> Translated<SelectBlock> {
        let table = (self.tables)(scan).ok_or_else(|| NotPushed::OtherTable(scan.table_name.to_string()))?;
        let alias = self.name();
        let dialect = table.conn.dialect();
        let cell = |column: &ReadColumn| SqlExpr {
            text: dialect.select_expr(column, &alias),
            kind: column.kind(),
            plain: true,
        };
        let find = |column: &Column| table.columns.iter().find(|c| c.name == column.name).map(cell);
        let writer = SqlExprWriter { dialect, find: &find };
        let filters = scan.filters.iter().map(|filter| writer.predicate(filter)).collect::<Translated<_>>()?;
        let exprs = match &scan.projection {
            Some(wanted) => wanted.iter().map(|i| cell(&table.columns[*i])).collect(),
            None => table.columns.iter().map(cell).collect(),
        };
        let from = vec![format!("{} AS {alias}", table.from(scan.projection.as_ref(), &scan.filters))];
        let fetch = scan.fetch.map(|fetch| fetch as u64);
        let named = |column: &String| table.columns.iter().find(|c| c.name == *column).map(|c| cell(c).text);
        let keys = table.keys.iter().filter_map(|key| key.iter().map(named).collect()).collect();
        let estimate = Estimate { table: table.row_count_table.clone(), rows: None };
        let is_filtered = table.is_filtered_subset;
        Ok(SelectBlock {
            fetch,
            keys,
            is_filtered,
            estimate,
            ..SelectBlock::new(table.conn.clone(), exprs, from, filters)
        })
    }

    /// Wraps a block as a subquery in FROM of a new block.
    fn as_subquery(&mut self, block: SelectBlock) -> SelectBlock {
        let alias = self.name();
        let names: Vec<_> = (1..=block.exprs.len()).map(|i| format!("c{i}")).collect();
        let of = |(cell, name): (&SqlExpr, &String)| SqlExpr {
            text: format!("{alias}.{name}"),
            kind: cell.kind,
            plain: true,
        };
        let exprs = block.exprs.iter().zip(&names).map(of).collect();
        let from = vec![format!("({}) AS {alias}", block.select(&names))];
        let (estimate, is_filtered) = (block.estimate(), block.is_reduced());
        SelectBlock { estimate, is_filtered, ..SelectBlock::new(block.conn, exprs, from, Vec::new()) }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Translated<SelectBlock> {
        let mut block = self.unlimited(&aggregate.input)?;
        if !block.is_simple() {
            block = self.as_subquery(block);
        }
        block.order.clear();
        let schema = aggregate.input.schema();
        let mut keys = Vec::new();
        for expr in &aggregate.group_expr {
            if matches!(expr, Expr::GroupingSet(_) | Expr::Literal(..)) {
                return Err(NotPushed::GroupBy(Box::new(expr.clone())));
            }
            keys.push(writing(&block, schema, |writer| writer.value(expr))?);
        }
        let values: Vec<SqlExpr> = aggregate
            .aggr_expr
            .iter()
            .map(|expr| writing(&block, schema, |writer| writer.aggregate(expr)))
            .collect::<Translated<_>>()?;
        block.group = Some(keys.iter().map(|key| key.text.clone()).collect());
        block.exprs = keys.into_iter().chain(values).collect();
        Ok(block)
    }

    fn limit(&mut self, limit: &Limit) -> Translated<SelectBlock> {
        let number = |expr: &Option<Box<Expr>>| match expr.as_deref() {
            None => Ok(None),
            Some(Expr::Literal(ScalarValue::Int64(Some(n)), _)) => Ok(u64::try_from(*n).ok()),
            Some(other) => Err(NotPushed::Limit(Box::new(other.clone()))),
        };
        let (skip, fetch) = (number(&limit.skip)?.unwrap_or(0), number(&limit.fetch)?);
        let limited = std::mem::replace(&mut self.limited, fetch.is_some());
        let block = self.block(&limit.input);
        self.limited = limited;
        let mut block = block?;
        let left = block.fetch.map(|fetch| fetch.saturating_sub(skip));
        block.fetch = [left, fetch].into_iter().flatten().min();
        block.skip += skip;
        Ok(block)
    }
}

/// Whether an expression is a column, possibly with an alias.
fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_column(&alias.expr),
        expr => matches!(expr, Expr::Column(_)),
    }
}

/// Calls `write` with a writer that resolves columns of `schema` to the expressions of `block`.
fn writing<T>(
    block: &SelectBlock,
    schema: &DFSchema,
    write: impl FnOnce(&SqlExprWriter<'_>) -> Translated<T>,
) -> Translated<T> {
    let find = |column: &Column| block.exprs.get(schema.maybe_index_of_column(column)?).cloned();
    write(&SqlExprWriter { dialect: block.dialect(), find: &find })
}
