//! A session: executes statements and returns Arrow record batches.

mod assert;
mod attachment;
pub(crate) mod copy_target;
pub(crate) mod delimited;
mod explain;
mod locate;
mod memory;
pub(crate) mod planner;
pub(crate) mod settings;
mod unplanned;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::CatalogProviderList;
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
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use futures::TryStreamExt;

use self::locate::{Locator, locate};
use self::unplanned::unplanned;
use crate::engine::analyzer;
use crate::engine::analyzer::comparison_types::CheckComparisonTypes;
use crate::engine::analyzer::date_part::DatePartUnits;
use crate::engine::analyzer::null_joins::ExtractKeys;
use crate::engine::analyzer::permissions;
use crate::engine::catalog::file_tables::with_files;
use crate::engine::catalog::object_stores::ButlerObjectStoreRegistry;
use crate::engine::catalog::repositories::{Member, Repositories};
use crate::engine::catalog::repository::{OWN, RepositoryCatalog};
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
use crate::engine::sql::attach;
use crate::engine::sql::butler_where;
use crate::engine::sql::identifier_case;
use crate::engine::sql::names;
use crate::engine::sql::statement::{Parsed, parse};
use crate::engine::sql::tokens::tokenize;
use crate::error::{Error, Result};
use crate::model::leap_seconds;
use crate::progress::{Progress, Silent};
use crate::repo::RepositoryHandle;

/// Maximum number of rows of a Parquet row group that COPY writes.
const ROW_GROUP: usize = 128 * 1024;

/// Maximum number of build-side rows of a hash join that is not partitioned among threads.
const SMALLER: usize = 1 << 20;

/// A SQL session over one repository.
///
/// A session is cheap: the repository is opened by the first statement, and the connections of the registry are kept
/// until [`Session::end`]. Statements may run concurrently; each sees the state of the registry at its start.
///
/// Columns have the types of Arrow. Times of the registry are TAI, in nanoseconds since 1970-01-01 00:00:00 TAI; dataset
/// ids are text; regions are the bytes of the Butler. Angles are in degrees.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> butlersql::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().display().to_string();
/// use std::sync::Arc;
///
/// use butlersql::{Session, Silent};
///
/// let session = Session::with(&path, true, Arc::new(Silent))?;
/// session.sql("CALL create_repository()").await?;
/// session.sql("CALL register_collection('u/someone/tag', 'TAGGED')").await?;
/// let rows = session.sql("SELECT name, type FROM collections").await?;
/// assert_eq!(rows[0].num_rows(), 1);
/// session.end().await;
/// # Ok(()) }
/// ```
pub struct Session {
    context: SessionContext,
    repository: Arc<RepositoryCatalog>,
    repositories: Arc<Repositories>,
    procedures: Arc<ProcedureContext>,
    staged: StagedOutputs,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// The result of a statement: its columns, and its rows as a stream.
///
/// The rows are computed while the stream is read; a statement stops when the stream is dropped. The schema is that of
/// the result also if there are no rows.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use futures::TryStreamExt;
///
/// let session = butlersql::Session::open(&folder.path().display().to_string())?;
/// let mut answer = session.execute("SELECT value AS n FROM generate_series(1, 100000)").await?;
/// assert_eq!(answer.schema.field(0).name(), "n");
/// let mut rows = 0;
/// while let Some(batch) = answer.rows.try_next().await? {
///     rows += batch.num_rows();
/// }
/// assert_eq!(rows, 100_000);
/// # Ok(()) }
/// ```
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
    /// Opens a read-only session over a repository: a path, a `davs://` URL, or a label of the repository index that
    /// `DAF_BUTLER_REPOSITORY_INDEX` names. The repository is opened by the first statement, so that a session can also
    /// read files and create a repository.
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
        let repository = Arc::new(RepositoryCatalog::new(Arc::new(RepositoryHandle::new(repository, write)), None));
        let procedures = Arc::new(ProcedureContext::new(progress));
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(OWN, "public")
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
        let repositories = Arc::new(Repositories::new(Member::new(Arc::clone(&repository))));
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
            .with_catalog_list(with_files(Arc::clone(&repositories) as Arc<dyn CatalogProviderList>, &repository))
            .with_runtime_env(Arc::new(runtime))
            .with_query_planner(Arc::new(Planner))
            .with_analyzer_rules(rules)
            .with_optimizer_rules(optimizer_rules)
            .with_relation_planners(vec![Arc::new(TableFunctionPlanner(Arc::clone(&repositories)))])
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
        Ok(Self { context, repository, repositories, procedures, staged: StagedOutputs::default() })
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

    /// Returns the number of items that failed in procedures since the last call, and resets it. Procedures such as
    /// `ingest_raws` report items that fail and process the others; their statement succeeds.
    pub fn take_failures(&self) -> u64 {
        self.procedures.take_failures()
    }

    /// The DataFusion session context. Statements with `read_fits` and other functions that read files or registries
    /// are planned by [`Self::sql`] and [`Self::execute`] only.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Executes one statement and collects its rows.
    ///
    /// # Errors
    /// Errors of parsing, planning and execution, by their [`Kind`](crate::Kind): `Invalid` for SQL that is not valid,
    /// `NotFound` for unknown names, `Unsupported` for SQL that this program refuses, `Conflict` and `Exists` if a
    /// procedure would overwrite other values, `Unreachable` and `Denied` of databases and servers.
    pub async fn sql(&self, text: &str) -> Result<Vec<RecordBatch>> {
        let answer = self.execute(text).await?;
        Ok(answer.rows.try_collect().await?)
    }

    /// Plans one statement and starts its execution; its rows are computed as the stream is read.
    ///
    /// # Errors
    /// Errors of parsing and planning, with the location in the statement. The stream returns those of the execution.
    pub async fn execute(&self, text: &str) -> Result<Answer> {
        self.run(tokenize(text)?).await
    }

    /// Executes a statement as [`Self::execute`] does, with locations in the script that its tokens come from.
    ///
    /// # Errors
    /// As for [`Self::execute`].
    #[tracing::instrument(name = "statement", level = "info", skip_all, fields(line = line_of(&tokens)))]
    pub(crate) async fn run(&self, tokens: Vec<TokenWithSpan>) -> Result<Answer> {
        let locator = Locator::new(&tokens);
        let parsed = parse(tokens).map_err(|e| locator.locate(e))?;
        // A repository that is not reachable any more can be detached.
        if !matches!(parsed, Parsed::Attachment(_)) {
            self.repositories.refresh().await?;
        }
        let answer = match parsed {
            Parsed::Query(statement) => self.query(statement).await,
            Parsed::Explain(statement) => self.explain(statement).await,
            Parsed::Assert(assertion) => self.assert(*assertion).await,
            Parsed::Attachment(attachment) => self.change_attached(attachment).await,
        };
        let Answer { schema, rows } = answer.map_err(|e| locator.locate(e))?;
        let columns = rows.schema();
        let rows = rows.map_err(move |e| DataFusionError::from(locator.locate(e.into())));
        Ok(Answer { schema, rows: Box::pin(RecordBatchStreamAdapter::new(columns, rows)) })
    }

    async fn plan(&self, mut statement: Statement) -> Result<LogicalPlan> {
        attach::qualify(&mut statement, &self.repositories.attached());
        butler_where::expand(&mut statement, &self.repositories)?;
        if let Ok(known) = self.repository.snapshot() {
            identifier_case::check(&statement, &known)?;
        }
        let state = self.context.state();
        let mut tried = statement.clone();
        let mut first = None;
        // Each iteration resolves the names of one query of the statement.
        let error = loop {
            let planning = state.statement_to_plan(tried.clone());
            let (meant, error) = match with_resolved(&self.repositories, &tried, planning).await? {
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
        let error = self.with_nearest_name(error, &statement).await;
        Err(locate(error, &statement))
    }

    async fn check_allowed(&self, plan: &LogicalPlan) -> Result<()> {
        permissions::check(plan, &self.repositories, self.context.copied_config().options()).await
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
