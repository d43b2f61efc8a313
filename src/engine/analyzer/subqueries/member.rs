//! A value that is looked for among those of a subquery.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Projection, Subquery};

use super::existence::existence;
use super::{fresh, is_correlated, refused};

/// A value that is looked for among those of a subquery.
pub struct Member {
    /// The subquery, whose one column has a name of its own.
    listed: Arc<LogicalPlan>,
    column: Expr,
    value: Expr,
    outer: Vec<Expr>,
    /// The same without the columns of the value.
    outer_listed: Vec<Expr>,
    pub may_list_null: bool,
    pub may_be_null: bool,
    spans: datafusion::common::Spans,
}

impl Member {
    pub fn of(found: &InSubquery, schema: &DFSchema) -> Result<Self> {
        let listed = &found.subquery.subquery;
        let has_limit = |plan: &LogicalPlan| {
            let mut limited = false;
            plan.apply(|node| {
                limited |= matches!(node, LogicalPlan::Limit(_)) && is_correlated(node)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            Ok::<_, datafusion::error::DataFusionError>(limited)
        };
        if has_limit(listed)? {
            return Err(refused("IN over a correlated subquery with LIMIT is not supported"));
        }
        // The names of the value's columns would be taken for those of the subquery.
        let mut is_hidden = false;
        listed.apply(|node| {
            is_hidden |= found.expr.column_refs().iter().any(|column| node.schema().has_column(column));
            Ok(if is_hidden { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if is_hidden && !found.subquery.outer_ref_columns.is_empty() {
            return Err(refused("IN for a column that the correlated subquery has too is not supported"));
        }
        let first = Column::from(listed.schema().qualified_field(0));
        let may_list_null = listed.schema().field(0).is_nullable();
        let name = fresh("listed");
        let projected = Projection::try_new(vec![Expr::Column(first).alias(&name)], Arc::clone(listed))?;
        let mut outer = found.subquery.outer_ref_columns.clone();
        let outer_listed = outer.clone();
        // What is a column here is one of the query around there.
        let value = found.expr.as_ref().clone().transform_up(|expr| match expr {
            Expr::Column(column) => {
                let field = schema.qualified_field_from_column(&column)?.1;
                let named = Expr::OuterReferenceColumn(Arc::clone(field), column);
                outer.push(named.clone());
                Ok(Transformed::yes(named))
            }
            Expr::OuterReferenceColumn(..) => {
                Err(refused("IN in a subquery, for a value of the query around it, is not supported here"))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(Self {
            listed: Arc::new(LogicalPlan::Projection(projected)),
            column: Expr::Column(Column::new_unqualified(name)),
            value: value.data()?,
            outer,
            outer_listed,
            may_list_null,
            may_be_null: found.expr.nullable(schema)?,
            spans: found.subquery.spans.clone(),
        })
    }

    /// That a listed value is this one.
    pub fn matching(&self) -> Option<(Expr, &[Expr])> {
        Some((self.column.clone().eq(self.value.clone()), &self.outer))
    }

    /// That a listed value is NULL.
    pub fn null_listed(&self) -> Option<(Expr, &[Expr])> {
        Some((self.column.clone().is_null(), &self.outer_listed))
    }

    /// That there is a listed value, of which something holds.
    pub fn exists(&self, holds: Option<(Expr, &[Expr])>, negated: bool) -> Result<Expr> {
        let (subquery, outer_ref_columns) = match holds {
            None => (Arc::clone(&self.listed), self.outer_listed.clone()),
            Some((holds, outer)) => {
                let filter = Filter::try_new(holds, Arc::clone(&self.listed))?;
                (Arc::new(LogicalPlan::Filter(filter)), outer.to_vec())
            }
        };
        existence(Exists { subquery: Subquery { subquery, outer_ref_columns, spans: self.spans.clone() }, negated })
    }
}
