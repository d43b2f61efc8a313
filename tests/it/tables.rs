//! Files as tables, answers on a terminal, and many sessions: what one bad thing must not spoil.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use butlersql::Session;
use butlersql::Silent;
use macro_rules_attribute::apply;

use crate::world::{Db, Home, Ran, butler, fresh, oracle, program, run};

fn home() -> Home {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.with_camera();
    home
}

fn put(home: &Home, name: &str, text: &str) -> String {
    let path = home.at(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn script(home: &Home, text: &str) -> Ran {
    let file = put(home, "script.sql", text);
    run(program().args([&home.repo(), "--format", "csv", "-f", &file]))
}

#[apply(test!)]
fn null_and_the_empty_text_differ_in_csv() {
    let home = home();
    let query = "SELECT 1 AS k, NULL AS n, '' AS e, 'a,\"b' AS \"x,y\", true AS b, ['p', 'q'] AS l";
    let want = "k,n,e,\"x,y\",b,l\n1,,\"\",\"a,\"\"b\",true,\"[p, q]\"\n";
    assert_eq!(home.sql(query).ok(), want);
    let tsv =
        run(program().args([&home.repo(), "--format", "tsv", "-c", "SELECT NULL AS n, '' AS e, 'a,b' AS c"])).ok();
    assert_eq!(tsv, "n\te\tc\n\t\"\"\ta,b\n");
    for (name, options, want) in [
        ("a.csv", "", "k,n,e,x\n1,,\"\",a|b\n"),
        ("b.csv", " (DELIMITER '|')", "k|n|e|x\n1||\"\"|\"a|b\"\n"),
        ("c.csv", " (NULL 'N')", "k,n,e,x\n1,N,\"\",a|b\n"),
        ("d.csv", " (HEADER false)", "1,,\"\",a|b\n"),
        ("e.tsv", "", "k\tn\te\tx\n1\t\t\"\"\ta|b\n"),
    ] {
        let file = home.at(name);
        let query = "SELECT 1 AS k, CAST(NULL AS TEXT) AS n, '' AS e, 'a|b' AS x";
        home.sql(&format!("COPY ({query}) TO '{file}'{options}")).ok();
        assert_eq!(std::fs::read_to_string(&file).expect("written"), want, "{options}");
    }
    let folder = home.at("parts");
    let query = "SELECT 'p' AS part, '' AS e, CAST(NULL AS TEXT) AS n";
    home.sql(&format!("COPY ({query}) TO '{folder}' (FORMAT csv, PARTITION_BY part)")).ok();
    assert_eq!(home.rows(&format!("SELECT part, count(*) FROM '{folder}/' GROUP BY part")), ["p,1"]);
}

#[apply(test!)]
fn files_of_other_programs_are_read_as_they_are_meant() {
    let home = home();
    let twice = put(&home, "twice.csv", "a,a,b,a\n1,2,3,4\n");
    assert_eq!(home.sql(&format!("SELECT * FROM '{twice}'")).ok(), "a,a_1,b,a_2\n1,2,3,4\n");
    let large = put(&home, "large.json", "{\"u\": 1}\n{\"u\": 18446744073709551615}\n");
    let ran = home.sql(&format!("SELECT * FROM '{large}'"));
    assert!(ran.code == 1 && ran.err.contains("18446744073709551615, which is beyond 64 bits"), "{}", ran.err);
    let fits = put(&home, "fits.json", "{\"u\": -9223372036854775808, \"t\": \"18446744073709551615\"}\n");
    assert_eq!(home.rows(&format!("SELECT u, t FROM '{fits}'")), ["-9223372036854775808,18446744073709551615"]);
    let named = put(&home, "named.csv", "RA,Dec,objectId\n1.5,2.5,7\n");
    assert_eq!(home.rows(&format!("SELECT RA, dec, t.objectId FROM '{named}' t WHERE OBJECTID > 6")), ["1.5,2.5,7"]);
    let rows = put(&home, "rows.csv", "detector\n4\n8\n");
    let listed = format!("SELECT count(*) FROM detector d JOIN '{rows}' r ON r.detector = d.detector");
    assert_eq!(home.rows(&listed), ["2"]);
    if let Some(python) = butler("b29") {
        let file = home.at("uuid.parquet");
        oracle(&python, "uuids.py", &[&file]);
        let query =
            format!("SELECT id, arrow_typeof(raw) FROM '{file}' WHERE id = '01020304-0506-0708-090a-0b0c0d0e0f10'");
        assert_eq!(home.rows(&query), ["01020304-0506-0708-090a-0b0c0d0e0f10,FixedSizeBinary(16)"]);
        assert_eq!(home.rows(&format!("SELECT count(*), count(id) FROM '{file}'")), ["2,1"]);
    }
}

#[apply(test!)]
fn a_damaged_arrow_file_is_told() {
    let home = home();
    let file = home.at("good.arrow");
    let query = "SELECT detector AS id, full_name, ['a', full_name] AS l FROM detector";
    home.sql(&format!("COPY ({query}) TO '{file}'")).ok();
    let good = std::fs::read(&file).expect("written");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let session = Session::with(&home.repo(), false, Arc::new(Silent)).expect("a session");
    let damaged = home.at("damaged.arrow");
    let (mut told, mut read) = (0, 0);
    let mut try_it = |bytes: &[u8]| {
        std::fs::write(&damaged, bytes).expect("written");
        // What the reader gives up on is an error of the statement in the program; here the panic is caught.
        let rows = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(session.sql(&format!("SELECT * FROM '{damaged}'")))
        }));
        match rows {
            Ok(Ok(_)) => read += 1,
            _ => told += 1,
        }
    };
    for at in (0..good.len()).step_by(5).chain(good.len().saturating_sub(200)..good.len()) {
        for value in [0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            try_it(&bytes);
        }
    }
    for end in (0..good.len()).step_by(97) {
        try_it(&good[..end]);
    }
    assert!(told > 100 && read > 100, "{told} told, {read} read");
}

#[apply(test!)]
fn control_characters_do_not_reach_the_terminal() {
    let home = home();
    let query = "SELECT chr(27) || '[2J' AS a, chr(7) || chr(13) AS b, chr(155) AS c, 'x' || chr(10) || 'y' AS d";
    for text in [format!("{query};"), format!("\\x\n{query};")] {
        let file = put(&home, "script.sql", &text);
        let out = run(program().args([&home.repo(), "-f", &file])).ok();
        assert!(out.contains("\\x1B[2J") && out.contains("\\x07\\r") && out.contains("\\u009B"), "{out}");
        assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{out:?}");
    }
    let file = put(&home, "x.csv", "a,b\n1,\u{1b}]0;owned\u{7}x\n");
    for sql in [format!("SELECT CAST(b AS BIGINT) FROM '{file}'"), "SELECT \"\u{1b}[2J\"".to_owned()] {
        let ran = home.sql(&sql);
        assert!(ran.code == 1 && !ran.err.contains(['\u{1b}', '\u{7}']), "{:?}", ran.err);
    }
}

#[apply(test!)]
fn long_cells_and_long_messages_are_shown_in_time() {
    let home = home();
    let out = run(program().args([&home.repo(), "-c", "SELECT repeat('a ', 200000) AS a"])).ok();
    assert!(out.len() > 1_600_000);
    let ran = script(&home, &format!("SELECT \"{}\" FROM detector;", "x".repeat(100_000)));
    assert!(ran.code == 1 && ran.err.len() < 5_000, "{} bytes", ran.err.len());
    assert!(ran.err.starts_with("error: no column named 'xxx"), "{}", ran.err);
}

#[apply(test!)]
fn long_statements_are_answered() {
    let home = home();
    let terms = |text: &dyn Fn(usize) -> String, between: &str| (0..8000).map(text).collect::<Vec<_>>().join(between);
    let ids = terms(&|n| format!("(full_name = 'x{n}' AND detector = {n})"), " OR ");
    for (filter, want) in [
        (terms(&|n| format!("detector = {n}"), " OR "), "9"),
        (terms(&|n| format!("detector <> {}", n + 3), " AND "), "3"),
        (ids, "0"),
        (format!("CASE {} ELSE true END", terms(&|n| format!("WHEN detector = {} THEN false", n + 1), " ")), "1"),
        (format!("detector NOT IN ({})", terms(&|n| (n + 2).to_string(), ", ")), "2"),
        (format!("detector{} < 0", " - 1".repeat(490)), "9"),
        (format!("full_name <> {}", terms(&|n| format!("'{n}'"), " || ")), "9"),
    ] {
        for pushdown in [true, false] {
            let sql = format!("SET butler.pushdown = {pushdown}; SELECT count(*) AS n FROM detector WHERE {filter};");
            let ran = script(&home, &sql);
            let shown: String = filter.chars().take(60).collect();
            assert_eq!(ran.out.trim_end(), format!("n\n{want}"), "{shown}: {}", ran.err);
        }
    }
}

#[apply(test!)]
fn scripts_take_what_editors_and_people_write() {
    let home = home();
    assert_eq!(script(&home, "\u{feff}SELECT 1 AS x;").ok(), "x\n1\n");
    let file = put(&home, "limit.sql", "SELECT detector FROM detector ORDER BY 1 LIMIT $N OFFSET $M;");
    let ran = run(program().args([&home.repo(), "--format", "csv", "-v", "N=2", "-v", "M=3", "-f", &file]));
    assert_eq!(ran.ok(), "detector\n3\n4\n");
    let told = script(&home, "SET butler.pushdown = false; RESET butler.pushdown; SHOW butler.pushdown;").ok();
    assert!(told.contains("true"), "{told}");
    let ran = home.sql("RESET butler.pushdwn");
    assert!(ran.code == 1 && ran.err.contains("butler.pushdown"), "{}", ran.err);
    let ran = run(program().args([&home.repo(), "--format", "csv", "-c", "SHOW datafusion.runtime.memory_limit"]));
    assert!(!ran.ok().contains("unlimited"));
    let joined = "SELECT count(*) FROM generate_series(1, 3000000) a JOIN generate_series(1, 3000000) b USING (value)";
    let ran = script(&home, &format!("SET datafusion.runtime.memory_limit = '20M'; {joined};"));
    assert!(ran.code == 1 && ran.err.contains("datafusion.runtime.memory_limit"), "{}", ran.err);
}

#[apply(test!)]
fn is_distinct_from_binds_as_in_postgresql() {
    let home = home();
    let query =
        "SELECT a IS DISTINCT FROM b AND c, a IS NOT DISTINCT FROM b OR c FROM (VALUES (true, true, false)) t(a, b, c)";
    assert_eq!(home.rows(query), ["false,true"]);
    home.sql("ASSERT NULL IS NOT DISTINCT FROM NULL AND 1 IS DISTINCT FROM 2").ok();
    assert_eq!(home.sql("ASSERT 1 IS DISTINCT FROM 2 AND false").code, 3);
    // A subquery in parentheses at the beginning of a list.
    let query = "SELECT count(*) FROM detector WHERE detector IN ((SELECT max(detector) FROM detector), 3)";
    assert_eq!(home.rows(query), ["2"]);
}

#[apply(test!)]
fn twenty_sessions_share_few_connections() {
    let Some(home) = Home::new(Db::Postgres) else { return };
    let data = home.sample(&["--exposures", "3", "--nights", "1"]);
    home.with_camera();
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct')")).ok();
    let role = fresh("few");
    home.psql(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 6; GRANT pg_read_all_data TO {role}"));
    let seed = std::fs::read_to_string(home.at("repo/butler.yaml")).expect("butler.yaml");
    let few = put(&home, "few.yaml", &seed.replace("//butler@", &format!("//{role}@")));
    let joined = "SELECT count(*) FROM raw r JOIN exposure e ON r.exposure = e.exposure \
                  JOIN detector d ON d.detector = r.detector JOIN day_obs o ON o.day_obs = e.day_obs;";
    let file = put(&home, "ask.sql", &format!("SET butler.pushdown = false; {}", joined.repeat(4)));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let mut command = program();
            command.args([&few, "-q", "-f", &file]).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().expect("the program")
        })
        .collect();
    let failed: Vec<_> = all
        .into_iter()
        .map(|child| child.wait_with_output().expect("an end"))
        .filter(|done| !done.status.success())
        .map(|done| String::from_utf8_lossy(&done.stderr).into_owned())
        .collect();
    assert!(failed.is_empty(), "{} of 20 fail: {}", failed.len(), failed[0]);
}

#[apply(test!)]
fn passwords_are_in_no_message() {
    let home = home();
    for url in [
        "postgresql://u:hidden@127.0.0.1:1/db",
        "postgresql://u@127.0.0.1:1/db?password=hidden",
        "postgresql:/u:hidden@127.0.0.1:1/db",
        "postgresql://u@127.0.0.1:1/db?sslpassword=hidden&password=hid%64en",
    ] {
        let seed = put(&home, "seed-url.yaml", &format!("datastore: {{name: x}}\nregistry: {{db: '{url}'}}\n"));
        let repo = home.at("elsewhere");
        let ran =
            run(program().args([&repo, "--write", "-c", &format!("CALL create_repository(seed_config => '{seed}')")]));
        assert!(ran.code != 0 && !ran.err.contains("hidden") && !ran.err.contains("hid%64en"), "{url}: {}", ran.err);
        assert!(!Path::new(&repo).exists(), "{url}: a folder is left");
    }
}

/// The names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[apply(test!)]
fn a_cancelled_copy_leaves_no_staged_file() {
    use futures::StreamExt;
    use std::time::Duration;
    let home = home();
    let folder = std::path::PathBuf::from(home.at("out/deep"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let session = Session::with(&home.repo(), false, Arc::new(Silent)).expect("a session");
    let copy = format!("COPY (SELECT value FROM range(1, 100000000000)) TO '{}/x.csv'", folder.display());
    runtime.block_on(async {
        let mut answer = session.execute(&copy).await.expect("an answer");
        let waited = tokio::time::timeout(Duration::from_millis(200), answer.rows.next()).await;
        assert!(waited.is_err(), "it is still at work");
        assert_eq!(names(&folder).len(), 1, "a hidden folder");
        session.cancel();
        // The stream is not dropped: a program that is interrupted may not get to it.
        assert!(!folder.exists() && !folder.parent().expect("a parent").exists());
        drop(answer);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!folder.exists(), "a writer that still runs created it again");
    });
}

#[apply(test!)]
fn explain_reads_only_the_head_of_a_file() {
    let home = home();
    let head =
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\n# - {name: b, datatype: string}\na b\n";
    let ecsv = put(&home, "x.ecsv", &format!("{head}not_a_number y\n"));
    let shown = home.sql(&format!("EXPLAIN SELECT b FROM read_ecsv('{ecsv}') WHERE a > 1")).ok();
    assert!(shown.contains("StreamingTableExec"), "{shown}");
    let read = home.sql(&format!("SELECT b FROM '{ecsv}'"));
    assert!(read.code == 1 && read.err.contains("line 7") && read.err.contains("-c:1:15"), "{}", read.err);
    let missing = home.sql("EXPLAIN SELECT * FROM 'missing.fits'");
    assert!(missing.err.contains("missing.fits' does not exist"), "{}", missing.err);
    let data = home.sample(&["--exposures", "1", "--nights", "1"]);
    let whole = std::fs::read(format!("{data}/the_monster_20240904.fits")).expect("a FITS table");
    let cut = home.at("cut.fits");
    std::fs::write(&cut, &whole[..whole.len() / 2880 * 1440]).expect("written");
    home.sql(&format!("EXPLAIN SELECT * FROM '{cut}'")).ok();
    assert_eq!(home.sql(&format!("SELECT * FROM '{cut}'")).code, 1);
    // A table is read once, however often a statement names it.
    let twice = "SELECT count(*) FROM read_text('X') a JOIN read_text('X') b ON a.line = b.line";
    let text = put(&home, "x.txt", "one\ntwo\n");
    assert_eq!(home.rows(&twice.replace('X', &text)), ["2"]);
}
