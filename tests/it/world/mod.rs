//! The world around the program: temporary folders, databases, the real Butler.
//!
//! `tests/run.sh` starts the servers and sets the variables that name them. A test without its server is reported as
//! ignored, or fails if `BUTLERSQL_REQUIRE` names the server.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where a registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Db {
    Sqlite,
    Postgres,
    PostgresNamespace,
}

pub const ALL: [Db; 3] = [Db::Sqlite, Db::Postgres, Db::PostgresNamespace];

/// A temporary folder with a repository that may be made in it.
pub struct Home {
    dir: tempfile::TempDir,
    db: Db,
    /// The URL of its PostgreSQL database.
    database: Option<String>,
    root: Option<String>,
    data: Option<String>,
}

/// What a program printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The program.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_butlersql"));
    for name in ["DAF_BUTLER_REPOSITORY_INDEX", "DAF_BUTLER_REPOSITORIES", "LSST_DB_AUTH", "LSST_DB_AUTH_CREDENTIALS"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    err.lines().filter(|line| line.starts_with("error: ")).for_each(without_internals);
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    Ran { code: done.status.code().unwrap_or(-1), out, err }
}

/// What is in plans and in Rust, and not in the words of those who ask.
const INTERNALS: [&str; 12] = [
    "OuterReference",
    "outer_ref",
    "InSubquery",
    "ScalarSubquery",
    "Physical plan",
    "internal error",
    "Error {",
    "Field {",
    "Some(",
    "Utf8(",
    "Int64(",
    "panicked",
];

/// Whether an error shows how the engine works inside.
pub fn has_internals(message: &str) -> bool {
    let is_made = |rest: &str| rest.starts_with(|first: char| first.is_ascii_lowercase());
    message.split("__").skip(1).any(is_made) || INTERNALS.into_iter().any(|word| message.contains(word))
}

/// Fails where an error shows how the engine works inside.
#[track_caller]
pub fn without_internals(message: &str) {
    assert!(!has_internals(message), "an error shows internals: {message}");
}

impl Ran {
    /// The standard output of a run that succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }
}

thread_local! {
    static SKIPPED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Records why the test on this thread, or a part of it, cannot run.
pub fn skip(reason: &str) {
    SKIPPED.set(Some(reason.to_owned()));
}

/// Returns why a part of the last test on this thread did not run, and resets it.
pub fn take_skipped() -> Option<String> {
    SKIPPED.take()
}

/// The value of the variable of a server. Without it the test is skipped, or fails if the server is required.
pub fn server(variable: &str, word: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|v| !v.is_empty());
    let required = std::env::var("BUTLERSQL_REQUIRE").unwrap_or_default();
    if found.is_none() {
        assert!(!required.split(',').any(|w| w == word), "{variable} is not set, and {word} is required");
        skip(&format!("{variable} is not set (tests/run.sh sets it)"));
    }
    found
}

/// The folder of programs of a version of the real Butler, `b29` or `b30`.
pub fn butler(version: &str) -> Option<PathBuf> {
    server(&format!("BUTLERSQL_TEST_{}", version.to_uppercase()), "python").map(PathBuf::from)
}

/// Runs a script of `tests/oracle` with the Python of a version of the real Butler.
#[track_caller]
pub fn oracle(python: &Path, script: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script);
    run(Command::new(python.join("python")).arg(path).args(arguments)).ok()
}

/// The URI of a WebDAV server such as `APACHE`, without a slash at its end. `DOOR` and `OLD_DOOR` lie beside this project
/// and are nowhere required.
pub fn dav(name: &str) -> Option<String> {
    server(&format!("BUTLERSQL_TEST_DAV_{name}"), if name.ends_with("DOOR") { "door" } else { "dav" })
}

/// A file of the certificates for the WebDAV servers.
pub fn pki(name: &str) -> String {
    format!("{}/{name}", std::env::var("BUTLERSQL_TEST_DAV_PKI").unwrap_or_default())
}

/// A name that no other test has.
pub fn fresh(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Home {
    /// A new home, with a new database; `None` when its server is not there.
    pub fn new(db: Db) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut database = None;
        let seed = match db {
            Db::Sqlite => "datastore: {name: ccms1}\n".to_owned(),
            Db::Postgres | Db::PostgresNamespace => {
                let url = server("BUTLERSQL_TEST_POSTGRES", "postgres")?;
                let name = fresh("it");
                psql(&format!("{url}/postgres"), &format!("CREATE DATABASE {name}"));
                psql(&format!("{url}/{name}"), "CREATE EXTENSION btree_gist");
                database = Some(format!("{url}/{name}"));
                let namespace = if db == Db::Postgres { "" } else { ", namespace: ccms1" };
                format!("datastore: {{name: ccms1}}\nregistry: {{db: '{url}/{name}'{namespace}}}\n")
            }
        };
        std::fs::write(dir.path().join("seed.yaml"), seed).expect("a seed file");
        Some(Self { dir, db, database, root: None, data: None })
    }

    pub fn db(&self) -> Db {
        self.db
    }

    /// The URL of its PostgreSQL database.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// A path in the home.
    pub fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What the PostgreSQL server answers, as bare values.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        let url = self.database.as_deref().expect("a database");
        run(Command::new("psql").args([url, "-X", "-q", "-A", "-t", "-c", sql])).ok().trim().to_owned()
    }

    /// The repository.
    pub fn repo(&self) -> String {
        self.root.clone().unwrap_or_else(|| self.at("repo"))
    }

    /// Has the repository, and the data of the campaign, at these URIs.
    pub fn put_at(&mut self, root: &str, data: &str) {
        (self.root, self.data) = (Some(root.to_owned()), Some(data.to_owned()));
    }

    /// Makes the repository.
    #[track_caller]
    pub fn create(&self) {
        self.sql(&format!("CALL create_repository(seed_config => '{}')", self.at("seed.yaml"))).ok();
    }

    /// Makes the repository, and registers LSSTComCam.
    #[track_caller]
    pub fn with_camera(&self) {
        self.create();
        self.sql("CALL register_instrument('LSSTComCam')").ok();
    }

    /// Runs SQL that may write; answers as CSV.
    pub fn sql(&self, sql: &str) -> Ran {
        run(program().args([&self.repo(), "--write", "--format", "csv", "-c", sql]))
    }

    /// Runs SQL that must succeed, without the line of names.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.sql(sql).ok().lines().skip(1).map(str::to_owned).collect()
    }

    /// Writes a sample beside the repository.
    #[track_caller]
    pub fn sample(&self, arguments: &[&str]) -> String {
        let data = self.at("data");
        run(program().args(["sample", &data]).args(arguments)).ok();
        data
    }

    /// The command that runs the campaign of `sql/rtn103` on the sample.
    pub fn campaign(&self) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/rtn103/campaign.sql");
        let data = self.data.clone().unwrap_or_else(|| self.at("data"));
        let mut command = program();
        command.arg(self.repo()).arg("-q").arg("-f").arg(script);
        command.args(["--format", "csv"]);
        command.args(["-v", &format!("DATA={data}")]);
        command.args(["-v", &format!("SEED={}", self.at("seed.yaml"))]);
        command.args(["-v", &format!("GOOD_VISITS={data}/dp1_good_visits.txt")]);
        command.args(["-v", &format!("SKYMAP={data}/demo.skymap.config")]);
        command
    }
}

#[track_caller]
fn psql(url: &str, sql: &str) {
    run(Command::new("psql").args([url, "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])).ok();
}

/// The files below a folder, without databases.
pub fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).expect("inside").display().to_string();
            match path.is_dir() {
                true => folders.push(path),
                false if name.contains("sqlite3") || name == "butler.yaml" => {}
                false => drop(found.insert(name)),
            }
        }
    }
    found
}
