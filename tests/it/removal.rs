//! Removal: the same commands by the real Butler and by us leave the same tables and files.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use macro_rules_attribute::apply;

use crate::world::{Db, Home, butler, oracle, program, run};

/// A repository with raws, calibrations, tags and chains, whose files are copied into the datastore.
fn make(home: &Home, data: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/make_ours.sql");
    let mut command = program();
    command.arg(home.repo()).arg("-f").arg(script).args(["-v", "OVERRIDE=false", "-v", "TRANSFER=copy"]);
    command.args(["-v", &format!("DATA={data}"), "-v", &format!("SEED={}", home.at("seed.yaml"))]);
    command.args(["-v", &format!("GOOD_VISITS={data}/dp1_good_visits.txt")]);
    run(&mut command).ok();
}

/// The files below a folder, without databases.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).expect("inside").display().to_string();
            match path.is_dir() {
                true => folders.push(path),
                false if name.contains("sqlite3") => {}
                false => drop(found.insert(name)),
            }
        }
    }
    found
}

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
            let theirs = run(Command::new(python.join("butler")).args(&arguments));
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
            assert_eq!(files(Path::new(&ours.at("repo"))), files(Path::new(&real.at("repo"))), "{db:?} {sql}");
            assert_eq!(ours.rows("SELECT count(*) FROM registry.dataset_location_trash"), ["0"], "{sql}");
        }
    }
}
