//! What a registration, a closing or a rule does with what Rucio has already, and what Rucio refuses.

use macro_rules_attribute::apply;

use crate::rucio::Site;
use crate::world::{Ran, pki, program, run, server};

/// Asserts that a statement fails with one sentence that contains a text.
#[track_caller]
fn refused(ran: Ran, message: &str) {
    assert!(ran.code != 0 && ran.err.contains(message), "{}\n{}", ran.out, ran.err);
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", ran.err);
}

/// The number of files of a site that Rucio knows.
fn known(site: &Site) -> String {
    site.rows(&format!("SELECT count(*) FROM rucio_dids('ancillary:{}/*', type => 'file')", site.name)).remove(0)
}

/// Runs SQL with the account of a guest, who may only read.
fn as_guest(site: &Site, sql: &str) -> Ran {
    let config = std::fs::read_to_string(site.rucio.join("client/etc/rucio.cfg")).expect("a configuration");
    let guest = config.replace("username = tester", "username = guest").replace("account = root", "account = guest");
    let (file, tmp) = (site.home.at("guest.cfg"), site.home.at("guest"));
    std::fs::write(&file, guest).expect("a configuration");
    std::fs::create_dir_all(&tmp).expect("a folder");
    let mut command = program();
    command.args([&site.home.repo(), "--write", "-q", "--format", "csv", "-c", sql]);
    run(command.env("RUCIO_CONFIG", &file).env("TMPDIR", &tmp))
}

#[apply(test!)]
fn a_refused_registration_registers_no_file() {
    let Some(site) = Site::new(3) else { return };
    let call = site.register("TRUE");
    let with = |more: &str| call.replace(", chunk_size", &format!(", {more}, chunk_size"));
    // The URIs of the storage element follow from the names.
    refused(
        site.ask(&with("dtn_url => 'davs://127.0.0.1:2881/elsewhere'")),
        "but dtn_url makes it 'davs://127.0.0.1:2881/elsewhere/",
    );
    refused(site.ask(&with("dtn_url => 's3://127.0.0.1:2881/slac/lsst/butler'")), "it has davs");
    refused(site.ask(&with("rucio_rse => 'NOWHERE_DISK'")), "RSE 'NOWHERE_DISK' cannot be found");
    let there = site.rucio.join("slac/ancillary");
    let elsewhere = format!(
        "scope => 'nowhere', rse_root => '{}/', dtn_url => 'davs://127.0.0.1:2881/slac/lsst/butler/nowhere/'",
        there.display()
    );
    refused(site.ask(&with(&elsewhere)), "Scope not found");
    refused(as_guest(&site, &call), "Account guest can not");
    assert_eq!(site.rows(&format!("SELECT count(*) FROM rucio_dids('ancillary:{}')", site.dataset())), ["0"]);
    // One bad name of three.
    let (from, to) = (site.file(1), site.file(1).with_file_name("thing+1.json"));
    std::fs::rename(&from, &to).expect("another name");
    std::fs::write(site.home.at("files.csv"), format!("file,detector\n{},1\n", to.display())).expect("a table");
    site.home
        .sql(&format!(
            "CALL register_dataset_type('other', 'StructuredDataDict', ['instrument', 'detector']);
         CALL ingest_files('other', 'run/{}', (SELECT file, detector FROM '{}'), data_id => ['instrument=LSSTComCam'], \
         transfer => 'direct', formatter => 'lsst.daf.butler.formatters.json.JsonFormatter')",
            site.name,
            site.home.at("files.csv")
        ))
        .ok();
    let mixed = "(SELECT dataset_id FROM thing WHERE detector <> 1 UNION ALL SELECT dataset_id FROM other)";
    let mixed = call.replace("(SELECT dataset_id FROM thing WHERE TRUE)", mixed);
    refused(site.ask(&mixed), "does not match");
    assert_eq!(known(&site), "0");
}

#[apply(test!)]
fn names_that_reach_other_requests_are_refused() {
    let Some(site) = Site::new(1) else { return };
    let register = |name: &str| site.ask(&site.register("TRUE").replace(&site.dataset(), name));
    for (name, message) in [
        ("../raw/x", "it has a part '.' or '..'"),
        ("Dataset/x/../y", "it has a part '.' or '..'"),
        ("Dataset/files", "ends in '/files', which Rucio takes for a request"),
        ("", "its scope or its name is empty"),
        ("raw:Dataset/x", "is named without its scope"),
    ] {
        refused(register(name), message);
    }
    refused(site.ask("SELECT * FROM rucio_dids('nowhere')"), "Rucio has no scope 'nowhere'");
    refused(site.ask("SELECT * FROM rucio_dids('')"), "is neither a scope nor");
    // Rucio reads `true` in a name as a value.
    let name = format!("{}/true", site.dataset());
    register(&name).ok();
    for glob in [format!("{}/*", site.dataset()), name.clone(), format!("{}/t*e", site.dataset())] {
        assert_eq!(site.rows(&format!("SELECT name FROM rucio_dids('ancillary:{glob}')")), [name.as_str()], "{glob}");
    }
}

#[apply(test!)]
fn a_file_keeps_its_kind() {
    let Some(site) = Site::new(1) else { return };
    site.ask(&site.register("TRUE")).ok();
    let files = |kind: &str, list: &str| {
        format!(
            "CALL rucio_register_files('{}', [{list}], '{kind}', rucio_register_config => '{}')",
            site.dataset(),
            site.home.at("register.yaml")
        )
    };
    let file = format!("'{}'", site.file(0).display());
    refused(site.ask(&files("zip_file", &file)), "is registered as data_product, not as zip_file");
    // The same file twice is one file.
    let zip = site.file(0).with_file_name("a.zip");
    std::fs::write(&zip, "archive").expect("a file");
    let zip = format!("'{}'", zip.display());
    let added = site.rows(&files("zip_file", &format!("{zip}, {zip}")));
    assert_eq!(added[0], format!("rucio_file,inserted,ancillary:{},1", site.dataset()));
    refused(site.ask(&files("dim_file", &zip)), "is registered as zip_file, not as dim_file");
    refused(
        site.ask(&format!("CALL ingest_rucio('ancillary:{}', transfer => 'move')", site.dataset())),
        "cannot be moved",
    );
}

#[apply(test!)]
fn names_have_the_length_that_rucio_allows() {
    let Some(site) = Site::new(1) else { return };
    let name = |length: usize| format!("{}{}", site.dataset(), "n".repeat(length - site.dataset().len()));
    let register = |name: &str| site.ask(&site.register("TRUE").replace(&site.dataset(), name));
    register(&name(250)).ok();
    refused(register(&name(251)), "is too long");
    refused(register("a b"), "does not match");
    refused(register("_a"), "does not match");
}

#[apply(test!)]
fn a_file_is_registered_once() {
    let Some(site) = Site::new(2) else { return };
    let did = format!("ancillary:{}", site.dataset());
    // Twice in the rows, as by a chain with a run and the calibrations certified from it.
    let twice = site.register("TRUE").replace(
        "(SELECT dataset_id FROM thing WHERE TRUE)",
        "(SELECT dataset_id FROM thing UNION ALL SELECT dataset_id FROM thing)",
    );
    assert!(site.rows(&twice).contains(&format!("rucio_file,inserted,{did},2")));
    assert_eq!(site.rows(&twice), [format!("rucio_file,unchanged,{did},2")]);
    // In a second dataset, it is the same file.
    let second = site.register("TRUE").replace("'Dataset/", "'Dataset/second/");
    assert!(site.rows(&second).iter().any(|row| row.starts_with("rucio_file,inserted,") && row.ends_with(",2")));
    assert_eq!(known(&site), "2");
    // Another size or checksum, here, in another dataset and at another storage element: nothing is sent.
    let elsewhere = site.register("TRUE").replace(
        ", chunk_size",
        ", rucio_rse => 'IN2P3_RAW_DISK', dtn_url => 'davs://127.0.0.1:2882/pnfs/in2p3.fr/lsst/instrument', chunk_size",
    );
    let third = site.register("TRUE").replace("'Dataset/", "'Dataset/third/");
    for (content, message) in [("{\"detector\": 7}", "15 bytes and"), ("{}", "but has 2 bytes")] {
        std::fs::write(site.file(0), content).expect("a file");
        for call in [&site.register("TRUE"), &third, &elsewhere] {
            let ran = site.ask(call);
            assert!(
                ran.err.contains(&format!("file 'ancillary:{}/thing_0.json' is registered", site.name)),
                "{}",
                ran.err
            );
            refused(ran, message);
        }
    }
    assert_eq!(
        site.rows(&format!("SELECT count(*) FROM rucio_dids('{}')", did.replace(":Dataset", ":Dataset/third"))),
        ["0"]
    );
    assert_eq!(site.rows(&format!("SELECT DISTINCT rse FROM rucio_replicas('{did}')")), ["SLAC_BUTLER_DISK"]);
}

#[apply(test!)]
fn rules_are_compared_before_they_are_sent() {
    let Some(site) = Site::new(2) else { return };
    let did = format!("ancillary:{}", site.dataset());
    let rule = |expression: &str, more: &str| format!("CALL rucio_add_rule('{did}', '{expression}'{more})");
    refused(site.ask(&rule("IN2P3_RAW_DISK", "")), "Rucio has no DID");
    site.ask(&site.register("detector = 0")).ok();
    refused(site.ask(&rule("IN2P3_RAW_DISK|", "")), "RSE expression 'IN2P3_RAW_DISK|'");
    refused(site.ask(&rule("site=NOWHERE", "")), "RSE expression 'site=NOWHERE'");
    refused(site.ask(&rule("IN2P3_RAW_DISK|SLAC_BUTLER_DISK", ", copies => 3")), "too few for 3 copies");
    refused(site.ask(&rule("IN2P3_RAW_DISK", ", grouping => 'FILE'")), "DATASET, ALL or NONE");
    refused(site.ask(&rule("IN2P3_RAW_DISK", ", lifetime => 0")), "'lifetime' is not positive: 0");
    refused(site.ask(&format!("CALL rucio_wait('{did}', timeout => -1)")), "'timeout' is negative");
    refused(
        as_guest(&site, &rule("IN2P3_RAW_DISK", ", account => 'root'")),
        "Account guest can not add replication rule",
    );
    assert_eq!(site.rows(&format!("SELECT count(*) FROM rucio_rules('{did}')")), ["0"]);
    // An open dataset may have a rule, and another account, number of copies or set is another rule.
    let added = |sql: &str| site.rows(sql).iter().filter(|row| row.starts_with("rucio_rule,inserted,")).count();
    assert_eq!(added(&rule("IN2P3_RAW_DISK|SLAC_BUTLER_DISK", ", copies => 2")), 1);
    assert_eq!(added(&rule("SLAC_BUTLER_DISK|IN2P3_RAW_DISK", ", copies => 2")), 0);
    assert_eq!(added(&rule("site=IN2P3|SLAC_BUTLER_DISK", ", copies => 2")), 0);
    assert_eq!(added(&rule("IN2P3_RAW_DISK", "")), 1);
    assert_eq!(added(&rule("IN2P3_RAW_DISK", "")), 0);
    assert_eq!(added(&rule("IN2P3_RAW_DISK|SLAC_BUTLER_DISK", "")), 1);
    // Files that are attached later are covered by the rule; the evaluator of Rucio sees to it.
    site.ask(&site.register("TRUE")).ok();
    site.let_daemons_run();
    let locks =
        site.rows(&format!("SELECT DISTINCT locks_ok + locks_replicating FROM rucio_rules('{did}') WHERE copies = 2"));
    assert_eq!(locks, ["4"]);
    // A deleted rule expires within an hour: until then, neither a second one nor `unchanged` would be true.
    let id =
        site.rows(&format!("SELECT id FROM rucio_rules('{did}') WHERE rse_expression = 'IN2P3_RAW_DISK'")).remove(0);
    let deleted = site.rows(&format!("CALL rucio_delete_rule('{id}')"));
    assert!(deleted.iter().any(|row| row.starts_with("rucio_rule,removed,")), "{deleted:?}");
    refused(site.ask(&rule("IN2P3_RAW_DISK", "")), "has the same expression, but expires at");
}

#[apply(test!)]
fn a_rule_that_waits_for_an_approval_ends_the_wait() {
    let Some(site) = Site::new(1) else { return };
    let did = format!("ancillary:{}", site.dataset());
    site.ask(&site.register("TRUE")).ok();
    site.ask(&format!("CALL rucio_add_rule('{did}', 'IN2P3_RAW_DISK', ask_approval => true)")).ok();
    assert_eq!(site.rows(&format!("SELECT state FROM rucio_rules('{did}')")), ["WAITING_APPROVAL"]);
    refused(
        site.ask(&format!("CALL rucio_wait('{did}', timeout => 60)")),
        "WAITING_APPROVAL: it does not continue by itself",
    );
}

#[apply(test!)]
fn dimension_records_of_sidecars_replace_others_on_request() {
    let Some(site) = Site::new(1) else { return };
    site.ask(&site.register("TRUE")).ok();
    let other = site.home.at("other");
    let make = "CALL create_repository(); CALL register_instrument('LSSTComCam'); \
                CALL insert_dimension_records('detector', (SELECT * REPLACE ('x' AS full_name) FROM detector \
                WHERE detector = 0), replace => true)";
    site.ask_of(&other, make).ok();
    let root = site.rucio.join("slac");
    let ingest = format!(
        "CALL ingest_rucio('ancillary:{}', prefix => 'davs://127.0.0.1:2881/slac/lsst/butler/={}/'",
        site.dataset(),
        root.display()
    );
    let name = || site.ask_of(&other, "SELECT full_name FROM detector WHERE detector = 0").ok();
    let kept = site.ask_of(&other, &format!("{ingest})")).ok();
    assert!(kept.contains("detector,unchanged,\"kept, though the source has other values"), "{kept}");
    assert_eq!(name(), "full_name\nx\n");
    let updated = site.ask_of(&other, &format!("{ingest}, update_records => true)")).ok();
    assert!(updated.contains("detector,updated,,1"), "{updated}");
    assert_eq!(name(), "full_name\nR22_S00\n");
}

#[apply(test!)]
fn every_kind_of_login_works_over_tls() {
    let Some(url) = server("BUTLERSQL_TEST_RUCIO_TLS", "rucio") else { return };
    let Some(site) = Site::new(1) else { return };
    let (tmp, file) = (site.home.at("tls"), site.home.at("tls.cfg"));
    std::fs::create_dir_all(&tmp).expect("a folder");
    let ask = |more: &str, token: Option<&str>| {
        let config =
            format!("[client]\nrucio_host = {url}\nauth_host = {url}\naccount = root\nrequest_retries = 0\n{more}\n");
        std::fs::write(&file, config).expect("a configuration");
        let mut command = program();
        command.args([&site.home.repo(), "-q", "--format", "csv", "-c", "SELECT count(*) FROM rucio_rses()"]);
        command.env("RUCIO_CONFIG", &file).env("TMPDIR", &tmp);
        for folder in std::fs::read_dir(&tmp).expect("a folder") {
            std::fs::remove_dir_all(folder.expect("an entry").path()).expect("no cached token");
        }
        run(command.envs(token.map(|token| ("BEARER_TOKEN", token))))
    };
    let trusted = format!("ca_cert = {}", pki("ca.pem"));
    let with = |kind: &str, more: &str| format!("{trusted}\nauth_type = {kind}\n{more}");
    let x509 = |certificate: &str| format!("client_cert = {}\nclient_key = {}", pki(certificate), pki("user.key"));
    let ssh = |file: &str| format!("ssh_private_key = {}", site.rucio.join(file).display());
    let config = std::fs::read_to_string(site.rucio.join("client/etc/rucio.cfg")).expect("a configuration");
    let password: Vec<&str> =
        config.lines().filter(|line| line.starts_with("username") || line.starts_with("password")).collect();
    let password = password.join("\n");
    let proxy = format!("client_x509_proxy = {}", pki("x509.pem"));
    for (kind, more) in
        [("userpass", password.clone()), ("x509", x509("user.pem")), ("x509_proxy", proxy), ("ssh", ssh("ssh_key"))]
    {
        assert_eq!(ask(&with(kind, &more), None).ok(), "count(*)\n2\n", "{kind}");
    }
    // A bearer token needs no login; Rucio takes a token of its own.
    ask(&with("userpass", &password), None).ok();
    let cached = find(std::path::Path::new(&tmp)).expect("a cached token");
    let token = std::fs::read_to_string(cached).expect("a token");
    assert_eq!(ask(&with("oidc", ""), Some(token.trim())).ok(), "count(*)\n2\n");
    for (more, token, message) in [
        (with("oidc", ""), Some("no-token"), "Cannot authenticate"),
        (with("oidc", ""), None, "auth_type 'oidc' needs a token in BEARER_TOKEN"),
        (with("x509", &x509("old.pem")), None, "was valid until"),
        (with("x509", &x509("absent.pem")), None, "absent.pem"),
        (with("x509_proxy", "client_x509_proxy = /nowhere/proxy.pem"), None, "'/nowhere/proxy.pem' does not exist"),
        (with("ssh", &ssh("nothing")), None, "does not exist"),
        (format!("auth_type = userpass\n{password}"), None, "certificate"),
        (format!("ca_cert = {}\nauth_type = userpass\n{password}", pki("other.pem")), None, "certificate"),
    ] {
        let ran = ask(&more, token);
        assert!(matches!(ran.code, 1 | 4), "{more}: {} {}", ran.code, ran.err);
        refused(ran, message);
    }
}

/// The first file below a folder.
fn find(folder: &std::path::Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.filter_map(|path| if path.is_dir() { find(&path) } else { Some(path) }).next()
}
