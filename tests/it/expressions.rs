//! The Butler's query expressions: the cases that both versions of the Butler answered, by `query_datasets`,
//! `query_data_ids` and `query_dimension_records`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use butlersql::Session;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::world::{Db, Home, butler, oracle, run, skip};

/// Cases that both Butlers refuse and we answer, and the number of rows.
const ANSWERED: [(u64, usize); 5] = [
    // Overlaps with a region within OR and NOT.
    (342, 4),
    (343, 5),
    (344, 5),
    // Other pixels than HTM 7.
    (377, 98),
    // An id as a text.
    (422, 1),
];

/// Cases that we answer otherwise than the Butler: the number of rows, or `None` for an error; and why.
const OTHERWISE: [(u64, Option<usize>, &str); 3] = [
    (143, Some(0), "a backslash before another character than * and ? is a character, in PostgreSQL as in SQLite"),
    (430, Some(0), "a member of a RUN collection has no validity range, as in version 29, which fails here on SQLite"),
    (438, None, "several valid calibrations are an error, in PostgreSQL as in SQLite"),
];

/// The dimensions that identify a record, without the governor's name for governors and unions.
const REQUIRED: [(&str, &[&str]); 16] = [
    ("band", &["band"]),
    ("instrument", &["instrument"]),
    ("skymap", &["skymap"]),
    ("detector", &["instrument", "detector"]),
    ("physical_filter", &["instrument", "physical_filter"]),
    ("group", &["instrument", "group"]),
    ("day_obs", &["instrument", "day_obs"]),
    ("visit_system", &["instrument", "visit_system"]),
    ("exposure", &["instrument", "exposure"]),
    ("visit", &["instrument", "visit"]),
    ("tract", &["skymap", "tract"]),
    ("patch", &["skymap", "tract", "patch"]),
    ("subfilter", &["band", "subfilter"]),
    ("visit_definition", &["instrument", "exposure", "visit"]),
    ("visit_detector_region", &["instrument", "detector", "visit"]),
    ("visit_system_membership", &["instrument", "visit", "visit_system"]),
];

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/query-expressions").join(name)
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A JSON value as SQL; values that JSON does not have are tagged.
fn constant(value: &Value) -> String {
    let list = |items: &[Value]| format!("[{}]", items.iter().map(constant).collect::<Vec<_>>().join(", "));
    let time = |value: &Value| format!("TIMESTAMP '{}'", value.as_str().expect("a time"));
    match value {
        Value::String(value) => text(value),
        Value::Array(items) => list(items),
        Value::Object(tagged) => {
            let (tag, value) = tagged.iter().next().expect("a tag");
            let items = || value.as_array().expect("a list").as_slice();
            let number = |at: usize| items()[at].as_f64().expect("a number");
            match tag.as_str() {
                "set" => list(items()),
                "time" => time(value),
                "datetime" => format!("tai({})", time(value)),
                "uuid" => constant(value),
                "timespan" => format!("{{'begin': {}, 'end': {}}}", time(&items()[0]), time(&items()[1])),
                "circle" => format!("circle({}, {}, {})", number(0), number(1), number(2)),
                "box" => format!(
                    "box({}, {}, {}, {})",
                    f64::midpoint(number(0), number(2)),
                    f64::midpoint(number(1), number(3)),
                    number(2) - number(0),
                    number(3) - number(1)
                ),
                other => panic!("unknown tag {other}"),
            }
        }
        other => other.to_string(),
    }
}

/// The Butler of version 30 doubles the radius of CIRCLE.
fn with_double_radius(condition: &str) -> String {
    let upper = condition.to_uppercase();
    let Some(start) = upper.find("CIRCLE(") else { return condition.to_owned() };
    let close = start + condition[start..].find(')').expect("a parenthesis");
    let comma = start + condition[start..close].rfind(',').expect("a comma");
    let radius: f64 = condition[comma + 1..close].trim().parse().expect("a radius");
    format!("{}, {}{}", &condition[..comma], 2.0 * radius, &condition[close..])
}

/// The statement of a case.
fn statement(case: &Value) -> String {
    let mut arguments = vec![constant(&case["of"])];
    if case["of"] == Value::Array(Vec::new()) {
        arguments[0] = "make_array()".to_owned();
    }
    arguments.extend(case.get("collections").map(constant));
    let condition = case["where"].as_str().expect("an expression");
    arguments.push(format!("where => {}", text(&with_double_radius(condition))));
    if let Some(Value::Object(binds)) = case.get("bind")
        && !binds.is_empty()
    {
        let all: Vec<_> = binds.iter().map(|(name, value)| format!("'{name}': {}", constant(value))).collect();
        arguments.push(format!("bind => {{{}}}", all.join(", ")));
    }
    for name in ["find_first", "order_by", "limit"] {
        arguments.extend(case.get(name).map(|value| format!("{name} => {}", constant(value))));
    }
    let function = match case["kind"].as_str() {
        Some("records") => "query_dimension_records",
        Some("data_ids") => "query_data_ids",
        _ => "query_datasets",
    };
    format!("SELECT * FROM {function}({})", arguments.join(", "))
}

/// The columns of a result that the case lists, as rows of JSON.
fn listed(case: &Value, batches: &[RecordBatch]) -> Vec<Vec<Value>> {
    let required: BTreeMap<_, _> = REQUIRED.into_iter().collect();
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let names = schema.fields().iter().map(|f| f.name().as_str());
        let wanted: Vec<&str> = match case["kind"].as_str() {
            Some("records") => required[case["of"].as_str().expect("an element")].to_vec(),
            Some("data_ids") => names.filter(|name| *name != "found").collect(),
            _ => {
                let other = ["dataset_id", "run", "collection", "timespan_begin", "timespan_end"];
                std::iter::once("run").chain(names.filter(|name| !other.contains(name))).collect()
            }
        };
        let columns: Vec<_> = wanted.iter().map(|name| batch.column_by_name(name).expect(name)).collect();
        for row in 0..batch.num_rows() {
            let cell = |column: &&std::sync::Arc<dyn Array>| match column.data_type() {
                DataType::Int64 => Value::from(column.as_primitive::<Int64Type>().value(row)),
                _ => Value::from(datafusion::arrow::util::display::array_value_to_string(column, row).expect("a text")),
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    if case.get("order_by").is_none() {
        rows.sort_by_key(|row: &Vec<Value>| {
            row.iter().map(|v| (v.is_string(), v.as_i64(), v.to_string())).collect::<Vec<_>>()
        });
    }
    rows
}

/// The outcome that we must reach: that of version 29, and that of version 30 where 29 has none.
fn expected(case: &Value, database: Db) -> &Value {
    let mut outcome = &case["b29"];
    let special = case.get("postgresql");
    let ordered = case.get("order_by").is_some();
    if let Some(other) = special.and_then(|s| s.get("b29"))
        && (ordered || matches!(database, Db::Postgres))
    {
        outcome = other;
    }
    match case.get("b30") {
        Some(newer) if outcome.get("error").is_some() && newer.get("error").is_none() => newer,
        _ => outcome,
    }
}

/// Compares the answer to a case; returns what is wrong.
fn judged(case: &Value, outcome: &Value, answer: butlersql::Result<Vec<RecordBatch>>) -> Option<String> {
    let id = case["id"].as_u64().expect("an id");
    if let Some((_, wanted, why)) = OTHERWISE.iter().find(|known| known.0 == id) {
        let count = answer.ok().map(|batches| batches.iter().map(RecordBatch::num_rows).sum::<usize>());
        return (count != *wanted).then(|| format!("expected {wanted:?} rows, got {count:?}: {why}"));
    }
    let rows = match (answer, outcome.get("error")) {
        (Err(error), Some(_)) => {
            let message = error.message();
            let is_bad = crate::world::has_internals(message) || message.contains("internal error");
            return is_bad.then(|| format!("bad message: {message}"));
        }
        (Err(error), None) => return Some(format!("expected {outcome}, got the error {error}")),
        (Ok(batches), Some(error)) => {
            let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let known = ANSWERED.contains(&(id, count));
            return (!known).then(|| format!("expected error {error}, got {count} rows"));
        }
        (Ok(batches), None) => listed(case, &batches),
    };
    let wanted = outcome["n"].as_u64().expect("a count");
    let is_part = case.get("limit").is_some() && case.get("order_by").is_none();
    let same_rows = outcome.get("rows").is_none_or(|all| is_part || *all == Value::from_iter(rows.iter().cloned()));
    (rows.len() as u64 != wanted || !same_rows).then(|| format!("expected {outcome}, got {} rows {rows:?}", rows.len()))
}

/// A repository of the cases, which the real Butler makes.
fn made(database: Db) -> Option<Home> {
    let home = Home::new(database)?;
    let python = butler("b29")?.join("python");
    let mut make = Command::new(python);
    make.arg(reference("make_repo.py")).arg(home.repo());
    if let Some(url) = home.database() {
        make.args(["--db", url]);
    }
    run(&mut make).ok();
    Some(home)
}

/// Asks all cases, with and without pushdown.
fn ask(home: &Home, cases: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let session = Session::open(&home.repo()).expect("a session");
    let mut wrong = Vec::new();
    for pushdown in [true, false] {
        runtime.block_on(session.sql(&format!("SET butler.pushdown = {pushdown}"))).expect("a setting");
        for case in cases.lines() {
            let case: Value = serde_json::from_str(case).expect("a case");
            let outcome = expected(&case, home.db());
            let sql = statement(&case);
            if let Some(what) = judged(&case, outcome, runtime.block_on(session.sql(&sql))) {
                wrong.push(format!("{} (pushdown {pushdown}) {sql}\n  {what}", case["id"]));
            }
        }
    }
    runtime.block_on(session.end());
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn answers(database: Db) {
    let Ok(cases) = std::fs::read_to_string(reference("cases.jsonl")) else {
        return skip("the cases of query expressions are not there");
    };
    assert!(cases.lines().count() > 600);
    if let Some(home) = made(database) {
        ask(&home, &cases);
    }
}

#[apply(test!)]
fn cases_of_the_butler_have_its_rows_on_sqlite() {
    answers(Db::Sqlite);
}

#[apply(test!)]
fn cases_of_the_butler_have_its_rows_on_postgresql() {
    answers(Db::Postgres);
}

/// Rows as sorted texts.
fn sorted(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let cell = |column: &std::sync::Arc<dyn Array>, row| {
            datafusion::arrow::util::display::array_value_to_string(column, row).expect("a text")
        };
        let row = |row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join(",");
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The statements with `butler_where` and with a search function that select the same rows.
fn both_forms(case: &Value) -> Option<(String, String)> {
    let of = case["of"].as_str()?;
    if case.get("order_by").or(case.get("limit")).or(case.get("bind")).is_some() {
        return None;
    }
    let condition = text(&with_double_radius(case["where"].as_str()?));
    if case["kind"] == "records" {
        let columns = REQUIRED.iter().find(|(name, _)| *name == of)?.1.iter().map(|name| format!("\"{name}\""));
        let columns = columns.collect::<Vec<_>>().join(", ");
        return Some((
            format!("SELECT {columns} FROM \"{of}\" WHERE butler_where({condition})"),
            format!("SELECT {columns} FROM query_dimension_records('{of}', where => {condition})"),
        ));
    }
    let collections = constant(case.get("collections")?);
    let search = format!("SELECT dataset_id FROM query_datasets('{of}', {collections}, find_first => false");
    let table = format!("SELECT d.dataset_id FROM dataset.\"{of}\" d WHERE butler_where(d, {condition})");
    Some((format!("{table} AND d.dataset_id IN ({search}))"), format!("{search}, where => {condition})")))
}

#[apply(test!)]
fn predicates_select_the_rows_of_the_search_functions() {
    let Ok(cases) = std::fs::read_to_string(reference("cases.jsonl")) else {
        return skip("the cases of query expressions are not there");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for home in [Db::Sqlite, Db::Postgres].into_iter().filter_map(made) {
        let session = Session::open(&home.repo()).expect("a session");
        let (mut wrong, mut compared) = (Vec::new(), 0);
        for case in cases.lines() {
            let Some((one, other)) = both_forms(&serde_json::from_str(case).expect("a case")) else { continue };
            match (runtime.block_on(session.sql(&one)), runtime.block_on(session.sql(&other))) {
                (Ok(one), Ok(other)) if sorted(&one) == sorted(&other) => compared += 1,
                (Err(error), _) if error.message().contains("collections that are searched") => {}
                (Err(_), Err(_)) => {}
                (Ok(found), Ok(expected)) => {
                    wrong.push(format!("{one}\n  {:?} instead of {:?}", sorted(&found), sorted(&expected)));
                }
                (found, expected) => wrong.push(format!("{one}\n  {found:?} instead of {expected:?}")),
            }
        }
        runtime.block_on(session.end());
        assert!(wrong.is_empty(), "{} of {compared} answers differ:\n{}", wrong.len(), wrong.join("\n"));
        assert!(compared > 250, "{compared}");
    }
}

/// `BUTLERSQL_EXPRESSIONS` sets how many, `BUTLERSQL_SEED` which.
#[apply(test!)]
fn random_expressions_have_the_rows_of_the_reference() {
    if !reference("evaluate.py").exists() {
        return skip("the evaluator of query expressions is not there");
    }
    let number = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let (Some(sqlite), Some(python)) = (made(Db::Sqlite), butler("b29")) else { return };
    let evaluator = reference("evaluate.py").display().to_string();
    let (count, seed) = (number("BUTLERSQL_EXPRESSIONS", "400"), number("BUTLERSQL_SEED", "1"));
    let cases = oracle(&python, "random_expressions.py", &[&evaluator, &sqlite.repo(), &count, &seed]);
    ask(&sqlite, &cases);
    if let Some(postgres) = made(Db::Postgres) {
        ask(&postgres, &cases);
    }
}
