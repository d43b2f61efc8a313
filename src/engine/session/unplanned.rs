//! Error messages for statements that DataFusion cannot plan.

use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::visit_relations;

use super::Session;
use crate::engine::catalog::repository::OWN;
use crate::engine::catalog::system_tables::VIEWS;
use crate::engine::functions;
use crate::error::datafusion_text::Text;
use crate::error::{Error, Kind, NO_SUBQUERY};

/// A name of a statement that does not exist.
enum Unknown {
    Table(String),
    Function(String),
    Column(String),
}

/// The name that the planner did not find, if that is the error.
fn unknown(error: &Error) -> Option<Unknown> {
    let cause = std::error::Error::source(error)?.downcast_ref::<DataFusionError>()?.find_root();
    if let DataFusionError::SchemaError(inner, _) = cause {
        return match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } if field.relation.is_none() => {
                Some(Unknown::Column(field.name.clone()))
            }
            _ => None,
        };
    }
    match Text::of(&cause.message()) {
        Text::NoTable(table) => Some(Unknown::Table(table.to_owned())),
        Text::NoFunction(function) => Some(Unknown::Function(function.to_owned())),
        _ => None,
    }
}

/// Converts an error of the optimizer or the physical planner. If the plan passes the analyzer and has a subquery, the
/// subquery is not supported: the original message would name internal columns.
pub(super) fn unplanned(error: DataFusionError, plan: LogicalPlan, context: &SessionContext) -> Error {
    let is_of_planning = matches!(
        error.find_root(),
        DataFusionError::SchemaError(..) | DataFusionError::Plan(_) | DataFusionError::Internal(_)
    );
    if !is_of_planning || !has_subquery(&plan) {
        return error.into();
    }
    let state = context.state();
    match state.analyzer().execute_and_check(plan, &state.config_options().clone(), |_, _| {}) {
        Ok(_) => Error::new(Kind::Unsupported, NO_SUBQUERY).with_source(error),
        Err(_) => error.into(),
    }
}

/// Whether an expression of a plan has a subquery.
fn has_subquery(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let looked = plan.apply_with_subqueries(|node| {
        node.apply_subqueries(|_| {
            found = true;
            Ok(TreeNodeRecursion::Stop)
        })
    });
    found && looked.is_ok()
}

/// The error for an unknown scalar function: a table function, a window function, or a typing error.
fn unknown_function(name: &str, state: &SessionState) -> Error {
    if functions::find(name).is_some() {
        return Error::invalid(format!(
            "{name} yields rows, not a value: use CALL {name}(…) or SELECT … FROM {name}(…)"
        ));
    }
    let names = state.scalar_functions().keys().chain(state.aggregate_functions().keys());
    if state.window_functions().contains_key(name) {
        return Error::invalid(format!("{name} is a window function: use {name}(…) OVER (ORDER BY …)"));
    }
    Error::not_found("function", name, names.chain(state.window_functions().keys()).map(String::as_str))
}

impl Session {
    /// Replaces the error for a name that does not exist by one that suggests a name.
    pub(super) async fn with_nearest_name(&self, error: Error, statement: &Statement) -> Error {
        let meant = match unknown(&error) {
            Some(Unknown::Table(table)) => {
                let catalog = table.split('.').next().unwrap_or_default();
                let own = || self.repositories.find(OWN);
                match self.repositories.find(catalog).or_else(own) {
                    Some(member) => member.repository.unknown_table(member.catalog.as_ref(), &table),
                    None => return error,
                }
            }
            Some(Unknown::Function(function)) => unknown_function(&function, &self.context.state()),
            Some(Unknown::Column(column)) => match self.view_with(&column, statement).await {
                Some(view) => Error::new(Kind::NotFound, format!("no column named '{column}'; view '{view}' has it")),
                None => return error,
            },
            None => return error,
        };
        meant.with_location(error.location())
    }

    /// The view with a column that a dimension element of the statement lacks, such as `exposures` for `exposure`.
    async fn view_with(&self, column: &str, statement: &Statement) -> Option<&'static str> {
        let Statement::Statement(ast) = statement else { return None };
        let mut elements = Vec::new();
        let _ = visit_relations(ast, |name| {
            elements.extend(name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone()));
            ControlFlow::<()>::Continue(())
        });
        for (view, _) in VIEWS.iter().filter(|view| elements.iter().any(|element| view.0 == format!("{element}s"))) {
            let table = self.context.table_provider(*view).await;
            if table.is_ok_and(|table| table.schema().column_with_name(column).is_some()) {
                return Some(view);
            }
        }
        None
    }
}
