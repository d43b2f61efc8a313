//! The real Butler and we: each opens, reads and changes what the other wrote.

use macro_rules_attribute::apply;

use crate::world::{ALL, Home, butler, oracle};

#[apply(test!)]
fn the_butler_accepts_what_we_wrote() {
    for version in ["b29", "b30"] {
        let Some(python) = butler(version) else { continue };
        for db in ALL {
            let Some(home) = Home::new(db) else { continue };
            home.sample(&["--exposures", "20", "--nights", "2"]);
            crate::world::run(&mut home.campaign()).ok();
            let other = Home::new(crate::world::Db::Sqlite).expect("SQLite is always there");
            other.create();
            let out = oracle(&python, "accept.py", &[&home.repo(), &other.repo(), &home.at("scratch")]);
            assert!(out.ends_with("accepted\n"), "{version}, {:?}: {out}", home.db());
        }
    }
}

#[apply(test!)]
fn nothing_is_lost_when_others_write_at_the_worst_moment() {
    for version in ["b29", "b30"] {
        let Some(python) = butler(version) else { continue };
        let Some(home) = Home::new(crate::world::Db::Postgres) else { continue };
        home.with_camera();
        let data = home.sample(&["--exposures", "200", "--nights", "2"]);
        let program = env!("CARGO_BIN_EXE_butlersql");
        assert_eq!(oracle(&python, "races.py", &[program, &home.repo(), &data]), "held\n", "{version}");
    }
}

#[apply(test!)]
fn first_writers_at_the_same_moment_do_not_hinder_each_other() {
    for db in ALL {
        for _ in 0..4 {
            let Some(home) = Home::new(db) else { continue };
            home.with_camera();
            let data = home.sample(&["--exposures", "3"]);
            let ingest = format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)");
            std::thread::scope(|scope| {
                let writers = [(); 3].map(|()| scope.spawn(|| home.sql(&ingest)));
                writers.into_iter().for_each(|writer| drop(writer.join().expect("it ran").ok()));
            });
            assert_eq!(home.rows("SELECT count(DISTINCT exposure) FROM raw"), ["3"], "{db:?}");
        }
    }
}

#[apply(test!)]
fn the_same_operations_give_the_same_tables() {
    let Some(python) = butler("b29") else { return };
    for db in ALL {
        let Some(ours) = Home::new(db) else { continue };
        let real = Home::new(db).expect("its server was there a moment ago");
        let data = ours.sample(&["--exposures", "40", "--nights", "2"]);
        // Empty repositories, statement by statement.
        ours.create();
        oracle(&python, "make_real.py", &[&real.repo(), "--seed-config", &real.at("seed.yaml"), "--until", "create"]);
        same(&python, &real, &ours, "config,schema,content");
        // All operations, row by row.
        oracle(&python, "make_real.py", &[&real.repo(), &data, "--attach"]);
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/make_ours.sql");
        let mut command = crate::world::program();
        command.arg(ours.repo()).arg("-f").arg(script).args(["-v", "OVERRIDE=false", "-v", "TRANSFER=direct"]);
        command.args(["-v", &format!("DATA={data}"), "-v", &format!("SEED={}", ours.at("seed.yaml"))]);
        command.args(["-v", &format!("GOOD_VISITS={data}/dp1_good_visits.txt")]);
        crate::world::run(&mut command).ok();
        same(&python, &real, &ours, "config,schema,content");
    }
}

#[track_caller]
fn same(python: &std::path::Path, real: &Home, ours: &Home, what: &str) {
    let out = oracle(python, "compare.py", &[&real.repo(), &ours.repo(), "--only", what, "--no-comments"]);
    assert!(out.starts_with("EQUAL"), "{:?}: {out}", ours.db());
}

/// Manager classes that shaped tables differently.
const UTC_DATES: &str =
    "datasets=lsst.daf.butler.registry.datasets.byDimensions.ByDimensionsDatasetRecordStorageManagerUUID@1.0.0";
const BY_NAME: &str = "collections=lsst.daf.butler.registry.collections.nameKey.NameKeyCollectionManager";

#[apply(test!)]
fn old_universes_and_managers_are_read_as_the_butler_reads_them() {
    let Some(python) = butler("b30") else { return };
    let universes = ["0", "1", "2", "3", "4", "5", "6", "7", "8"].map(|u| vec![u]);
    for arguments in universes.into_iter().chain([vec!["7", UTC_DATES], vec!["7", BY_NAME]]) {
        let home = Home::new(crate::world::Db::Sqlite).expect("SQLite is always there");
        let repo = home.repo();
        let told = oracle(&python, "make_old.py", &[&[repo.as_str()], &arguments[..]].concat());
        assert!(told.lines().count() >= 10, "{told}");
        for line in told.lines() {
            let (sql, want) = line.rsplit_once(": ").expect("a question and an answer");
            let ran = crate::world::run(crate::world::program().args([&home.repo(), "--format", "csv", "-c", sql]));
            let got: Vec<_> = ran.ok().lines().skip(1).map(str::to_owned).collect();
            assert_eq!(got.join(" "), want, "{arguments:?}: {sql}");
        }
        let write = home.sql("CALL register_collection('x')");
        if arguments.contains(&BY_NAME) {
            assert!(write.code == 1 && write.err.contains("its collections are keyed by name"), "{}", write.err);
        } else {
            write.ok();
        }
    }
}
