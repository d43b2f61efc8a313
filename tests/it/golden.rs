//! A repository the real Butler made, read; and its dimension records written again by us.
//!
//! The dumps lie beside the project, not in it; without them these tests are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use macro_rules_attribute::apply;

use crate::world::{ALL, Db, Home, butler, program, run, skip};

fn dump(db: Db) -> Option<PathBuf> {
    let name = if db == Db::Sqlite { "golden-small-sqlite.sql" } else { "golden-small-postgres.sql" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/registry").join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is not there", path.display()));
    None
}

/// A home whose repository is the golden one.
fn golden(db: Db) -> Option<Home> {
    let dump = dump(db)?;
    let home = Home::new(db)?;
    std::fs::create_dir_all(home.repo()).expect("made");
    let config = std::fs::read_to_string(home.at("seed.yaml")).expect("a seed");
    std::fs::write(home.at("repo/butler.yaml"), format!("{config}\n").replace("name: ccms1", "root: <butlerRoot>"))
        .expect("written");
    match db {
        Db::Sqlite => {
            let load = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())";
            let file = home.at("repo/gen3.sqlite3");
            run(Command::new("python3").args(["-c", load, &file]).arg(dump)).ok();
        }
        _ => {
            let url = config.split('\'').nth(1).expect("a URL").to_owned();
            run(Command::new("psql").args([&url, "-q", "-f"]).arg(dump));
        }
    }
    Some(home)
}

#[apply(test!)]
fn what_the_butler_wrote_is_read() {
    for db in [Db::Sqlite, Db::Postgres] {
        let Some(home) = golden(db) else { continue };
        let one = |sql: &str| home.rows(sql).join(" ");
        assert_eq!(one("SELECT count(*) FROM raw"), "27", "{db:?}");
        assert_eq!(one("SELECT count(*) FROM collections"), "13");
        assert_eq!(
            one("SELECT child FROM collection_chains WHERE parent = 'u/golden/chain' ORDER BY position"),
            "u/golden/run2 u/golden/run1 LSSTComCam/defaults u/golden/tagged"
        );
        assert_eq!(
            one(
                "SELECT timespan_begin, zenith_angle IS NULL, can_see_sky FROM exposure WHERE exposure = 2024112000125"
            ),
            "2024-11-21T03:12:00.123456789,true,true"
        );
        assert_eq!(
            one("SELECT detector, run FROM find_first('calexp_meta', 'u/golden/chain') ORDER BY detector"),
            "0,u/golden/run2 4,u/golden/run1"
        );
        assert_eq!(
            one(
                "SELECT detector, run FROM find_first('calexp_meta', ['u/golden/run1', 'u/golden/run2']) ORDER BY detector"
            ),
            "0,u/golden/run1 4,u/golden/run1"
        );
        // Validity ranges: the begin is inside, what a decertify cut out is not.
        let at = |kind: &str, when: &str| {
            one(&format!(
                "SELECT run FROM find_first('{kind}', 'LSSTComCam/calib') WHERE detector = 0 \
                 AND timespan_begin <= '{when}' AND timespan_end > '{when}'"
            ))
        };
        assert_eq!(at("bias", "2024-11-10T00:00:00"), "LSSTComCam/calib/gen/20241101");
        assert_eq!(at("bias", "2024-11-15T00:00:00"), "LSSTComCam/calib/gen/20241115");
        assert_eq!(at("bias", "2025-01-01T00:00:00"), "");
        assert_eq!(at("dark", "2024-11-10T00:00:00"), "");
        assert!(!at("dark", "1990-01-01T00:00:00").is_empty());
        assert_eq!(one("SELECT count(region) FROM visit_detector_region"), "9");
        assert_eq!(
            one(
                "SELECT collection, count(*) FROM memberships WHERE dataset_type = 'bias' AND timespan_begin IS NOT NULL GROUP BY 1"
            ),
            "LSSTComCam/calib/DM-1,4"
        );
    }
}

#[apply(test!)]
fn its_records_written_by_us_are_the_same_rows_with_the_same_pixels() {
    let elements = [
        "instrument",
        "skymap",
        "physical_filter",
        "detector",
        "day_obs",
        "group",
        "visit_system",
        "tract",
        "exposure",
        "patch",
        "visit",
        "visit_definition",
        "visit_detector_region",
        "visit_system_membership",
    ];
    let overlaps = ["visit", "visit_detector_region", "tract", "patch"];
    let Some(golden) = golden(Db::Sqlite) else { return };
    for element in elements {
        golden
            .sql(&format!("COPY (SELECT * FROM \"{element}\") TO '{}'", golden.at(&format!("{element}.parquet"))))
            .ok();
    }
    for db in ALL {
        let Some(ours) = Home::new(db) else { continue };
        ours.create();
        let insert = |element: &str, more: &str| {
            let file = golden.at(&format!("{element}.parquet"));
            ours.sql(&format!("CALL insert_dimension_records('{element}', (SELECT * FROM '{file}'){more})")).ok()
        };
        for element in elements {
            let message = insert(element, "");
            assert!(message.contains(&format!("{element},inserted")), "{message}");
            let again = insert(element, "");
            assert!(again.contains("unchanged") && !again.contains("inserted"), "{again}");
        }
        // Replacing writes the pixels anew, and leaves none behind.
        ours.sql("CALL insert_dimension_records('patch', (SELECT * EXCLUDE (cell_x), 7 AS cell_x FROM patch), replace => true)").ok();
        insert("patch", ", replace => true");
        let mut tables: Vec<String> = elements.iter().map(|e| (*e).to_owned()).collect();
        for element in overlaps {
            tables.extend([format!("{element}_skypix_overlap"), format!("{element}_skypix_overlap_summary")]);
        }
        for table in tables {
            let rows = |home: &Home| {
                let mut rows = home.rows(&format!("SELECT * FROM registry.\"{table}\""));
                rows.sort();
                rows
            };
            assert_eq!(rows(&ours), rows(&golden), "{db:?}: {table}");
        }
    }
}

#[apply(test!)]
fn the_butlers_checklist_passes_and_its_queries_agree_on_the_golden_content_built_by_us() {
    let Some(reference) = dump(Db::Sqlite).and_then(|path| path.parent().map(Path::to_owned)) else { return };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/golden");
    for version in ["b29", "b30"] {
        let Some(python) = butler(version) else { continue };
        for db in ALL {
            let Some(home) = Home::new(db) else { continue };
            home.create();
            let step = |script: PathBuf, args: &[&dyn AsRef<std::ffi::OsStr>]| {
                run(Command::new(python.join("python")).arg(script).args(args.iter().map(AsRef::as_ref)))
            };
            let sql = |script: &str| {
                let repo = home.repo();
                run(program().current_dir(home.at("")).args([&repo, "--write", "-f"]).arg(scripts.join(script))).ok()
            };
            step(scripts.join("data.py"), &[&home.at("data"), &reference]).ok();
            sql("ours.sql");
            step(scripts.join("files.py"), &[&home.repo(), &home.at("data"), &reference]).ok();
            sql("tagged.sql");
            let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/answers.py");
            assert_eq!(step(answers, &[&env!("CARGO_BIN_EXE_butlersql"), &home.repo()]).ok(), "equal\n");
            let judged = step(reference.join("run_conformance.py"), &[&home.repo()]);
            let passed = judged.out.lines().filter(|line| line.starts_with("PASS")).count();
            assert!(judged.code == 0 && passed > 40, "{version} {db:?}:\n{}{}", judged.out, judged.err);
        }
    }
}
