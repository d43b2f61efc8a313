//! The command line: arguments, formats, variables, exit codes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use macro_rules_attribute::apply;

use crate::world::{Db, Home, Ran, program, run, skip};

fn home() -> Home {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.with_camera();
    home
}

fn with(home: &Home, arguments: &[&str]) -> Ran {
    run(program().arg(home.repo()).args(arguments))
}

const TWO: &str = "SELECT detector, full_name FROM detector WHERE detector < 2 ORDER BY 1";

#[apply(test!)]
fn answers_come_in_every_format() {
    let home = home();
    let text = |format: &str| with(&home, &["--format", format, "-c", TWO]).ok();
    assert_eq!(text("csv"), "detector,full_name\n0,R22_S00\n1,R22_S01\n");
    assert_eq!(text("tsv"), "detector\tfull_name\n0\tR22_S00\n1\tR22_S01\n");
    assert_eq!(
        text("json"),
        "[{\"detector\":0,\"full_name\":\"R22_S00\"},{\"detector\":1,\"full_name\":\"R22_S01\"}]\n"
    );
    assert_eq!(
        text("jsonl"),
        "{\"detector\":0,\"full_name\":\"R22_S00\"}\n{\"detector\":1,\"full_name\":\"R22_S01\"}\n"
    );
    assert!(text("table").ends_with("(2 rows)\n"));
    let null = |format: &str| with(&home, &["--format", format, "-c", "SELECT 1 AS a, NULL AS b"]).ok();
    assert_eq!([null("json"), null("jsonl")], ["[{\"a\":1,\"b\":null}]\n", "{\"a\":1,\"b\":null}\n"]);
    let twice = with(&home, &["--format", "json", "-c", "SELECT a.detector, b.detector FROM detector a, detector b"]);
    assert!(twice.err.contains("two columns have the name 'detector'"), "{}", twice.err);
    for (format, magic) in [("parquet", &b"PAR1"[..]), ("arrow", &[0xff; 4])] {
        let out = program().arg(home.repo()).args(["--format", format, "-c", TWO]).output().expect("runs").stdout;
        assert_eq!(&out[..4], magic, "{format}");
    }
    assert_eq!(with(&home, &["--format", "parquet", "-c", TWO, "-c", TWO]).code, 1);
    let set = ["-q", "--format", "csv", "-c", "SET butler.pushdown = false", "-c", "SHOW butler.pushdown"];
    assert_eq!(with(&home, &set).ok(), "name,value\nbutler.pushdown,false\n");
}

#[apply(test!)]
fn copy_exports_and_files_are_tables() {
    let home = home();
    for format in ["parquet", "csv", "json", "arrow"] {
        let file = home.at(&format!("out.{format}"));
        with(&home, &["-c", &format!("COPY ({TWO}) TO '{file}'")]).ok();
        let back = with(&home, &["--format", "csv", "-c", &format!("SELECT * FROM '{file}' ORDER BY detector")]).ok();
        assert!(back.contains("R22_S00") && back.lines().count() == 3, "{format}: {back}");
    }
    // What the shell writes is read again.
    for format in ["tsv", "json", "jsonl", "arrow", "parquet"] {
        let file = home.at(&format!("shown.{format}"));
        let out = program().arg(home.repo()).args(["--format", format, "-c", TWO]).output().expect("runs").stdout;
        std::fs::write(&file, out).expect("a file");
        let back =
            with(&home, &["--format", "csv", "-c", &format!("FROM '{file}' ORDER BY detector FETCH FIRST ROW ONLY")]);
        assert_eq!(back.ok(), "detector,full_name\n0,R22_S00\n", "{format}");
    }
}

#[apply(test!)]
fn copy_is_written_as_psql_and_duckdb_write_it_too() {
    let home = home();
    let written = |options: &str, name: &str| {
        let file = home.at(name);
        let sql = format!("COPY (SELECT detector, full_name FROM detector WHERE detector < 2) TO '{file}' {options}");
        for explain in ["EXPLAIN", "EXPLAIN (VERBOSE)"] {
            with(&home, &["-c", &format!("{explain} {sql}")]).ok();
            assert!(!Path::new(&file).exists(), "{sql}");
        }
        with(&home, &["-c", &sql]).ok();
        std::fs::read_to_string(file).expect("written")
    };
    for options in ["(FORMAT csv, DELIMITER ';', HEADER false)", "WITH (header off, delim ';', format 'CSV')"] {
        assert_eq!(written(options, "plain"), "0;R22_S00\n1;R22_S01\n", "{options}");
        std::fs::remove_file(home.at("plain")).expect("removed");
    }
    assert_eq!(written("STORED AS CSV OPTIONS (header false)", "x.csv"), "0,R22_S00\n1,R22_S01\n");
    assert_eq!(written("", "x.tsv"), "detector\tfull_name\n0\tR22_S00\n1\tR22_S01\n");
    assert_eq!(written("(HEADER)", "X.CSV"), "detector,full_name\n0,R22_S00\n1,R22_S01\n");
    let barred = "detector|full_name\n0|R22_S00\n1|R22_S01\n";
    assert_eq!(written("(FORMAT tsv, DELIMITER '|')", "bars"), barred);
    for tab in ["E'\\t'", "'\\t'"] {
        assert_eq!(written(&format!("(DELIMITER {tab}, HEADER off)"), "tabs.csv"), "0\tR22_S00\n1\tR22_S01\n", "{tab}");
        std::fs::remove_file(home.at("tabs.csv")).expect("removed");
    }
    let joined = format!("COPY (SELECT 1 AS n) TO '{}' || '/joined.csv'", home.at(""));
    with(&home, &["-c", &joined]).ok();
    assert_eq!(std::fs::read_to_string(home.at("joined.csv")).expect("written"), "n\n1\n");
    let capitals = format!("SELECT * FROM '{}'", home.at("X.CSV"));
    assert_eq!(with(&home, &["--format", "csv", "-c", &capitals]).ok(), "detector,full_name\n0,R22_S00\n1,R22_S01\n");
    assert_eq!(written("", "x.jsonl").lines().next(), Some("{\"detector\":0,\"full_name\":\"R22_S00\"}"));
}

#[apply(test!)]
fn files_hold_what_was_copied() {
    let home = home();
    let rows = |sql: &str| with(&home, &["-q", "--format", "csv", "-c", sql]);
    // A column has the type of all its rows.
    assert_eq!(rows("SELECT x FROM (SELECT 1 AS x UNION ALL SELECT 2.5) ORDER BY x").ok(), "x\n1.0\n2.5\n");
    let parquet =
        program().args([&home.repo(), "--format", "parquet", "-c", "SELECT 1 AS x UNION ALL SELECT 2.5"]).output();
    assert!(parquet.expect("the program").status.success());
    // Of many rows only the last has a value, so that the first tell nothing of the column.
    let late = "SELECT a.detector + 9 * b.detector + 81 * c.detector + 729 * d.detector AS n, CASE WHEN a.detector * \
                b.detector * c.detector * d.detector = 4096 THEN 0.5 END AS x FROM detector a, detector b, detector c, \
                detector d ORDER BY n";
    for end in ["csv", "tsv", "json", "parquet"] {
        let file = home.at(&format!("late.{end}"));
        rows(&format!("COPY ({late}) TO '{file}'")).ok();
        assert_eq!(
            rows(&format!("SELECT count(n), sum(x) FROM '{file}'")).ok().lines().nth(1),
            Some("6561,0.5"),
            "{end}"
        );
    }
    let folder = home.at("parted/");
    let parted = format!(
        "COPY (SELECT detector, nullif(detector, 0) AS part FROM detector WHERE detector < 3) TO '{folder}' \
         STORED AS PARQUET PARTITIONED BY (part)"
    );
    rows(&parted).ok();
    let read = rows(&format!("SELECT detector, part, part + 8 AS more FROM '{folder}' ORDER BY detector"));
    assert_eq!(read.ok(), "detector,part,more\n0,,\n1,1,9\n2,2,10\n");
    let one = rows(&format!("SELECT detector FROM '{folder}' WHERE part = 2 OR part IS NULL ORDER BY 1"));
    assert_eq!(one.ok(), "detector\n0\n2\n");
    let folder = home.at("kinds/");
    let kinds = "DATE '2024-10-24' AS day, true AS truth, 0.5 AS half, TIMESTAMP '2024-10-24 19:00:00' AS time, 'a/b c=d%' AS text, '007' AS zeros";
    let by = "(FORMAT parquet, PARTITION_BY (day, truth, half, time, text, zeros))";
    rows(&format!("COPY (SELECT 1 AS n, {kinds}) TO '{folder}' {by}")).ok();
    let read = rows(&format!("SELECT *, arrow_typeof(day) AS day_is, arrow_typeof(zeros) AS zeros_is FROM '{folder}'"));
    assert_eq!(read.ok().lines().nth(1), Some("1,2024-10-24,true,0.5,2024-10-24T19:00:00,a/b c=d%,007,Date32,Utf8"));
    let named = rows("COPY (SELECT 1 AS \"Part\", 2 AS n) TO 'x' (FORMAT csv, PARTITION_BY Part)");
    assert!(named.code == 1 && named.err.contains("no column named 'part'"), "{}", named.err);
    let quoted = home.at("quoted");
    rows(&format!("COPY (SELECT 1 AS \"Part\", 2 AS n) TO '{quoted}' (FORMAT csv, PARTITION_BY (\"Part\"))")).ok();
    assert!(Path::new(&format!("{quoted}/Part=1")).is_dir());
    let kept = format!(
        "COPY detector TO '{quoted}/y' (FORMAT csv, PARTITION_BY (detector), execution.keep_partition_by_columns true)"
    );
    let kept = rows(&kept.replace(
        "(FORMAT csv, PARTITION_BY (detector), execution",
        "STORED AS csv PARTITIONED BY (detector) OPTIONS (execution",
    ));
    assert!(kept.code == 1 && kept.err.contains("keep_partition_by_columns is not supported"), "{}", kept.err);
    let again = rows(&parted);
    assert!(again.code == 1 && again.err.contains("is not empty: it contains"), "{}", again.err);
    std::fs::write(format!("{folder}/zz.PARQUET"), "").expect("written");
    std::fs::write(format!("{folder}/.hidden.csv"), "").expect("written");
    let left = rows(&format!("SELECT * FROM '{folder}'"));
    assert!(
        left.code == 1
            && left.err.contains("zz.PARQUET' differs in folder or format, and would not be read with the others"),
        "{}",
        left.err
    );
    std::fs::remove_file(format!("{folder}/zz.PARQUET")).expect("removed");
    std::fs::write(format!("{folder}/_SUCCESS"), "").expect("written");
    rows(&format!("SELECT * FROM '{folder}'")).ok();
    let folder = home.at("parted/");
    std::fs::write(format!("{folder}/part=1/._x.parquet"), "").expect("written");
    let hidden = rows(&format!("SELECT * FROM '{folder}'"));
    assert!(hidden.code == 1 && hidden.err.contains("is hidden, but would be read"), "{}", hidden.err);
    let external = format!("CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION '{}/new/'", home.repo());
    let insert = with(&home, &["-c", &external, "-c", "INSERT INTO t VALUES (1)"]);
    assert!(insert.code == 1 && insert.err.contains("it is inside the repository"), "{}", insert.err);
}

#[apply(test!)]
fn columns_are_named_as_they_are_written() {
    let home = home();
    let rows = |sql: &str| with(&home, &["--format", "csv", "-c", sql]).ok();
    assert_eq!(
        rows("SELECT 1, sum(detector), d.detector FROM detector d GROUP BY d.detector ORDER BY 2 LIMIT 1"),
        "1,sum(detector),detector\n1,0,0\n"
    );
    for query in [
        "SELECT DISTINCT upper(full_name) FROM detector ORDER BY upper(full_name) LIMIT 1",
        "SELECT upper(full_name) FROM detector GROUP BY upper(full_name) HAVING count(*) = 1 ORDER BY upper(full_name) LIMIT 1",
        "SELECT upper(full_name) FROM detector UNION SELECT 'Z' ORDER BY upper(full_name) LIMIT 1",
        "SELECT \"upper(full_name)\" FROM (SELECT upper(full_name) FROM detector) ORDER BY 1 LIMIT 1",
        "SELECT upper(full_name) FROM detector ORDER BY sum(detector) OVER (ORDER BY full_name) LIMIT 1",
        "SELECT upper(full_name) FROM detector QUALIFY row_number() OVER (ORDER BY full_name) = 1",
    ] {
        assert_eq!(rows(query), "upper(full_name)\nR22_S00\n", "{query}");
    }
    // In ORDER BY a number is a place, and a name one of the answer, whatever it stands for elsewhere.
    for query in [
        "SELECT detector, 1 FROM detector UNION SELECT 9, 0 ORDER BY 1 DESC",
        "SELECT DISTINCT detector AS b, 9 - detector AS detector FROM detector UNION SELECT 9, 0 ORDER BY detector",
    ] {
        assert_eq!(rows(query).lines().nth(1), Some("9,0"), "{query}");
    }
    assert_eq!(rows("SELECT CAST(1 AS INT), CAST(1 AS TEXT), (SELECT 2), (SELECT 3)").lines().nth(1), Some("1,1,2,3"));
}

#[apply(test!)]
fn data_goes_to_stdout_and_everything_else_to_stderr() {
    let home = home();
    let ran = with(&home, &["--format", "csv", "-c", "SELECT 1 AS x", "-c", "SELECT nope"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "x\n1\n"));
    assert!(ran.err.starts_with("error: "), "{}", ran.err);
}

#[apply(test!)]
fn variables_are_values_and_tokens() {
    let home = home();
    let out = home.at("it's.csv");
    let ran = with(
        &home,
        &[
            "-v",
            "N=1",
            "-v",
            &format!("OUT={out}"),
            "-c",
            "COPY (SELECT $N || 'x' AS a, detector FROM detector WHERE detector = $N) TO $OUT",
        ],
    );
    ran.ok();
    assert_eq!(std::fs::read_to_string(out).expect("written"), "a,detector\n1x,1\n");
    let unset = with(&home, &["-v", "DATA=x", "-c", "SELECT 1,\n  $DTA"]);
    assert_eq!(unset.code, 1);
    assert!(unset.err.contains("variable $DTA is not set"), "{}", unset.err);
    assert!(unset.err.contains("-c:2:3") && unset.err.contains("did you mean 'DATA'?"), "{}", unset.err);
    let env = run(program().env("FROM_ENV", "7").arg(home.repo()).args([
        "-v",
        "FROM_ENV",
        "--format",
        "csv",
        "-c",
        "SELECT $FROM_ENV AS x",
    ]));
    assert_eq!(env.ok(), "x\n7\n");
}

#[apply(test!)]
fn scripts_stop_at_the_first_error_with_its_place() {
    let home = home();
    std::fs::write(home.at("inner.sql"), "SELECT 'inner' AS x;\n\\q\nit's 33\n").expect("written");
    std::fs::write(
        home.at("outer.sql"),
        "\\echo hello\n\\i inner.sql\nSELECT 2;\nSELECT *\n FROM nowhere;\nSELECT 3;\n",
    )
    .expect("written");
    let ran = with(&home, &["--format", "csv", "-f", &home.at("outer.sql")]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.starts_with("hello\nx\ninner\n") && !ran.out.contains('3'), "{}", ran.out);
    assert!(ran.err.contains("outer.sql:5:7") && ran.err.contains("\n   |       ^"), "{}", ran.err);
    std::fs::write(home.at("self.sql"), "\\i self.sql\n").expect("written");
    assert!(with(&home, &["-f", &home.at("self.sql")]).err.contains("cannot run itself"));
}

#[apply(test!)]
fn assertions_have_their_own_code() {
    let home = home();
    with(&home, &["-c", "ASSERT (SELECT count(*) FROM detector) = 9"]).ok();
    let ran = with(&home, &["-c", "ASSERT (SELECT count(*) FROM detector) = 10 AS 'ten detectors'"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("ten detectors: assertion does not hold"), "{}", ran.err);
    assert!(ran.err.contains("left is 9, right is 10"), "{}", ran.err);
    let ran =
        with(&home, &["-c", "SELECT 1;\n\nASSERT EXISTS (SELECT 1 FROM exposure WHERE day_obs = DATE '2024-10-24')"]);
    assert!(ran.code == 1 && ran.err.contains("-c:3:1"), "{}", ran.err);
    assert_eq!(with(&home, &["-c", "ASSERT NULL"]).code, 3);
}

#[apply(test!)]
fn exit_codes_tell_what_happened() {
    let home = home();
    assert_eq!(with(&home, &["-c", "SELECT 1"]).code, 0);
    assert_eq!(with(&home, &["-c", "SELECT"]).code, 1);
    assert_eq!(run(program().arg("--nonsense")).code, 2);
    assert_eq!(run(&mut program()).code, 2);
    let seed = "registry: {db: 'postgresql://x@127.0.0.1:1/none'}\n";
    std::fs::create_dir_all(home.at("away")).expect("made");
    std::fs::write(home.at("away/butler.yaml"), seed).expect("written");
    let ran = run(program().args([&home.at("away"), "-c", "SELECT 1 FROM raw"]));
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("cannot open the registry database postgresql://x@127.0.0.1:1/none"), "{}", ran.err);
}

#[apply(test!)]
fn reading_is_the_default() {
    let home = home();
    let ran = with(&home, &["-c", "CALL register_collection('x')"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("this session is read-only"), "{}", ran.err);
    std::fs::write(home.at("w.sql"), "CALL register_collection('x');").expect("written");
    with(&home, &["-f", &home.at("w.sql")]).ok();
    assert_eq!(home.rows("SELECT name FROM collections"), ["x"]);
}

#[apply(test!)]
fn scripts_come_from_standard_input() {
    let home = home();
    for more in [&[][..], &["-f", "-"]] {
        let mut command = program();
        command.arg(home.repo()).args(["--format", "csv"]).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let script = b"\\timing\nSELECT 1 AS a;\nSELECT 2 AS b;\n\\dt DET*r\n\\dt d_t*\n\\df find*t\n";
        child.stdin.take().expect("piped").write_all(script).expect("written");
        let out = child.wait_with_output().expect("ends").stdout;
        let out = String::from_utf8_lossy(&out);
        let before = "a\n1\nb\n2\nschema,name\npublic,detector\nschema,name\nname,arguments,description\nfind_first,";
        assert!(out.starts_with(before) && out.lines().count() == 9, "{more:?}\n{out}");
    }
    // As a script it may write.
    for (more, code) in [(&[][..], 1), (&["-f", "-"], 0)] {
        let mut child = program().arg(home.repo()).args(more).stdin(Stdio::piped()).spawn().expect("starts");
        child.stdin.take().expect("piped").write_all(b"CALL register_collection('x')").expect("written");
        assert_eq!(child.wait().expect("ends").code(), Some(code), "{more:?}");
    }
}

#[apply(test!)]
fn the_shell_answers_completes_and_survives_errors() {
    if run(Command::new("script").arg("--version")).code != 0 {
        return skip("there is no script(1) to make a terminal");
    }
    let home = home();
    let line = format!("{} {}", env!("CARGO_BIN_EXE_butlersql"), home.repo());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("HOME", home.at("")).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    for text in [
        "SELECT nope;\r",
        "SELECT count(*)\r",
        "FROM detector;\r",
        "CALL register_collection('x');\r",
        "\\write on\r",
        "CALL register_collection('x');\r",
        "\\df chain\r",
        // It computes without a pause.
        "SELECT count(*) FROM generate_series(1, 10000000) a(x) JOIN generate_series(1, 10000000) b(y) ON x + y < 0;\r",
        "\x03",
        "SELECT 40 + 2 AS n;\r",
        "\\q\r",
    ] {
        stdin.write_all(text.as_bytes()).expect("written");
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
    let out = child.wait_with_output().expect("ends").stdout;
    let text = String::from_utf8_lossy(&out);
    for want in [
        "no column named 'nope'",
        "9",
        "this session is read-only",
        "inserted",
        "chain(parent, [children]",
        "interrupted",
        "| 42 |",
    ] {
        assert!(text.contains(want), "the shell does not print {want}:\n{text}");
    }
    let history = std::fs::read_to_string(home.at(".butlersql_history")).expect("a history");
    for line in ["SELECT nope;", "\\df chain", "SELECT 40 + 2 AS n;"] {
        assert_eq!(history.lines().filter(|kept| *kept == line.replace('\\', "\\\\")).count(), 1, "{line}\n{history}");
    }
}

#[apply(test!)]
fn ctrl_c_stops_the_program_with_its_code() {
    let home = home();
    for endless in [
        "SELECT count(*) FROM generate_series(1, 1000000000000) a, generate_series(1, 1000) b",
        // It computes without a pause.
        "SELECT count(*) FROM generate_series(1, 10000000) a(x) JOIN generate_series(1, 10000000) b(y) ON x + y < 0",
    ] {
        let mut command = program();
        let child = command.arg(home.repo()).args(["-c", endless]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let child = child.expect("starts");
        std::thread::sleep(std::time::Duration::from_millis(1500));
        run(Command::new("kill").args(["-INT", &child.id().to_string()])).ok();
        let done = child.wait_with_output().expect("ends");
        assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

#[apply(test!)]
fn a_copy_that_is_ended_leaves_nothing() {
    let home = home();
    std::fs::create_dir(home.at("empty")).expect("made");
    // Each value of part a file, so that there is always one more to be made.
    let copy = "COPY (SELECT a.value AS n, a.value AS part FROM generate_series(1, 1000000000000) a)";
    for (signal, code) in [("-TERM", 143), ("-INT", 130), ("-HUP", 129)] {
        for (folder, to) in [
            ("new", format!("'{}'", home.at("new/x.csv"))),
            ("new", format!("'{}' (FORMAT csv, PARTITION_BY part)", home.at("new/x"))),
            ("empty", format!("'{}' (FORMAT csv, PARTITION_BY part)", home.at("empty"))),
        ] {
            let mut command = program();
            let mut child = command.arg(home.repo()).args(["-c", &format!("{copy} TO {to}")]).spawn().expect("starts");
            std::thread::sleep(std::time::Duration::from_millis(1000));
            let begun = std::fs::read_dir(home.at(folder)).expect("a folder").count();
            run(Command::new("kill").args([signal, &child.id().to_string()])).ok();
            assert_eq!((begun > 0, child.wait().expect("an end").code()), (true, Some(code)), "{to}");
            assert!(!Path::new(&home.at("new")).exists(), "{signal} {to}");
            assert_eq!(std::fs::read_dir(home.at("empty")).expect("kept").count(), 0, "{signal} {to}");
        }
    }
}

#[apply(test!)]
fn a_copy_keeps_who_may_read_and_tells_why_it_cannot_write() {
    use std::os::unix::fs::PermissionsExt;
    let home = home();
    let copy = |to: &str| {
        with(
            &home,
            &["-c", &format!("COPY (SELECT a.detector FROM detector a, detector b, detector c, detector d) TO {to}")],
        )
    };
    let file = home.at("private.csv");
    std::fs::write(&file, "").expect("written");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("changed");
    copy(&format!("'{file}'")).ok();
    assert_eq!(std::fs::metadata(&file).expect("written").permissions().mode() & 0o777, 0o600);
    std::os::unix::fs::symlink(home.at("nowhere.csv"), home.at("link.csv")).expect("a link");
    for (to, message) in [
        (format!("'{}'", home.at("link.csv")), "is a symbolic link to a missing file"),
        (format!("'{file}/x.csv'"), "not a directory"),
        (format!("'{file}' (FORMAT csv, PARTITION_BY detector)"), "at least one column must not be in PART"),
    ] {
        let ran = copy(&to);
        assert!(ran.code == 1 && ran.err.contains(message), "{to}: {}", ran.err);
    }
    let limited = format!(
        "trap '' XFSZ; ulimit -f 8; exec \"$0\" {} -c \"COPY (SELECT a.* FROM detector a, detector b, detector c) TO '{}'\"",
        home.repo(),
        home.at("large.csv")
    );
    let ran = run(Command::new("sh").args(["-c", &limited]).arg(env!("CARGO_BIN_EXE_butlersql")));
    assert!(ran.code == 1 && ran.err.contains("incomplete write to '"), "{}", ran.err);
    assert!(!Path::new(&home.at("large.csv")).exists());
}

#[apply(test!)]
fn a_large_table_is_shown_in_portions_and_can_be_interrupted() {
    use std::io::{BufRead, BufReader, Read};
    let home = home();
    // 9 ⁸ rows.
    let endless = "SELECT a.detector, a.full_name FROM detector a, detector b, detector c, detector d, detector e, \
                   detector f, detector g, detector h";
    let mut child =
        program().arg(home.repo()).args(["-c", endless]).stdout(Stdio::piped()).spawn().expect("the program");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert!(line.starts_with("+--"), "{line}");
    run(Command::new("kill").args(["-INT", &child.id().to_string()])).ok();
    out.read_to_end(&mut Vec::new()).expect("the rest");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    let all =
        with(&home, &["-c", "SELECT a.detector FROM detector a, detector b, detector c, detector d, detector e"]).ok();
    assert!(all.ends_with("(59049 rows)\n"));
    assert_eq!(all.lines().filter(|line| line.starts_with("| ") && !line.contains("detector")).count(), 59049);
}

#[apply(test!)]
fn a_copy_that_fails_leaves_the_file_that_is_there() {
    let home = home();
    let folder = home.at("out");
    std::fs::create_dir_all(&folder).expect("made");
    let copy = |query: &str, file: &str| with(&home, &["-c", &format!("COPY ({query}) TO '{file}'")]);
    let analyzed =
        |query: &str, file: &str| with(&home, &["-c", &format!("EXPLAIN ANALYZE COPY ({query}) TO '{file}'")]);
    let fails = "SELECT 1 / (detector - 4) AS a FROM detector";
    for end in ["csv", "parquet", "json", "arrow"] {
        let [kept, new, link] = ["kept", "new", "link"].map(|name| format!("{folder}/{name}.{end}"));
        copy("SELECT 1 AS a", &kept).ok();
        std::os::unix::fs::symlink(&kept, &link).expect("a link");
        let before = std::fs::read(&kept).expect("written");
        for file in [&kept, &new, &link, &format!("file:{kept}")] {
            for ran in [copy(fails, file), analyzed(fails, file)] {
                assert!(ran.code == 1 && ran.err.contains("Divide by zero"), "{}", ran.err);
            }
        }
        assert_eq!(std::fs::read(&kept).expect("kept"), before, "{end}");
        assert!(!Path::new(&new).exists(), "{end}");
        analyzed("SELECT 1 AS a", &format!("file:{new}")).ok();
        std::fs::remove_file(&new).expect("written there");
        copy("SELECT 2 AS a", &link).ok();
        assert_eq!(with(&home, &["--format", "csv", "-c", &format!("SELECT a FROM '{kept}'")]).ok(), "a\n2\n");
        assert!(std::fs::symlink_metadata(&link).expect("a link").is_symlink());
    }
    let names = std::fs::read_dir(&folder).expect("listed").map(|entry| entry.expect("listed").file_name());
    let left: Vec<_> =
        names.filter(|name| !["kept", "link"].iter().any(|own| name.to_string_lossy().starts_with(own))).collect();
    assert!(left.is_empty(), "{left:?}");
}
