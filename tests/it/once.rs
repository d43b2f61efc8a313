//! A verb runs exactly once wherever it stands, and never when it is only planned.

use std::sync::Arc;

use butlersql::Session;
use butlersql::Silent;
use macro_rules_attribute::apply;

use crate::world::{Db, Home};

/// A home with a tagged collection, into which a dataset or two can go.
fn home() -> Home {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    let data = home.sample(&["--exposures", "4", "--nights", "1"]);
    home.with_camera();
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)")).ok();
    home.sql("CALL register_collection('tag', 'TAGGED')").ok();
    home
}

fn members(home: &Home) -> String {
    home.rows("SELECT count(*) FROM memberships WHERE collection = 'tag'").concat()
}

/// `prepend` moves the positions of a chain by one each time it really runs.
const PREPEND: &str = "chain('c', ['b'], mode => 'prepend')";

#[track_caller]
fn runs(statement: &str, times: i64) {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.create();
    home.sql("CALL register_collection('a', 'TAGGED'); CALL register_collection('b', 'TAGGED')").ok();
    home.sql("CALL chain('c', ['b', 'a'])").ok();
    let before = position(&home);
    // Taking b away first makes every run of the verb change something.
    let set_up = "CALL chain('c', ['b'], mode => 'remove')";
    home.sql(set_up).ok();
    let ran = home.sql(&statement.replace("VERB", PREPEND).replace("OUT", &home.at("out.csv")));
    assert_eq!(ran.code, 0, "{statement}\n{}", ran.err);
    let children = home.rows("SELECT child FROM collection_chains ORDER BY position");
    let want: &[&str] = if times == 0 { &["a"] } else { &["b", "a"] };
    assert_eq!(children, want, "{statement}");
    assert!(position(&home) >= before - times, "{statement} ran more than once");
}

fn position(home: &Home) -> i64 {
    home.rows("SELECT min(position) FROM collection_chains").concat().parse().expect("a position")
}

#[apply(test!)]
fn once_in_every_placement() {
    for statement in [
        "CALL VERB",
        "SELECT * FROM VERB",
        "SELECT * FROM VERB LIMIT 1",
        "SELECT * FROM VERB WHERE status = 'removed'",
        "WITH x AS (SELECT * FROM VERB) SELECT a.kind FROM x a JOIN x b ON a.kind = b.kind",
        "WITH x AS (SELECT kind FROM VERB) SELECT * FROM x UNION ALL SELECT * FROM x",
        "SELECT 1 WHERE 'chain' IN (SELECT kind FROM VERB)",
        "SELECT (SELECT count(*) FROM VERB)",
        "SELECT * FROM (VALUES (1)) AS t(x), LATERAL VERB",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n, VERB WHERE i < 2) SELECT count(*) FROM n",
        "COPY (SELECT * FROM VERB) TO 'OUT'",
        "CREATE TABLE kept AS SELECT * FROM VERB",
        "EXPLAIN ANALYZE SELECT * FROM VERB",
        "PREPARE p AS SELECT * FROM VERB; EXECUTE p; EXECUTE p",
        "SELECT status, count(*) FROM VERB GROUP BY status",
        "SELECT chain('c', name) FROM (VALUES ('b'), ('a')) AS t(name)",
    ] {
        runs(statement, 1);
    }
}

#[apply(test!)]
fn never_when_only_planned() {
    for statement in ["EXPLAIN CALL VERB", "EXPLAIN SELECT * FROM VERB", "PREPARE p AS SELECT * FROM VERB"] {
        runs(statement, 0);
    }
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.create();
    let refused = home.sql("CREATE VIEW v AS SELECT * FROM register_collection('x')");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("cannot create a view over register_collection"), "{}", refused.err);
    assert!(home.rows("SELECT name FROM collections").is_empty());
}

#[apply(test!)]
fn not_after_it_was_stopped() {
    use futures::StreamExt;
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.create();
    let session = Session::with(&home.repo(), true, Arc::new(Silent)).expect("a session");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let call = || async { session.execute("CALL register_collection('x')").await.expect("a plan").rows };
        let mut stopped = call().await;
        session.cancel();
        let message = stopped.next().await.expect("an answer").expect_err("it was stopped").to_string();
        assert!(message.contains("interrupted"), "{message}");
        call().await.next().await.expect("an answer").expect("another one runs");
    });
    assert_eq!(home.rows("SELECT name FROM collections"), ["x"]);
}

#[apply(test!)]
fn each_execute_of_a_prepared_statement_runs() {
    let home = home();
    home.sql(
        "PREPARE p AS SELECT * FROM associate('tag', (SELECT dataset_id FROM raw)); EXECUTE p; \
         CALL disassociate('tag', (SELECT dataset_id FROM raw)); EXECUTE p",
    )
    .ok();
    assert_eq!(members(&home), home.rows("SELECT count(*) FROM raw").concat());
}

#[apply(test!)]
fn all_faces_do_the_same() {
    for statement in [
        "CALL associate('tag', (SELECT dataset_id FROM raw WHERE detector = 4))",
        "CALL associate('tag', rows => (SELECT dataset_id FROM raw WHERE detector = 4))",
        "SELECT associate('tag', dataset_id) FROM raw WHERE detector = 4",
        "SELECT associate('tag', dataset_id) FILTER (WHERE detector = 4) FROM raw",
        "INSERT INTO collection.\"tag\" SELECT dataset_id FROM raw WHERE detector = 4",
        "SELECT sum(count) FROM associate('t' || 'ag', (SELECT dataset_id FROM raw WHERE detector = 4))",
    ] {
        let home = home();
        let want = home.rows("SELECT count(*) FROM raw WHERE detector = 4").concat();
        let answer = home.rows(statement).concat();
        let number = answer.rsplit(',').next();
        assert_eq!(number, Some(want.as_str()), "{statement}");
        assert_eq!(members(&home), want, "{statement}");
    }
}

#[apply(test!)]
fn explain_says_what_would_be_written_and_writes_nothing() {
    let home = home();
    let explained = home.sql("EXPLAIN CALL associate('tag', (SELECT dataset_id FROM raw WHERE detector = 4))").ok();
    assert!(explained.contains("membership (raw) would be inserted"), "{explained}");
    let explained = home.sql("EXPLAIN INSERT INTO collection.\"tag\" SELECT dataset_id FROM raw").ok();
    assert!(explained.contains("membership (raw) would be inserted"), "{explained}");
    let explained = home.sql("EXPLAIN CALL register_instrument('LATISS')").ok();
    assert!(explained.contains("707 physical_filter would be inserted"), "{explained}");
    assert_eq!(members(&home), "0");
    assert_eq!(home.rows("SELECT instrument FROM instrument"), ["LSSTComCam"]);
    let data = home.sample(&["--exposures", "5", "--nights", "1", "--seed", "7"]);
    let explained = home.sql(&format!("EXPLAIN CALL ingest_raws('{data}/raw/LSSTComCam')")).ok();
    assert!(explained.contains("would be inserted"), "{explained}");
    assert_eq!(home.rows("SELECT count(*) FROM exposure"), ["4"]);
}

#[apply(test!)]
fn no_rows_are_no_error() {
    let home = home();
    for sql in [
        "CALL associate('tag', (SELECT dataset_id FROM raw WHERE false))",
        "CALL disassociate('tag', (SELECT dataset_id FROM raw WHERE false))",
        "CALL insert_dimension_records('visit_system', (SELECT 1 AS visit_system WHERE false))",
        "CALL chain('c', rows => (SELECT name FROM collections WHERE false), mode => 'extend')",
        "SELECT associate('tag', dataset_id) FROM raw WHERE false",
    ] {
        home.sql(sql).ok();
    }
    assert_eq!(members(&home), "0");
    // Texts of every kind are texts.
    home.sql("CALL chain('c', rows => (SELECT arrow_cast('tag', 'Utf8View') AS name))").ok();
    home.sql("CALL associate('tag', (SELECT arrow_cast(dataset_id, 'LargeUtf8') FROM raw WHERE detector = 1))").ok();
    assert_eq!(members(&home), home.rows("SELECT count(*) FROM raw WHERE detector = 1").concat());
}

#[apply(test!)]
fn the_order_of_rows_is_the_order_of_a_chain() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.create();
    for name in ["a", "b", "c"] {
        home.sql(&format!("CALL register_collection('{name}')")).ok();
    }
    let names = "(VALUES ('b'), ('c'), ('a')) AS t(name)";
    for statement in [
        format!("CALL chain('x', rows => (SELECT name FROM {names} ORDER BY name DESC))"),
        format!("SELECT chain('x', name ORDER BY name DESC) FROM {names}"),
    ] {
        home.sql(&statement).ok();
        assert_eq!(home.rows("SELECT child FROM collection_chains ORDER BY position"), ["c", "b", "a"], "{statement}");
        home.sql("CALL remove_collection('x')").ok();
    }
    let nested = home.sql("EXPLAIN CALL chain('x', rows => (SELECT name FROM register_collection('new')))");
    assert!(nested.code == 1 && nested.err.contains("cannot be explained"), "{}", nested.err);
    assert_eq!(home.rows("SELECT name FROM collections ORDER BY 1"), ["a", "b", "c"]);
}
