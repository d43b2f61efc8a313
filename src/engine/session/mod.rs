//! A session: executes statements and returns Arrow record batches.

mod assert;
pub(crate) mod copy_target;
pub(crate) mod delimited;
mod explain;
mod locate;
mod memory;
pub(crate) mod planner;
pub(crate) mod settings;
mod unplanned;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, MemoryCatalogProviderList};
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::visit_relations;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use futures::TryStreamExt;

use self::locate::Locator;
use self::unplanned::{unknown_function, unplanned};
use crate::engine::analyzer;
use crate::engine::analyzer::comparison_types::CheckComparisonTypes;
use crate::engine::analyzer::date_part::DatePartUnits;
use crate::engine::analyzer::null_joins::ExtractKeys;
use crate::engine::analyzer::permissions;
use crate::engine::catalog::Catalog;
use crate::engine::catalog::file_tables::with_files;
use crate::engine::catalog::object_stores::ButlerObjectStoreRegistry;
use crate::engine::catalog::repository::RepositoryCatalog;
use crate::engine::catalog::system_tables::VIEWS;
use crate::engine::functions;
use crate::engine::functions::definition::FunctionKind;
use crate::engine::functions::resolve::with_resolved;
use crate::engine::functions::sky::udf::OneIsTrue;
use crate::engine::functions::table_function::TableFunctionPlanner;
use crate::engine::procedure::ProcedureContext;
use crate::engine::procedure::aggregate_call::AggregateCallRewrite;
use crate::engine::session::copy_target::{CopyTarget, StagedOutputs};
use crate::engine::session::planner::Planner;
use crate::engine::session::settings::Settings;
use crate::engine::sql::identifier_case;
use crate::engine::sql::names;
use crate::engine::sql::statement::{Parsed, parse};
use crate::engine::sql::tokens::tokenize;
use crate::error::{Error, Kind, Result, SourceLocation};
use crate::model::leap_seconds;
use crate::progress::{Progress, Silent};
use crate::repo::RepositoryHandle;

/// Maximum number of rows of a Parquet row group that COPY writes.
const ROW_GROUP: usize = 128 * 1024;

/// Maximum number of build-side rows of a hash join that is not partitioned among threads.
const SMALLER: usize = 1 << 20;

/// A SQL session over one repository.
///
/// Timestamps of the registry are TAI in nanoseconds.
pub struct Session {
    context: SessionContext,
    repository: Arc<RepositoryCatalog>,
    procedures: Arc<ProcedureContext>,
    catalog: Arc<Catalog>,
    staged: StagedOutputs,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("world", &self.repository).finish_non_exhaustive()
    }
}

/// The result of a statement.
pub struct Answer {
    /// The columns of the result.
    pub schema: SchemaRef,
    /// The rows, as a stream of record batches.
    pub rows: SendableRecordBatchStream,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a read-only session over a repository: a path, a URL or an alias. The repository is opened by the first
    /// statement.
    ///
    /// # Errors
    /// `Kind::Invalid` for a bad leap second table, and errors of DataFusion's setup.
    pub fn open(repository: &str) -> Result<Self> {
        Self::with(repository, false, Arc::new(Silent))
    }

    /// Opens a session that may write, if `write` is set, and that reports the progress of procedures.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn with(repository: &str, write: bool, progress: Arc<dyn Progress>) -> Result<Self> {
        leap_seconds::check()?;
        let repository = Arc::new(RepositoryCatalog::new(Arc::new(RepositoryHandle::new(repository, write))));
        let procedures = Arc::new(ProcedureContext::new(progress));
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema("butler", "public")
            .with_extension(Arc::clone(&procedures))
            .with_option_extension(Settings::default());
        config.options_mut().execution.parquet.max_row_group_size = ROW_GROUP;
        config.options_mut().sql_parser.collect_spans = true;
        // Logical plans may infer that a CASE is not NULL where physical plans do not; the schemas do not differ
        // otherwise.
        config.options_mut().execution.skip_physical_aggregate_schema_check = true;
        // For small tables, partitioning both sides of a join costs more than building the hash table on one thread.
        config.options_mut().optimizer.hash_join_single_partition_threshold_rows = SMALLER;
        // DataFusion fails if rows turn out to be ordered after it gives a DISTINCT the limit above it.
        config.options_mut().optimizer.enable_distinct_aggregation_soft_limit = false;
        // The order of a procedure's rows is significant.
        config.options_mut().sql_parser.enable_subquery_sort_elimination = false;
        let mut builder = SessionStateBuilder::new().with_config(config).with_default_features();
        builder.expr_planners().get_or_insert_default().insert(0, Arc::new(OneIsTrue));
        let runtime = RuntimeEnvBuilder::new().with_object_store_registry(Arc::<ButlerObjectStoreRegistry>::default());
        let runtime = runtime.with_memory_limit(memory::limit(), 1.0).build()?;
        let catalog = Arc::new(Catalog::new(&repository));
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog("butler".to_owned(), Arc::clone(&catalog) as Arc<dyn CatalogProvider>);
        let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(CheckComparisonTypes)];
        rules.extend(analyzer::before_types());
        rules.extend(Analyzer::new().rules);
        rules.extend(analyzer::after_types());
        rules.push(Arc::new(AggregateCallRewrite(Arc::clone(&repository.handle))));
        let optimizer_rules = Optimizer::new().rules.into_iter().map(|rule| match rule.name() {
            "extract_equijoin_predicate" => Arc::new(ExtractKeys::default()),
            _ => rule,
        });
        let optimizer_rules = optimizer_rules.collect();
        let mut state = builder
            .with_catalog_list(with_files(Arc::new(catalogs), &repository))
            .with_runtime_env(Arc::new(runtime))
            .with_query_planner(Arc::new(Planner))
            .with_analyzer_rules(rules)
            .with_optimizer_rules(optimizer_rules)
            .with_relation_planners(vec![Arc::new(TableFunctionPlanner(Arc::clone(&repository)))])
            .build();
        state.register_function_rewrite(Arc::new(DatePartUnits))?;
        let context = SessionContext::new_with_state(state);
        let state = context.state_weak_ref();
        repository.set_session_state(move || state.upgrade().map(|s| s.read().clone()));
        crate::engine::procedure::aggregate_call::markers()
            .into_iter()
            .for_each(|marker| context.register_udaf(marker));
        context.register_udaf(analyzer::sum::sum());
        for function in functions::all() {
            if let FunctionKind::Scalar(udf) = &function.kind {
                context.register_udf(udf.clone());
            }
        }
        Ok(Self { context, repository, procedures, catalog, staged: StagedOutputs::default() })
    }

    /// The handle of the repository.
    pub(crate) fn handle(&self) -> &RepositoryHandle {
        &self.repository.handle
    }

    /// Cancels the running procedures and the COPY statements to local files. Committed changes stay, and staged files
    /// are removed.
    pub fn cancel(&self) {
        self.procedures.cancel();
        self.staged.remove_all();
    }

    /// The staged output of running COPY statements, for programs that exit while a statement runs.
    pub fn staged_outputs(&self) -> StagedOutputs {
        self.staged.clone()
    }

    /// Cancels the running procedures and waits until their open transactions are rolled back; the session cannot write
    /// afterwards. If a program exits without this call, the next writer may have to roll back its transaction.
    pub async fn end(&self) {
        self.cancel();
        self.repository.handle.end_writing().await;
    }

    /// Returns the number of items that failed in procedures since the last call, and resets it.
    pub fn take_failures(&self) -> u64 {
        self.procedures.take_failures()
    }

    /// The DataFusion session context. Statements with `read_fits` and other functions that read files or registries
    /// are planned by [`Self::sql`] and [`Self::run`] only.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Executes one statement and collects its rows.
    ///
    /// # Errors
    /// Errors of parsing, planning and execution.
    pub async fn sql(&self, text: &str) -> Result<Vec<RecordBatch>> {
        let answer = self.run(tokenize(text)?).await?;
        Ok(answer.rows.try_collect().await?)
    }

    /// Plans a statement and starts its execution; its rows are computed as the stream is read.
    ///
    /// # Errors
    /// Errors of parsing and planning, with the location in the statement.
    #[tracing::instrument(name = "statement", level = "info", skip_all, fields(line = line_of(&tokens)))]
    pub async fn run(&self, tokens: Vec<TokenWithSpan>) -> Result<Answer> {
        let locator = Locator::new(&tokens);
        let parsed = parse(tokens).map_err(|e| locator.locate(e))?;
        self.repository.refresh().await?;
        let answer = match parsed {
            Parsed::Query(statement) => self.query(statement).await,
            Parsed::Explain(statement) => self.explain(statement).await,
            Parsed::Assert(assertion) => self.assert(*assertion).await,
        };
        let Answer { schema, rows } = answer.map_err(|e| locator.locate(e))?;
        let columns = rows.schema();
        let rows = rows.map_err(move |e| DataFusionError::from(locator.locate(e.into())));
        Ok(Answer { schema, rows: Box::pin(RecordBatchStreamAdapter::new(columns, rows)) })
    }

    async fn plan(&self, statement: Statement) -> Result<LogicalPlan> {
        if let Ok(known) = self.repository.snapshot() {
            identifier_case::check(&statement, &known)?;
        }
        let state = self.context.state();
        let mut tried = statement.clone();
        let mut first = None;
        // Each iteration resolves the names of one query of the statement.
        let error = loop {
            let planning = state.statement_to_plan(tried.clone());
            let (meant, error) = match with_resolved(&self.repository, &tried, planning).await? {
                Ok(plan) => match names::meant_in_plan(&tried, &plan)? {
                    Some(meant) => (Some(meant), None),
                    None => return Ok(plan),
                },
                Err(error) => (names::meant(&tried, &error), Some(error)),
            };
            match meant.filter(|meant| *meant != tried) {
                Some(meant) => tried = meant,
                None => break first.or(error.map(Error::from)).unwrap_or_else(|| Error::bug("names are not resolved")),
            }
            first = first.or(error.map(Error::from));
        };
        let named = |before: &str, after: &str| {
            let message = error.message().strip_prefix(before)?;
            message.split_once(after).map(|(name, _)| name.to_owned())
        };
        let location = error.location();
        let error = if let Some(table) = named("table '", "' not found") {
            self.repository.unknown_table(self.catalog.as_ref(), &table).with_location(location)
        } else if let Some(function) = named("Invalid function '", "'") {
            unknown_function(&function, &state).with_location(location)
        } else if let Some(column) = named("no column named '", "'")
            && let Some(view) = self.view_with(&column, &statement).await
        {
            Error::new(Kind::NotFound, format!("no column named '{column}'; view '{view}' has it"))
                .with_location(location)
        } else {
            error
        };
        Err(locate(error, &statement))
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

    async fn check_allowed(&self, plan: &LogicalPlan) -> Result<()> {
        permissions::check(plan, &self.repository, &self.catalog, self.context.copied_config().options()).await
    }

    async fn query(&self, statement: Statement) -> Result<Answer> {
        let mut plan = self.plan(statement.clone()).await?;
        self.check_allowed(&plan).await?;
        let target = CopyTarget::of(&mut plan, &self.staged)?;
        let frame = self.context.execute_logical_plan(plan).await;
        let frame: DataFrame = frame.map_err(|e| locate(e.into(), &statement))?;
        let schema = Arc::clone(frame.schema().inner());
        let plan = frame.logical_plan().clone();
        let rows = frame.execute_stream().await.map_err(|e| locate(unplanned(e, plan, &self.context), &statement))?;
        let rows = match target {
            Some(target) => target.commit_after(rows),
            None => rows,
        };
        // Types are taken from the stream: the plan is not yet coerced, for example for UNION and CASE.
        let made = rows.schema();
        if made.fields().len() != schema.fields().len() {
            return Ok(Answer { schema, rows });
        }
        let fields = schema.fields().iter().zip(made.fields());
        let fields = fields.map(|(named, made)| made.as_ref().clone().with_name(named.name()));
        let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), made.metadata().clone()));
        Ok(Answer { schema, rows })
    }
}

/// The line of the first token, for the log.
fn line_of(tokens: &[TokenWithSpan]) -> u64 {
    tokens.first().map_or(0, |token| token.span.start.line)
}

/// An answer with one record batch.
fn one(batch: RecordBatch) -> Answer {
    let schema = batch.schema();
    let stream = futures::stream::iter([Ok(batch)]);
    Answer { schema: Arc::clone(&schema), rows: Box::pin(RecordBatchStreamAdapter::new(schema, stream)) }
}

/// Adds the location of the table that an error is about.
fn locate(error: Error, statement: &Statement) -> Error {
    let Statement::Statement(ast) = statement else { return error };
    let is_meant = |name: &str| match error.subject() {
        Some(subject) => subject == name,
        None => error.message().contains(&format!("'{name}'")),
    };
    let mut location = None;
    let _ = visit_relations(ast, |name| {
        let last = name.0.last().and_then(|part| part.as_ident());
        match last.filter(|ident| is_meant(&ident.value)) {
            Some(ident) if ident.span.start.line > 0 => {
                location = Some(SourceLocation { line: ident.span.start.line, column: ident.span.start.column });
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    });
    error.with_location(location)
}
