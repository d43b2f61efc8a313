//! IN with a subquery as EXISTS conditions.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Spans};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Projection};

use super::existence::existence;
use super::simple::is_correlated;
use super::{correlated, fresh};

/// An IN condition with a subquery.
pub(super) struct Member {
    /// The subquery, with a unique name for its column.
    listed: Arc<LogicalPlan>,
    column: Expr,
    /// The value, as read by the subquery and as an expression of the outer query.
    value: Expr,
    of_outer: Expr,
    /// Whether the subquery reads columns of the outer query.
    is_correlated: bool,
    may_list_null: bool,
    may_be_null: bool,
    spans: Spans,
}

impl Member {
    pub(super) fn of(found: &InSubquery, schema: &DFSchema) -> Result<Self> {
        let listed = &found.subquery.subquery;
        let first = Column::from(listed.schema().qualified_field(0));
        let may_list_null = listed.schema().field(0).is_nullable();
        let name = fresh("listed");
        let projected = Projection::try_new(vec![Expr::Column(first).alias(&name)], Arc::clone(listed))?;
        // Columns of the value become outer references in the subquery.
        let value = found.expr.as_ref().clone().transform_up(|expr| match expr {
            Expr::Column(column) => {
                let field = schema.qualified_field_from_column(&column)?.1;
                Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(Self {
            listed: Arc::new(LogicalPlan::Projection(projected)),
            column: Expr::Column(Column::new_unqualified(name)),
            value: value.data()?,
            of_outer: found.expr.as_ref().clone(),
            is_correlated: is_correlated(listed)?,
            may_list_null,
            may_be_null: found.expr.nullable(schema)?,
            spans: found.subquery.spans.clone(),
        })
    }

    fn equal(&self) -> Expr {
        self.column.clone().eq(self.value.clone())
    }

    /// The condition that the subquery has the value.
    pub(super) fn is_listed(&self) -> Result<Expr> {
        self.exists(Some(self.equal()), false)
    }

    /// The conditions, which must all be true, that the subquery neither has the value nor could have it (NULL). NULL
    /// is tested separately, so that the join on equal values can use a hash table; a correlated subquery needs one
    /// test.
    pub(super) fn is_not_listed(&self) -> Result<Vec<Expr>> {
        if self.is_correlated {
            return Ok(vec![self.exists(Some(self.equal().is_not_false()), true)?]);
        }
        let mut all = vec![self.exists(Some(self.equal()), true)?];
        if self.may_list_null {
            all.push(self.exists(Some(self.column.clone().is_null()), true)?);
        }
        if self.may_be_null {
            all.push(self.of_outer.clone().is_not_null().or(self.exists(None, true)?));
        }
        Ok(all)
    }

    /// The condition that IN is NULL where the subquery does not have the value; `None` if it is never NULL.
    pub(super) fn is_unknown(&self) -> Result<Option<Expr>> {
        if self.is_correlated && (self.may_list_null || self.may_be_null) {
            return self.exists(Some(self.equal().is_unknown()), false).map(Some);
        }
        let mut unknown = Vec::new();
        if self.may_list_null {
            unknown.push(self.exists(Some(self.column.clone().is_null()), false)?);
        }
        if self.may_be_null {
            unknown.push(self.of_outer.clone().is_null().and(self.exists(None, false)?));
        }
        Ok(unknown.into_iter().reduce(Expr::or))
    }

    /// The condition that the subquery has a row for which `holds` is true.
    fn exists(&self, holds: Option<Expr>, negated: bool) -> Result<Expr> {
        let listed = match holds {
            None => Arc::clone(&self.listed),
            Some(holds) => Arc::new(LogicalPlan::Filter(Filter::try_new(holds, Arc::clone(&self.listed))?)),
        };
        existence(Exists { subquery: correlated(listed, self.spans.clone()), negated })
    }
}
