//! Whole campaigns: killed and run again, two at the same time, run twice.

use std::process::Stdio;
use std::time::Duration;

use macro_rules_attribute::apply;

use crate::world::{ALL, Db, Home, run};

/// Everything of a repository that does not depend on when and in which order it was written.
fn content(home: &Home) -> Vec<String> {
    let mut all = Vec::new();
    for sql in [
        "SELECT name, type, doc FROM collections ORDER BY 1",
        "SELECT parent, child, row_number() OVER (PARTITION BY parent ORDER BY position) FROM collection_chains ORDER BY 1, 3",
        "SELECT * FROM dataset_types ORDER BY 1",
        "SELECT * FROM instrument ORDER BY 1",
        "SELECT * FROM detector ORDER BY 1, 2",
        "SELECT * FROM physical_filter ORDER BY 1, 2",
        "SELECT * FROM \"group\" ORDER BY 1, 2",
        "SELECT * FROM day_obs ORDER BY 1, 2",
        "SELECT * FROM exposure ORDER BY 1, 2",
        "SELECT dataset_id, instrument, exposure, detector, run FROM raw ORDER BY 1",
        // The ids of catalogue shards and of the sky map are random.
        "SELECT * EXCLUDE (dataset_id) FROM files ORDER BY dataset_type, path",
        "SELECT m.collection, m.dataset_type, f.path, m.timespan_begin, m.timespan_end FROM memberships m \
         JOIN files f USING (dataset_id) ORDER BY 1, 2, 3, 4",
        "SELECT datastore_name, f.path FROM registry.dataset_location l JOIN files f USING (dataset_id) ORDER BY 1, 2",
        "SELECT skymap, tract_max FROM skymap",
        "SELECT count(*) FROM patch",
        "SELECT count(*) FROM registry.patch_skypix_overlap",
        "SELECT visit, name, region FROM visit ORDER BY 1",
        "SELECT * FROM visit_definition ORDER BY 1, 2, 3",
        "SELECT * FROM visit_system_membership ORDER BY 1, 2, 3",
        "SELECT count(*) FROM visit_detector_region",
        "SELECT * FROM registry.visit_skypix_overlap ORDER BY 1, 2, 3, 4, 5",
        "SELECT count(*) FROM registry.collection_summary_dataset_type",
        "SELECT count(*) FROM registry.collection_summary_instrument",
        "SELECT * FROM registry.visit_skypix_overlap_summary",
        "SELECT name, value FROM registry.butler_attributes ORDER BY 1",
    ] {
        all.push(sql.to_owned());
        all.extend(home.rows(sql));
    }
    all
}

const SAMPLE: [&str; 4] = ["--exposures", "40", "--nights", "2"];

/// The same home with a fresh database and no repository, over the sample of another.
fn like(other: &Home, db: Db) -> Home {
    let home = Home::new(db).expect("its server was there a moment ago");
    std::os::unix::fs::symlink(other.at("data"), home.at("data")).expect("a link");
    home
}

/// Paths of files differ between homes only by the home.
fn without_place(content: Vec<String>, home: &Home) -> Vec<String> {
    content.into_iter().map(|line| line.replace(&home.at(""), "/")).collect()
}

#[apply(test!)]
fn a_killed_campaign_is_finished_by_running_it_again() {
    for db in ALL {
        let Some(first) = Home::new(db) else { continue };
        first.sample(&SAMPLE);
        let begun = std::time::Instant::now();
        run(&mut first.campaign()).ok();
        let whole = begun.elapsed();
        let want = without_place(content(&first), &first);
        let moments = if db == Db::PostgresNamespace { 4 } else { 13 };
        for moment in 0..moments {
            let home = like(&first, db);
            let mut child = home.campaign().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
            // Spread over the run, and never at the same place twice.
            let share = (f64::from(moment) + 0.5) / f64::from(moments) + f64::from(moment % 3) * 0.01;
            std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
            child.kill().expect("SIGKILL");
            child.wait().expect("ends");
            let again = run(&mut home.campaign());
            assert_eq!(again.code, 0, "{db:?}, killed after {share:.2}: {}", again.err);
            let got = without_place(content(&home), &home);
            assert_eq!(got, want, "{db:?}, killed after {share:.2}");
        }
    }
}

#[apply(test!)]
fn a_second_run_writes_nothing_and_says_so() {
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.sample(&SAMPLE);
        let once = run(&mut home.campaign()).ok();
        assert!(once.contains("inserted"), "{once}");
        let before = content(&home);
        let twice = run(&mut home.campaign()).ok();
        for word in ["inserted", "updated", "removed", "failed"] {
            assert!(!twice.contains(word), "{db:?}: the second run says {word}:\n{twice}");
        }
        assert!(twice.contains("unchanged"), "{twice}");
        assert_eq!(content(&home), before);
    }
}

#[apply(test!)]
fn two_campaigns_at_the_same_moment_lose_nothing() {
    for db in ALL {
        let Some(first) = Home::new(db) else { continue };
        first.sample(&SAMPLE);
        run(&mut first.campaign()).ok();
        let home = like(&first, db);
        let start = || home.campaign().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        // Both make the repository too, but one of them makes butler.yaml first.
        home.create();
        for child in [start(), start(), start()] {
            let done = child.wait_with_output().expect("ends");
            let err = String::from_utf8_lossy(&done.stderr).into_owned();
            // Seeds differ in `override`, which the repository made above was not given.
            assert!(done.status.success(), "{db:?}: {err}");
        }
        assert_eq!(without_place(content(&home), &home), without_place(content(&first), &first), "{db:?}");
    }
}

#[apply(test!)]
fn every_transfer_mode_brings_the_files() {
    for mode in ["copy", "symlink", "hardlink", "relsymlink", "link", "auto", "direct", "move"] {
        let home = Home::new(Db::Sqlite).expect("SQLite is always there");
        let data = home.sample(&["--exposures", "3", "--nights", "1"]);
        home.with_camera();
        let sql = format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => '{mode}', fail_fast => true)");
        home.sql(&sql).ok();
        let files = home.rows("SELECT path, file_size FROM files ORDER BY path");
        assert!(files.len() > 20, "{files:?}");
        for line in &files {
            let (path, size) = line.rsplit_once(',').expect("two columns");
            let path = match path.strip_prefix("file://") {
                Some(path) => path.to_owned(),
                None => format!("{}/{path}", home.repo()),
            };
            assert_eq!(std::fs::metadata(&path).expect("the file is there").len().to_string(), size, "{mode}: {path}");
        }
        if mode == "move" {
            continue;
        }
        let again = home.sql(&sql).ok();
        assert!(!again.contains("inserted") && !again.contains("updated"), "{mode}: {again}");
    }
}

#[apply(test!)]
fn metadata_and_translated_indexes_say_the_same() {
    let seen = ["translated", "metadata"].map(|content| {
        let home = Home::new(Db::Sqlite).expect("SQLite is always there");
        let data = home.sample(&["--exposures", "60", "--nights", "2", "--content", content]);
        home.with_camera();
        home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)")).ok();
        home.rows("SELECT * FROM exposure ORDER BY exposure")
    });
    assert_eq!(seen[0].len(), 60);
    assert_eq!(seen[0], seen[1]);
}
