//! Translates joins, and decides which joins are pushed down.

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::{Join, LogicalPlan};

use crate::engine::catalog::registry_table::Estimate;
use crate::engine::pushdown::select_block::{BlockBuilder, SelectBlock, writing};
use crate::engine::unparse::{NotPushed, SqlExprWriter, Translated, equal};

impl BlockBuilder<'_> {
    pub(in crate::engine) fn join(&mut self, join: &Join) -> Translated<SelectBlock> {
        if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
            return Err(NotPushed::NullEqualJoin);
        }
        let (mut left, mut right) = (self.block(&join.left)?, self.block(&join.right)?);
        if matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            // The order of the inputs is not preserved by a join.
            for side in [&mut left, &mut right].into_iter().filter(|side| side.is_whole()) {
                side.order.clear();
            }
        }
        if !left.conn.same_pool(&right.conn) {
            return Err(NotPushed::TwoRegistries);
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
            other => Err(NotPushed::Join(other)),
        }
    }

    /// Estimates the number of rows of a join that is worth pushing down; otherwise returns the reason. SQLite only has
    /// nested loop joins, and without statistics it may choose any index; a join is worth pushing down if one side is
    /// joined by a unique key and a filter or LIMIT applies.
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
            (false, false) => return Err(NotPushed::NoUniqueKey(all(&ours))),
        };
        let whole = left.filters.is_empty() && right.filters.is_empty() && !self.limited;
        if whole && !left.dialect().has_statistics() {
            return Err(NotPushed::CompleteTables);
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
            // The conditions may use any table of the right side.
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

    /// Semi join: the rows of `kept` that match a row of `other`, as an IN condition.
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
            return Err(NotPushed::SemiJoin);
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

/// Whether a side is reduced, or the join has conditions other than equality.
fn reduces(join: &Join, left: &SelectBlock, right: &SelectBlock) -> bool {
    join.filter.is_some() || left.is_reduced() || right.is_reduced()
}

fn all(conditions: &[String]) -> String {
    if conditions.is_empty() { "(1 = 1)".to_owned() } else { conditions.join(" AND ") }
}

/// The conditions of a join as SQL.
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
