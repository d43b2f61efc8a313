//! Rucio: the real server, the original clients and the real Butler agree with the tables and procedures.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use macro_rules_attribute::apply;

use crate::world::{Db, Home, Ran, butler, fresh, oracle, program, run, server};

const DTN_URL: &str = "davs://127.0.0.1:2881/slac/lsst/butler";
const OTHER_SITE: &str = "davs://127.0.0.1:2882/pnfs/in2p3.fr/lsst/instrument/";

/// A repository with files at the first site, which no other test has.
pub struct Site {
    pub home: Home,
    pub rucio: PathBuf,
    /// Folder of the files, and part of all names.
    pub name: String,
}

impl Site {
    /// A site with one dataset of type `thing` for each of `count` detectors; `None` without the server.
    pub fn new(count: usize) -> Option<Self> {
        let rucio = PathBuf::from(server("BUTLERSQL_TEST_RUCIO", "rucio")?);
        let home = Home::new(Db::Sqlite)?;
        home.with_camera();
        let site = Self { home, rucio, name: fresh("things") };
        std::fs::create_dir_all(site.file(0).parent().expect("a folder")).expect("a folder");
        let mut rows = String::from("file,detector\n");
        for detector in 0..count {
            let content = format!("{{\"detector\": {detector}}}");
            std::fs::write(site.file(detector), content).expect("a file");
            rows.push_str(&format!("{},{detector}\n", site.file(detector).display()));
        }
        std::fs::write(site.home.at("files.csv"), rows).expect("a table");
        site.home.sql("CALL register_dataset_type('thing', 'StructuredDataDict', ['instrument', 'detector'])").ok();
        let ingest = format!(
            "CALL ingest_files('thing', 'run/{}', (SELECT file, detector FROM '{}'), \
             data_id => ['instrument=LSSTComCam'], transfer => 'direct', \
             formatter => 'lsst.daf.butler.formatters.json.JsonFormatter')",
            site.name,
            site.home.at("files.csv")
        );
        site.home.sql(&ingest).ok();
        std::fs::write(
            site.home.at("register.yaml"),
            format!(
                "rucio_rse: SLAC_BUTLER_DISK\nscope: ancillary\nrse_root: {}\ndtn_url: {DTN_URL}\n",
                site.rucio.join("slac").display()
            ),
        )
        .expect("a configuration");
        Some(site)
    }

    pub fn file(&self, detector: usize) -> PathBuf {
        self.rucio.join("slac/ancillary").join(&self.name).join(format!("thing_{detector}.json"))
    }

    /// The dataset, without scope.
    pub fn dataset(&self) -> String {
        format!("Dataset/{}", self.name)
    }

    pub fn with_rucio<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("RUCIO_HOME", self.rucio.join("client")).env("TMPDIR", self.rucio.join("tmp"))
    }

    /// Runs SQL on a repository that may write; answers as CSV.
    pub fn ask_of(&self, repo: &str, sql: &str) -> Ran {
        let mut command = program();
        command.args([repo, "--write", "-q", "--format", "csv", "-c", sql]);
        run(self.with_rucio(&mut command))
    }

    pub fn ask(&self, sql: &str) -> Ran {
        self.ask_of(&self.home.repo(), sql)
    }

    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.ask(sql).ok().lines().skip(1).map(str::to_owned).collect()
    }

    /// The call that registers the datasets that a condition selects.
    pub fn register(&self, condition: &str) -> String {
        format!(
            "CALL rucio_register('{}', (SELECT dataset_id FROM thing WHERE {condition}), \
             rucio_register_config => '{}', chunk_size => 4)",
            self.dataset(),
            self.home.at("register.yaml")
        )
    }

    /// Runs one of the original programs.
    #[track_caller]
    pub fn original(&self, name: &str, arguments: &[&str]) -> String {
        let folder = server("BUTLERSQL_TEST_RUCIO_CLIENT", "rucio").expect("the clients");
        let mut command = Command::new(Path::new(&folder).join(name));
        run(self.with_rucio(command.args(arguments))).ok()
    }

    /// Runs `rucio-register data-products` for all datasets.
    #[track_caller]
    pub fn register_by_the_original(&self, more: &[&str]) {
        let (config, repo, run) = (self.home.at("register.yaml"), self.home.repo(), format!("run/{}", self.name));
        let dataset = self.dataset();
        let mut arguments = vec!["data-products", "--rucio-register-config", &config, "--repo", &repo];
        arguments.extend(["--dataset-type", "thing", "--collections", &run, "--rucio-dataset", &dataset]);
        arguments.extend(more);
        self.original("rucio-register", &arguments);
    }

    /// Lets the daemons of the server run once, which transfer files.
    #[track_caller]
    pub fn let_daemons_run(&self) {
        let python = Path::new(&server("BUTLERSQL_TEST_RUCIO_SERVER", "rucio").expect("the server")).join("python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rucio/daemons.py");
        let mut command = Command::new(python);
        command.arg("-W").arg("ignore").arg(script).arg(&self.rucio).env("RUCIO_HOME", self.rucio.join("server"));
        run(&mut command).ok();
    }
}

#[apply(test!)]
fn a_registration_equals_that_of_the_original_byte_for_byte() {
    let Some(site) = Site::new(9) else { return };
    let did = format!("ancillary:{}", site.dataset());
    site.register_by_the_original(&["--limit", "5"]);
    let count = format!("SELECT count(*) FROM rucio_contents('{did}')");
    assert_eq!(site.rows(&count), ["5"]);
    let explained = site.ask(&format!("EXPLAIN {}", site.register("TRUE"))).ok();
    assert!(explained.contains("4 rucio_file") && explained.contains("5 rucio_file"), "{explained}");
    assert_eq!(site.rows(&count), ["5"], "EXPLAIN registers nothing");
    // The files of the original are unchanged: size, checksum and sidecar are equal.
    let answer = site.rows(&site.register("TRUE"));
    assert_eq!(answer[..2], [format!("rucio_file,inserted,{did},4"), format!("rucio_file,unchanged,{did},5")]);
    assert_eq!(site.rows(&site.register("TRUE")), [format!("rucio_file,unchanged,{did},9")]);
    // At another storage element, the same files get replicas.
    let there = site.register("TRUE").replace(
        ", chunk_size",
        ", rucio_rse => 'IN2P3_RAW_DISK', \
         dtn_url => 'davs://127.0.0.1:2882/pnfs/in2p3.fr/lsst/instrument', chunk_size",
    );
    assert_eq!(site.rows(&there)[0], format!("rucio_file,inserted,{did},9"));
    assert_eq!(site.rows(&there), [format!("rucio_file,unchanged,{did},9")]);
    // The original programs read and extend what was written.
    site.register_by_the_original(&[]);
    assert_eq!(site.rows(&site.register("TRUE")), [format!("rucio_file,unchanged,{did},9")]);
    let shown = site.original("rucio", &["did", "content", "list", &did]);
    assert_eq!(shown.matches("thing_").count(), 9, "{shown}");
    let metadata =
        format!("SELECT count(*) FROM rucio_metadata('{did}') m JOIN thing t ON m.dataset_id = t.dataset_id");
    assert_eq!(site.rows(&metadata), ["9"]);
}

#[apply(test!)]
fn a_repository_is_built_at_the_other_site() {
    let Some(site) = Site::new(9) else { return };
    let did = format!("ancillary:{}", site.dataset());
    site.ask(&site.register("TRUE")).ok();
    let close = format!("CALL rucio_close('{did}')");
    assert_eq!(site.rows(&close), [format!("rucio_dataset,updated,{did},1")]);
    assert_eq!(site.rows(&close), [format!("rucio_dataset,unchanged,{did},1")]);
    let rule = |expression: &str| format!("CALL rucio_add_rule('{did}', '{expression}', copies => 2)");
    let both = "SLAC_BUTLER_DISK|IN2P3_RAW_DISK";
    let explained = site.ask(&format!("EXPLAIN {}", rule(both))).ok();
    assert!(explained.contains("byte_to_transfer") && explained.contains("Rucio may delete them"), "{explained}");
    let added = site.rows(&rule(both));
    assert!(added.iter().any(|row| row.starts_with("rucio_rule,inserted,")), "{added:?}");
    // The same storage elements in another order are the same rule.
    assert!(site.rows(&rule("IN2P3_RAW_DISK|SLAC_BUTLER_DISK"))[0].starts_with("rucio_rule,unchanged,"));
    let waiting = site.ask(&format!("CALL rucio_wait('{did}', timeout => 1)"));
    assert!(
        waiting.err.contains("are not OK after") && waiting.err.contains("9 files are being transferred"),
        "{}",
        waiting.err
    );
    site.let_daemons_run();
    site.ask(&format!("CALL rucio_wait('{did}', timeout => 60)")).ok();
    assert_eq!(site.rows(&format!("CALL rucio_wait('{did}')")), [format!("rucio_rule,unchanged,{did},1")]);
    assert_eq!(site.rows(&format!("SELECT state, locks_ok FROM rucio_rules('{did}')")), ["OK,18"]);
    let replicas = format!("SELECT rse, state, count(*) FROM rucio_replicas('{did}') GROUP BY rse, state ORDER BY rse");
    assert_eq!(site.rows(&replicas), ["IN2P3_RAW_DISK,AVAILABLE,9", "SLAC_BUTLER_DISK,AVAILABLE,9"]);
    // The URIs that follow from the names are those that the server lists.
    let uris = |more: &str| site.rows(&format!("SELECT rse, uri FROM rucio_replicas('{did}'{more}) ORDER BY 1, 2"));
    assert_eq!(uris(""), uris(", all_states => true"));
    for db in [Db::Sqlite, Db::PostgresNamespace] {
        let Some(other) = Home::new(db) else { continue };
        other.create();
        let ingest = format!(
            "CALL ingest_rucio('{did}', rse_expression => 'IN2P3_RAW_DISK', prefix => '{OTHER_SITE}={}/')",
            site.rucio.join("in2p3").display()
        );
        let explained = site.ask_of(&other.repo(), &format!("EXPLAIN {ingest}")).ok();
        assert!(explained.contains("9 dataset (thing) would be inserted"), "{explained}");
        assert!(site.ask_of(&other.repo(), &ingest).ok().contains("dataset,inserted,thing,9"));
        assert!(site.ask_of(&other.repo(), &ingest).ok().contains("dataset,unchanged,thing,9"));
        for version in ["b29", "b30"] {
            let Some(python) = butler(version) else { continue };
            assert_eq!(oracle(&python, "read_all.py", &[&other.repo()]).trim(), "9", "{version}");
        }
    }
}

#[apply(test!)]
fn disagreements_of_registry_catalogue_and_files_are_rows() {
    let Some(site) = Site::new(6) else { return };
    let did = format!("ancillary:{}", site.dataset());
    site.ask(&site.register("detector < 5")).ok();
    let prefix = format!("{DTN_URL}/={}/", site.rucio.join("slac").display());
    let check = |more: &str| {
        site.rows(&format!(
            "SELECT state, coalesce(regexp_replace(name, '.*/', ''), 'detector ' || detector) AS item, detail \
             FROM check_rucio('{did}', 'SLAC_BUTLER_DISK', prefix => '{prefix}'{more}) c \
             LEFT JOIN thing t ON t.dataset_id = c.dataset_id ORDER BY 1, 2"
        ))
    };
    assert!(check("").is_empty());
    assert_eq!(check(&format!(", collections => 'run/{}'", site.name)), ["not_registered,detector 5,"]);
    std::fs::remove_file(site.file(0)).expect("a file");
    std::fs::write(site.file(1), "{}").expect("a file");
    assert_eq!(check(""), ["damaged,thing_1.json,\"2 bytes, 15 in Rucio\"", "lost,thing_0.json,"]);
    assert!(check(", files => false").is_empty());
    site.ask(&format!("CALL rucio_add_rule('{did}', 'IN2P3_RAW_DISK')")).ok();
    let other = Home::new(Db::Sqlite).expect("SQLite is always there");
    other.create();
    let states = format!("SELECT state, count(*) FROM check_rucio('{did}', 'IN2P3_RAW_DISK') GROUP BY 1 ORDER BY 1");
    let states = site.ask_of(&other.repo(), &states).ok();
    assert_eq!(states, "state,count(*)\nnot_ingested,5\ntransferring,5\n");
}

#[apply(test!)]
fn the_questions_of_the_readme_are_answered() {
    let Some(site) = Site::new(2) else { return };
    site.ask(&site.register("detector = 0")).ok();
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let block = readme.split("```sql rucio\n").nth(1).and_then(|rest| rest.split("```").next()).expect("questions");
    let did = format!("ancillary:{}", site.dataset());
    let block = block.replace("raw:Dataset/LSSTComCam/raw/20241108", &did).replace("FROM raw r", "FROM thing r");
    let mut answers = 0;
    for question in block.split(';').filter(|question| !question.trim().is_empty()) {
        site.ask(question).ok();
        answers += 1;
    }
    assert_eq!(answers, 5);
}

#[apply(test!)]
fn the_script_of_the_technote_registers_a_collection() {
    let Some(site) = Site::new(4) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/rtn103/14_register.sql");
    let variables = [
        ("DATASET", site.dataset()),
        ("DATASET_TYPE", "thing".to_owned()),
        ("COLLECTION", format!("run/{}", site.name)),
        ("REGISTER_CONFIG", site.home.at("register.yaml")),
        ("RSES", "SLAC_BUTLER_DISK|IN2P3_RAW_DISK".to_owned()),
    ];
    for _ in 0..2 {
        let mut command = program();
        command.args([&site.home.repo(), "-q", "--format", "csv", "-f"]).arg(&script);
        for (name, value) in &variables {
            command.args(["-v", &format!("{name}={value}")]);
        }
        let mut child = site.with_rucio(&mut command).spawn().expect("the program");
        while child.try_wait().expect("a state").is_none() {
            site.let_daemons_run();
        }
        assert!(child.wait().expect("an end").success());
    }
}

#[apply(test!)]
fn a_sidecar_without_records_needs_those_of_the_registry() {
    let Some(site) = Site::new(2) else { return };
    let did = format!("ancillary:{}", site.dataset());
    site.ask(&site.register("TRUE")).ok();
    // As the facility registers raws: the number 1, and no records.
    let script = "import json, sys; from rucio.client import Client; c = Client(); s, n = sys.argv[1:]; \
                  m = c.get_metadata(s, n, plugin='JSON'); side = json.loads(m['rubin_sidecar']); \
                  del side['dataId']['records']; c.set_metadata(s, n, 'rubin_butler', 1); \
                  c.set_metadata(s, n, 'rubin_sidecar', json.dumps(side))";
    site.original("python", &["-W", "ignore", "-c", script, "ancillary", &format!("{}/thing_0.json", site.name)]);
    let other = Home::new(Db::Sqlite).expect("SQLite is always there");
    other.create();
    let prefix = format!("{DTN_URL}/={}/", site.rucio.join("slac").display());
    let ingest = format!("CALL ingest_rucio('{did}', prefix => '{prefix}')");
    let first = site.ask_of(&other.repo(), &ingest);
    assert!(first.out.contains("dataset,inserted,thing,1"), "{}\n{}", first.out, first.err);
    assert!(first.out.contains("thing_0.json: its dimension records are neither in the sidecar nor in the registry"));
    other.sql("CALL register_instrument('LSSTComCam')").ok();
    let second = site.ask_of(&other.repo(), &ingest);
    assert!(second.out.contains("dataset,inserted,thing,1") && second.code == 0, "{}\n{}", second.out, second.err);
}

#[apply(test!)]
fn what_changed_is_updated_or_named() {
    let Some(site) = Site::new(3) else { return };
    let did = format!("ancillary:{}", site.dataset());
    site.ask(&site.register("detector < 2")).ok();
    site.home
        .sql(
            "CALL insert_dimension_records('detector', (SELECT * REPLACE ('changed' AS full_name) FROM detector \
             WHERE detector = 1), replace => true)",
        )
        .ok();
    let answer = site.rows(&site.register("detector < 2"));
    assert_eq!(answer, [format!("rucio_file,updated,{did},1"), format!("rucio_file,unchanged,{did},1")]);
    let sidecar =
        format!("SELECT count(*) FROM rucio_metadata('{did}') WHERE sidecar LIKE '%\"full_name\":\"changed\"%'");
    assert_eq!(site.rows(&sidecar), ["1"]);
    site.ask(&format!("CALL rucio_close('{did}')")).ok();
    assert_eq!(site.rows(&site.register("detector < 2")), [format!("rucio_file,unchanged,{did},2")]);
    let closed = site.ask(&site.register("TRUE"));
    assert!(
        closed.err.contains(&format!("dataset '{did}' is closed, and 1 files are not in it at 'SLAC_BUTLER_DISK'")),
        "{}",
        closed.err
    );
    std::fs::write(site.file(0), "{\"detector\": 12345}").expect("a file");
    let damaged = site.ask(&site.register("detector = 0"));
    let named = format!("file 'ancillary:{}/thing_0.json' is registered with 15 bytes", site.name);
    assert!(damaged.err.contains(&named) && damaged.code != 0, "{}", damaged.err);
    let absent = site.rows("CALL rucio_delete_rule('0123456789abcdef0123456789abcdef')");
    assert_eq!(absent, ["rucio_rule,absent,0123456789abcdef0123456789abcdef,1"]);
}

#[apply(test!)]
fn a_killed_registration_is_finished_by_running_it_again() {
    let Some(site) = Site::new(9) else { return };
    let did = format!("ancillary:{}", site.dataset());
    let call = site.register("TRUE").replace("chunk_size => 4", "chunk_size => 1");
    let mut command = program();
    command.args([&site.home.repo(), "--write", "-c", &call]);
    let mut child = site.with_rucio(&mut command).spawn().expect("the program");
    let start = Instant::now();
    let count = format!("SELECT count(*) FROM rucio_dids('{did}')");
    while site.rows(&count) == ["0"] && start.elapsed() < Duration::from_secs(20) {}
    child.kill().expect("a signal");
    child.wait().expect("an end");
    site.ask(&call).ok();
    // No file is outside of the dataset.
    let names = format!("SELECT name FROM rucio_dids('ancillary:{}/*', type => 'file') ORDER BY 1", site.name);
    assert_eq!(site.rows(&names), site.rows(&format!("SELECT name FROM rucio_contents('{did}') ORDER BY 1")));
    assert_eq!(site.rows(&format!("SELECT count(*), sum(bytes) FROM rucio_contents('{did}')")), ["9,135"]);
}

#[apply(test!)]
fn searches_are_narrowed_by_the_query() {
    let Some(site) = Site::new(2) else { return };
    site.ask(&site.register("TRUE")).ok();
    let name = site.dataset();
    let found = |condition: &str| {
        site.rows(&format!("SELECT name, files, is_open FROM rucio_dids('ancillary') WHERE {condition}"))
    };
    assert_eq!(found(&format!("name = '{name}'")), [format!("{name},2,true")]);
    assert_eq!(found(&format!("name LIKE '{name}%' AND type = 'DATASET'")), [format!("{name},2,true")]);
    assert!(found(&format!("name = '{name}' AND type = 'CONTAINER'")).is_empty());
    let files = format!("SELECT parent, sum(bytes) FROM rucio_files('ancillary:{name}') GROUP BY parent");
    assert_eq!(site.rows(&files), [format!("ancillary:{name},30")]);
    let elements = site.rows("SELECT rse, site, deterministic, prefix FROM rucio_rses() ORDER BY 1");
    assert_eq!(elements[0], format!("IN2P3_RAW_DISK,IN2P3,true,{OTHER_SITE}"));
    assert_eq!(site.rows("SELECT count(*) FROM rucio_rses('site=SLAC')"), ["1"]);
}

#[apply(test!)]
fn errors_of_rucio_are_one_sentence() {
    let Some(site) = Site::new(1) else { return };
    site.ask(&site.register("TRUE")).ok();
    let did = format!("ancillary:{}", site.dataset());
    for (sql, message) in [
        ("SELECT * FROM rucio_contents('ancillary:nothing')".to_owned(), "Rucio has no DID 'ancillary:nothing'"),
        ("SELECT * FROM rucio_replicas('ancillary:nothing')".to_owned(), "Rucio has no DID 'ancillary:nothing'"),
        ("SELECT * FROM rucio_rules('ancillary:nothing')".to_owned(), "Rucio has no DID 'ancillary:nothing'"),
        ("SELECT * FROM rucio_files('x')".to_owned(), "'x' is not a data identifier of Rucio; write 'scope:name'"),
        ("SELECT * FROM rucio_dids('ancillary', type => 'dateset')".to_owned(), "did you mean 'dataset'?"),
        ("SELECT * FROM rucio_rses('a=b&')".to_owned(), "RSE expression 'a=b&'"),
        ("SELECT * FROM rucio_locks('0123456789abcdef0123456789abcdef')".to_owned(), "rule '0123456789abcdef"),
        ("CALL rucio_close('ancillary:nothing')".to_owned(), "Rucio has no DID 'ancillary:nothing'"),
        (format!("CALL rucio_close('ancillary:{}/thing_0.json')", site.name), "is a file; only datasets"),
        (format!("CALL rucio_add_rule('{did}', 'NOWHERE')"), "RSE expression 'NOWHERE'"),
        (format!("CALL rucio_add_rule('{did}', 'IN2P3_RAW_DISK', copies => 2)"), "too few for 2 copies"),
        (format!("CALL rucio_add_rule('{did}', 'IN2P3_RAW_DISK', copies => 0)"), "is not positive: 0"),
        (format!("CALL rucio_wait('{did}')"), "has no replication rule"),
        (format!("CALL ingest_rucio('{did}', prefix => 'x')"), "takes 'from=to', not 'x'"),
        ("CALL rucio_register('d', (SELECT dataset_id FROM thing))".to_owned(), "'rucio_rse' is set neither"),
        (site.register("TRUE").replace("'Dataset/", "'+Dataset/"), "dataset 'ancillary:+Dataset/"),
        (site.register("TRUE").replace(", chunk_size", ", scope => 'nowhere', chunk_size"), "nowhere"),
    ] {
        let ran = site.ask(&sql);
        assert!(ran.code != 0 && ran.err.contains(message), "{sql}\n{}", ran.err);
        let sentences = ran.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(sentences, 1, "{sql}\n{}", ran.err);
    }
    let config = std::fs::read_to_string(site.rucio.join("client/etc/rucio.cfg")).expect("a configuration");
    let password = config.lines().find_map(|line| line.strip_prefix("password = ")).expect("a password");
    let guest = config.replace("username = tester", "username = guest").replace("account = root", "account = guest");
    let port = config.lines().find_map(|line| line.rsplit_once("127.0.0.1:")).expect("a port").1;
    let unreachable = config.replace(port, "1");
    for (name, text, sql, message, code) in [
        (
            "wrong",
            config.replace(password, "wrong"),
            "SELECT * FROM rucio_rses()".to_owned(),
            "does not accept the password of user 'tester' for account 'root'",
            4,
        ),
        (
            "account",
            config.replace("= root", "= nobody"),
            "SELECT * FROM rucio_rses()".to_owned(),
            "for account 'nobody'",
            4,
        ),
        ("guest", guest, format!("CALL rucio_close('{did}')"), "guest can not set status", 4),
        ("port", unreachable, "SELECT * FROM rucio_rses()".to_owned(), "cannot be reached", 4),
        (
            "type",
            config.replace("= userpass", "= gss"),
            "SELECT * FROM rucio_rses()".to_owned(),
            "auth_type 'gss' is not supported",
            1,
        ),
    ] {
        let file = site.home.at(&format!("{name}.cfg"));
        std::fs::write(&file, text).expect("a configuration");
        let tmp = site.home.at("tmp");
        std::fs::create_dir_all(&tmp).expect("a folder");
        let mut command = program();
        command.args([&site.home.repo(), "--write", "--log", "butlersql=debug", "-c", &sql]);
        let ran = run(command.env("RUCIO_CONFIG", &file).env("TMPDIR", &tmp));
        assert!(ran.err.contains(message), "{name}: {}", ran.err);
        assert_eq!(ran.code, code, "{name}: {}", ran.err);
        assert!(!ran.err.contains(password), "{name}: a secret is shown: {}", ran.err);
    }
}
