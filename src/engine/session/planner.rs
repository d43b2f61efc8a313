//! The physical planner: pushdown to databases, procedures, and DataFusion's planner for all other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use crate::engine::analyzer::null_joins::with_null_keys;
use crate::engine::analyzer::without_no_keys;
use crate::engine::procedure::{ProcedureExec, ProcedureNode, ResultCell};
use crate::engine::pushdown::{RemoteQuery, push_down};
use crate::engine::session::settings::Settings;

/// Pushes parts of a plan down to databases, and gives all copies of a procedure node one shared result.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let settings = session.config().options().extensions.get::<Settings>();
        let plan = with_null_keys(without_no_keys(plan.clone())?)?;
        let divided = match settings.is_none_or(|settings| settings.pushdown) {
            true => push_down(plan).await?.plan,
            false => plan,
        };
        let cells = Arc::new(ResultCells::default());
        DefaultPhysicalPlanner::with_extension_planners(vec![cells]).create_physical_plan(&divided, session).await
    }
}

#[derive(Default)]
struct ResultCells(Mutex<HashMap<u64, ResultCell>>);

#[async_trait]
impl ExtensionPlanner for ResultCells {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(pushed) = node.as_any().downcast_ref::<RemoteQuery>() {
            return Ok(Some(Arc::new(pushed.scan.clone().with_row_estimate().await)));
        }
        let Some(node) = node.as_any().downcast_ref::<ProcedureNode>() else { return Ok(None) };
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(cells.entry(node.id).or_default());
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(ProcedureExec::new(node.call.clone(), physical_inputs.first().cloned(), schema, cell))))
    }
}
