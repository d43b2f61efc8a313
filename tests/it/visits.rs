//! Visits and their regions are those that the reference implementation defined of the same exposures.
//!
//! Its rows lie beside the project, not in it; without them this is skipped.

use std::path::Path;

use base64::Engine;
use macro_rules_attribute::apply;
use serde_json::{Map, Value};

use crate::world::{ALL, Home, program, run, skip};

/// Rows of a table of the reference, by column.
fn expected(file: &str, table: &str) -> Option<Vec<Map<String, Value>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/instrument").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        skip(&format!("{} is not there", path.display()));
        return None;
    };
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let table = &json["tables"][table];
    let names: Vec<&str> = table["columns"].as_array()?.iter().filter_map(Value::as_str).collect();
    let row = |row: &Value| {
        let values = row.as_array().expect("a row").iter().cloned();
        names.iter().map(|n| (*n).to_owned()).zip(values).collect()
    };
    Some(table["rows"].as_array()?.iter().map(row).collect())
}

/// The numbers of a region in base64 or hexadecimal digits.
fn vertices(text: &str, base64: bool) -> Vec<f64> {
    let bytes = if base64 {
        base64::prelude::BASE64_STANDARD.decode(text).expect("base64")
    } else {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("digits")).collect()
    };
    bytes[1..].chunks(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
}

fn same(name: &str, theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (Value::String(a), Value::String(b)) if name == "region" => {
            let (a, b) = (vertices(a, true), vertices(b, false));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14)
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            (a - b).abs() <= 1e-12 * a.abs().max(1.0)
        }
        (a, b) => a == b,
    }
}

#[apply(test!)]
fn visits_equal_those_of_the_reference() {
    for file in ["expected_synthetic_60.json", "expected_real_exposure.json"] {
        for db in ALL {
            let Some(exposures) = expected(file, "exposure") else { return };
            let Some(home) = Home::new(db) else { continue };
            home.with_camera();
            for element in ["day_obs", "group", "exposure"] {
                let rows = expected(file, element).expect("it was there a moment ago");
                let lines: Vec<String> = rows.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
                let path = home.at(&format!("{element}.json"));
                std::fs::write(&path, lines.join("\n")).expect("written");
                let times = "to_timestamp_nanos(timespan_begin) AS timespan_begin, to_timestamp_nanos(timespan_end) AS timespan_end";
                let select = match element {
                    "group" => "*".to_owned(),
                    "day_obs" => format!("* EXCLUDE (timespan_begin, timespan_end), {times}"),
                    _ => format!(
                        "* EXCLUDE (timespan_begin, timespan_end, has_simulated, can_see_sky), {times}, \
                         has_simulated <> 0 AS has_simulated, can_see_sky <> 0 AS can_see_sky"
                    ),
                };
                home.sql(&format!("CALL insert_dimension_records('{element}', (SELECT {select} FROM '{path}'))")).ok();
            }
            assert_eq!(home.rows("SELECT count(*) FROM exposure"), [exposures.len().to_string()]);
            home.sql("CALL define_visits('LSSTComCam')").ok();
            let again = home.sql("CALL define_visits('LSSTComCam')").ok();
            assert!(again.contains("visit,unchanged") && !again.contains("inserted"), "{again}");
            for table in [
                "visit_system",
                "visit",
                "visit_definition",
                "visit_system_membership",
                "visit_detector_region",
                "visit_skypix_overlap",
                "visit_detector_region_skypix_overlap",
            ] {
                let mut theirs = expected(file, table).expect("it was there a moment ago");
                let order: Vec<String> = theirs[0].keys().filter(|k| *k != "region").cloned().collect();
                let columns = match table {
                    "visit" => {
                        "* EXCLUDE (timespan_begin, timespan_end), CAST(timespan_begin AS BIGINT) AS timespan_begin, \
                                CAST(timespan_end AS BIGINT) AS timespan_end"
                    }
                    _ => "*",
                };
                let sql = format!(
                    "SELECT {columns} FROM registry.{table} ORDER BY {}",
                    order.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ")
                );
                let out = run(program().args([&home.repo(), "--format", "jsonl", "-c", &sql])).ok();
                let ours: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
                let key = |row: &Map<String, Value>| order.iter().map(|k| sortable(&row[k])).collect::<Vec<_>>();
                theirs.sort_by_key(key);
                assert_eq!(ours.len(), theirs.len(), "{db:?}: {table}");
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    for (name, value) in theirs {
                        let own = ours.get(name).unwrap_or(&Value::Null);
                        assert!(same(name, value, own), "{db:?}: {table}.{name}: {value} != {own}");
                    }
                }
            }
        }
    }
}

/// A visit of a sequence is named after its first exposure; those that come later are added when asked for.
#[apply(test!)]
fn sequences_grow_when_they_may() {
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        let data = home.sample(&["--exposures", "24", "--nights", "1"]);
        home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct')")).ok();
        let three = "SELECT * FROM exposure WHERE observation_type = 'science' ORDER BY exposure LIMIT 3";
        let ids = home.rows(&format!("SELECT exposure FROM ({three})"));
        let [first, second, third] = &ids[..] else { panic!("three exposures: {ids:?}") };
        let sequence = |filter: &str| {
            home.sql(&format!(
                "CALL insert_dimension_records('exposure', (SELECT * EXCLUDE (seq_start, seq_end, physical_filter), \
                 {filter} AS physical_filter, min(seq_num) OVER () AS \
                 seq_start, max(seq_num) OVER () AS seq_end FROM ({three})), replace => true)"
            ))
            .ok();
        };
        sequence(&format!("CASE exposure WHEN {third} THEN 'i_06' ELSE 'r_03' END"));
        let mixed = home.sql("CALL define_visits('LSSTComCam')");
        assert!(mixed.err.contains("its exposures have different filters"), "{db:?}: {}", mixed.err);
        assert!(home.rows("SELECT visit FROM registry.visit_definition").is_empty(), "{db:?}");
        sequence("'r_03'");
        let define = |which: &str, more: &str| {
            let rows = format!("(SELECT exposure FROM exposure WHERE exposure IN ({which}))");
            home.sql(&format!("CALL define_visits('LSSTComCam', rows => {rows}{more})")).ok();
            home.rows("SELECT visit, exposure FROM registry.visit_definition ORDER BY 1, 2")
        };
        let row = |visit: &str, exposure: &str| format!("{visit},{exposure}");
        let begun = [row(first, first), row(&format!("9{first}"), first)];
        assert_eq!(define(first, ""), begun, "{db:?}");
        let more = [row(first, first), row(second, second), row(&format!("9{first}"), first)];
        assert_eq!(define(second, ""), more, "{db:?}");
        let grown = [
            row(first, first),
            row(first, second),
            row(first, third),
            row(second, second),
            row(third, third),
            row(&format!("9{first}"), first),
        ];
        assert_eq!(define(third, ", incremental => true"), grown, "{db:?}");
        let none = home.sql("CALL define_visits('LSSTComCam', rows => (SELECT 7 AS exposure))");
        assert!(none.err.contains("LSSTComCam has no exposure 7"));
    }
}

/// A value as text that sorts as the value does.
fn sortable(value: &Value) -> String {
    match value.as_i64() {
        Some(number) => format!("{number:025}"),
        None => value.to_string(),
    }
}
