//! Joins as a database does them, and which are done here.

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::{Join, LogicalPlan};

use crate::engine::catalog::registry_table::Estimate;
use crate::engine::pushdown::select_block::{BlockBuilder, SelectBlock, WHOLE, writing};
use crate::engine::unparse::{SqlExprWriter, Translated, equal};

impl BlockBuilder<'_> {
    pub(in crate::engine) fn join(&mut self, join: &Join) -> Translated<SelectBlock> {
        if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
            return Err("a join on NULLs is done here".to_owned());
        }
        let (mut left, mut right) = (self.block(&join.left)?, self.block(&join.right)?);
        if matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            // Joined rows have no order.
            for side in [&mut left, &mut right].into_iter().filter(|side| side.is_whole()) {
                side.order.clear();
            }
        }
        if !left.conn.same_pool(&right.conn) {
            return Err("tables of two registries are joined here".to_owned());
        }
        match join.join_type {
            JoinType::Inner => {
                let left = if left.is_simple() { left } else { self.as_subquery(left) };
                let right = if right.is_simple() { right } else { self.as_subquery(right) };
                self.inner(join, left, right)
            }
            JoinType::Left => {
                let left = if left.is_simple() { left } else { self.as_subquery(left) };
                let plain = right.is_simple() && right.from.len() == 1 && right.filters.is_empty();
                let plain = plain && right.exprs.iter().all(|cell| cell.plain);
                let right = if plain { right } else { self.as_subquery(right) };
                self.outer(join, left, right)
            }
            JoinType::LeftSemi => self.semi(join, left, &join.left, right, &join.right, false),
            JoinType::RightSemi => self.semi(join, right, &join.right, left, &join.left, true),
            other => Err(format!("a {other} join is done here")),
        }
    }

    /// Whether a join is for the database, and about how many rows it yields. SQLite joins row by row, and
    /// without statistics it may do so by any index; that pays when one side is found by a key, and not all rows are
    /// wanted.
    fn is_worth_pushing(&self, join: &Join, left: &SelectBlock, right: &SelectBlock) -> Translated<Estimate> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (one, other) in &join.on {
            ours.push(writing(left, join.left.schema(), |writer| writer.value(one))?.text);
            theirs.push(writing(right, join.right.schema(), |writer| writer.value(other))?.text);
        }
        let estimate = match (right.is_unique_on(&theirs), left.is_unique_on(&ours) && join.join_type != JoinType::Left)
        {
            (true, _) => left.estimate.clone(),
            (false, true) => right.estimate.clone(),
            (false, false) if left.dialect().has_statistics() => Estimate::default(),
            (false, false) => return Err(format!("tables without a key of {} are joined here", all(&ours))),
        };
        let whole = left.filters.is_empty() && right.filters.is_empty() && !self.limited;
        if whole && !left.dialect().has_statistics() {
            return Err(WHOLE.to_owned());
        }
        Ok(estimate)
    }

    fn inner(&mut self, join: &Join, left: SelectBlock, right: SelectBlock) -> Translated<SelectBlock> {
        let estimate = self.is_worth_pushing(join, &left, &right)?;
        let mut on = conditions(join, &left, &right)?;
        let is_filtered = reduces(join, &left, &right);
        let (mut exprs, mut from, mut filters, mut keys) = (left.exprs, left.from, left.filters, left.keys);
        exprs.extend(right.exprs);
        keys.extend(right.keys);
        filters.extend(right.filters);
        if right.from.len() > 1 {
            // They may speak of any of its tables.
            filters.append(&mut on);
        }
        let mut more = right.from.into_iter();
        from.extend(more.next().map(|table| format!("JOIN {table} ON {}", all(&on))));
        from.extend(more);
        Ok(SelectBlock { keys, estimate, is_filtered, ..SelectBlock::new(left.conn, exprs, from, filters) })
    }

    fn outer(&mut self, join: &Join, left: SelectBlock, right: SelectBlock) -> Translated<SelectBlock> {
        let estimate = self.is_worth_pushing(join, &left, &right)?;
        let on = conditions(join, &left, &right)?;
        let is_filtered = reduces(join, &left, &right);
        let (mut exprs, mut from) = (left.exprs, left.from);
        exprs.extend(right.exprs);
        from.extend(right.from.into_iter().map(|table| format!("LEFT JOIN {table} ON {}", all(&on))));
        let keys = left.keys;
        Ok(SelectBlock { keys, estimate, is_filtered, ..SelectBlock::new(left.conn, exprs, from, left.filters) })
    }

    /// Rows of one side that the other has a partner for.
    fn semi(
        &mut self,
        join: &Join,
        kept: SelectBlock,
        kept_plan: &LogicalPlan,
        other: SelectBlock,
        other_plan: &LogicalPlan,
        swapped: bool,
    ) -> Translated<SelectBlock> {
        if join.filter.is_some() || join.on.is_empty() {
            return Err("a semi join on more than equal values is done here".to_owned());
        }
        let mut kept = if kept.is_simple() { kept } else { self.as_subquery(kept) };
        let mut other = if other.is_simple() { other } else { self.as_subquery(other) };
        let (mut keys, mut wanted) = (Vec::new(), Vec::new());
        for (left, right) in &join.on {
            let (own, its) = if swapped { (right, left) } else { (left, right) };
            let own = writing(&kept, kept_plan.schema(), |writer| writer.value(own))?;
            let its = writing(&other, other_plan.schema(), |writer| writer.value(its))?;
            equal(&own, &its)?;
            keys.push(own.text);
            wanted.push(its);
        }
        other.exprs = wanted;
        other.order.clear();
        let names: Vec<_> = (1..=other.exprs.len()).map(|i| format!("c{i}")).collect();
        kept.filters.push(format!("(({}) IN ({}))", keys.join(", "), other.select(&names)));
        Ok(kept)
    }
}

/// Whether a side is not all rows of its tables, or the join asks more than equal values.
fn reduces(join: &Join, left: &SelectBlock, right: &SelectBlock) -> bool {
    join.filter.is_some() || left.is_reduced() || right.is_reduced()
}

fn all(conditions: &[String]) -> String {
    if conditions.is_empty() { "(1 = 1)".to_owned() } else { conditions.join(" AND ") }
}

/// What a join asks of its rows.
fn conditions(join: &Join, left: &SelectBlock, right: &SelectBlock) -> Translated<Vec<String>> {
    let (ours, theirs) = (join.left.schema(), join.right.schema());
    let mut predicates = Vec::new();
    for (one, other) in &join.on {
        let one = writing(left, ours, |writer| writer.value(one))?;
        let other = writing(right, theirs, |writer| writer.value(other))?;
        predicates.push(equal(&one, &other)?);
    }
    if let Some(filter) = &join.filter {
        let find = |column: &Column| match (ours.maybe_index_of_column(column), theirs.maybe_index_of_column(column)) {
            (Some(at), None) => left.exprs.get(at).cloned(),
            (None, Some(at)) => right.exprs.get(at).cloned(),
            _ => None,
        };
        predicates.push(SqlExprWriter { dialect: left.dialect(), find: &find }.predicate(filter)?);
    }
    Ok(predicates)
}
