//! `calibrations`: the datasets that the Butler finds for each exposure, type and detector.

use macro_rules_attribute::apply;

use crate::world::{Db, Home, butler, oracle, program, run};

/// A repository with biases and flats that are certified in several collections.
fn made(home: &Home) {
    home.with_camera();
    let data = home.sample(&["--exposures", "12", "--nights", "3"]);
    let import = |ticket: &str| {
        format!(
            "CALL import('{data}/ancillary', transfer => 'direct', export_file => '{data}/calibs/{ticket}/export.yaml')"
        )
    };
    let first = |kind: &str, order: &str| {
        format!(
            "(SELECT dataset_id FROM (SELECT dataset_id, row_number() OVER (PARTITION BY detector ORDER BY run {order}) AS n \
             FROM {kind}) b WHERE n = 1)"
        )
    };
    home.sql(&format!(
        "CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct'); {}; {}; \
         CALL certify('u/early', {}, end_date => '2024-10-26'); \
         CALL certify('u/late', {}, begin_date => '2024-10-25T12:00:00'); \
         CALL certify('u/flats', {}, begin_date => '2024-10-25'); \
         CALL chain('u/calib', ['u/early', 'u/late', 'u/flats'])",
        import("TAXICAB-44/LSSTComCam.calibs.20250207a"),
        import("TAXICAB-38/LSSTComCam.calibs.20241211a"),
        first("bias", ""),
        first("bias", "DESC"),
        first("flat", ""),
    ))
    .ok();
}

#[apply(test!)]
fn calibrations_are_those_that_the_butler_finds() {
    let Some(python) = butler("b30") else { return };
    for db in [Db::Sqlite, Db::Postgres] {
        let Some(home) = Home::new(db) else { continue };
        made(&home);
        let flat = home.rows("SELECT DISTINCT run FROM flat ORDER BY 1").remove(0);
        for collections in [vec!["u/calib"], vec!["u/late", "u/early"], vec!["u/flats", &flat]] {
            let list: Vec<_> = collections.iter().map(|name| format!("'{name}'")).collect();
            let repo = home.repo();
            let mut arguments = vec![repo.as_str()];
            arguments.extend(&collections);
            let expected = oracle(&python, "calibrations.py", &arguments);
            let columns = "instrument, exposure, dataset_type, detector, dataset_id";
            let call =
                format!("calibrations([{}], rows => (SELECT instrument, exposure FROM exposure))", list.join(", "));
            let mut found = home.rows(&format!("SELECT {columns} FROM {call}"));
            found.sort();
            assert!(found.len() > 20, "{found:?}");
            assert_eq!(found, expected.lines().collect::<Vec<_>>(), "{collections:?}");
            // One exposure alone, and through an attached repository.
            let exposure = home.rows("SELECT max(exposure) FROM exposure").remove(0);
            let one = format!("calibrations([{}], exposure => {exposure}", list.join(", "));
            let mut alone = home.rows(&format!("SELECT {columns} FROM {one})"));
            alone.sort();
            let of_it: Vec<_> = found.iter().filter(|row| row.contains(&format!(",{exposure},"))).cloned().collect();
            assert_eq!(alone, of_it);
            let attached = format!("ATTACH '{repo}' AS other; SELECT {columns} FROM {one}, repository => 'other')");
            let mut command = program();
            let other = Home::new(Db::Sqlite).expect("SQLite is always there");
            command.args([&other.repo(), "--format", "csv", "-c", &attached]);
            let mut rows: Vec<String> = run(&mut command).ok().lines().skip(1).map(str::to_owned).collect();
            rows.sort();
            assert_eq!(rows, of_it);
        }
    }
}

#[apply(test!)]
fn wrong_calls_are_one_sentence() {
    let home = Home::new(Db::Sqlite).expect("SQLite is always there");
    made(&home);
    for (sql, message) in [
        ("SELECT * FROM calibrations('u/calib')", "calibrations needs either exposure => … or rows"),
        ("SELECT * FROM calibrations('u/calibs', exposure => 1)", "did you mean 'u/calib'?"),
        ("SELECT * FROM calibrations('u/calib', rows => (SELECT visit FROM exposure))", "no column named 'visit'"),
        ("SELECT * FROM calibrations('u/calib', exposure => 'x')", "exposure"),
    ] {
        let ran = home.sql(sql);
        assert!(ran.code == 1 && ran.err.contains(message), "{sql}\n{}{}", ran.out, ran.err);
    }
    assert!(home.rows("SELECT * FROM calibrations('u/calib', exposure => 1)").is_empty());
}
