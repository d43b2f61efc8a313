//! Bad input gets one sentence naming the thing, its place, the nearest name, the right exit code, and leaves nothing
//! half-written.

use std::path::Path;

use macro_rules_attribute::apply;

use crate::world::{ALL, Db, Home, program, run};

fn home() -> Home {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.with_camera();
    home
}

#[apply(test!)]
fn slips_of_the_pen() {
    let home = home();
    home.sql(
        "CALL register_collection('tag', 'TAGGED'); CALL register_dataset_type('bias', 'ExposureF', ['detector']);
         CALL register_dataset_type('skyMap', 'SkyMap', ['skymap'])",
    )
    .ok();
    let mut wrong = Vec::new();
    for (sql, message, place) in [
        ("SELECT * FROM exposre", "no table named 'exposre'; did you mean 'exposure", "1:15"),
        ("SELECT * FROM registry.exposre", "no table named 'exposre'; did you mean 'exposure'?", "1:15"),
        ("SELECT obs_ID2 FROM exposure", "no column named 'obs_id2'; did you mean 'obs_id'?", "1:8"),
        (
            "SELECT * FROM exposure WHERE observation_type = science",
            "no column named 'science'; did you mean 'science_program'? (string literals use single quotes)",
            "1:49",
        ),
        (
            "SELECT exposure.foo FROM exposure",
            "no such column in the FROM clause (type Int64 does not have fields)",
            "1:1",
        ),
        ("SELECT * FROM \"Bias\"", "no table named 'Bias'; did you mean 'bias'?", "1:15"),
        ("SET butler.pushdwn = false", "no setting named 'butler.pushdwn'; available: butler.pushdown", ""),
        ("SET butler.pushdown = maybe", "butler.pushdown is true or false, not 'maybe'", ""),
        (
            "SELECT * FROM exposure WHERE day_obs IN (DATE '2024-10-24')",
            "cannot compare exposure.day_obs (number) with 2024-10-24 (date or time); day_obs is written as",
            "1:30",
        ),
        (
            "SELECT e.day_obs BETWEEN '2024-10-24' AND '20241025' FROM exposure e",
            "cannot compare e.day_obs (number) with '2024-10-24' (text); day_obs is written as 20241024",
            "1:8",
        ),
        (
            "SELECT * FROM exposure e JOIN visit v ON e.day_obs = CAST(v.timespan_begin AS DATE)",
            "cannot compare e.day_obs (number) with CAST(v.timespan_begin AS Date32) (date or time)",
            "1:42",
        ),
        (
            "SELECT * FROM exposure WHERE day_obs IN (SELECT CAST(timespan_begin AS DATE) FROM visit)",
            "cannot compare exposure.day_obs (number) with CAST(timespan_begin AS DATE) (date or time)",
            "1:30",
        ),
        (
            "SELECT * FROM exposure WHERE day_obs = ANY (SELECT CAST(timespan_begin AS DATE) FROM visit)",
            "cannot compare exposure.day_obs (number) with",
            "1:30",
        ),
        (
            "SELECT CASE day_obs WHEN DATE '2024-10-24' THEN 1 END FROM exposure",
            "cannot compare exposure.day_obs (number) with 2024-10-24 (date or time)",
            "1:13",
        ),
        (
            "SELECT day_obs = 20241024 FROM (SELECT DATE '2024-10-24' AS day_obs) AS q",
            "cannot compare q.day_obs (date or time) with 20241024 (number)\n",
            "1:8",
        ),
        (
            "SELECT * FROM exposure WHERE has_simulated = 0",
            "cannot compare exposure.has_simulated (boolean) with 0 (number)",
            "1:30",
        ),
        (
            "CREATE VIEW v AS SELECT * FROM exposure WHERE day_obs = DATE '2024-10-24'",
            "cannot compare exposure.day_obs (number) with 2024-10-24 (date or time)",
            "1:47",
        ),
        (
            "SELECT * FROM exposure WHERE timespan_end - timespan_begin > 30",
            "cannot compare exposure.timespan_end - exposure.timespan_begin (duration) with 30 (number)",
            "1:1",
        ),
        (
            "SELECT * FROM exposure WHERE timespan_begin >= '2024-10-24T18:59:30Z'",
            "'2024-10-24T18:59:30Z' has a time zone and exposure.timespan_begin has none; omit the time zone, or use tai",
            "1:30",
        ),
        (
            "SELECT * FROM exposure WHERE timespan_begin < TIMESTAMP '2024-10-24 16:00:05-03:00'",
            "has a time zone and exposure.timespan_begin has none",
            "1:30",
        ),
        (
            "SELECT * FROM exposures WHERE begin_utc >= '2024-10-24T18:59:30Z'",
            "'2024-10-24T18:59:30Z' has a time zone and exposures.begin_utc has none; the column is UTC: omit the time zone",
            "1:31",
        ),
        (
            "SELECT utc('2024-10-24T18:59:30Z')",
            "utc takes a TAI time, and '2024-10-24T18:59:30Z' has a time zone",
            "1:1",
        ),
        (
            "SELECT * FROM datasets WHERE dataset_id IN ('019ADE3E8B7F7C5E9E0D3A1B2C4D5E6F')",
            "write a dataset_id in lower case with dashes: '019ade3e-8b7f-7c5e-9e0d-3a1b2c4d5e6f'",
            "1:30",
        ),
        (
            "SELECT * FROM exposure JOIN visit",
            "a JOIN needs ON or USING; use CROSS JOIN for all pairs of rows\n",
            "1:1",
        ),
        ("COPY exposure TO 'x.csv' (HEADERS off)", "no option named 'headers'; did you mean 'has_header'?", "1:27"),
        ("COPY exposure TO 'x.csv.gz' (FORMAT csv)", "'x.csv.gz' would not be compressed", "1:"),
        ("COPY (SELECT * FROM skyMap) TO 'x.csv'", "skyMap without quotes is dimension 'skymap'", "1:21"),
        ("ASSERT (SELECT count(*) FROM skyMap) = 1", "skyMap without quotes is dimension 'skymap'", "1:30"),
        ("SELECT * FROM skyMap", "skyMap without quotes is dimension 'skymap'; the dataset type is \"skyMap\"", "1:15"),
        ("SELECT x.exposure FROM exposure e", "no column named 'x.exposure'; did you mean 'e.exposure'?", "1:8"),
        ("SELECT count(*), count(*) FROM exposure", "two columns have the name 'count(*)'; rename one with AS", "1:1"),
        ("SELECT row_number() FROM exposure", "row_number is a window function: use row_number(…) OVER", "1:8"),
        ("SELECT * FROM exposure WHERE obs_id ~ '('", "invalid regular expression: unclosed group", "1:1"),
        ("SELECT avg(timespan_begin) FROM exposure", "avg does not take values of this type", "1:"),
        (
            "SELECT extract(millisecond FROM timespan_end - timespan_begin) FROM exposure",
            "'MILLISECOND' of a duration is not supported; epoch returns its seconds",
            "1:1",
        ),
        (
            "COPY (SELECT day_obs FROM exposure) TO 'x' (FORMAT parquet, PARTITION_BY day_obs)",
            "at least one column must not be in PARTITIONED BY",
            "1:1",
        ),
        ("SELECT * FROM visit WHERE region = 'abc'", "cannot compare visit.region (bytes) with 'abc' (text)", "1:27"),
        (
            "INSERT INTO exposure SELECT * FROM exposure",
            "cannot INSERT into 'exposure'; use CALL insert_dimension_records('exposure', (SELECT …))",
            "1:1",
        ),
        (
            "INSERT INTO registry.run SELECT * FROM registry.run",
            "cannot INSERT into 'registry.run'; use a procedure",
            "1:1",
        ),
        ("DROP TABLE exposure", "cannot drop 'exposure': it belongs to the repository", "1:"),
        ("DROP TABLE registry.dataset", "cannot drop 'registry.dataset': it belongs to the repository", "1:"),
        ("DROP VIEW exposures", "cannot drop 'exposures': it belongs to the repository", "1:"),
        ("SELECT band FROM exposure", "no column named 'band'; view 'exposures' has it", "1:8"),
        ("DROP TABLE functions", "cannot drop 'functions': it belongs to the repository", "1:"),
        (
            "INSERT INTO dataset_types VALUES ('x', 'detector', 'Y', false)",
            "cannot INSERT into 'dataset_types'; use a procedure",
            "1:1",
        ),
        ("SELECT to_timestamp('24/10/2024', '%d-%m-%Y')", "using format '%d-%m-%Y'", "1:21"),
        (
            "SELECT * FROM exposure WHERE timespan_begin > '2024-10-24 18:59:30 America/Santiago'",
            "has a time zone and exposure.timespan_begin has none",
            "1:",
        ),
        ("SELECT day_obs, obs_id FROM exposure GROUP BY 1", "column 'exposure.obs_id' is neither in GROUP BY", "1:17"),
        (
            "SELECT * FROM exposure WHERE timespan_begin > '2024-10-24 19:00'",
            "'2024-10-24 19:00' is not a valid time; write '2024-10-24' or '2024-10-24 19:00:00'",
            "1:47",
        ),
        ("SELECT * FROM detector WHERE full_name = 5", "invalid value 'R22_S00' for type Int64", "1:1"),
        (
            "SELECT * FROM exposure WHERE has_simulated = 'yes'",
            "cannot compare exposure.has_simulated (boolean) with 'yes' (text)",
            "1:30",
        ),
        ("SELECT * FROM exposure WHERE obs_id COLLATE nocase = 'x'", "COLLATE is not supported", "1:37"),
        (
            "CALL insert_dimension_records('physical_filter', (SELECT 'HSC' AS instrument, 'x' AS name, 'r' AS band))",
            "a record of 'physical_filter' needs records of instrument that do not exist",
            "1:31",
        ),
        ("SELECT TOP 5 * FROM exposure", "TOP is not supported; use LIMIT at the end of the query", "1:8"),
        (
            "SELECT * FROM exposure WHERE exposure_time > ALL (SELECT exposure_time FROM exposure)",
            "ALL over a subquery is not supported",
            "1:46",
        ),
        (
            "SELECT * FROM exposure WHERE exposure_time > ANY (SELECT exposure_time FROM exposure)",
            "ANY over a subquery is supported with = only",
            "1:46",
        ),
        ("SELECT 1 EXCEPT ALL SELECT 1", "EXCEPT ALL are not supported", "1:1"),
        (
            "SELECT * FROM exposure RIGHT JOIN visit_definition USING (instrument, exposure)",
            "a RIGHT or FULL JOIN is supported with ON only",
            "1:1",
        ),
        ("SELECT * FROM exposure TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE is not supported", "1:24"),
        (
            "SELECT day_obs, count(*) FROM exposure GROUP BY day_obs WITH ROLLUP",
            "GROUP BY … WITH is not supported",
            "1:40",
        ),
        ("SELECT * FROM exposure WHERE obs_id SIMILAR TO 'CC%'", "SIMILAR TO is not supported", "1:37"),
        (
            "SELECT count(*) FROM (SELECT 1 AS a FETCH FIRST 1 ROW ONLY)",
            "FETCH is supported only as FETCH FIRST n ROWS ONLY",
            "1:37",
        ),
        (
            "COPY (SELECT a.detector, b.detector FROM detector a, detector b) TO '/nowhere/x.parquet'",
            "two columns have the name 'detector'",
            "1:1",
        ),
        ("COPY detector TO STDOUT", "COPY TO STDOUT is not supported; run the query with --format csv", "1:18"),
        ("COPY detector TO '/nowhere/x.gz'", "cannot infer a format from '/nowhere/x.gz'; use one of .csv,", "1:1"),
        ("COPY detector TO '/nowhere/x' (FORMAT cvs)", "no format named 'cvs'; available: csv, tsv, json,", "1:39"),
        ("COPY detector TO '/nowhere/x' (FORMAT csv", "COPY takes options as names and values", "1:31"),
        ("COPY detector TO '/nowhere/x' (FORMAT a b)", "COPY takes options as names and values", "1:31"),
        ("COPY detector TO '/proc/x.csv'", "'/proc/x.csv' cannot be written: ", "1:18"),
        ("COPY detector TO '/nowhere/x[1].csv'", "'/nowhere/x[1].csv' is a pattern", "1:18"),
        (
            "COPY detector TO '/dev/null' (FORMAT csv)",
            "'/dev/null' is neither a file nor a folder that can be read",
            "1:18",
        ),
        ("COPY (SELECT 1 EXCEPT ALL SELECT 1) TO '/nowhere/x.csv'", "EXCEPT ALL are not supported", "1:1"),
        ("CALL associate('tag', (SELECT 'x' EXCEPT ALL SELECT 'y'))", "EXCEPT ALL are not supported", "1:1"),
        ("ASSERT 5 > ALL (SELECT 1)", "ALL over a subquery is not supported", "1:1"),
        (
            "SELECT * FROM detector JOIN (exposure FULL JOIN visit_definition USING (exposure)) ON true",
            "a RIGHT or FULL JOIN is supported with ON only",
            "1:1",
        ),
        ("SELECT * FROM 'nope.csv'", "no file named 'nope.csv'", "1:15"),
        ("SELECT * FROM 'nope*.parquet'", "no file named 'nope*.parquet'", "1:15"),
        ("SELECT * FROM 'nope.fits'", "nope.fits' does not exist", "1:15"),
        (
            "SELECT * FROM './Cargo.lock'",
            "'./Cargo.lock' does not contain a file with a supported extension: csv, tsv",
            "1:15",
        ),
        (
            "SELECT * FROM find_frst('raw', 'x')",
            "no table function named 'find_frst'; did you mean 'find_first'?",
            "1:15",
        ),
        ("CALL ingest_rws('x')", "no function named 'ingest_rws'; did you mean 'ingest_raws'?", "1:6"),
        (
            "CALL ingest_raws('x', transfr => 'copy')",
            "no argument of ingest_raws named 'transfr'; did you mean 'transfer'?",
            "1:23",
        ),
        ("CALL ingest_raws('x', transfer => 'copi')", "no transfer mode named 'copi'; did you mean 'copy'?", "1:6"),
        (
            "CALL ingest_raws('x', fail_fast => 'yes')",
            "argument 'fail_fast' of ingest_raws takes a boolean, not yes",
            "1:23",
        ),
        ("CALL ingest_raws()", "ingest_raws needs its argument 'locations'", "1:6"),
        ("CALL chain('a', ['b'], ['c'])", "argument 'mode' of chain takes a text", "1:25"),
        ("CALL chain('a', children => ['b'], 'redefine')", "positional arguments must come before named", "1:6"),
        ("CALL chain('a', ['tagg'])", "no collection named 'tagg'; did you mean 'tag'?", "1:1"),
        (
            "CALL chain('a', ['tag'], mode => 'prepent')",
            "no chain mode named 'prepent'; did you mean 'prepend'?",
            "1:6",
        ),
        (
            "CALL register_instrument('LSSTComCan')",
            "no instrument named 'LSSTComCan'; did you mean 'LSSTComCam'?",
            "1:6",
        ),
        ("CALL register_collection('x', 'TAGED')", "no collection type named 'TAGED'; did you mean 'TAGGED'?", "1:6"),
        (
            "CALL register_dataset_type('x', 'y', ['detectr'])",
            "no dimension named 'detectr'; did you mean 'detector'?",
            "1:39",
        ),
        (
            "CALL register_dataset_type('x', 'SimpleCatalogue')",
            "no storage class named 'SimpleCatalogue'; did you mean 'SimpleCatalog'?",
            "1:33",
        ),
        ("CALL register_dataset_type('1x', 'y')", "'1x' is not a valid dataset type name", "1:28"),
        ("CALL register_dataset_type('a.b', 'y')", "'a.b' is a component", "1:28"),
        ("CALL associate('tag', 5)", "argument 'rows' of associate takes a subquery", "1:23"),
        ("CALL associate('tagg', (SELECT 'x'))", "no collection named 'tagg'; did you mean 'tag'?", "1:1"),
        ("CALL associate('tag', (SELECT 'x'))", "'x' is not a dataset id", "1:31"),
        ("CALL associate('tag', (SELECT '00000000-0000-0000-0000-000000000000'))", "no dataset has the id", "1:31"),
        ("INSERT INTO collection.\"tagg\" SELECT 'x'", "no collection named 'tagg'; did you mean 'tag'?", "1:"),
        (
            "SELECT detector, associate('tag', full_name) FROM detector GROUP BY detector",
            "associate must be the only aggregate",
            "1:1",
        ),
        ("SELECT * FROM find_first('bia', '*')", "no dataset type named 'bia'; did you mean 'bias'?", "1:15"),
        ("DELETE FROM raw", "DELETE is not supported; use a procedure", "1:1"),
        ("UPDATE exposure SET obs_id = 'x'", "UPDATE is not supported", "1:1"),
        ("BEGIN", "transactions over several statements are not supported", "1:1"),
        ("SELCT 1", "no statement begins with 'SELCT'; did you mean 'SELECT'?", "1:1"),
        ("SELECT 1 1", "unexpected '1' after the end of the statement", "1:10"),
        ("SELECT 'open", "Unterminated string literal", "1:8"),
    ] {
        let ran = home.sql(sql);
        let is_as_wanted = ran.code == 1
            && ran.err.contains(message)
            && ran.err.contains(&format!(" --> -c:{place}"))
            && ran.err.lines().filter(|line| line.starts_with("error")).count() == 1;
        if !is_as_wanted {
            wrong.push(format!("{sql}\n  wanted: {message} at {place}\n  got: {} {}", ran.code, ran.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let link = home.at("link");
    std::os::unix::fs::symlink(home.repo(), &link).expect("a link");
    for before in ["", "EXPLAIN ", "EXPLAIN ANALYZE "] {
        for to in ["/gen3.sqlite3", "/butler.yaml", "/new.csv", "/", ""].map(|file| home.repo() + file) {
            for to in [to.clone(), format!("file:{to}"), to.replace(&home.repo(), &link)] {
                let ran = home.sql(&format!("{before}COPY (SELECT 1 AS a) TO '{to}' STORED AS CSV"));
                assert!(ran.err.contains("it is inside the repository"), "{before}{to}: {}", ran.err);
            }
        }
    }
    home.sql(&format!("COPY (SELECT 1 AS a) TO '{}'", home.at("beside.csv"))).ok();
    assert_eq!(home.rows("SELECT name FROM collections"), ["tag"]);
}

#[apply(test!)]
fn repositories_that_are_not_there_or_not_right() {
    let home = home();
    let at = |name: &str| home.at(name);
    let ask = |repo: &str| run(program().args([repo, "-c", "SELECT count(*) FROM collections"]));
    let put = |name: &str, text: &str| {
        std::fs::create_dir_all(Path::new(&at(name)).parent().expect("a folder")).expect("made");
        std::fs::write(at(name), text).expect("written");
    };
    put("text/butler.yaml", "not: [closed");
    put("list/butler.yaml", "- 1\n");
    put("empty/butler.yaml", "datastore: {root: <butlerRoot>}\n");
    put("remote/butler.yaml", "cls: lsst.daf.butler.remote_butler.RemoteButler\n");
    put("mysql/butler.yaml", "registry: {db: 'mysql://h/d'}\n");
    put("include/butler.yaml", "datastore: !include other.yaml\n");
    put("named/butler.yaml", "registry: {db: 'sqlite:///x.db', namespace: ccms1}\n");
    put("host/butler.yaml", "registry: {db: 'postgresql://h/d', port: many}\n");
    put("blank/butler.yaml", "datastore: {root: <butlerRoot>}\n");
    put("blank/gen3.sqlite3", "");
    put("noise/butler.yaml", "datastore: {root: <butlerRoot>}\n");
    put("noise/gen3.sqlite3", &"this is no database ".repeat(200));
    std::fs::create_dir_all(at("folder/butler.yaml")).expect("made");
    for (repo, message) in [
        ("nowhere", "does not exist: file"),
        ("text", "configuration '"),
        ("list", "the configuration is not a mapping"),
        ("empty", "gen3.sqlite3' does not exist"),
        ("remote", "RemoteButler is not supported"),
        ("mysql", "'mysql' is neither sqlite nor postgresql"),
        ("include", "the configuration includes other files"),
        ("named", "an SQLite registry has no namespaces, but 'ccms1' is configured"),
        ("host", "invalid registry URL"),
        ("blank", "gen3.sqlite3: it does not contain a Butler registry"),
        ("noise", "file is not a database"),
        ("folder", "configuration '"),
    ] {
        let ran = ask(&at(repo));
        assert_eq!(ran.code, 1, "{repo}: {}", ran.err);
        assert!(ran.err.contains(message), "{repo}: {}", ran.err);
    }
    let ran = ask("s3://bucket/x");
    assert!(ran.err.contains("s3:// are not supported"), "{}", ran.err);
}

#[apply(test!)]
fn labels_of_the_repository_index_work_and_are_suggested() {
    let home = home();
    let index = home.at("index.yaml");
    std::fs::write(&index, format!("ccms1: {}\n", home.repo())).expect("written");
    let ask = |label: &str| {
        run(program().env("DAF_BUTLER_REPOSITORY_INDEX", &index).args([
            label,
            "--format",
            "csv",
            "-c",
            "SELECT count(*) FROM detector",
        ]))
    };
    assert!(ask("ccms1").ok().contains('9'));
    assert!(ask("ccms2").err.contains("did you mean 'ccms1'?"));
    let text = format!("{{other: '{}'}}", home.repo());
    run(program().env("DAF_BUTLER_REPOSITORIES", text).args(["other", "-c", "SELECT 1 FROM detector"])).ok();
}

#[apply(test!)]
fn a_wrong_namespace_and_a_missing_database_are_told() {
    let Some(home) = Home::new(Db::PostgresNamespace) else { return };
    home.create();
    let file = home.at("repo/butler.yaml");
    let text = std::fs::read_to_string(&file).expect("butler.yaml");
    std::fs::write(&file, text.replace("namespace: ccms1", "namespace: ccms2")).expect("written");
    let ran = home.sql("SELECT count(*) FROM collections");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("it does not contain a Butler registry in namespace 'ccms2'"), "{}", ran.err);
    std::fs::write(&file, text.replace("/it_", "/no_")).expect("written");
    let ran = home.sql("SELECT count(*) FROM collections");
    assert!(ran.err.contains("does not exist"), "{}", ran.err);
}

#[apply(test!)]
fn credentials_that_others_may_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let Some(home) = Home::new(Db::Postgres) else { return };
    home.create();
    let file = home.at("db-auth.yaml");
    std::fs::write(&file, "- {url: 'postgresql://127.0.0.1', password: secret}\n").expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("set");
    let ask = || run(program().env("LSST_DB_AUTH", &file).args([&home.repo(), "-c", "SELECT 1 FROM collections"]));
    let ran = ask();
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("may be read by others") && !ran.err.contains("secret"), "{}", ran.err);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
    ask().ok();
}

#[apply(test!)]
fn a_refused_password_is_told_and_parts_beside_the_url_are_used() {
    let Some(home) = Home::new(Db::Postgres) else { return };
    home.create();
    let text = std::fs::read_to_string(home.at("repo/butler.yaml")).expect("butler.yaml");
    let ask = |file: &str| run(program().args([file, "-c", "SELECT 1 FROM collections"]));
    let put = |name: &str, text: String| {
        std::fs::write(home.at(name), text).expect("written");
        home.at(name)
    };
    let ran = ask(&put("locked.yaml", text.replace("//butler@", "//locked:secret@")));
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("password authentication failed") && !ran.err.contains("secret"), "{}", ran.err);
    let parts = text.replace("//butler@", "//").replace("registry:\n", "registry:\n  username: locked\n");
    let ran = ask(&put("parts.yaml", parts.replace("registry:\n", "registry:\n  password: secret\n")));
    assert!(ran.code == 4 && ran.err.contains("failed for user \"locked\""), "{}", ran.err);
    ask(&put("good.yaml", parts.replace("username: locked", "username: butler"))).ok();
}

#[apply(test!)]
fn seeds_that_ask_for_other_managers_are_refused() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    for (managers, message) in [
        ("{collections: lsst.daf.butler.registry.collections.nameKey.NameKeyCollectionManager}", "nameKey"),
        ("{obscore: x}", "obscore"),
        ("{datasets: {config: {schema_version: '1.0.0'}}}", "schema_version"),
    ] {
        std::fs::write(home.at("seed.yaml"), format!("registry: {{managers: {managers}}}\n")).expect("written");
        let ran = run(program()
            .args([&home.at("new"), "--write", "-c"])
            .arg(format!("CALL create_repository(seed_config => '{}')", home.at("seed.yaml"))));
        assert!(ran.code == 1 && ran.err.contains(message), "{managers}: {}", ran.err);
        assert!(!Path::new(&home.at("new")).exists());
    }
}

#[apply(test!)]
fn creating_twice_with_another_seed_is_refused_and_a_failure_leaves_nothing() {
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.create();
        home.create();
        let other = home.sql("CALL create_repository()");
        assert!(other.err.contains("exists with another configuration"), "{}", other.err);
        let seed = "registry: {db: 'postgresql://x@127.0.0.1:1/none'}\n";
        std::fs::write(home.at("down.yaml"), seed).expect("written");
        let down = run(program()
            .args([&home.at("down"), "--write", "-c"])
            .arg(format!("CALL create_repository(seed_config => '{}')", home.at("down.yaml"))));
        assert!(down.code == 4 && down.err.contains("refused"), "{}", down.err);
        assert!(!Path::new(&home.at("down/butler.yaml")).exists());
    }
}

/// A folder of one exposure, whose index is spoilt by the caller.
fn exposure(home: &Home) -> (String, String) {
    let data = home.sample(&["--exposures", "1", "--nights", "1"]);
    let find = run(std::process::Command::new("find").args([&data, "-name", "_index.json"])).ok();
    let index = find.trim().to_owned();
    let folder = index.trim_end_matches("/_index.json").to_owned();
    (folder, index)
}

#[apply(test!)]
fn indexes_that_lie_are_told_and_write_nothing() {
    let home = home();
    let (folder, index) = exposure(&home);
    let good = std::fs::read_to_string(&index).expect("an index");
    let ingest = |fail_fast: bool| {
        home.sql(&format!("CALL ingest_raws('{folder}', transfer => 'direct', fail_fast => {fail_fast})"))
    };
    let without_type: String = good.replace("\"observation_type\"", "\"object\"");
    for (text, message) in [
        ("{".to_owned(), "not a JSON object"),
        ("[1, 2]".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "'__COMMON__' is missing"),
        (
            good.replace("\"exposure_id\":", "\"exposure_id\": \"x\", \"visit_id\":"),
            "property 'exposure_id' has a value of the wrong type",
        ),
        (
            good.replace("\"exposure_time\"", "\"exposure_tim\""),
            "no translated property named 'exposure_tim'; did you mean 'exposure_time'?",
        ),
        (good.replace("\"detector_num\"", "\"detector_exposure_id\""), "required property 'detector_num' is missing"),
        (without_type, "required property 'observation_type' is missing"),
        (
            good.replace("\"LSSTComCam\"", "\"LSSTCam\""),
            "no registered instrument named 'LSSTCam'; did you mean 'LSSTComCam'?",
        ),
        (good.replace("\"translated\"", "\"translatd\""), "'__CONTENT__' is neither"),
        ("[".repeat(100 << 20), "bytes, more than"),
        ("[".repeat(1 << 20), "not a JSON object"),
    ] {
        std::fs::write(&index, &text).expect("written");
        let ran = ingest(true);
        assert_eq!(ran.code, 1, "{message}: {}", ran.err);
        assert!(ran.err.contains(message), "wanted: {message}\n  got: {}", ran.err);
        assert!(ran.err.contains("_index.json") || ran.err.contains(".fits"), "no file is named: {}", ran.err);
        let ran = ingest(false);
        assert_eq!(ran.code, 1, "{message}: failures that are rows end with code 1: {}", ran.out);
        assert!(ran.out.contains("failed"), "{}", ran.out);
        assert_eq!(home.rows("SELECT count(*) FROM exposure"), ["0"], "{message}");
    }
    std::fs::write(
        &index,
        good.replace("\"physical_filter\": \"", "\"physical_filter\": \"x")
            .replace("\"physical_filter\":\"", "\"physical_filter\":\"x"),
    )
    .expect("written");
    let ran = ingest(false);
    assert!(ran.code == 1 && ran.err.contains("LSSTComCam filter named 'x"), "{}", ran.err);
    std::fs::write(
        &index,
        good.replace("\"detector_num\": 4", "\"detector_num\": 44")
            .replace("\"detector_num\":4", "\"detector_num\":44"),
    )
    .expect("written");
    let ran = ingest(false);
    assert!(ran.code == 1 && ran.err.contains("LSSTComCam has no detector 44"), "{}", ran.err);
    assert_eq!(home.rows("SELECT count(*) FROM exposure"), ["0"]);
    std::fs::write(&index, good).expect("written");
    ingest(true).ok();
}

#[apply(test!)]
fn one_bad_exposure_does_not_hold_up_the_others() {
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        let data = home.sample(&["--exposures", "4", "--nights", "1"]);
        let found = run(std::process::Command::new("find").args([&data, "-name", "_index.json"])).ok();
        let mut indexes: Vec<&str> = found.lines().collect();
        indexes.sort_unstable();
        let spoil = |index: usize, property: &str, value: &str| {
            let text = std::fs::read_to_string(indexes[index]).expect("an index");
            let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            json["__COMMON__"][property] = serde_json::from_str(value).expect("JSON");
            std::fs::write(indexes[index], json.to_string()).expect("written");
        };
        // What the database refuses, and a day that begins at another hour than the first exposure says.
        spoil(1, "observation_type", "\"much_longer_than_is_allowed\"");
        spoil(1, "exposure_group", "\"lonely\"");
        spoil(2, "observing_day_offset", "0");
        let ran = home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct')"));
        let failed = ran.out.lines().filter(|line| line.contains("failed")).count();
        assert!(ran.code == 1 && failed == 2, "{}{}", ran.out, ran.err);
        assert_eq!(home.rows("SELECT count(*) FROM exposure"), ["2"]);
        assert_eq!(home.rows("SELECT count(DISTINCT exposure) FROM raw"), ["2"]);
        assert_eq!(home.rows("SELECT count(*) FROM \"group\" WHERE \"group\" = 'lonely'"), ["0"]);
        let ran =
            home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)"));
        assert!(ran.code == 1 && !ran.out.contains("failed"), "{}", ran.out);
    }
}

#[apply(test!)]
fn conflicts_are_refused_and_leave_what_is_there() {
    let home = home();
    let (folder, index) = exposure(&home);
    let ingest =
        |more: &str| home.sql(&format!("CALL ingest_raws('{folder}', transfer => 'direct', fail_fast => true{more})"));
    ingest("").ok();
    let good = std::fs::read_to_string(&index).expect("an index");
    std::fs::write(&index, good.replace("SAMPLE", "OTHER")).expect("written");
    let ran = ingest("");
    assert!(ran.code == 1 && ran.err.contains("science_program: 'SAMPLE' != 'OTHER'"), "{}", ran.err);
    assert_eq!(home.rows("SELECT science_program FROM exposure"), ["SAMPLE"]);
    ingest(", update_records => true").ok();
    assert_eq!(home.rows("SELECT science_program FROM exposure"), ["OTHER"]);
    home.sql("CALL register_dataset_type('bias', 'ExposureF', ['instrument', 'detector'], is_calibration => true)")
        .ok();
    for other in
        ["'ExposureI', ['detector'], true", "'ExposureF', ['exposure'], true", "'ExposureF', ['detector'], false"]
    {
        let ran = home.sql(&format!("CALL register_dataset_type('bias', {other})"));
        assert!(ran.code == 1 && ran.err.contains("dataset type 'bias' is registered with"), "{}", ran.err);
    }
    home.sql("CALL register_collection('a', 'CHAINED'); CALL register_collection('b', 'TAGGED'); CALL chain('a', ['b']); CALL chain('c', ['a'])").ok();
    for (sql, message) in [
        ("CALL chain('a', ['c'])", "adding 'c' to chain 'a' would create a cycle"),
        ("CALL chain('a', ['a'])", "adding 'a' to chain 'a' would create a cycle"),
        ("CALL chain('b', ['a'])", "collection 'b' is TAGGED, not CHAINED"),
        ("CALL register_collection('b', 'RUN')", "collection 'b' is TAGGED, not RUN"),
        ("CALL remove_collection('b')", "cannot remove collection 'b': it is a child of chain 'a'"),
        ("CALL remove_collection('LSSTComCam/raw/all')", "a RUN collection contains"),
        ("CALL associate('a', (SELECT dataset_id FROM raw))", "of type CHAINED: must be TAGGED"),
    ] {
        let ran = home.sql(sql);
        assert!(ran.code == 1 && ran.err.contains(message), "{sql}: {}", ran.err);
    }
    assert_eq!(home.rows("SELECT parent, child FROM collection_chains ORDER BY 1"), ["a,b", "c,a"]);
}
