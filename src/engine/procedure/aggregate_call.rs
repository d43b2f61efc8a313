//! The aggregate form of procedures that take rows, such as `SELECT associate('X', dataset_id) FROM …`.

use std::any::Any;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::plan_datafusion_err;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, LogicalPlanBuilder, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::FunctionDef;
use crate::engine::procedure::{OutputMode, ProcedureCall, bind_procedure, fold_constant, new_node};
use crate::error::Error;
use crate::repo::RepositoryHandle;

/// Rewrites `SELECT associate('X', dataset_id) FROM …` without GROUP BY to a call of the procedure.
#[derive(Debug)]
pub(crate) struct AggregateCallRewrite(pub Arc<RepositoryHandle>);

impl AnalyzerRule for AggregateCallRewrite {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|part| match part {
            LogicalPlan::Aggregate(aggregate) => self.rewrite(aggregate),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        "aggregate_call_rewrite"
    }
}

impl AggregateCallRewrite {
    fn rewrite(&self, aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
        let calls: Vec<_> = aggregate.aggr_expr.iter().filter_map(procedure_call).collect();
        let Some((function, call)) = calls.first() else {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        };
        if !aggregate.group_expr.is_empty() || aggregate.aggr_expr.len() > 1 {
            let message = format!("{} must be the only aggregate of a SELECT without GROUP BY", function.name);
            return Err(Error::invalid(message).into());
        }
        let (call, input) = self.bind_procedure(function, call, &aggregate)?;
        Ok(Transformed::yes(new_node(call, Some(input), Arc::clone(&aggregate.schema))))
    }

    /// Binds the leading arguments as constants, and the remaining ones as columns of the rows.
    fn bind_procedure(
        &self,
        function: &'static FunctionDef,
        call: &AggregateFunction,
        of: &Aggregate,
    ) -> Result<(ProcedureCall, LogicalPlan)> {
        let mut args = Args::default();
        let mut columns = Vec::new();
        let fixed = function.arguments.iter().filter(|a| a.required && !matches!(a.arg_type, ArgType::Query(_)));
        let mut fixed = fixed.collect::<Vec<_>>().into_iter();
        for expr in &call.params.args {
            match fixed.next() {
                Some(argument) => args.set(function.name, argument, &fold_constant(expr.clone())?)?,
                None => columns.push(expr.clone()),
            }
        }
        let rows = function.rows().ok_or_else(|| plan_datafusion_err!("{} does not take rows", function.name))?;
        if columns.is_empty() {
            let message = format!("{} needs a column of rows after its other arguments", function.name);
            return Err(Error::invalid(message).into());
        }
        args.set_rows(function.name, rows)?;
        args.check_complete(function.name, &function.arguments)?;
        let mut input = LogicalPlanBuilder::from(of.input.as_ref().clone());
        if let Some(filter) = &call.params.filter {
            input = input.filter(filter.as_ref().clone())?;
        }
        if !call.params.order_by.is_empty() {
            input = input.sort(call.params.order_by.clone())?;
        }
        let input = input.project(columns)?.build()?;
        Ok((bind_procedure(function, &args, &self.0, OutputMode::Count)?, input))
    }
}

fn procedure_call(expr: &Expr) -> Option<(&'static FunctionDef, &AggregateFunction)> {
    match expr {
        Expr::Alias(alias) => procedure_call(&alias.expr),
        Expr::AggregateFunction(call) => {
            let marker = (call.func.inner().as_ref() as &dyn Any).downcast_ref::<PlaceholderUdaf>()?;
            Some((crate::engine::functions::find(marker.name)?, call))
        }
        _ => None,
    }
}

/// A placeholder aggregate with the name of a procedure, which [`AggregateCallRewrite`] replaces.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PlaceholderUdaf {
    name: &'static str,
    signature: Signature,
}

/// The placeholder aggregates of all procedures that take rows.
pub(crate) fn markers() -> Vec<AggregateUDF> {
    let verbs = crate::engine::functions::all().iter().filter(|f| f.rows().is_some());
    verbs
        .map(|f| {
            let signature = Signature::variadic_any(Volatility::Volatile);
            AggregateUDF::new_from_impl(PlaceholderUdaf { name: f.name, signature })
        })
        .collect()
}

impl AggregateUDFImpl for PlaceholderUdaf {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let message = format!("{} must be the only aggregate of a SELECT without GROUP BY", self.name);
        Err(DataFusionError::from(Error::invalid(message)))
    }
}
