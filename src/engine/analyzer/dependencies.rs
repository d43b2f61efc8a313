//! Corrects functional dependencies of joins with grouped rows. DataFusion 55 keeps the group key of one side as a key
//! of the joined rows, and then removes columns from ORDER BY and GROUP BY. During planning, a node without functional
//! dependencies separates the join from the grouping above it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, FunctionalDependencies};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::AnalyzerRule;

/// Inserts a [`NoKeys`] below an aggregate or DISTINCT over a join with grouped rows.
#[derive(Debug)]
pub(super) struct Keys;

impl AnalyzerRule for Keys {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let has_no_keys = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. })
                if !group_expr.is_empty() && joins_groups(&input)? =>
            {
                let aggregate = Aggregate::try_new(Arc::new(no_keys(input)), group_expr, aggr_expr)?;
                Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
            }
            LogicalPlan::Distinct(Distinct::All(input)) if joins_groups(&input)? => {
                Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(Arc::new(no_keys(input))))))
            }
            other => Ok(Transformed::no(other)),
        })?;
        // The schemas of the nodes above are derived again from their inputs.
        match has_no_keys.transformed {
            true => has_no_keys
                .data
                .transform_up_with_subqueries(|plan| plan.recompute_schema().map(Transformed::yes))
                .data(),
            false => Ok(has_no_keys.data),
        }
    }

    fn name(&self) -> &str {
        "keys"
    }
}

/// Whether a plan joins grouped rows. Correlated subqueries are left to DataFusion.
fn joins_groups(plan: &LogicalPlan) -> Result<bool> {
    let is_grouped = |plan: &LogicalPlan| {
        plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_))))
    };
    let joins = plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_)) && is_grouped(node)?))?;
    Ok(joins && plan.all_out_ref_exprs().is_empty())
}

fn no_keys(input: Arc<LogicalPlan>) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(NoKeys::of(Arc::unwrap_or_clone(input))) })
}

/// Removes the [`NoKeys`] nodes from a plan.
///
/// # Errors
/// Errors of DataFusion when a node gets its new input.
pub(crate) fn without_no_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    let with_keys = plan.transform_down_with_subqueries(|plan| {
        let mut plan = plan;
        let mut is_other = false;
        while let LogicalPlan::Extension(Extension { node }) = &plan
            && let Some(node) = node.as_any().downcast_ref::<NoKeys>()
        {
            plan = node.input.clone();
            is_other = true;
        }
        Ok(if is_other { Transformed::yes(plan) } else { Transformed::no(plan) })
    });
    with_keys.data()
}

/// Passes on the rows of its input, with a schema without functional dependencies.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NoKeys {
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl NoKeys {
    fn of(input: LogicalPlan) -> Self {
        let schema = DFSchema::clone(input.schema());
        let schema = schema.with_functional_dependencies(FunctionalDependencies::empty());
        let schema = schema.map_or_else(|_| Arc::clone(input.schema()), Arc::new);
        Self { input, schema }
    }
}

impl PartialOrd for NoKeys {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for NoKeys {
    fn name(&self) -> &str {
        "NoKeys"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoKeys")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs)
            .map_err(|_| DataFusionError::Internal("NoKeys has one input".to_owned()))?;
        Ok(Self::of(input))
    }

    fn necessary_children_exprs(&self, columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![columns.to_vec()])
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }
}
