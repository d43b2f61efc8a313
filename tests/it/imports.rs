//! Imports, exports and files: what is refused leaves nothing, what is repeated changes nothing, what goes out comes in.

use macro_rules_attribute::apply;

use crate::world::{ALL, Db, Home, butler, oracle, skip};

/// An export file of one dataset, as `export-calibs` writes it.
const EXPORT: &str = "description: x\nversion: 1.0.2\nuniverse_version: 7\nuniverse_namespace: daf_butler\ndata:\n\
- type: collection\n  collection_type: RUN\n  name: r\n  host: null\n  timespan_begin: null\n  timespan_end: null\n\
- type: collection\n  collection_type: CALIBRATION\n  name: c\n\
- type: dataset_type\n  name: bias\n  dimensions: [instrument, detector]\n  storage_class: ExposureF\n  is_calibration: true\n\
- type: dataset\n  dataset_type: bias\n  run: r\n  records:\n\
  \x20 - dataset_id:\n    - !uuid 'a83d850a-0094-417c-ac9c-64d0f7b98048'\n    data_id:\n    - {instrument: LSSTComCam, detector: 0}\n\
  \x20   path: a.fits\n    formatter: lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter\n\
- type: associations\n  collection: c\n  collection_type: CALIBRATION\n  validity_ranges:\n\
  \x20 - timespan: !lsst.daf.butler.Timespan\n      begin: null\n      end: !butler_time/tai/iso '2024-12-01 00:00:00.000000000'\n\
  \x20   dataset_ids:\n    - !uuid 'a83d850a-0094-417c-ac9c-64d0f7b98048'\n";

/// A second dataset with the id of the first.
const TWICE: &str = "- type: dataset\n  dataset_type: bias\n  run: r\n  records:\n\
  \x20 - dataset_id:\n    - !uuid 'a83d850a-0094-417c-ac9c-64d0f7b98048'\n    data_id:\n    - {instrument: LSSTComCam, detector: 1}\n\
  \x20   path: a.fits\n    formatter: lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter\n- type: associations\n";

fn put(home: &Home, text: &str) {
    std::fs::create_dir_all(home.at("in")).expect("made");
    std::fs::write(home.at("in/a.fits"), "some bytes").expect("written");
    std::fs::write(home.at("in/export.yaml"), text).expect("written");
}

#[apply(test!)]
fn files_that_are_wrong_are_told_and_leave_nothing() {
    for db in [Db::Sqlite, Db::Postgres] {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        for (from, to, message) in [
            ("version: 1.0.2", "version: 2.0.0", "line 2: only export files of version 1.0 are supported, not '2.0.0'"),
            (
                "- type: dataset\n",
                "- type: datset\n",
                "line 20: no kind of block named 'datset'; did you mean 'dataset'?",
            ),
            ("!uuid 'a83d", "!uuid 'x83d", "expected a dataset id tagged !uuid"),
            (
                "detector: 0}",
                "detecto: 0}",
                "the data ID of dataset a83d850a-0094-417c-ac9c-64d0f7b98048 has no 'detector'",
            ),
            ("detector: 0}", "detector: x}", "expected an integer, not 'x'"),
            (
                "[instrument, detector]",
                "[instrument, detectr]",
                "no dimension named 'detectr'; did you mean 'detector'?",
            ),
            ("storage_class: ExposureF", "storage_class: ExposurF", "no storage class named 'ExposurF'"),
            ("name: bias", "name: 1bias", "'1bias' is not a valid dataset type name"),
            ("  run: r\n", "  run: rr\n", "no collection named 'rr'"),
            ("detector: 0}", "detector: 77}", "a dataset of type 'bias' has a data ID without dimension records"),
            ("path: a.fits", "path: b.fits", "in/b.fits' does not exist"),
            (
                "      begin: null\n",
                "      begin: never\n",
                "expected a time with the tag !butler_time/tai/iso, not 'never'",
            ),
            ("  collection: c\n", "  collection: r\n", "collection 'r' is RUN, not CALIBRATION"),
            (
                "is_calibration: true",
                "is_calibration: perhaps",
                "line 19: expected a boolean (true or false), not 'perhaps'",
            ),
            ("- type: associations\n", TWICE, "line 34: dataset a83d850a-0094-417c-ac9c-64d0f7b98048 occurs twice"),
            ("data:\n", "data: 3\n", "line 5: 'data' must be a list of blocks"),
            ("records:\n", "records: [\n", "not YAML"),
        ] {
            assert!(EXPORT.contains(from), "{from}");
            put(&home, &EXPORT.replacen(from, to, 1));
            let ran = home.sql(&format!("CALL import('{}', transfer => 'direct')", home.at("in")));
            assert_eq!(ran.code, 1, "{from}: {}", ran.out);
            assert!(ran.err.contains(message), "{from}\n  wanted: {message}\n  got: {}", ran.err);
            assert_eq!(ran.err.lines().filter(|l| l.starts_with("error")).count(), 1, "{}", ran.err);
            assert_eq!(home.rows("SELECT count(*) FROM collections"), ["0"], "{from}");
            assert_eq!(home.rows("SELECT count(*) FROM registry.dataset"), ["0"], "{from}");
            assert_eq!(home.rows("SELECT count(*) FROM dataset_types"), ["0"], "{from}");
        }
        // Two ids whose halves differ in the same bit.
        let other = TWICE.replace("a83d850a", "b83d850a").replace("ac9c", "bc9c");
        put(&home, &EXPORT.replacen("- type: associations\n", &other, 1));
        home.sql(&format!("CALL import('{}', transfer => 'direct')", home.at("in"))).ok();
        assert_eq!(home.rows("SELECT count(*) FROM registry.dataset"), ["2"]);
        let ran = home.sql(&format!("CALL import('{}')", home.at("nowhere")));
        assert!(ran.code == 1 && ran.err.contains("nowhere/export.yaml"), "{}", ran.err);
    }
}

#[apply(test!)]
fn imports_are_repeated_harmlessly_and_conflicts_are_told() {
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        put(&home, EXPORT);
        let import = |more: &str| home.sql(&format!("CALL import('{}', transfer => 'direct'{more})", home.at("in")));
        let explained = home.sql(&format!("EXPLAIN CALL import('{}', transfer => 'direct')", home.at("in"))).ok();
        assert!(explained.contains("1 dataset (bias) would be inserted"), "{explained}");
        assert_eq!(home.rows("SELECT count(*) FROM collections"), ["0"]);
        import("").ok();
        let explained = home.sql(&format!("EXPLAIN CALL import('{}', transfer => 'direct')", home.at("in"))).ok();
        assert!(!explained.contains("would be") && explained.contains("1 certification (c) unchanged"), "{explained}");
        let again = import("").ok();
        assert!(!again.contains("inserted") && !again.contains("updated"), "{again}");
        assert_eq!(home.rows("SELECT detector, timespan_end FROM members('bias', 'c')"), ["0,2024-12-01T00:00:00"]);
        // The same id for another data ID, and another id for the same.
        put(&home, &EXPORT.replace("detector: 0}", "detector: 1}"));
        assert!(import("").err.contains("already exists, in another run or with another type or data ID"));
        put(&home, &EXPORT.replace("a83d850a", "b83d850a"));
        assert!(import("").err.contains("run 'r' already holds dataset a83d850a"));
        // Another dataset that is valid at the same time.
        put(
            &home,
            &EXPORT.replace("a83d850a", "b83d850a").replace("run: r\n", "run: s\n").replace("name: r\n", "name: s\n"),
        );
        let ran = import("");
        assert!(
            ran.code == 1 && ran.err.contains("is valid in collection 'c' for [unbounded, 2024-12-01T00:00:00)"),
            "{}",
            ran.err
        );
        assert_eq!(home.rows("SELECT count(*) FROM collections WHERE name = 's'"), ["0"]);
        // A record with other values stays, and is counted; or it is an error.
        let record = "data:\n- type: dimension\n  element: detector\n  records:\n  - {instrument: LSSTComCam, id: 0, full_name: x, \
                      name_in_raft: S00, raft: R22, purpose: SCIENCE}\n";
        put(&home, &EXPORT.replace("data:\n", record));
        let kept = import("").ok();
        assert!(kept.contains("kept, though the source has other values (full_name: 'R22_S00' != 'x')"), "{kept}");
        let refused = import(", on_conflict => 'error'");
        assert!(refused.code == 1 && refused.err.contains("full_name: 'R22_S00' != 'x'"), "{}", refused.err);
        import(", on_conflict => 'error', skip_dimensions => ['detector']").ok();
    }
}

#[apply(test!)]
fn what_is_exported_is_imported_again() {
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        let data = home.sample(&["--exposures", "12", "--nights", "1"]);
        let archive = format!("{data}/calibs/TAXICAB-44/LSSTComCam.calibs.20250207a/export.yaml");
        home.sql(&format!(
            "CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct'); CALL define_visits('LSSTComCam');
             CALL import('{data}/ancillary', export_file => '{archive}', transfer => 'copy');
             CALL register_collection('picked', 'TAGGED'); CALL associate('picked', (SELECT dataset_id FROM raw WHERE detector < 3));
             CALL chain('all', ['picked', 'LSSTComCam/calib/DM-48520'])"
        ))
        .ok();
        home.sql(&format!("CALL export('{}', collections => 'all', transfer => 'copy')", home.at("out"))).ok();
        let other = Home::new(Db::Sqlite).expect("SQLite is always there");
        other.create();
        other.sql(&format!("CALL import('{}', transfer => 'copy')", home.at("out"))).ok();
        for sql in [
            "SELECT tree, type FROM collection_tree('all')",
            "SELECT dataset_id, instrument, detector, exposure FROM members('raw', 'picked') ORDER BY 1",
            "SELECT dataset_id, detector, timespan_begin, timespan_end FROM members('bias', 'all') ORDER BY 1",
            "SELECT * FROM exposure e WHERE exists (SELECT 1 FROM members('raw', 'picked') m WHERE m.exposure = e.exposure) ORDER BY exposure",
            "SELECT dataset_id, file_size, formatter, storage_class FROM files f WHERE dataset_type = 'flat' ORDER BY 1",
        ] {
            assert_eq!(home.rows(sql), other.rows(sql), "{db:?}: {sql}");
        }
    }
}

#[apply(test!)]
fn files_of_a_table_are_ingested_once() {
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        let data = home.sample(&["--exposures", "1", "--nights", "1"]);
        home.sql("CALL register_dataset_type('the_monster_20240904', 'SimpleCatalog', ['htm7'])").ok();
        let ingest = |rows: &str| {
            home.sql(&format!(
                "CALL ingest_files('the_monster_20240904', 'refcats/a', {rows}, \
                 prefix => '{data}/raw/refcats/the_monster_20240904', transfer => 'direct')"
            ))
        };
        let table = format!("'{data}/the_monster_20240904.ecsv'");
        ingest(&table).ok();
        let again = ingest(&table.replace(".ecsv", ".fits")).ok();
        assert!(again.contains("dataset,unchanged") && !again.contains("inserted"), "{again}");
        let count = home.rows("SELECT count(*) FROM the_monster_20240904");
        for (rows, message) in [
            ("(SELECT 'x.fits' AS f, 131072 AS htm7)", "x.fits' does not exist"),
            ("(SELECT 'x.fits' AS f, 7 AS htm7)", "7 is not a pixel of 'htm7'"),
            ("(SELECT 'x.fits' AS f, 131072 AS htm)", "the files need a column 'htm7'"),
            ("(SELECT f, 131072 AS htm7 FROM (VALUES ('a'), ('b')) v(f))", "have the same data ID"),
        ] {
            let ran = ingest(rows);
            assert!(ran.code == 1 && ran.err.contains(message), "{rows}: {}", ran.err);
            assert_eq!(home.rows("SELECT count(*) FROM the_monster_20240904"), count);
        }
        let ran = home.sql("CALL ingest_files('the_monster_2024', 'r', (SELECT 'x' AS f, 131072 AS htm7))");
        assert!(
            ran.err.contains("no dataset type named 'the_monster_2024'; did you mean 'the_monster_20240904'?"),
            "{}",
            ran.err
        );
    }
}

#[apply(test!)]
fn a_fits_table_is_what_astropy_wrote() {
    let Some(python) = butler("b30") else { return };
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.create();
    oracle(&python, "fits_table.py", &[&home.at("")]);
    let read = |name: &str| home.sql(&format!("FROM '{}'", home.at(name))).ok();
    let (fits, ecsv) = (read("table.fits"), read("table.ecsv"));
    assert_eq!(fits, ecsv);
    assert_eq!(ecsv.lines().count(), 4);
}

/// Import cases that end otherwise than with the Butler, each with a reason.
const OTHERWISE: &str = "\
baseline twice (uuid4) [2]: butlersql
baseline twice (uuid5, copy) [2]: butlersql
wrong field type [1]: the Butler
float for int [1]: the Butler
data id str detector [1]: butlersql
unimportable formatter [1]: butlersql
formatter not a Formatter [1]: butlersql
calib same timespan key twice [1]: both
assoc known id of earlier import [2]: butlersql
run missing host keys [1]: butlersql
";

/// A repeated import is harmless; text in a column of numbers is refused, which only SQLite would take; a number in
/// quotes is a number; Python classes are not looked up; no dataset of two ranges with one time is lost; datasets of an
/// earlier import may be certified; runs need not say that they have no host.
#[apply(test!)]
fn every_kind_of_export_file_ends_as_with_the_butler_but_for_these() {
    let generator = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reference/commands/gen_import_cases.py");
    if !std::path::Path::new(generator).exists() {
        return skip(&format!("{generator} is not there"));
    }
    let Some(python) = butler("b29") else { return };
    let work = tempfile::tempdir().expect("a temporary folder");
    let work = work.path().join("work").display().to_string();
    assert_eq!(oracle(&python, "import_cases.py", &[generator, env!("CARGO_BIN_EXE_butlersql"), &work]), OTHERWISE);
}

#[apply(test!)]
fn messages_do_not_depend_on_the_language_of_the_server() {
    let Some(home) = Home::new(Db::Postgres) else { return };
    home.with_camera();
    let broken =
        "CALL insert_dimension_records('physical_filter', (SELECT 'nowhere' AS instrument, 'f' AS name, 'r' AS band))";
    let overflow = "SELECT sum(CAST(9223372036854775807 AS BIGINT)) FROM detector";
    put(&home, EXPORT);
    let import = format!("CALL import('{}', transfer => 'direct')", home.at("in"));
    home.sql(&import).ok();
    let certify =
        "CALL certify('c', (SELECT dataset_id FROM bias), begin_date => '2024-11-01', end_date => '2025-01-01')";
    let all = [broken, overflow, certify];
    let english = all.map(|sql| home.sql(sql).err);
    assert!(english.iter().all(|text| text.contains("error: ")), "{english:?}");
    let name = home.psql("SELECT current_database()");
    home.psql(&format!("ALTER DATABASE {name} SET lc_messages TO 'fr_FR.UTF-8'"));
    let french =
        std::process::Command::new("psql").args([home.database().expect("a database"), "-c", "SELECT 1/0"]).output();
    let french = String::from_utf8_lossy(&french.expect("psql").stderr).into_owned();
    assert!(french.contains("division par z"), "the server does not speak French: {french}");
    assert_eq!(all.map(|sql| home.sql(sql).err), english);
    home.sql(&import).ok();
}
