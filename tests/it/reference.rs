//! The reference page is what the lists say, whole, and its examples run.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use butlersql::functions;
use butlersql::functions::ArgType;
use butlersql::internal::reference;
use macro_rules_attribute::apply;

use crate::world::{Db, Home, program, run};

#[apply(test!)]
fn the_page_is_what_the_lists_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/REFERENCE.md");
    let page = reference::render();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("sql/REFERENCE.md can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "sql/REFERENCE.md is stale: run the tests with UPDATE=1");
}

#[apply(test!)]
fn every_function_is_told_once() {
    let mut names = BTreeSet::new();
    for function in functions::all() {
        assert!(names.insert(function.name), "{} is listed twice", function.name);
        assert!(function.description.ends_with('.'), "{}: no sentence", function.name);
        assert!(!function.example.is_empty(), "{}: no example", function.name);
        for argument in &function.arguments {
            assert!(!argument.description.is_empty(), "{}({}): no sentence", function.name, argument.name);
        }
        let rows = function.arguments.iter().filter(|a| matches!(a.arg_type, ArgType::Query(_))).count();
        assert!(rows <= 1, "{}: more than one argument takes rows", function.name);
    }
}

#[apply(test!)]
fn every_column_is_told_and_every_example_runs() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    let data = home.sample(&["--exposures", "9", "--nights", "1"]);
    // In the order of the list, each example finds what those before have made.
    let mut told = Vec::new();
    for function in functions::all() {
        let example = function.example.replace("DATA/", &format!("{data}/"));
        let prepare = match function.name {
            "chain" => "CALL register_collection('refcats/DM-46370/the_monster_20240904', 'RUN')",
            "associate" => "CALL register_collection('u/me/picked', 'TAGGED')",
            "certify" => {
                "CALL import('DATA/ancillary', transfer => 'direct', \
                 export_file => 'DATA/calibs/TAXICAB-44/LSSTComCam.calibs.20250207a/export.yaml')"
            }
            "ingest_zip" => "CALL prune((SELECT dataset_id FROM raw WHERE detector = 4), 'purge')",
            _ => "SELECT 1",
        };
        if function.name == "transfer" {
            run(Command::new("cp").args(["-a", &home.repo(), &format!("{data}/other")])).ok();
        }
        if !matches!(function.name, "create_repository") {
            home.sql(&prepare.replace("DATA/", &format!("{data}/"))).ok();
        }
        if function.name.contains("rucio") {
            // What it names is on no server of the tests: the call is bound, and asks for the configuration.
            let mut asking = program();
            asking.env("RUCIO_CONFIG", "/nowhere/rucio.cfg").args([&home.repo(), "--write", "-c", &example]);
            let error = run(&mut asking).err;
            assert!(error.contains("RUCIO_CONFIG names") || error.contains("configuration '"), "{example}\n{error}");
            told.push(function.name);
            continue;
        }
        let ran = home.sql(&example);
        assert_eq!(ran.code, 0, "{example}\n{}", ran.err);
        told.push(function.name);
        if function.is_search() {
            assert!(ran.out.lines().count() > 1, "{example} finds nothing");
        }
    }
    let columns = reference::columns();
    let own: BTreeSet<String> = butlersql::internal::reference::own_columns()
        .into_iter()
        .map(|(table, column)| format!("{table},{column}"))
        .collect();
    let listed = home.rows(
        "SELECT DISTINCT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
    );
    assert!(listed.len() > 50, "{listed:?}");
    for line in listed {
        // Skypix dimensions have their level behind them: htm7.
        let column = line.split(',').nth(1).expect("two columns").trim_end_matches(|c: char| c.is_ascii_digit());
        assert!(columns.contains_key(column) || own.contains(&line), "nothing tells what {line} means");
    }
}
