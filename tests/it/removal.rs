//! Removal: the same commands by the real Butler and by us leave the same tables and files.

use std::path::Path;
use std::process::Command;

use macro_rules_attribute::apply;

use crate::world::{Db, Home, butler, files_below, oracle, program, run};

/// A repository with raws, calibrations, tags and chains, whose files are copied into the datastore.
fn make(home: &Home, data: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/make_ours.sql");
    let mut command = program();
    command.arg(home.repo()).arg("-f").arg(script).args(["-v", "OVERRIDE=false", "-v", "TRANSFER=copy"]);
    command.args(["-v", &format!("DATA={data}"), "-v", &format!("SEED={}", home.at("seed.yaml"))]);
    command.args(["-v", &format!("GOOD_VISITS={data}/dp1_good_visits.txt")]);
    run(&mut command).ok();
}

/// What the `butler` command has not.
const REFRESH: &str = "import sys; from lsst.daf.butler import Butler; \
                       Butler.from_config(sys.argv[1], writeable=True).registry.refresh_collection_summaries()";

/// What we run, and the arguments of the `butler` command that does the same.
fn cases(home: &Home) -> Vec<(String, Vec<String>)> {
    let exposures = home.rows("SELECT DISTINCT exposure FROM raw ORDER BY 1");
    let [first, second, ..] = &exposures[..] else { panic!("two exposures") };
    let run = |kind: &str| home.rows(&format!("SELECT max(run) FROM {kind}")).remove(0);
    let (bias, flat) = (run("bias"), run("flat"));
    let raws = |exposure: &str| format!("SELECT dataset_id FROM raw WHERE exposure = {exposure}");
    let condition = |exposure: &str| format!("instrument='LSSTComCam' and exposure={exposure}");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let prune = |collection: &str, types: &str, more: &str, condition: Option<String>| {
        let mut arguments = words(&format!("prune-datasets REPO {collection} --datasets {types} --no-confirm {more}"));
        arguments.extend(condition.into_iter().flat_map(|condition| ["--where".to_owned(), condition]));
        arguments
    };
    let all = "LSSTComCam/raw/all";
    vec![
        (format!("CALL prune(({}), 'unstore')", raws(first)), prune(all, "raw", "--unstore", Some(condition(first)))),
        (
            format!("CALL prune(({}), mode => 'purge')", raws(first)),
            prune(all, "raw", &format!("--purge {all}"), Some(condition(first))),
        ),
        (
            format!("CALL prune(({} AND detector = 4), 'unstore', collections => ['u/part'])", raws(second)),
            prune("u/part", "raw", "--disassociate u/part --unstore", Some(condition(second))),
        ),
        (
            format!("CALL prune((SELECT dataset_id FROM bias WHERE run = '{bias}'), 'purge')"),
            prune(&bias, "bias", &format!("--purge {bias}"), None),
        ),
        ("CALL remove_dataset_type('match')".to_owned(), words("remove-dataset-type REPO match")),
        ("CALL remove_dataset_type('bia*')".to_owned(), words("remove-dataset-type REPO bia*")),
        ("CALL remove_collection('u/part')".to_owned(), words("remove-collections REPO u/part --no-confirm")),
        (format!("CALL remove_run('{flat}')"), words(&format!("remove-runs REPO {flat} --no-confirm"))),
        (
            format!("CALL remove_run('{flat}', force => true)"),
            words(&format!("remove-runs REPO {flat} --no-confirm --force")),
        ),
        (format!("CALL remove_run('{all}')"), words(&format!("remove-runs REPO {all} --no-confirm"))),
        (
            format!("CALL remove_run('{all}', force => true)"),
            words(&format!("remove-runs REPO {all} --no-confirm --force")),
        ),
        (
            "CALL remove_collection('LSSTComCam/raw/DP1-RC3/DM-49594', unlink => true)".to_owned(),
            words("remove-collections REPO LSSTComCam/raw/DP1-RC3/DM-49594 --no-confirm --remove-from-parents"),
        ),
        (
            "CALL remove_collection('LSSTComCam/DP1/defaults')".to_owned(),
            words("remove-collections REPO LSSTComCam/DP1/defaults --no-confirm"),
        ),
    ]
}

#[apply(test!)]
fn the_same_removals_leave_the_same_tables_and_files() {
    let Some(python) = butler("b30") else { return };
    for db in [Db::Sqlite, Db::PostgresNamespace] {
        let Some(ours) = Home::new(db) else { continue };
        let real = Home::new(db).expect("its server was there a moment ago");
        let data = ours.sample(&["--exposures", "20", "--nights", "2"]);
        make(&ours, &data);
        make(&real, &data);
        for (sql, arguments) in cases(&ours) {
            let mine = ours.sql(&sql);
            let repo = real.repo();
            let arguments: Vec<&str> =
                arguments.iter().map(|argument| if argument == "REPO" { repo.as_str() } else { argument }).collect();
            let theirs = match arguments[..] {
                ["-c", _, repo] => run(Command::new(python.join("python")).args(["-c", REFRESH, repo])),
                _ => run(Command::new(python.join("butler")).args(&arguments)),
            };
            // Ours asks for `force` where the Butler takes tags and certifications along.
            if mine.code != 0 && theirs.code == 0 {
                assert!(mine.err.contains("force => true removes this too"), "{sql}: {}", mine.err);
                // The rest of the sequence forces it.
                continue;
            }
            assert_eq!(mine.code, theirs.code, "{db:?} {sql}\n{}\n{}\n{}", mine.out, mine.err, theirs.err);
            let compared =
                oracle(&python, "compare.py", &[&real.repo(), &ours.repo(), "--only", "content", "--no-comments"]);
            assert!(compared.starts_with("EQUAL"), "{db:?} {sql}\n{}{}\n{compared}", mine.out, mine.err);
            assert_eq!(
                files_below(Path::new(&ours.at("repo"))),
                files_below(Path::new(&real.at("repo"))),
                "{db:?} {sql}"
            );
            assert_eq!(ours.rows("SELECT count(*) FROM registry.dataset_location_trash"), ["0"], "{sql}");
        }
    }
}

#[apply(test!)]
fn files_that_others_need_and_files_outside_are_kept() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.with_camera();
    let data = home.sample(&["--exposures", "2", "--nights", "1"]);
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct')")).ok();
    let outside = files_below(Path::new(&data));
    let rows = home.rows("CALL prune((SELECT dataset_id FROM raw), 'purge')");
    assert!(rows.contains(&"dataset,removed,raw,18".to_owned()), "{rows:?}");
    assert!(!rows.iter().any(|row| row.starts_with("file,")), "{rows:?}");
    assert_eq!(files_below(Path::new(&data)), outside);
    assert_eq!(home.rows("SELECT count(*) FROM registry.file_datastore_records"), ["0"]);
    // A zip archive is removed with its last member.
    let Some(python) = butler("b30") else { return };
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'copy')")).ok();
    let (repo, zips) = (home.repo(), home.at("zips"));
    let mut retrieve = Command::new(python.join("butler"));
    retrieve.args(["retrieve-artifacts", &repo, &zips, "-d", "raw", "--collections", "LSSTComCam/raw/all", "--zip"]);
    run(&mut retrieve).ok();
    let zip = std::fs::read_dir(&zips).expect("a folder").next().expect("an archive").expect("an entry").path();
    home.sql("CALL remove_run('LSSTComCam/raw/all')").ok();
    run(Command::new(python.join("butler")).args(["ingest-zip", &repo, zip.to_str().expect("text"), "-t", "copy"]))
        .ok();
    let stored = || files_below(Path::new(&repo)).into_iter().filter(|name| name.ends_with(".zip")).count();
    assert_eq!(stored(), 1);
    // `check_files` knows archives by their members.
    assert_eq!(home.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
    let orphans = format!(
        "CALL remove_orphans((SELECT '{repo}/' || name AS uri FROM (VALUES ('{}')) v(name)), min_age => 0)",
        files_below(Path::new(&repo)).into_iter().find(|name| name.ends_with(".zip")).expect("an archive")
    );
    assert_eq!(home.rows(&orphans), ["file,unchanged,a record names it,1"]);
    let explained = home.sql("EXPLAIN CALL prune((SELECT dataset_id FROM raw WHERE detector < 8), 'purge')").ok();
    assert!(explained.contains("16 dataset (raw) would be removed") && !explained.contains(" file "), "{explained}");
    home.sql("CALL prune((SELECT dataset_id FROM raw WHERE detector < 8), 'purge')").ok();
    assert_eq!((stored(), home.rows("SELECT count(*) FROM raw")), (1, vec!["2".to_owned()]));
    let rows = home.rows("CALL prune((SELECT dataset_id FROM raw), 'purge')");
    assert!(rows.contains(&"file,removed,,1".to_owned()), "{rows:?}");
    assert_eq!(stored(), 0);
}

#[apply(test!)]
fn a_file_that_cannot_be_removed_is_reported_and_tried_again() {
    for db in [Db::Sqlite, Db::PostgresNamespace] {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        let data = home.sample(&["--exposures", "1", "--nights", "1"]);
        home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'copy')")).ok();
        let repo = home.at("repo");
        let first = files_below(Path::new(&repo)).into_iter().find(|name| name.ends_with(".fits")).expect("a raw");
        // A folder in the place of a file is not removed.
        let path = Path::new(&repo).join(&first);
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir_all(path.join("inside")).expect("a folder");
        let ran = home.sql("CALL prune((SELECT dataset_id FROM raw), 'purge')");
        assert!(
            ran.code != 0 && ran.out.contains("file,removed,,8") && ran.out.contains("file,failed,"),
            "{}",
            ran.out
        );
        assert!(ran.out.contains(path.to_str().expect("text")), "{}", ran.out);
        let left = "SELECT (SELECT count(*) FROM registry.dataset_location_trash), \
                    (SELECT count(*) FROM registry.file_datastore_records)";
        assert_eq!(home.rows(left), ["1,1"]);
        // Ingested again, the dataset is out of the trash, and keeps its file and records.
        std::fs::remove_dir_all(&path).expect("removed");
        let ingest = format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'copy')");
        assert!(home.rows(&ingest).contains(&"dataset,inserted,raw,9".to_owned()));
        assert!(home.rows("CALL empty_trash()").is_empty());
        assert_eq!(home.rows(left), ["0,9"]);
        assert_eq!(home.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
        // So it is after `unstore`.
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir_all(path.join("inside")).expect("a folder");
        assert_ne!(home.sql("CALL prune((SELECT dataset_id FROM raw), 'unstore')").code, 0);
        std::fs::remove_dir_all(&path).expect("removed");
        home.sql(&ingest).ok();
        assert_eq!(home.rows(left), ["0,9"]);
        assert_eq!(home.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir_all(path.join("inside")).expect("a folder");
        assert_ne!(home.sql("CALL prune((SELECT upper(dataset_id) AS dataset_id FROM raw), 'purge')").code, 0);
        assert!(home.sql("EXPLAIN CALL remove_run('nothing')").ok().contains("1 file would be removed"));
        std::fs::remove_dir_all(&path).expect("removed");
        std::fs::write(&path, "again").expect("a file");
        assert_eq!(home.rows("CALL empty_trash()"), ["file,removed,,1"]);
        assert_eq!(home.rows(left), ["0,0"]);
        assert!(!path.exists() && home.rows("CALL empty_trash()").is_empty());
    }
}

#[apply(test!)]
fn only_files_without_a_record_are_orphans() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.with_camera();
    let data = home.sample(&["--exposures", "1", "--nights", "1"]);
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'copy')")).ok();
    let folder = Path::new(&home.at("repo")).join("LSSTComCam/raw/all");
    let lost = folder.join("lost.fits");
    std::fs::write(&lost, "lost").expect("a file");
    let all = "(SELECT uri FROM check_files('*'))";
    let young = home.rows(&format!("CALL remove_orphans({all})"));
    assert_eq!(young, ["file,unchanged,a record names it,9", "file,unchanged,it is younger than min_age,1"]);
    let removed = home.rows(&format!("CALL remove_orphans({all}, min_age => 0)"));
    assert_eq!(removed, ["file,unchanged,a record names it,9", "file,removed,,1"]);
    assert!(!lost.exists());
    assert_eq!(home.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
    let outside = home.sql("CALL remove_orphans((SELECT '/etc/hostname' AS uri), min_age => 0)");
    assert!(outside.code == 1 && outside.err.contains("is not in the datastore"), "{}", outside.err);
}

#[apply(test!)]
fn wrong_removals_are_one_sentence() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    home.with_camera();
    let data = home.sample(&["--exposures", "1", "--nights", "1"]);
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct')")).ok();
    home.sql(
        "CALL register_collection('u/tag'); CALL associate('u/tag', (SELECT dataset_id FROM raw)); \
              CALL chain('u/chain', ['LSSTComCam/raw/all', 'u/tag'])",
    )
    .ok();
    let raws = "(SELECT dataset_id FROM raw)";
    for (sql, message) in [
        (format!("CALL prune({raws}, 'purge', collections => ['u/tag'])"), "omit 'collections'"),
        (format!("CALL prune({raws}, 'disassociate')"), "needs 'collections'"),
        (format!("CALL prune({raws}, 'disassociate', collections => ['LSSTComCam/raw/all'])"), "must be TAGGED"),
        (format!("CALL prune({raws}, 'purgee')"), "did you mean 'purge'?"),
        ("CALL prune(mode => 'purge')".to_owned(), "rows"),
        (
            "CALL remove_run('LSSTComCam/raw/all')".to_owned(),
            "it is a child of 'u/chain', its datasets are tagged in 'u/tag'",
        ),
        ("CALL remove_run('u/tag')".to_owned(), "is TAGGED, not RUN"),
        ("CALL remove_collection('u/tag')".to_owned(), "it is a child of chain 'u/chain'; unlink => true"),
        ("CALL remove_collection('LSSTComCam/raw/all')".to_owned(), "a RUN collection contains its datasets"),
        ("CALL remove_dataset_type('raw')".to_owned(), "it has datasets"),
        ("CALL rename_collection('u/tag', 'u/chain')".to_owned(), "a collection is named 'u/chain'"),
        ("CALL rename_collection('u/tagg', 'u/new')".to_owned(), "did you mean 'u/tag'?"),
        ("CALL set_doc('u/tagg', 'x')".to_owned(), "did you mean 'u/tag'?"),
    ] {
        let ran = home.sql(&sql);
        assert!(ran.code == 1 && ran.err.contains(message), "{sql}\n{}{}", ran.out, ran.err);
    }
    assert_eq!(home.rows("SELECT count(*) FROM members('raw', 'u/chain')"), ["18"]);
    for (sql, rows) in [
        ("CALL remove_run('nothing')", "collection,absent,nothing,1"),
        ("CALL remove_dataset_type('nothing')", "dataset_type,absent,nothing,1"),
        ("CALL prune((SELECT '00000000-0000-0000-0000-000000000000' AS dataset_id), 'purge')", "dataset,absent,,1"),
        ("CALL rename_collection('u/tag', 'u/new')", "collection,updated,u/tag to u/new,1"),
        ("CALL rename_collection('u/tag', 'u/new')", "collection,unchanged,u/new,1"),
        ("CALL set_doc('u/new', 'it''s new')", "collection,updated,u/new,1"),
        ("CALL set_doc('u/new', 'it''s new')", "collection,unchanged,u/new,1"),
    ] {
        assert_eq!(home.rows(sql), [rows], "{sql}");
    }
    // A run with datasets is renamed only by force: their ids and paths follow from its name.
    let refused = home.sql("CALL rename_collection('LSSTComCam/raw/all', 'u/old')");
    assert!(refused.code == 1 && refused.err.contains("force => true renames it"), "{}", refused.err);
    home.sql("CALL rename_collection('LSSTComCam/raw/all', 'u/old', force => true)").ok();
    let again =
        home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)"));
    assert!(again.code == 1 && again.err.contains("has the id of one in run 'u/old'"), "{}{}", again.out, again.err);
    home.sql("CALL rename_collection('u/old', 'u/older', force => true)").ok();
    // Chains are removed before their children, however they are nested.
    for (chain, child) in [("z/a", "z/b"), ("z/p1", "z/a"), ("z/p2", "z/a")] {
        home.sql(&format!("CALL register_collection('z/b'); CALL chain('{chain}', ['{child}'])")).ok();
    }
    assert_eq!(home.rows("CALL remove_collection('z/*')").len(), 4);
    assert_eq!(home.rows("SELECT doc FROM collections WHERE name = 'u/new'"), ["it's new"]);
    // A copy has the members and the documentation; again, it has all of them already.
    let copied = home.rows("CALL copy_collection('u/new', 'u/copy')");
    assert!(copied.contains(&"membership,inserted,u/copy,9".to_owned()), "{copied:?}");
    assert_eq!(home.rows("SELECT doc, type FROM collections WHERE name = 'u/copy'"), ["it's new,TAGGED"]);
    let again = home.rows("CALL copy_collection('u/new', 'u/copy')");
    assert!(again.iter().all(|row| row.contains(",unchanged,")), "{again:?}");
    home.sql("CALL copy_collection('u/chain', 'u/chain2')").ok();
    let children = "SELECT child FROM collection_chains WHERE parent = '";
    assert_eq!(home.rows(&format!("{children}u/chain2'")), home.rows(&format!("{children}u/chain'")));
    for (sql, message) in [
        ("CALL copy_collection('u/older', 'u/x')", "is a RUN collection"),
        ("CALL copy_collection('u/new', 'u/new')", "cannot be copied to itself"),
        ("CALL copy_collection('u/new', 'u/chain')", "is CHAINED, not TAGGED"),
        ("CALL copy_collection('u/neww', 'u/x')", "did you mean 'u/new'?"),
    ] {
        let ran = home.sql(sql);
        assert!(ran.code == 1 && ran.err.contains(message), "{sql}\n{}{}", ran.out, ran.err);
    }
    assert_eq!(home.rows("SELECT count(*) FROM members('raw', 'u/chain')"), ["18"]);
}
