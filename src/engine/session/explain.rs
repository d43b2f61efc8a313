//! EXPLAIN: the changes that a statement would make, and its plan.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::{DmlStatement, LogicalPlan, WriteOp};
use datafusion::physical_plan::displayable;
use datafusion::sql::parser::Statement;

use super::{Answer, Session, one};
use crate::engine::analyzer::without_no_keys;
use crate::engine::procedure;
use crate::engine::pushdown::push_down;
use crate::engine::session::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::progress::Silent;
use crate::repo::Associate;
use crate::repo::changeset::report::{ReportRow, Status};

impl Session {
    /// Explains a statement: the changes of its procedures from a dry run, the plans, and the reasons why parts are not
    /// pushed down.
    pub(super) async fn explain(&self, statement: Statement) -> Result<Answer> {
        let plan = self.plan(statement).await?;
        self.check_allowed(&plan).await?;
        let mut lines = Vec::new();
        let analyzed = self.context.state().optimize(&plan)?;
        let mut procedure_calls = procedure::procedure_calls(&analyzed)?;
        if let LogicalPlan::Dml(insert @ DmlStatement { op: WriteOp::Insert(_), .. }) = &plan
            && insert.table_name.schema() == Some("collection")
        {
            let collection = insert.table_name.table().to_owned();
            let operation = Arc::new(Associate { collection });
            let handle = Arc::clone(&self.repository.handle);
            let call = procedure::ProcedureCall {
                function: "associate",
                operation,
                handle,
                mode: procedure::OutputMode::Count,
            };
            procedure_calls.push((call, Some(insert.input.as_ref().clone())));
        }
        let plain = procedure_calls.is_empty();
        for (call, input) in procedure_calls {
            let rows = match input {
                // The dry run executes the input, which would run the inner procedure.
                Some(input) if !procedure::procedure_calls(&input)?.is_empty() => {
                    let message = format!("{} with rows of another procedure cannot be explained", call.function);
                    return Err(Error::new(Kind::Unsupported, message));
                }
                Some(input) => Some(self.context.execute_logical_plan(input).await?.execute_stream().await?),
                None => None,
            };
            let report = procedure::run_procedure(&call, rows, true, Arc::new(Silent)).await?;
            if report.is_empty() {
                lines.push(("would_change", format!("{}: no changes", call.function)));
            }
            for line in report {
                lines.push(("would_change", would(call.function, &line)));
            }
        }
        lines.push(("logical_plan", analyzed.display_indent().to_string()));
        if plain && !matches!(plan, LogicalPlan::Dml(_) | LogicalPlan::Ddl(_)) {
            let physical = self.context.state().create_physical_plan(&plan).await?;
            let shown = displayable(physical.as_ref()).indent(false).to_string();
            lines.push(("physical_plan", shown));
            let settings = self.context.copied_config().options().extensions.get::<Settings>().cloned();
            if settings.is_none_or(|settings| settings.pushdown) {
                let reasons = push_down(without_no_keys(analyzed)?).await?.reasons;
                lines.extend(reasons.iter().map(|reason| ("not_pushed_down", reason.to_string())));
            } else {
                lines.push(("not_pushed_down", "butler.pushdown is off".to_owned()));
            }
        }
        let text = |values: Vec<&str>| Arc::new(StringArray::from(values));
        let schema = Arc::new(Schema::new(vec![
            Field::new("plan_type", DataType::Utf8, false),
            Field::new("plan", DataType::Utf8, false),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![text(lines.iter().map(|l| l.0).collect()), text(lines.iter().map(|l| l.1.trim_end()).collect())],
        )?;
        Ok(one(batch))
    }
}

fn would(function: &str, line: &ReportRow) -> String {
    let what = match line.status {
        Status::Inserted => "would be inserted",
        Status::Updated => "would be updated",
        Status::Exported => "would be exported",
        Status::Removed => "would be removed",
        Status::Unchanged => "unchanged",
        Status::Absent => "absent",
        Status::Failed => "would fail",
    };
    let name = if line.name.is_empty() { String::new() } else { format!(" ({})", line.name) };
    format!("{function}: {} {}{name} {what}", line.count, line.kind)
}
