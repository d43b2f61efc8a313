//! The measured effects of the commands of the Butler: our procedures change as many rows and files.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use macro_rules_attribute::apply;
use serde_json::{Map, Value, json};

use crate::world::{Db, Home, butler, files_below, program, run, skip};

/// Where we differ on purpose from the command of a case: the exit code, the changes of tables, and why.
const OTHERWISE: [(u64, i64, &str, &str); 7] = [
    (17, 0, "{}", "nothing to do is not an error, so that a script can run again"),
    (18, 1, "{}", "an unknown dataset type is an error"),
    (26, 1, "{}", "a collection that is no RUN is an error"),
    (33, 0, ALL_REMOVED, "chains are removed before their children, in one transaction"),
    (37, 1, "{}", "a dataset type in use is found before the first one is removed"),
    (47, 1, "{}", "a transfer that fails registers no dataset type"),
    (48, 1, "{}", "a transfer that fails registers no dataset type"),
];

/// The changes when all collections that are no RUN are removed.
const ALL_REMOVED: &str = r#"{"collection": [-5, 0], "collection_chain": [-8, 0], "dataset_tags_00000001": [-4, 0],
    "collection_summary_dataset_type": [-3, 0], "collection_summary_instrument": [-3, 0],
    "dataset_calibs_00000002": [-7, 0], "dataset_calibs_00000003": [-4, 0]}"#;

/// The table of file records that the Butler creates when it opens a repository, and we with the first file.
const CREATED: &str = "file_datastore_records";

fn reference(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference").join(path)
}

/// The datasets that a search of the Butler finds.
fn found(dataset_type: &str, collections: &str, condition: &str, find_first: bool) -> String {
    let collections: Vec<_> = collections.split(' ').map(|name| format!("'{name}'")).collect();
    format!(
        "(SELECT dataset_id FROM query_datasets('{dataset_type}', [{}], where => '{}', find_first => {find_first}))",
        collections.join(", "),
        condition.replace('\'', "''")
    )
}

/// Our statements for a case; the last one has the effects of the case.
fn statements(id: u64) -> Vec<String> {
    let one = |sql: String| vec![sql];
    let calexp = || found("calexp", "u/run1", "", true);
    let visit = "instrument='Cam1' and visit=2024110100003 and detector=1";
    let source = |rows: &str, options: &str| {
        let rows = rows.replace("))", ", repository => 'source'))");
        vec!["ATTACH 'SOURCE' AS source".to_owned(), format!("CALL transfer('source', {rows}, {options})")]
    };
    let register = "register_dataset_types => true";
    match id {
        0 => one(format!(
            "CALL prune({}, 'purge')",
            found("raw", "Cam1/raw/all", "instrument='Cam1' and exposure=2024110100003", true)
        )),
        1 => one(format!("CALL prune({}, 'purge')", found("bias", "Cam1/calib/A", "", true))),
        2 => one(format!("CALL prune({}, 'purge')", found("calexp", "Cam1/defaults", visit, true))),
        3 => one(format!("CALL prune({}, 'purge')", found("calexp", "u/run1 u/run2", visit, false))),
        4 => one("CALL prune((SELECT dataset_id FROM memberships WHERE collection = 'u/run1'), 'purge')".to_owned()),
        5 => one(format!("CALL prune({}, 'purge')", found("task_config", "u/run1", "", true))),
        6 => one(format!(
            "CALL prune({}, 'unstore')",
            found("raw", "Cam1/raw/all", "instrument='Cam1' and exposure=2024110100003 and detector=1", true)
        )),
        7 => one(format!("CALL prune({}, 'unstore')", found("bias", "Cam1/calib", "", false))),
        8 => vec![format!("CALL prune({}, 'unstore')", calexp()), format!("CALL prune({}, 'unstore')", calexp())],
        9 => vec![format!("CALL prune({}, 'unstore')", calexp()), format!("CALL prune({}, 'purge')", calexp())],
        10 => one(format!(
            "CALL prune({}, 'disassociate', collections => ['u/picked'])",
            found("raw", "u/picked", "instrument='Cam1'", true)
        )),
        11 => one(format!(
            "CALL prune({}, 'unstore', collections => ['u/picked'])",
            found("raw", "u/picked", "instrument='Cam2'", true)
        )),
        12 => one(format!("CALL prune({}, 'disassociate', collections => ['u/run1'])", calexp())),
        13 => one(format!("EXPLAIN CALL prune({}, 'purge')", calexp())),
        14 => one(format!("CALL prune({})", calexp())),
        15 | 16 => one(format!("CALL prune({}, 'purge', collections => ['u/picked'])", calexp())),
        17 => one(format!("CALL prune({}, 'purge')", found("coadd", "u/run1", "", true))),
        18 => one(format!("CALL prune({}, 'purge')", found("nope", "u/run1", "", true))),
        19 => one("CALL remove_run('u/coadds')".to_owned()),
        20 => one("CALL remove_run('u/run1')".to_owned()),
        21 => one("CALL remove_run('u/run1', force => true)".to_owned()),
        22 => one("CALL remove_run('u/run*', force => true)".to_owned()),
        // Ours asks for `force` where tags and certifications are lost.
        23 => one("CALL remove_run('Cam1/calib/A', force => true)".to_owned()),
        24 => one("CALL remove_run('Cam2/raw/all', force => true)".to_owned()),
        25 => one("CALL remove_run('nope*')".to_owned()),
        26 => one("CALL remove_run('u/picked')".to_owned()),
        27 => one("CALL remove_collection('u/picked')".to_owned()),
        28 => one("CALL remove_collection('u/picked', unlink => true)".to_owned()),
        29 => one("CALL remove_collection('Cam1/calib', unlink => true)".to_owned()),
        30 => one("CALL remove_collection('top')".to_owned()),
        31 => one("CALL remove_collection('Cam1/defaults')".to_owned()),
        32 => one("CALL remove_collection('Cam1/empty')".to_owned()),
        33 => one("CALL remove_collection('*', unlink => true)".to_owned()),
        34 => one("CALL remove_dataset_type('never_made')".to_owned()),
        35 => one("CALL remove_dataset_type('calexp')".to_owned()),
        36 => vec![
            format!("CALL prune({}, 'purge')", found("coadd", "u/coadds", "", true)),
            "CALL remove_dataset_type('coadd')".to_owned(),
        ],
        37 => one("CALL remove_dataset_type('c*')".to_owned()),
        38 => one("CALL remove_dataset_type('nope')".to_owned()),
        39 => source(&found("calexp", "u/run1", "", false), register),
        40 => {
            let mut twice = source(&found("calexp", "u/run1", "", false), register);
            twice.extend(twice.clone().pop());
            twice
        }
        41 => source(&found("calexp_catalog", "u/run1", "", false), register),
        42 => source(&found("raw", "Cam2/raw/all", "", false), register),
        43 => source(&found("bias", "Cam1/calib", "", false), register),
        44 => source(&found("coadd", "u/coadds", "", false), register),
        45 => source(
            "(SELECT dataset_id FROM source.memberships WHERE collection IN (SELECT name FROM collection_tree('top')))",
            register,
        ),
        46 => source(&found("calexp", "u/run1", "", false), "register_dataset_types => false"),
        47 => source(
            &found("calexp", "u/run1", "", false),
            "register_dataset_types => true, transfer_dimensions => false",
        ),
        48 => {
            source(&found("task_config", "u/run1", "", false), "register_dataset_types => true, transfer => 'direct'")
        }
        49 => {
            let mut explained = source(&found("calexp", "u/run1", "", false), register);
            explained[1].insert_str(0, "EXPLAIN ");
            explained
        }
        50..=53 => zips(id),
        54 => one(format!("CALL retrieve('TMP/out', {})", found("calexp", "u/run1", "", true))),
        other => panic!("case {other}"),
    }
}

/// Our statements for the cases with zip archives.
fn zips(id: u64) -> Vec<String> {
    let out = "CALL retrieve('TMP/z', (SELECT dataset_id FROM calexp WHERE run = 'u/run1' UNION ALL \
               SELECT dataset_id FROM calexp_catalog WHERE run = 'u/run1'), zip => true)";
    // The name follows from the names of the files.
    let into = "CALL ingest_zip('TMP/z/955a8678-a164-542b-836e-30dd4e15728f.zip')";
    let removed = "CALL remove_run('u/run1', force => true)";
    let one = format!("CALL prune({}, 'purge')", found("calexp", "u/run1", "instrument='Cam1' and detector=2", true));
    let all = "CALL prune((SELECT dataset_id FROM memberships WHERE collection = 'u/run1'), 'purge')";
    let steps: &[&str] = match id {
        50 => &[out, removed, into],
        51 => &[out, into],
        52 => &[out, removed, into, &one],
        _ => &[out, removed, into, all],
    };
    steps.iter().map(|step| (*step).to_owned()).collect()
}

/// A copy of a repository and of its registry.
struct Copy {
    folder: PathBuf,
    database: String,
}

/// Copies a repository; a database of PostgreSQL as `name`.
fn copy(home: &Home, from: &Path, database: &str, name: &str) -> Copy {
    let folder = PathBuf::from(home.at(name));
    run(Command::new("cp").arg("-a").arg(from).arg(&folder)).ok();
    let Some(url) = home.database() else {
        let database = folder.join("gen3.sqlite3").display().to_string();
        return Copy { folder, database };
    };
    let (server, own) = url.rsplit_once('/').expect("a URL");
    let other = format!("{own}_{name}");
    let template = database.rsplit('/').next().expect("a name");
    let sql = format!("CREATE DATABASE {other} TEMPLATE {template}");
    run(Command::new("psql").args([&format!("{server}/postgres"), "-q", "-v", "ON_ERROR_STOP=1", "-c", &sql])).ok();
    let config = folder.join("butler.yaml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text.replace(&format!("/{template}"), &format!("/{other}"))).expect("a configuration");
    Copy { folder, database: format!("{server}/{other}") }
}

/// The numbers of files gone, which is negative, and new.
fn file_changes(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Value {
    let count = |one: &BTreeSet<String>, other| i64::try_from(one.difference(other).count()).expect("a count");
    json!([-count(before, after), count(after, before)])
}

/// The expected changes of a case; those of version 30 where 29 has no such option.
fn expected(case: &Value) -> (i64, Map<String, Value>, Value) {
    let outcome = case.get("b30").filter(|_| case["b29"]["exit"] == 2).unwrap_or(&case["b29"]);
    let mut tables = outcome["tables"].as_object().expect("tables").clone();
    // A table that was created empty.
    tables.retain(|_, counts| *counts != json!([0, 0]));
    (outcome["exit"].as_i64().expect("a code"), tables, outcome["files"].clone())
}

/// Adds up the changes of the tables that a case has as `…_*`.
fn folded(expected: &Map<String, Value>, tables: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, counts) in tables.as_object().expect("tables") {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let name = if expected.contains_key(&format!("{stem}*")) { format!("{stem}*") } else { name.clone() };
        let sum = |at: usize| {
            counts[at].as_i64().expect("a count")
                + out.get(&name).map_or(0, |known: &Value| known[at].as_i64().expect("a count"))
        };
        let sums = json!([sum(0), sum(1)]);
        out.insert(name, sums);
    }
    out
}

fn compare(db: Db) {
    let (Ok(cases), Some(python)) = (std::fs::read_to_string(reference("verbs/effects.jsonl")), butler("b29")) else {
        return skip("the effects of commands are not there");
    };
    let (Some(home), Some(empty)) = (Home::new(db), Home::new(db)) else { return };
    let mut make = Command::new(python.join("python"));
    make.arg(reference("query-expressions/make_repo.py")).arg(home.repo());
    make.args(home.database().iter().flat_map(|url| ["--db", url]));
    run(&mut make).ok();
    empty.create();
    let database = |home: &Home| home.database().map_or_else(|| format!("{}/gen3.sqlite3", home.repo()), str::to_owned);
    let (mut pairs, mut outcomes) = (String::new(), Vec::new());
    for case in cases.lines() {
        let case: Value = serde_json::from_str(case).expect("a case");
        let id = case["id"].as_u64().or_else(|| case["b29"]["id"].as_u64()).expect("an id");
        let all = statements(id);
        let (last, first) = all.split_last().expect("a statement");
        let base = if case["repository"] == "make_repo.py" { &home } else { &empty };
        let mut before = copy(base, Path::new(&base.repo()), &database(base), &format!("case{id}"));
        let sql = |copy: &Copy, statements: &[String]| {
            let text =
                statements.join("; ").replace("SOURCE", &home.repo()).replace("TMP", &home.at(&format!("tmp{id}")));
            run(program().arg(&copy.folder).args(["--write", "--format", "csv", "-c", &text]))
        };
        // Statements of the session itself go with the last one.
        let (session, steps): (Vec<String>, Vec<String>) = first.iter().cloned().partition(|s| s.starts_with("ATTACH"));
        if !steps.is_empty() {
            sql(&before, &[session.clone(), steps].concat()).ok();
        }
        let mut after = copy(base, &before.folder, &before.database, &format!("case{id}_after"));
        std::mem::swap(&mut before.folder, &mut after.folder);
        std::mem::swap(&mut before.database, &mut after.database);
        let files = files_below(&after.folder);
        let ran = sql(&after, &[session, vec![last.clone()]].concat());
        pairs.push_str(&format!("{}\n", json!([before.database, after.database])));
        outcomes.push((id, case, last.clone(), ran, file_changes(&files, &files_below(&after.folder))));
    }
    let mut script = Command::new(python.join("python"));
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/effects.py"));
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
    child.stdin.take().expect("a pipe").write_all(pairs.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("python");
    let effects = String::from_utf8(output.stdout).expect("text");
    assert_eq!(effects.lines().count(), outcomes.len());
    let mut wrong = Vec::new();
    for ((id, case, sql, ran, files), tables) in outcomes.iter().zip(effects.lines()) {
        let (mut code, mut wanted, mut wanted_files) = expected(case);
        if let Some((_, other, changes, _)) = OTHERWISE.iter().find(|known| known.0 == *id) {
            (code, wanted, wanted_files) = (*other, serde_json::from_str(changes).expect("changes"), json!([0, 0]));
        }
        let mut tables = folded(&wanted, &serde_json::from_str(tables).expect("changes"));
        tables.retain(|name, counts| name != CREATED || *counts != json!([0, 0]));
        let code_now = i64::from(ran.code);
        if (code_now, &tables, files) != (code, &wanted, &wanted_files) {
            let shown = |tables: &Map<String, Value>| serde_json::to_string(tables).expect("text");
            wrong.push(format!(
                "{id} {sql}\n  expected {code} {} {wanted_files}\n  got      {code_now} {} {files}\n{}{}",
                shown(&wanted),
                shown(&tables),
                ran.out,
                ran.err
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ ({db:?}):\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
}

#[apply(test!)]
fn procedures_have_the_effects_of_commands_on_sqlite() {
    compare(Db::Sqlite);
}

#[apply(test!)]
fn procedures_have_the_effects_of_commands_on_postgresql() {
    compare(Db::Postgres);
}
