//! Each operation that writes files is killed at system calls, and run again: no file is lost, none is left behind.
//! `BUTLERSQL_KILLS` sets at how many calls each is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use macro_rules_attribute::apply;

use crate::world::{Db, Home, program, run, server};

/// What changes files, or makes a change outlast a power cut.
const CALLS: &str = "rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,mkdir,mkdirat,rmdir,fsync,\
                     fdatasync,write,pwrite64,ftruncate,copy_file_range,sendfile,fchmod,chmod";

/// So many calls each operation is killed at.
const KILLS: usize = 4;

/// An operation: its name, what it begins with, and its SQL, in which `DIR` stands for the folder of all.
struct Work {
    name: String,
    base: &'static str,
    sql: String,
}

fn work(name: impl Into<String>, base: &'static str, sql: impl Into<String>) -> Work {
    Work { name: name.into(), base, sql: sql.into() }
}

fn all_work() -> Vec<Work> {
    let mut all = Vec::new();
    for mode in ["copy", "move", "link", "hardlink", "symlink", "relsymlink", "direct"] {
        all.push(work(
            format!("ingest_raws {mode}"),
            "camera",
            format!("CALL ingest_raws('DIR/raw', transfer => '{mode}')"),
        ));
    }
    let rows = (0..9).map(|n| format!("('DIR/notes/{n}.yaml', {n})")).collect::<Vec<_>>().join(", ");
    for mode in ["copy", "move", "link", "symlink"] {
        all.push(work(
            format!("ingest_files {mode}"),
            "camera",
            format!(
                "CALL register_dataset_type('note', 'StructuredDataDict', ['instrument', 'detector']); \
                 CALL ingest_files('note', 'u/notes', (SELECT f AS filename, 'LSSTComCam' AS instrument, \
                 CAST(d AS BIGINT) AS detector FROM (VALUES {rows}) v(f, d)), transfer => '{mode}')"
            ),
        ));
    }
    for mode in ["copy", "link"] {
        all.push(work(
            format!("export {mode}"),
            "raws",
            format!("CALL export('DIR/exported', collections => 'LSSTComCam/raw/all', transfer => '{mode}')"),
        ));
    }
    for mode in ["copy", "move", "link", "symlink", "direct"] {
        all.push(work(
            format!("import {mode}"),
            "exported",
            format!("CALL import('DIR/exported', transfer => '{mode}')"),
        ));
    }
    all.push(work("write_curated_calibrations", "camera", {
        "CALL write_curated_calibrations('LSSTComCam', label => 'DM-48650', data => 'DIR/curated')"
    }));
    for mode in ["purge", "unstore"] {
        all.push(work(
            format!("prune {mode}"),
            "raws",
            format!("CALL prune((SELECT dataset_id FROM raw WHERE detector > 2), '{mode}')"),
        ));
    }
    all.push(work("remove_run", "raws", "CALL remove_run('LSSTComCam/raw/all')"));
    for mode in ["auto", "copy"] {
        all.push(work(format!("transfer {mode}"), "other", {
            format!(
                "CALL transfer('DIR/old', collections => 'LSSTComCam/raw/all', register_dataset_types => true, \
                 transfer => '{mode}')"
            )
        }));
    }
    for mode in ["copy", "move"] {
        all.push(work(format!("ingest_zip {mode}"), "other", {
            format!(
                "CALL ingest_zip(rows => (SELECT 'DIR/zips/' || name AS uri FROM list('DIR/zips')), transfer => '{mode}', \
                 transfer_dimensions => true)"
            )
        }));
    }
    all.push(work("retrieve", "raws", "CALL retrieve('DIR/out', collections => 'LSSTComCam/raw/all')"));
    all.push(work(
        "retrieve zip",
        "raws",
        "CALL retrieve('DIR/out', collections => 'LSSTComCam/raw/all', zip => true)",
    ));
    all.push(work("create_repository", "nothing", "CALL create_repository(seed_config => 'DIR/seed.yaml')"));
    all.push(work("COPY", "camera", "COPY (SELECT * FROM detector) TO 'DIR/out/d.csv'"));
    all.push(work(
        "COPY to folders",
        "camera",
        "COPY (SELECT detector, full_name FROM detector) TO 'DIR/out/d' (FORMAT csv, PARTITION_BY detector)",
    ));
    all
}

/// Folders with what operations begin with, by name.
fn bases(home: &Home) -> BTreeMap<&'static str, PathBuf> {
    let data = home.sample(&["--exposures", "2", "--nights", "1"]);
    let mut bases = BTreeMap::new();
    for name in ["nothing", "camera", "raws", "exported", "other"] {
        let dir = PathBuf::from(home.at(name));
        std::fs::create_dir_all(dir.join("notes")).expect("a folder");
        for (from, to) in [("raw/LSSTComCam", "raw"), ("curated", "curated")] {
            copy(&Path::new(&data).join(from), &dir.join(to));
        }
        std::fs::write(dir.join("seed.yaml"), "datastore: {name: ccms1}\n").expect("a seed");
        for n in 0..9 {
            std::fs::write(dir.join(format!("notes/{n}.yaml")), format!("number: {n}\n")).expect("a note");
        }
        let at = dir.display();
        let (old, repo) = (format!("{at}/old"), format!("{at}/repo"));
        let camera = "CALL create_repository(); CALL register_instrument('LSSTComCam')";
        let raws = format!("CALL ingest_raws('{at}/raw', transfer => 'copy')");
        if name == "exported" {
            ask(&old, camera);
            ask(&old, &raws);
            ask(
                &old,
                &format!("CALL export('{at}/exported', collections => 'LSSTComCam/raw/all', transfer => 'copy')"),
            );
            std::fs::remove_dir_all(&old).expect("removed");
        }
        if name == "other" {
            ask(&old, camera);
            ask(&old, &raws);
            for detectors in ["< 4", ">= 4"] {
                let some = format!("(SELECT dataset_id FROM raw WHERE detector {detectors})");
                ask(&old, &format!("CALL retrieve('{at}/zips', {some}, zip => true)"));
            }
        }
        if name != "nothing" {
            ask(&repo, camera);
        }
        if name == "raws" {
            ask(&repo, &raws);
        }
        bases.insert(name, dir);
    }
    bases
}

#[track_caller]
fn ask(repo: &str, sql: &str) -> String {
    run(program().args([repo, "-q", "--write", "--format", "csv", "-c", sql])).ok()
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(done.success(), "{} to {}", from.display(), to.display());
}

/// All files below a folder, and folders without any, with what is in them; links as what they lead to. Of the registry's
/// database only that it is there.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).expect("below").display().to_string();
            match path.is_dir() && !path.is_symlink() {
                true => {
                    files.insert(format!("{name}/"), Vec::new());
                    waiting.push(path);
                }
                false if name.ends_with(".sqlite3") => drop(files.insert(name, Vec::new())),
                false => drop(files.insert(name, std::fs::read(&path).unwrap_or_else(|e| e.to_string().into_bytes()))),
            }
        }
    }
    files
}

/// The tree after an operation, in which what differs by run is left out.
fn outcome(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    // Files of a COPY to folders have names by chance.
    let place = |name: &str| match name.split_once("/detector=") {
        Some((folder, rest)) => format!("{folder}/detector={}", rest.split('/').next().unwrap_or_default()),
        None => name.to_owned(),
    };
    let mut files: BTreeMap<_, _> = tree(dir).into_iter().map(|(name, content)| (place(&name), content)).collect();
    for (name, content) in &mut files {
        // Names of folders, and ids of datasets, differ.
        if name.ends_with("export.yaml") || name.ends_with("butler.yaml") {
            content.clear();
        }
    }
    files
}

/// What operations read and must not lose.
fn treasures(dir: &Path) -> BTreeSet<Vec<u8>> {
    let names = |name: &str| name.ends_with(".fits") || name.contains("note") && !name.ends_with('/');
    tree(dir).into_iter().filter(|(name, _)| names(name)).map(|(_, content)| content).collect()
}

/// What there is in the registry.
fn counts(dir: &Path) -> String {
    let repo = dir.join("repo").display().to_string();
    let count = |table: &str| format!("(SELECT count(*) FROM {table}) AS {table}");
    let trash = "(SELECT count(*) FROM registry.dataset_location_trash) AS trash";
    ask(&repo, &format!("SELECT {}, {}, {}, {trash}", count("datasets"), count("files"), count("collections")))
}

/// The command that runs an operation in a folder under strace.
fn traced(work: &Work, dir: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg(program().get_program());
    command.args([format!("{}/repo", dir.display()).as_str(), "-q", "--write", "-c"]);
    command.arg(work.sql.replace("DIR", &dir.display().to_string())).stdin(Stdio::null());
    command
}

/// Runs an operation in a folder, killed at the so-manieth call of a kind by one thread; returns whether it was.
fn killed(work: &Work, dir: &Path, call: &str, at: usize) -> bool {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={at}"));
    let mut command = traced(work, dir, &["-o", "/dev/null", "-e", &trace, "-e", &inject]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("strace");
    status.signal() == Some(9) || status.code() == Some(137)
}

/// Runs an operation to its end; returns how often one thread makes each kind of call.
fn calls(work: &Work, dir: &Path) -> Vec<(String, usize)> {
    let log = dir.with_extension("calls").display().to_string();
    let ran = run(&mut traced(work, dir, &["-o", &log, "-e", &format!("trace={CALLS}"), "-e", "signal=none"]));
    assert_eq!(ran.code, 0, "{}: {}", work.name, ran.err);
    let (mut threads, mut most) = (BTreeMap::new(), BTreeMap::new());
    for line in std::fs::read_to_string(log).expect("a log").lines() {
        // `1234  unlink("x") = 0`, not `<... unlink resumed>`.
        let Some((thread, (call, _))) =
            line.split_once(' ').and_then(|(t, rest)| Some((t, rest.trim().split_once('(')?)))
        else {
            continue;
        };
        let count: &mut usize = threads.entry((thread.to_owned(), call.to_owned())).or_default();
        *count += 1;
        let known: &mut usize = most.entry(call.to_owned()).or_default();
        *known = (*known).max(*count);
    }
    most.into_iter().collect()
}

#[apply(test!)]
fn what_is_killed_loses_nothing_and_leaves_nothing() {
    let Some(_) = server("BUTLERSQL_TEST_STRACE", "strace") else { return };
    let home = Home::new(Db::Sqlite).expect("a home");
    let bases = bases(&home);
    let kills = std::env::var("BUTLERSQL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut points = 0;
    for (turn, work) in all_work().into_iter().enumerate() {
        let dir = PathBuf::from(home.at("run"));
        let fresh = || {
            let _ = std::fs::remove_dir_all(&dir);
            copy(&bases[work.base], &dir);
        };
        fresh();
        let kept = treasures(&dir);
        assert!(kept.len() > 9, "{}: only {} files to lose", work.name, kept.len());
        let kinds = calls(&work, &dir);
        let (want, wanted) = (outcome(&dir), counts(&dir));
        // Nothing is lost, as far as an operation that succeeds can tell.
        assert!(kept.is_subset(&treasures(&dir)), "{}", work.name);
        for point in 0..kills {
            // All kinds of calls, and of each those from its first to its last.
            let (call, many) = &kinds[(point + turn) % kinds.len()];
            let rounds = kills.div_ceil(kinds.len()).max(2);
            let at = 1 + (many - 1) * (point / kinds.len()) / (rounds - 1);
            fresh();
            points += usize::from(killed(&work, &dir, call, at));
            let told = format!("{}, killed at {call} {at} of {many}", work.name);
            assert!(kept.is_subset(&treasures(&dir)), "{told}: a file is lost");
            let sql = work.sql.replace("DIR", &dir.display().to_string());
            let again = run(program().args([&format!("{}/repo", dir.display()), "-q", "--write", "-c", &sql]));
            // COPY does not write into a folder that is not empty.
            let is_full = again.err.contains("is not empty: it contains");
            assert!(again.code == 0 || is_full, "{told}: {}", again.err);
            assert!(kept.is_subset(&treasures(&dir)), "{told}, and run again: a file is lost");
            let got = outcome(&dir);
            let more: Vec<_> = got.keys().filter(|name| !want.contains_key(*name)).collect();
            let less: Vec<_> = want.keys().filter(|name| !got.contains_key(*name)).collect();
            assert!(more.is_empty() && less.is_empty(), "{told}, and run again: {more:?} too many, {less:?} missing");
            let differ: Vec<_> = want.iter().filter(|(name, content)| got[*name] != **content).collect();
            assert!(
                differ.is_empty(),
                "{told}, and run again: other content of {:?}",
                differ.iter().map(|d| d.0).collect::<Vec<_>>()
            );
            assert_eq!(counts(&dir), wanted, "{told}");
        }
    }
    eprintln!("killed at {points} calls");
    assert!(points * 4 > all_work().len() * kills * 3, "killed at {points} calls only");
}
