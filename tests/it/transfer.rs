//! Transfer between repositories: the same datasets by the real Butler and by us leave the same tables and files.

use std::path::Path;
use std::process::Command;

use macro_rules_attribute::apply;

use crate::world::{Db, Home, butler, files_below, oracle, run};

/// A repository with raws, visits and certified biases, whose files are copied into the datastore.
fn source(home: &Home) {
    home.with_camera();
    let data = home.sample(&["--exposures", "12", "--nights", "2"]);
    home.sql(&format!(
        "CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'copy'); CALL define_visits('LSSTComCam'); \
         CALL import('{data}/ancillary', transfer => 'direct', \
         export_file => '{data}/calibs/TAXICAB-44/LSSTComCam.calibs.20250207a/export.yaml'); \
         CALL import('{data}/ancillary', transfer => 'copy', \
         export_file => '{data}/calibs/TAXICAB-38/LSSTComCam.calibs.20241211a/export.yaml'); \
         CALL certify('u/calib', (SELECT dataset_id FROM (SELECT dataset_id, row_number() OVER (PARTITION BY detector \
         ORDER BY run) AS n FROM bias) b WHERE n = 1), begin_date => '2024-10-01', end_date => '2024-12-01'); \
         CALL register_collection('u/tag'); CALL associate('u/tag', (SELECT dataset_id FROM raw WHERE detector < 3)); \
         CALL chain('u/chain', ['u/tag', 'LSSTComCam/raw/all'])"
    ))
    .ok();
}

#[apply(test!)]
fn the_same_transfers_leave_the_same_tables_and_files() {
    let Some(python) = butler("b30") else { return };
    for db in [Db::Sqlite, Db::PostgresNamespace] {
        let (Some(from), Some(ours), Some(real)) = (Home::new(db), Home::new(db), Home::new(db)) else { continue };
        source(&from);
        ours.create();
        real.create();
        let condition = "instrument = 'LSSTComCam' AND exposure.day_obs > 20241024 AND detector IN (2..5)";
        for (kind, collections, condition) in [
            ("raw", "LSSTComCam/raw/all", condition),
            ("raw", "LSSTComCam/raw/all", condition),
            ("raw", "u/chain", "instrument = 'LSSTComCam'"),
            ("bias", "u/calib", ""),
        ] {
            let quoted = condition.replace('\'', "''");
            let search = format!(
                "query_datasets('{kind}', '{collections}', where => '{quoted}', repository => 'source', find_first => false)"
            );
            let attach = format!("ATTACH '{}' AS source; ", from.repo());
            let transfer = format!(
                "CALL transfer('source', (SELECT DISTINCT dataset_id FROM {search}), register_dataset_types => true)"
            );
            let explained = ours.sql(&format!("{attach}EXPLAIN {transfer}"));
            let mine = ours.sql(&format!("{attach}{transfer}")).ok();
            assert!(!explained.ok().is_empty());
            let mut command = Command::new(python.join("butler"));
            command.args(["transfer-datasets", &from.repo(), &real.repo(), "-d", kind, "--collections", collections]);
            command.args(["--register-dataset-types", "--where", condition]);
            run(&mut command).ok();
            let compared =
                oracle(&python, "compare.py", &[&real.repo(), &ours.repo(), "--only", "content", "--no-comments"]);
            assert!(compared.starts_with("EQUAL"), "{db:?} {kind} {collections}\n{mine}\n{compared}");
            assert_eq!(files_below(Path::new(&ours.at("repo"))), files_below(Path::new(&real.at("repo"))), "{mine}");
        }
        assert_eq!(ours.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
        assert_eq!(ours.rows("SELECT count(*) FROM raw"), from.rows("SELECT count(*) FROM raw"));
        // Tags, validity ranges and chains come with associations.
        let all = "'*'";
        ours.sql(&format!(
            "CALL transfer('{}', collections => {all}, associations => true, register_dataset_types => true)",
            from.repo()
        ))
        .ok();
        for table in ["memberships", "collection_chains", "(SELECT name, type, doc FROM collections)"] {
            let sql = format!("SELECT * FROM {table} t ORDER BY 1, 2, 3");
            assert_eq!(ours.rows(&sql), from.rows(&sql), "{table}");
        }
    }
}

#[apply(test!)]
fn datasets_without_files_are_absent() {
    let (from, home) = (Home::new(Db::Sqlite).expect("SQLite"), Home::new(Db::Sqlite).expect("SQLite"));
    source(&from);
    home.create();
    from.sql("CALL prune((SELECT dataset_id FROM raw WHERE detector = 0), 'unstore')").ok();
    let files = from.rows("SELECT path FROM files JOIN raw USING (dataset_id) WHERE detector = 1 ORDER BY 1");
    std::fs::remove_file(Path::new(&from.repo()).join(&files[0])).expect("removed");
    let transfer = format!(
        "CALL transfer('{}', collections => 'LSSTComCam/raw/all', register_dataset_types => true)",
        from.repo()
    );
    let report = home.rows(&transfer);
    let has = |start: &str, end: &str| report.iter().any(|row| row.starts_with(start) && row.ends_with(end));
    let exposures: usize = from.rows("SELECT count(DISTINCT exposure) FROM raw")[0].parse().expect("a number");
    assert!(has("dataset,absent,not stored", &format!(",{exposures}")), "{report:?}");
    assert!(has("dataset,absent,\"file '", ",1") || has("dataset,absent,file '", ",1"), "{report:?}");
    assert!(has("dataset,inserted,raw", &format!(",{}", exposures * 8 - 1)), "{report:?}");
    assert_eq!(home.rows("SELECT DISTINCT state FROM check_files('*')"), ["ok"]);
}

#[apply(test!)]
fn wrong_transfers_are_one_sentence() {
    let (from, home) = (Home::new(Db::Sqlite).expect("SQLite"), Home::new(Db::Sqlite).expect("SQLite"));
    source(&from);
    home.create();
    let (other, raws) = (from.repo(), "(SELECT dataset_id FROM source.raw)");
    let attach = format!("ATTACH '{other}' AS source; ");
    for (sql, message) in [
        (format!("CALL transfer('source', {raws})"), "dataset type 'raw' is not registered"),
        (format!("CALL transfer('sourc', {raws})"), "repository 'sourc' does not exist"),
        ("CALL transfer('source')".to_owned(), "transfer needs rows"),
        (format!("CALL transfer('source', {raws}, transfer => 'direct')"), "cannot be direct or move"),
        (
            format!("CALL transfer('source', {raws}, register_dataset_types => true, transfer_dimensions => false)"),
            "has a data ID without dimension records",
        ),
        ("CALL transfer('source', collections => 'u/tagg')".to_owned(), "did you mean 'u/tag'?"),
        ("CALL transfer('source', (SELECT 'x' AS dataset_id))".to_owned(), "'x' is not a dataset id"),
        ("SELECT count(*) FROM source.rawx".to_owned(), "no table named 'rawx'; did you mean 'raw'?"),
        ("SELECT count(*) FROM sorce.raw".to_owned(), "no schema named 'sorce'"),
        ("CREATE TABLE source.x AS SELECT 1".to_owned(), "repository 'source' is attached read-only"),
        ("INSERT INTO source.raw SELECT * FROM source.raw".to_owned(), "repository 'source' is attached read-only"),
        ("INSERT INTO source.collection.\"u/tag\" SELECT dataset_id FROM source.raw".to_owned(), "attached read-only"),
        ("DROP TABLE source.raw".to_owned(), "repository 'source' is attached read-only"),
        (format!("ATTACH '{other}' AS source"), "'source' is already the name of a catalog or schema"),
        (format!("ATTACH '{other}' AS dataset"), "'dataset' is already the name of a catalog or schema"),
        (format!("ATTACH '{other}'"), "ATTACH needs a name"),
        (format!("ATTACH '{other}x' AS more"), "does not exist"),
        ("DETACH sourc".to_owned(), "did you mean 'source'?"),
        ("SELECT * FROM find_first('raw', 'u/tag', repository => 'sourc')".to_owned(), "did you mean 'source'?"),
        (format!("COPY (SELECT 1) TO '{other}/x.csv'"), "repository"),
    ] {
        let ran = home.sql(&format!("{attach}{sql}"));
        assert!(ran.code == 1 && ran.err.contains(message), "{sql}\n{}{}", ran.out, ran.err);
    }
    assert_eq!(home.rows("SELECT (SELECT count(*) FROM dataset_types), (SELECT count(*) FROM collections)"), ["0,0"]);
    // A dataset with the same data ID and another id.
    home.sql("CALL register_instrument('LSSTComCam')").ok();
    let data = from.at("data");
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', limit => 1)"));
    let with = |name: &str| format!("{attach}SELECT count(*) FROM {name}");
    let counts = home.rows(&with("source.raw r JOIN source.exposure e USING (instrument, exposure) WHERE butler_where(r, 'instrument = ''LSSTComCam''')"));
    assert_eq!(counts, from.rows("SELECT count(*) FROM raw"));
    for view in ["exposures", "visits", "files", "collections", "collection_chains", "registry.dataset", "dataset.raw"]
    {
        assert_eq!(home.rows(&with(&format!("source.{view}"))), from.rows(&format!("SELECT count(*) FROM {view}")));
    }
    let joined = format!("{attach}SELECT count(*) FROM source.detector a JOIN detector b USING (instrument, detector)");
    assert_eq!(home.rows(&joined), ["9"]);
}
