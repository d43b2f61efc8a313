//! Queries answered by the database and queries answered above it have the same answers.

use std::sync::Arc;

use butlersql::Session;
use butlersql::Silent;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use macro_rules_attribute::apply;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

use crate::world::{Db, Home};

/// A column, and values that occur in it.
type Column = (&'static str, &'static [&'static str]);

/// Tables, how each joins the first one, and some of their columns.
const TABLES: [(&str, &str, &[Column]); 5] = [
    (
        "exposure",
        "",
        &[
            ("exposure", &["2024102400003", "2024102400009", "7"]),
            ("observation_type", &["'science'", "'bias'", "''", "NULL"]),
            ("exposure_time", &["30.0", "0.5", "1e3"]),
            ("zenith_angle", &["30.0", "45.25"]),
            ("can_see_sky", &["true", "false"]),
            ("timespan_begin", &["'2024-10-24T12:00:00'", "'2024-10-25T00:00:37'"]),
            ("obs_id", &["'CC_O_20241024_000007'", "'c'", "'Z'"]),
            ("physical_filter", &["'r_03'", "'i_06'"]),
            ("day_obs", &["20241024", "20241025"]),
        ],
    ),
    (
        "raw",
        "instrument, exposure",
        &[
            ("detector", &["0", "4", "8"]),
            ("dataset_id", &["'00000000-0000-0000-0000-000000000000'", "'x'"]),
            ("run", &["'LSSTComCam/raw/all'", "'u'"]),
        ],
    ),
    ("physical_filter", "instrument, physical_filter", &[("band", &["'r'", "'i'", "'white'"])]),
    ("day_obs", "instrument, day_obs", &[("timespan_end", &["'2024-10-25T12:00:00'"])]),
    (
        "members('raw', '*')",
        "instrument, exposure",
        &[("collection", &["'LSSTComCam/raw/all'", "'picked'"]), ("dataset_id", &["'x'"])],
    ),
];

const AGGREGATES: [&str; 7] = [
    "count(*)",
    "count({})",
    "count(DISTINCT {})",
    "min({})",
    "max({})",
    "count({}) FILTER (WHERE {} IS NOT NULL)",
    "sum(e.exposure_time)",
];

/// A query as numbers: proptest makes them smaller.
#[derive(Debug, Clone)]
struct Query {
    joins: Vec<(Index, &'static str)>,
    filters: Vec<(Index, &'static str, Index, Index)>,
    either: bool,
    wanted: Vec<Index>,
    aggregate: Option<Vec<(Index, Index)>>,
    semi: Option<&'static str>,
    limit: Option<u8>,
    /// All rows are one group.
    whole: bool,
    having: Option<&'static str>,
    around: Option<&'static str>,
}

fn queries() -> impl Strategy<Value = Query> {
    let index = any::<Index>;
    let operators =
        select(vec!["=", "<>", "<", "<=", ">", ">=", "IS NULL", "IS NOT NULL", "IN", "NOT IN", "BETWEEN", "LIKE"]);
    let joins = select(vec!["JOIN", "JOIN", "LEFT JOIN"]);
    let semi = select(vec![
        "IN (SELECT visit FROM visit)",
        "NOT IN (SELECT visit FROM visit)",
        "IN (SELECT exposure FROM raw WHERE detector = 4 LIMIT 3)",
    ]);
    (
        prop::collection::vec((index(), joins), 0..3),
        prop::collection::vec((index(), operators, index(), index()), 0..4),
        any::<bool>(),
        prop::collection::vec(index(), 1..4),
        prop::option::of(prop::collection::vec((index(), index()), 1..4)),
        prop::option::weighted(0.2, semi),
        prop::option::of(0_u8..20),
        (
            prop::bool::weighted(0.2),
            prop::option::weighted(
                0.3,
                select(vec!["count(*) > 2", "max(e.exposure_time) > 20.0", "min(e.exposure) IS NULL"]),
            ),
            prop::option::weighted(
                0.2,
                select(vec![
                    "SELECT count(*) FROM ({}) q",
                    "SELECT 7 AS seven FROM ({}) q",
                    "SELECT max(c0) FROM ({}) q",
                ]),
            ),
        ),
    )
        .prop_map(|(joins, filters, either, wanted, aggregate, semi, limit, (whole, having, around))| Query {
            joins,
            filters,
            either,
            wanted,
            aggregate,
            semi,
            limit,
            whole,
            having,
            around,
        })
}

impl Query {
    fn sql(&self) -> String {
        let mut from = "exposure e".to_owned();
        let mut columns: Vec<(String, &[&str])> =
            TABLES[0].2.iter().map(|(name, values)| (format!("e.{name}"), *values)).collect();
        for (at, (table, how)) in self.joins.iter().enumerate() {
            let (name, using, own) = TABLES[1 + table.index(TABLES.len() - 1)];
            let on: Vec<_> = using.split(", ").map(|key| format!("e.{key} = j{at}.{key}")).collect();
            from.push_str(&format!(" {how} {name} j{at} ON {}", on.join(" AND ")));
            columns.extend(own.iter().map(|(name, values)| (format!("j{at}.{name}"), *values)));
        }
        let filters: Vec<_> = self
            .filters
            .iter()
            .map(|(column, operator, one, other)| {
                let (name, values) = &columns[column.index(columns.len())];
                let (one, other) = (values[one.index(values.len())], values[other.index(values.len())]);
                let text = if one.starts_with('\'') { one.trim_matches('\'').to_owned() } else { "x".to_owned() };
                let is_text = one.starts_with('\'') && !name.contains("timespan");
                match *operator {
                    "IS NULL" | "IS NOT NULL" => format!("{name} {operator}"),
                    "IN" | "NOT IN" => format!("{name} {operator} ({one}, {other})"),
                    "BETWEEN" => format!("{name} BETWEEN {one} AND {other}"),
                    "LIKE" if is_text => format!("{name} LIKE '{}%'", text.chars().take(4).collect::<String>()),
                    "LIKE" => format!("{name} = {one}"),
                    "OR NULL" => format!("({name} = {one} OR NULL) IS NULL"),
                    operator => format!("{name} {operator} {one}"),
                }
            })
            .collect();
        let word = if self.either { " OR " } else { " AND " };
        let mut filter = if filters.is_empty() { "true".to_owned() } else { format!("({})", filters.join(word)) };
        if let Some(semi) = self.semi {
            filter.push_str(&format!(" AND e.exposure {semi}"));
        }
        let wanted: Vec<_> = self.wanted.iter().map(|at| columns[at.index(columns.len())].0.clone()).collect();
        let column = |at: &Index| columns[at.index(columns.len())].0.as_str();
        let (select, group) = match &self.aggregate {
            None => (wanted.join(", "), String::new()),
            Some(all) => {
                let all: Vec<_> = all
                    .iter()
                    .map(|(which, of)| AGGREGATES[which.index(AGGREGATES.len())].replace("{}", column(of)))
                    .collect();
                let having = self.having.map_or(String::new(), |having| format!(" HAVING {having}"));
                let (keys, group) = match self.whole {
                    true => (String::new(), String::new()),
                    false => (format!("{}, ", wanted.join(", ")), format!(" GROUP BY {}", wanted.join(", "))),
                };
                (format!("{keys}{}", all.join(", ")), format!("{group}{having}"))
            }
        };
        let mut named: Vec<_> = select.split(", ").enumerate().map(|(at, item)| format!("{item} AS c{at}")).collect();
        // Aggregates with a comma in them do not occur.
        let all: Vec<_> = (1..=named.len()).map(|at| at.to_string()).collect();
        let order = match self.limit {
            Some(limit) => format!(" ORDER BY {} LIMIT {limit} OFFSET {}", all.join(", "), limit / 4),
            None => String::new(),
        };
        named.dedup();
        let sql = format!("SELECT {} FROM {from} WHERE {filter}{group}{order}", named.join(", "));
        self.around.map_or(sql.clone(), |around| around.replace("{}", &sql))
    }
}

/// The rows as texts, sorted; sums of floats as far as they are the same in any order.
fn rows(batches: &[RecordBatch], sorted: bool) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let cell = |column: &Arc<dyn Array>, row: usize| match column.data_type() {
            DataType::Float64 if column.is_valid(row) => {
                format!("{:.6}", column.as_primitive::<Float64Type>().value(row))
            }
            _ => ArrayFormatter::try_new(column, &options).expect("a format").value(row).to_string(),
        };
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|c| cell(c, row)).collect::<Vec<_>>().join(","));
        }
    }
    if !sorted {
        rows.sort();
    }
    rows
}

/// A query that would run for hours in the server.
const ENDLESS: &str = "SELECT count(*) FROM raw a, raw b, raw c, raw d, raw e, raw f WHERE a.detector < b.detector";

/// Waits until the server works for nobody.
fn ended(home: &Home) {
    let watch = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%' AND datname = current_database()";
    for _ in 0..1000 {
        if home.psql(watch) == "0" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the server still works: {}", home.psql("SELECT query FROM pg_stat_activity WHERE state = 'active'"));
}

#[apply(test!)]
fn a_query_that_nobody_waits_for_ends_in_the_server() {
    use futures::StreamExt;
    use std::time::Duration;
    let Some(home) = Home::new(Db::Postgres) else { return };
    let data = home.sample(&["--exposures", "24", "--nights", "1"]);
    home.with_camera();
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct')")).ok();
    let watch = "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%' AND datname = current_database()";
    let busy = || home.psql(watch) == "t";
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // A stream that is dropped.
    let session = Session::with(&home.repo(), false, Arc::new(Silent)).expect("a session");
    runtime.block_on(async {
        let mut answer = session.execute(ENDLESS).await.expect("an answer");
        let waited = tokio::time::timeout(Duration::from_millis(100), answer.rows.next()).await;
        assert!(waited.is_err(), "it is still at work");
        while !busy() {
            let _ = tokio::time::timeout(Duration::from_millis(20), answer.rows.next()).await;
        }
    });
    ended(&home);
    assert_eq!(runtime.block_on(session.sql("SELECT 1 FROM detector LIMIT 1")).expect("rows").len(), 1);
    ended(&home);
    // Ctrl-C.
    let mut child = crate::world::program().args([&home.repo(), "-c", ENDLESS]).spawn().expect("the program");
    while !busy() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("a signal");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    ended(&home);
}

#[apply(test!)]
fn random_queries_have_one_answer() {
    for db in [Db::Sqlite, Db::Postgres] {
        let Some(home) = Home::new(db) else { continue };
        let data = home.sample(&["--exposures", "24", "--nights", "2", "--seed", "5"]);
        home.with_camera();
        home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)")).ok();
        home.sql("CALL define_visits('LSSTComCam')").ok();
        home.sql("CALL register_collection('picked', 'TAGGED'); CALL associate('picked', (SELECT dataset_id FROM raw WHERE detector < 3))").ok();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let session = |pushdown: bool| {
            let session = Session::with(&home.repo(), false, Arc::new(Silent)).expect("a session");
            runtime.block_on(session.sql(&format!("SET butler.pushdown = {pushdown}"))).expect("set");
            session
        };
        let (with, without) = (session(true), session(false));
        let (pushed, done) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
        let ran = runner.run(&queries(), |query| {
            let sql = query.sql();
            let sorted = query.limit.is_some();
            let [own, other] = [&with, &without].map(|session| runtime.block_on(session.sql(&sql)));
            // What DataFusion cannot do by itself tells nothing.
            let Ok(other) = other else { return Ok(()) };
            let own = own.map_err(|e| TestCaseError::fail(format!("{sql}: {e}")))?;
            done.set(done.get() + 1);
            prop_assert_eq!(rows(&own, sorted), rows(&other, sorted), "{}", sql);
            let plan = runtime.block_on(with.sql(&format!("EXPLAIN {sql}"))).expect("a plan");
            let plan = rows(&plan, true).concat();
            pushed.set(pushed.get() + usize::from(!plan.contains("JoinExec") && !plan.contains("AggregateExec")));
            Ok(())
        });
        ran.unwrap_or_else(|e| panic!("{db:?}: {e}"));
        assert!(done.get() > 250, "{db:?}: only {} of 300 were answered", done.get());
        assert!(pushed.get() > 80, "{db:?}: only {} of 300 were left to the database", pushed.get());
        let has_join = |sql: &str| {
            let plan = runtime.block_on(with.sql(&format!("EXPLAIN {sql}"))).expect("a plan");
            rows(&plan, true).concat().contains("JoinExec")
        };
        // SQLite is asked for no join that it has no key for.
        let no_key = "SELECT count(*) FROM raw a JOIN raw b USING (instrument, exposure) WHERE a.detector = 4";
        assert_eq!(has_join(no_key), db == Db::Sqlite, "{db:?}: {no_key}");
        // All rows of two tables are less to send than the joined ones; some of them, in whatever way, are not.
        for whole in [
            "SELECT * FROM raw JOIN exposure USING (instrument, exposure)",
            "SELECT * FROM raw JOIN exposure USING (instrument, exposure) JOIN physical_filter USING (instrument, physical_filter)",
            "SELECT e.exposure, v.visit FROM exposure e LEFT JOIN visit v ON v.visit = e.exposure AND v.instrument = e.instrument",
            "SELECT * FROM (SELECT * FROM raw ORDER BY exposure) r JOIN exposure USING (instrument, exposure)",
        ] {
            assert!(has_join(whole), "{db:?}: {whole}");
        }
        for part in [
            "SELECT path FROM files WHERE dataset_type = 'raw'",
            "SELECT dataset_id FROM datasets WHERE run = 'u'",
            "SELECT raw.run FROM raw JOIN members('raw', 'picked') m USING (dataset_id)",
            "SELECT e.exposure FROM exposure e LEFT JOIN visit v ON v.visit = e.exposure AND v.instrument = e.instrument WHERE v.visit IS NULL",
            "SELECT e.obs_id, v.name FROM exposure e JOIN visit v ON v.visit = e.exposure AND v.instrument = e.instrument WHERE e.exposure IN (SELECT exposure FROM raw WHERE detector = 4)",
            "SELECT e.obs_id, r.n FROM exposure e JOIN (SELECT exposure, count(*) AS n FROM raw GROUP BY exposure) r ON r.exposure = e.exposure",
            "SELECT e.obs_id, r.detector FROM exposure e JOIN raw r USING (instrument, exposure) ORDER BY 1, 2",
            "SELECT e.obs_id, r.detector FROM exposure e JOIN raw r USING (instrument, exposure) LIMIT 5",
        ] {
            assert!(db == Db::Sqlite || !has_join(part), "{db:?}: {part}");
        }
    }
}
