//! Zip archives of datasets: the real Butler and we write and read the same ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use macro_rules_attribute::apply;

use crate::world::{Db, Home, butler, files_below, oracle, run};

/// A repository with raws and visits, whose files are copied into the datastore.
fn source(home: &Home) {
    home.with_camera();
    let data = home.sample(&["--exposures", "3", "--nights", "1"]);
    home.sql(&format!(
        "CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'copy'); CALL define_visits('LSSTComCam')"
    ))
    .ok();
}

/// The only zip archive in a folder.
fn archive(folder: &str) -> PathBuf {
    let found = files_below(Path::new(folder)).into_iter().find(|name| name.ends_with(".zip"));
    Path::new(folder).join(found.expect("an archive"))
}

/// Compares two archives: the names and bytes of the members, and what the indexes say.
const COMPARE: &str = "
import json, sys, zipfile
def content(path):
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: (info.compress_type, archive.read(info)) for info in archive.infolist()}
        assert archive.infolist()[0].filename == '_butler_zip_index.json'
    index = json.loads(members.pop('_butler_zip_index.json')[1])
    for rows in index['refs']['dimension_records'].values():
        rows.sort(key=str)
    for file in index['artifact_map'].values():
        file['ids'].sort()
    return index, members
one, other = content(sys.argv[1]), content(sys.argv[2])
assert one[1] == other[1], (one[1].keys(), other[1].keys())
for key in one[0]['refs']:
    assert one[0]['refs'][key] == other[0]['refs'][key], (one[0]['refs'][key], other[0]['refs'][key])
assert one[0] == other[0], (one[0], other[0])
";

#[apply(test!)]
fn archives_are_those_of_the_butler_and_are_read_by_it() {
    let Some(python) = butler("b30") else { return };
    for db in [Db::Sqlite, Db::PostgresNamespace] {
        let (Some(from), Some(ours), Some(real)) = (Home::new(db), Home::new(db), Home::new(db)) else { continue };
        source(&from);
        let (mine, theirs) = (from.at("mine"), from.at("theirs"));
        let raws = "(SELECT dataset_id FROM raw WHERE detector < 3)";
        let retrieve = format!("CALL retrieve('{mine}', {raws}, zip => true)");
        assert_eq!(from.rows(&retrieve).len(), 2);
        assert!(from.rows(&retrieve)[0].starts_with("file,unchanged,"));
        let mut command = Command::new(python.join("butler"));
        command.args(["retrieve-artifacts", &from.repo(), &theirs, "-d", "raw", "--collections", "LSSTComCam/raw/all"]);
        command.args(["--where", "instrument = 'LSSTComCam' AND detector IN (0..2)", "--zip"]);
        run(&mut command).ok();
        let (mine, theirs) = (archive(&mine), archive(&theirs));
        assert_eq!(mine.file_name(), theirs.file_name());
        run(Command::new(python.join("python")).args(["-c", COMPARE]).args([&mine, &theirs])).ok();
        // Each ingests the archive of the other.
        ours.create();
        real.create();
        let ingest =
            format!("CALL ingest_zip('{}', transfer => 'copy', transfer_dimensions => true)", theirs.display());
        assert!(ours.rows(&ingest).contains(&"dataset,inserted,raw,9".to_owned()));
        let mut command = Command::new(python.join("butler"));
        command.args(["ingest-zip", &real.repo()]).arg(&mine).args(["-t", "copy", "--transfer-dimensions"]);
        run(&mut command).ok();
        let compare =
            || oracle(&python, "compare.py", &[&real.repo(), &ours.repo(), "--only", "content", "--no-comments"]);
        let compared = compare();
        assert!(compared.starts_with("EQUAL"), "{db:?}\n{compared}");
        assert_eq!(files_below(Path::new(&ours.repo())), files_below(Path::new(&real.repo())));
        // Again, nothing changes; the members are files.
        let again = ours.rows(&ingest);
        assert!(again.iter().all(|row| row.contains(",unchanged,")), "{again:?}");
        assert_eq!(ours.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
        // Files come out of the archive as they went in.
        let (out, other) = (ours.at("out"), ours.at("other"));
        ours.sql(&format!("CALL retrieve('{out}', collections => 'LSSTComCam/raw/all')")).ok();
        let mut command = Command::new(python.join("butler"));
        command.args(["retrieve-artifacts", &real.repo(), &format!("{other}/"), "-d", "raw"]);
        run(command.args(["--collections", "LSSTComCam/raw/all"])).ok();
        assert_eq!(files_below(Path::new(&out)), files_below(Path::new(&other)));
        ours.sql(&format!("CALL retrieve('{}', {raws}, zip => true)", ours.at("again"))).ok();
        assert_eq!(archive(&ours.at("again")).file_name(), mine.file_name());
        // A transfer brings the archive, once.
        let copied = Home::new(db).expect("its server was there a moment ago");
        copied.create();
        let transfer = format!("CALL transfer('{}', collections => '*', register_dataset_types => true)", ours.repo());
        assert!(copied.rows(&transfer).contains(&"file,inserted,,1".to_owned()));
        assert_eq!(copied.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
        // An export has the members as files of their own.
        let exported = copied.at("exported");
        copied.sql(&format!("CALL export('{exported}', collections => 'LSSTComCam/raw/all', transfer => 'copy')")).ok();
        let back = Home::new(Db::Sqlite).expect("SQLite is always there");
        back.create();
        back.sql(&format!("CALL import('{exported}', transfer => 'copy')")).ok();
        assert_eq!(back.rows("SELECT count(*) FROM raw"), ["9"]);
        assert_eq!(back.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
    }
}

#[apply(test!)]
fn artifacts_are_those_of_the_butler() {
    let Some(python) = butler("b30") else { return };
    let from = Home::new(Db::Sqlite).expect("SQLite is always there");
    source(&from);
    for (name, ours, theirs) in [("kept", "true", "--preserve-path"), ("flat", "false", "--no-preserve-path")] {
        let (mine, other) = (from.at(&format!("{name}_mine")), from.at(&format!("{name}_other")));
        let retrieve = format!("CALL retrieve('{mine}', collections => 'LSSTComCam/raw/all', preserve_path => {ours})");
        from.sql(&retrieve).ok();
        from.sql(&retrieve).ok();
        let mut command = Command::new(python.join("butler"));
        command.args(["retrieve-artifacts", &from.repo(), &format!("{other}/"), "-d", "raw", theirs]);
        run(command.args(["--collections", "LSSTComCam/raw/all"])).ok();
        assert_eq!(files_below(Path::new(&mine)), files_below(Path::new(&other)), "{name}");
    }
    let (repo, mine) = (from.repo(), from.at("flat_mine"));
    let first = files_below(Path::new(&mine)).into_iter().find(|name| name.ends_with(".fits")).expect("a file");
    let path = Path::new(&mine).join(first);
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, "other").expect("a file");
    let all = "collections => 'LSSTComCam/raw/all'";
    std::fs::write(from.at("no.zip"), "no archive").expect("a file");
    std::fs::write(from.at("plain"), "a file").expect("a file");
    let zip = from.at("zip");
    from.sql(&format!("CALL retrieve('{zip}', {all}, zip => true)")).ok();
    let zip = archive(&zip).display().to_string();
    for (sql, message) in [
        (format!("CALL retrieve('{mine}', {all}, preserve_path => false)"), "a different file exists"),
        (format!("CALL retrieve('{repo}/x', {all})"), "is in the datastore"),
        (format!("CALL retrieve('{}', {all})", from.at("plain")), "is a file, not a folder"),
        (format!("CALL retrieve('{mine}', {all}, transfer => 'move')"), "cannot be direct or move"),
        (format!("CALL retrieve('{mine}')"), "retrieve needs rows"),
        ("CALL ingest_zip()".to_owned(), "ingest_zip needs archives"),
        (format!("CALL ingest_zip('{}')", from.at("no.zip")), "it is not a zip archive"),
        (format!("CALL ingest_zip('{}')", from.at("none.zip")), "none.zip' does not exist"),
        (format!("CALL ingest_zip('{zip}')"), "is already stored, as 'LSSTComCam/raw/all/"),
    ] {
        let ran = from.sql(&sql);
        assert!(ran.code == 1 && ran.err.contains(message), "{sql}\n{}{}", ran.out, ran.err);
    }
    from.sql(&format!("CALL retrieve('{mine}', {all}, preserve_path => false, clobber => true)")).ok();
    // What the index says must be so.
    let Some(name) = files_below(Path::new(&from.at("zip"))).into_iter().find(|name| name.ends_with(".zip")) else {
        panic!("an archive")
    };
    for (change, message) in [
        ("members.pop(sorted(members)[-1])", "which it does not hold"),
        ("members[sorted(members)[-1]] = b'x'", "has 1 bytes, not "),
        ("members['_butler_zip_index.json'] = b'{}'", "is not an index of datasets: missing field"),
        ("members.pop('_butler_zip_index.json')", "'_butler_zip_index.json' does not exist"),
    ] {
        let script = format!(
            "import sys, zipfile\narchive = zipfile.ZipFile(sys.argv[1])\n\
             members = {{name: archive.read(name) for name in archive.namelist()}}\n{change}\n\
             with zipfile.ZipFile(sys.argv[2], 'w') as out:\n  for name in members: out.writestr(name, members[name])"
        );
        let (good, bad) = (Path::new(&from.at("zip")).join(&name), from.at("bad.zip"));
        run(Command::new(python.join("python")).args(["-c", &script]).arg(&good).arg(&bad)).ok();
        let ran = from.sql(&format!("CALL ingest_zip('{bad}')"));
        assert!(ran.code == 1 && ran.err.contains(message), "{change}\n{}", ran.err);
    }
    from.sql("CALL prune((SELECT dataset_id FROM raw WHERE detector = 8), 'unstore')").ok();
    let ran = from.sql(&format!("CALL retrieve('{mine}', {all})"));
    assert!(ran.code == 1 && ran.err.contains("of type 'raw' is not stored"), "{}", ran.err);
    let empty = Home::new(Db::Sqlite).expect("SQLite is always there");
    empty.create();
    let ran = empty.sql(&format!("CALL ingest_zip('{zip}')"));
    assert!(ran.code == 1 && ran.err.contains("without dimension records"), "{}", ran.err);
    assert_eq!(empty.rows("SELECT count(*) FROM dataset_types"), ["0"]);
    assert!(!files_below(Path::new(&empty.repo())).iter().any(|name| name.ends_with(".zip")));
}
