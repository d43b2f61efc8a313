//! What is told of files: while raws are ingested, and by `check_files`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use butlersql::Session;
use butlersql::{Progress, ProgressTask};
use macro_rules_attribute::apply;

use crate::world::{Db, Home};

#[apply(test!)]
fn files_are_what_the_registry_says_or_told() {
    for db in [Db::Sqlite, Db::Postgres] {
        let Some(home) = Home::new(db) else { continue };
        let data = home.sample(&["--exposures", "12", "--nights", "1"]);
        home.with_camera();
        let call = |run: &str, mode: &str| {
            let raws = format!("{data}/raw/LSSTComCam");
            home.sql(&format!("CALL ingest_raws('{raws}', output_run => '{run}', transfer => '{mode}')")).ok();
        };
        call("inside", "copy");
        call("outside", "direct");
        let states = |collections: &str| {
            home.rows(&format!(
                "SELECT state, count(*) FROM check_files({collections}, read => true) GROUP BY state ORDER BY state"
            ))
        };
        let all =
            home.rows("SELECT count(*) FROM raw WHERE run = 'inside'").remove(0).parse::<usize>().expect("a number");
        assert_eq!(states("'*'"), [format!("ok,{}", 2 * all)]);
        let path = |run: &str, at: usize| {
            let found = home.rows(&format!(
                "SELECT path FROM files f JOIN datasets d ON d.dataset_id = f.dataset_id WHERE d.run = '{run}' \
                 ORDER BY path LIMIT 1 OFFSET {at}"
            ));
            PathBuf::from(found[0].trim_start_matches("file://"))
        };
        let inside = |at: usize| PathBuf::from(home.repo()).join(path("inside", at));
        fs::remove_file(inside(0)).expect("removed");
        fs::write(inside(1), "other").expect("written");
        fs::write(inside(2).with_file_name("left"), "").expect("written");
        fs::create_dir(inside(2).with_file_name("empty")).expect("a folder");
        fs::create_dir(PathBuf::from(home.repo()).join("inside/other")).expect("a folder");
        fs::write(PathBuf::from(home.repo()).join("inside/other/left"), "").expect("written");
        assert_eq!(
            states("['inside']"),
            [format!("missing,{}", 1), format!("ok,{}", all - 2), "orphan,2".to_owned(), "size_mismatch,1".to_owned()]
        );
        // Files beside those that were taken as they are belong to somebody else.
        fs::remove_dir_all(path("outside", 0).parent().expect("a folder")).expect("removed");
        let outside = states("'outside'");
        assert!(outside[0].starts_with("missing,") && outside.len() == 2, "{outside:?}");
        let told =
            home.rows("SELECT dataset_type, expected_size > size FROM check_files('*') WHERE state = 'size_mismatch'");
        assert_eq!(told, ["raw,true"]);
        let missing = home.sql("SELECT * FROM check_files('insid')");
        assert!(missing.err.contains("no collection named 'insid'; did you mean 'inside'?"), "{}", missing.err);
    }
}

/// Adds up what is told: items, bytes, folders.
#[derive(Default)]
struct Told([AtomicU64; 3]);

struct Adding(Arc<Told>);

impl Progress for Adding {
    fn begin(&self, _what: &str, _total: Option<u64>) -> Box<dyn ProgressTask> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

impl ProgressTask for Adding {
    fn add(&self, items: u64, bytes: u64) {
        self.0.0[0].fetch_add(items, Ordering::Relaxed);
        self.0.0[1].fetch_add(bytes, Ordering::Relaxed);
    }

    fn add_folders(&self, folders: u64) {
        self.0.0[2].fetch_add(folders, Ordering::Relaxed);
    }
}

#[apply(test!)]
fn an_ingest_tells_folders_files_and_bytes() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    let data = home.sample(&["--exposures", "12", "--nights", "2"]);
    home.with_camera();
    let told = Arc::<Told>::default();
    let session = Session::with(&home.repo(), true, Arc::new(Adding(Arc::clone(&told)))).expect("a session");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(session.sql(&format!("CALL ingest_raws('{data}/raw', transfer => 'direct')"))).expect("raws");
    let [files, bytes, folders] = told.0.each_ref().map(|n| n.load(Ordering::Relaxed).to_string());
    assert_eq!(home.rows("SELECT count(*), sum(file_size) FROM files"), [format!("{files},{bytes}")]);
    let found = std::process::Command::new("find").args([&format!("{data}/raw"), "-type", "d"]).output().expect("find");
    assert_eq!(String::from_utf8_lossy(&found.stdout).lines().count().to_string(), folders);
}
