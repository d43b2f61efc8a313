//! Pushes parts of a query down to the database of the registry.
//!
//! After DataFusion's optimizer rules, the largest parts of a plan whose tables are in one registry become one SELECT
//! each. Joins of complete tables are not pushed down, because the joined rows are more data than the tables. Only
//! expressions with the same semantics in the database are pushed down. The SQL is not written by DataFusion's
//! unparser, because it depends on the storage format of the registry (ids, regions and times are encoded) and on the
//! semantics of the database (collations, sums of integers).

mod select_block;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, TableScan, UserDefinedLogicalNodeCore};

use self::select_block::BlockBuilder;
use crate::engine::catalog::dataset_search::DatasetSearch;
use crate::engine::catalog::registry_table::{RegistryScan, RegistryTable};
use crate::engine::unparse::NotPushed;

/// A part of a plan that a database executes.
#[derive(Debug, Clone)]
pub(super) struct RemoteQuery {
    /// The SELECT and its columns.
    pub scan: RegistryScan,
    schema: DFSchemaRef,
}

/// A plan with the pushed-down parts, and the reasons why other parts were not pushed down.
#[derive(Debug)]
pub(super) struct PushdownResult {
    /// The plan, with [`RemoteQuery`] nodes.
    pub plan: LogicalPlan,
    /// Why the other parts are not pushed down, each reason once.
    pub reasons: Vec<NotPushed>,
}

/// Replaces the largest possible parts of an optimized plan by [`RemoteQuery`] nodes.
///
/// # Errors
/// Errors of the collection search of `find_first` and `members`, and database errors.
pub(super) async fn push_down(plan: LogicalPlan) -> Result<PushdownResult> {
    let found = searches(&plan).await?;
    let tables = |scan: &TableScan| {
        let provider = source_as_provider(&scan.source).ok()?;
        match provider.downcast_ref::<RegistryTable>() {
            Some(table) => Some(Arc::new(table.clone())),
            None => found.get(&address(scan)).cloned(),
        }
    };
    let mut reasons: Vec<NotPushed> = Vec::new();
    let mut named = 0;
    let plan = plan.transform_down_with_subqueries(|node| {
        // A single table stays a scan, which provides statistics.
        if matches!(node, LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_)) && !is_joined(&node) {
            return Ok(Transformed::no(node));
        }
        let mut builder = BlockBuilder { tables: &tables, named, limited: false };
        let pushed = builder.block(&node).and_then(|block| block.finish(node.schema()));
        match pushed {
            Ok(scan) => {
                named = builder.named;
                let schema = Arc::clone(node.schema());
                let node = LogicalPlan::Extension(Extension { node: Arc::new(RemoteQuery { scan, schema }) });
                Ok(Transformed::new(node, true, TreeNodeRecursion::Jump))
            }
            Err(reason) => {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
                Ok(Transformed::no(node))
            }
        }
    })?;
    Ok(PushdownResult { plan: plan.data, reasons })
}

/// Whether a plan is more than one table, possibly with an alias.
fn is_joined(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_joined(&alias.input),
        other => !matches!(other, LogicalPlan::TableScan(_)),
    }
}

/// The dataset searches of a plan that are one registry query, by the address of their scan.
async fn searches(plan: &LogicalPlan) -> Result<HashMap<usize, Arc<RegistryTable>>> {
    let mut scans = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && provider.is::<DatasetSearch>()
        {
            scans.push((address(scan), provider));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut found = HashMap::new();
    for (address, provider) in scans {
        if let Some(search) = provider.downcast_ref::<DatasetSearch>()
            && let Some(table) = search.as_table().await?
        {
            found.insert(address, Arc::new(table));
        }
    }
    Ok(found)
}

/// Identifies a scan by the address of its table source.
fn address(scan: &TableScan) -> usize {
    Arc::as_ptr(&scan.source).cast::<()>() as usize
}

impl PartialEq for RemoteQuery {
    fn eq(&self, other: &Self) -> bool {
        self.scan.sql() == other.scan.sql()
            && self.scan.conn().same_pool(other.scan.conn())
            && self.schema == other.schema
    }
}
impl Eq for RemoteQuery {}
impl Hash for RemoteQuery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scan.sql().hash(state);
    }
}
impl PartialOrd for RemoteQuery {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.scan.sql().partial_cmp(other.scan.sql())
    }
}

impl UserDefinedLogicalNodeCore for RemoteQuery {
    fn name(&self) -> &str {
        "RemoteQuery"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteQuery: {}", self.scan.sql())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;

    use crate::engine::session::Session;
    use crate::progress::Silent;

    /// The SELECTs that the database executes for a query, without quotes, and why other parts are not pushed down.
    async fn pushed(session: &Session, sql: &str) -> (Vec<String>, Vec<String>) {
        let (mut selects, mut reasons) = (Vec::new(), Vec::new());
        for rows in session.sql(&format!("EXPLAIN {sql}")).await.expect(sql) {
            for (kind, plan) in rows.column(0).as_string::<i32>().iter().zip(rows.column(1).as_string::<i32>()) {
                let lines = plan.unwrap_or_default().lines();
                match kind.unwrap_or_default() {
                    "physical_plan" => {
                        selects.extend(
                            lines.filter_map(|line| Some(line.split_once("RegistryScan: ")?.1.replace('"', ""))),
                        );
                    }
                    "not_pushed_down" => {
                        reasons.extend(lines.map(|line| line.trim_start_matches("not pushed down: ").replace('"', "")));
                    }
                    _ => {}
                }
            }
        }
        (selects, reasons)
    }

    async fn session(folder: &tempfile::TempDir) -> Session {
        let session = Session::with(&folder.path().display().to_string(), true, Arc::new(Silent)).unwrap();
        session.sql("CALL create_repository()").await.unwrap();
        session
    }

    #[tokio::test]
    async fn one_select_replaces_what_the_database_does_alike() {
        let folder = tempfile::tempdir().unwrap();
        let session = session(&folder).await;
        for (sql, select) in [
            ("SELECT count(*) AS n FROM exposure", "SELECT count(*) AS n FROM exposure AS t1"),
            (
                "SELECT instrument, max(exposure) AS m FROM exposure WHERE day_obs > 5 GROUP BY instrument \
                 HAVING count(*) > 2",
                "SELECT t1.instrument AS instrument, max(t1.id) AS m FROM exposure AS t1 WHERE (t1.day_obs > 5) \
                 GROUP BY t1.instrument HAVING (count(*) > 2)",
            ),
            (
                "SELECT exposure FROM exposure ORDER BY exposure LIMIT 3 OFFSET 2",
                "SELECT t1.id AS exposure FROM exposure AS t1 ORDER BY t1.id ASC NULLS LAST LIMIT 3 OFFSET 2",
            ),
            (
                "SELECT exposure FROM exposure WHERE day_obs IN (SELECT day_obs FROM day_obs WHERE day_obs > 5)",
                "SELECT t1.id AS exposure FROM exposure AS t1 WHERE ((t1.day_obs) IN (SELECT t2.id AS c1 FROM \
                 day_obs AS t2 WHERE (t2.id > 5)))",
            ),
            (
                "SELECT count(*) AS n FROM (SELECT DISTINCT day_obs FROM exposure)",
                "SELECT count(*) AS n FROM (SELECT 1 FROM exposure AS t1 GROUP BY t1.day_obs) AS t2",
            ),
            (
                "SELECT e.exposure, o.day_obs FROM exposure e LEFT JOIN day_obs o ON o.instrument = e.instrument \
                 AND o.day_obs = e.day_obs WHERE e.exposure = 7",
                "SELECT t1.id AS exposure, t2.id AS day_obs FROM exposure AS t1 LEFT JOIN day_obs AS t2 ON \
                 (t1.instrument = t2.instrument) AND (t1.day_obs = t2.id) WHERE (t1.id = 7)",
            ),
        ] {
            assert_eq!(pushed(&session, sql).await, (vec![select.to_owned()], Vec::new()), "{sql}");
        }
    }

    #[tokio::test]
    async fn what_stays_has_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let session = session(&folder).await;
        for (sql, reason) in [
            ("SELECT exposure FROM exposure WHERE lower(obs_id) = 'x'", "lower(registry.exposure.obs_id)"),
            (
                "SELECT d.full_name FROM exposure e JOIN detector d ON d.instrument = e.instrument \
                 WHERE e.exposure = 5",
                "join without a unique key in t1.instrument",
            ),
            (
                "SELECT e.obs_id, o.day_obs FROM exposure e JOIN day_obs o USING (instrument, day_obs)",
                "complete tables",
            ),
            ("SELECT obs_id FROM exposure ORDER BY obs_id", "sort without LIMIT"),
            ("SELECT count(*) FROM exposure, generate_series(1, 2)", "generate_series"),
            ("SELECT day_obs, count(*) FROM exposure GROUP BY ROLLUP (day_obs)", "ROLLUP"),
            (
                "SELECT e.obs_id FROM exposure e FULL JOIN day_obs o ON o.day_obs = e.day_obs WHERE e.seq_num = 1 \
                 OR o.day_obs = 2",
                "Full",
            ),
        ] {
            let (_, reasons) = pushed(&session, sql).await;
            assert!(reasons.iter().any(|known| known.contains(reason)), "{sql}: {reasons:?}");
        }
    }

    #[tokio::test]
    async fn two_tables_of_a_name_have_two_aliases() {
        let folder = tempfile::tempdir().unwrap();
        let session = session(&folder).await;
        let sql = "SELECT a.exposure FROM exposure a JOIN exposure b USING (instrument, exposure) \
                   WHERE a.day_obs = 1 AND b.seq_num = 2";
        let (selects, _) = pushed(&session, sql).await;
        let [select] = selects.as_slice() else { panic!("{selects:?}") };
        assert!(select.contains("AS t1") && select.contains("AS t2"), "{select}");
        assert!(select.contains("day_obs = 1") && select.contains("seq_num = 2"), "{select}");
    }
}
