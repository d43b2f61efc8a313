//! Curated calibrations: written once, found by the Butler, their files true to the tables they were made of.

use std::path::Path;

use macro_rules_attribute::apply;

use crate::world::{ALL, Db, Home, butler, oracle, skip};

const COUNTS: [&str; 6] = [
    "camera,1",
    "crosstalk,9",
    "manual_defects,9",
    "transmission_filter,6",
    "transmission_optics,1",
    "transmission_sensor,9",
];

fn write(data: &str) -> String {
    format!("CALL write_curated_calibrations('LSSTComCam', label => 'DM-48650', data => '{data}')")
}

#[apply(test!)]
fn they_are_written_once_and_found_by_the_butler() {
    for (db, version) in [(Db::Sqlite, "b29"), (Db::Postgres, "b30"), (Db::PostgresNamespace, "b29")] {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        let data = home.sample(&["--exposures", "1"]) + "/curated";
        let explained = home.sql(&format!("EXPLAIN {}", write(&data))).ok();
        assert!(explained.contains("9 dataset (crosstalk) would be inserted"), "{explained}");
        assert_eq!(home.rows("SELECT count(*) FROM dataset_types"), ["0"]);
        home.sql(&write(&data)).ok();
        let again = home.sql(&write(&data)).ok();
        assert!(!again.contains("inserted"), "{again}");
        let explained = home.sql(&format!("EXPLAIN {}", write(&data))).ok();
        assert!(explained.contains("35 certification") && !explained.contains("would be"), "{explained}");
        let counts = "SELECT dataset_type, count(*) FROM datasets GROUP BY dataset_type ORDER BY dataset_type";
        assert_eq!(home.rows(counts), COUNTS);
        // Midnight of 1970 in UTC is 8.000082 s later in TAI.
        let spans = "SELECT timespan_begin, timespan_end, count(*) FROM memberships \
                     WHERE collection = 'LSSTComCam/calib/DM-48650' GROUP BY 1, 2 ORDER BY 3";
        assert_eq!(
            home.rows(spans),
            ["1970-01-01T00:00:00,2100-01-01T00:00:00,1", "1970-01-01T00:00:08.000082,2100-01-01T00:00:00,34"]
        );
        if let Some(python) = butler(version) {
            assert_eq!(oracle(&python, "curated.py", &[&home.repo(), &data]), "34\n");
        }
        // A changed file is not taken for the same.
        let folder = format!("{data}/comCam/crosstalk/r22_s00");
        let file = format!("{folder}/19700101T000000.ecsv");
        let old = std::fs::read_to_string(&file).expect("there");
        std::fs::write(&file, old.replace("HAS_CROSSTALK: true", "HAS_CROSSTALK: false")).expect("written");
        let changed = home.sql(&write(&data));
        assert!(changed.code == 1 && changed.err.contains("has changed since it was written"), "{}", changed.err);
        std::fs::write(&file, &old).expect("written");
        // A newer file ends the validity of the older one.
        let newer = old.replace("1970-01-01T00:00:00", "2024-11-22T00:00:00");
        std::fs::write(format!("{folder}/20241122T000000.ecsv"), newer).expect("written");
        let label = write(&data).replace("DM-48650", "DM-1");
        home.sql(&label).ok();
        let spans = "SELECT run, timespan_begin, timespan_end FROM members('crosstalk', 'LSSTComCam/calib/DM-1') \
                     WHERE detector = 0 ORDER BY 1";
        let run = "LSSTComCam/calib/DM-1/curated";
        assert_eq!(
            home.rows(spans),
            [
                format!("{run}/19700101T000000Z,1970-01-01T00:00:08.000082,2024-11-22T00:00:37"),
                format!("{run}/20241122T000000Z,2024-11-22T00:00:37,2100-01-01T00:00:00")
            ]
        );
    }
}

#[apply(test!)]
fn files_that_are_wrong_are_told_and_leave_nothing() {
    let Some(home) = Home::new(Db::Sqlite) else { return };
    home.create();
    let data = home.sample(&["--exposures", "1"]) + "/curated";
    let unknown = home.sql(&write(&data));
    assert!(unknown.err.contains("instrument 'LSSTComCam' is not registered"), "{}", unknown.err);
    home.sql("CALL register_instrument('LSSTComCam')").ok();
    let crosstalk = "crosstalk/r22_s00/19700101T000000.ecsv";
    let sensor = "transmission_sensor/r22_s11/19700101T000000.ecsv";
    let defects = "manual_defects/r22_s22/19700101T000000.ecsv";
    for (file, from, to, message) in [
        (
            crosstalk,
            "INSTRUME: comCam",
            "INSTRUME: LSSTComCam",
            "the header has INSTRUME = 'LSSTComCam', the folder 'comCam'",
        ),
        (crosstalk, "OBSTYPE: CROSSTALK", "OBSTYPE: BIAS", "the header has OBSTYPE = 'BIAS'"),
        (crosstalk, "DETECTOR: 0", "DETECTOR: 1", "the header has DETECTOR = '1', the folder '0'"),
        (crosstalk, "CALIBDATE: '1970", "CALIBDATE: 'x1970", "CALIBDATE 'x1970-01-01T00:00:00' is not a date"),
        (crosstalk, "NAMP: 16", "NAMP: 17", "column 'CT_COEFFS' has 256 values, not 289"),
        (crosstalk, "[true,", "[yes,", "column 'CT_VALID' has yes among its values"),
        (crosstalk, "[true,", "[3,", "column 'CT_VALID' has 3 among its values"),
        (crosstalk, "name: CT_COUNTS", "name: CT_COUNT", "the column names are"),
        (sensor, "%ECSV", "ECSV", "line 1: an ECSV file begins with"),
        (sensor, "C01 320.025", "C01 321.025", "the rows must be grouped by amplifier"),
        (sensor, "C01 320.025", "C01 x", "line 45"),
        (sensor, "C01 320.025", "C02 320.025", "the rows must be grouped by amplifier"),
        (sensor, "unit: nm", "unit: um", "column 'wavelength' has the unit 'um', not 'nm' or 'Angstrom'"),
        (crosstalk, "NAMP: 16", "NAMP: 0", "NAMP is 0, which is not a valid number"),
        (defects, "name: width", "name: size", "the column names are"),
        (defects, " 2000\n", " \n", "column 'height' has a cell without a number"),
    ] {
        let path = format!("{data}/comCam/{file}");
        let good = std::fs::read_to_string(&path).expect("there");
        assert!(good.contains(from), "{from}");
        std::fs::write(&path, good.replacen(from, to, 1)).expect("written");
        let ran = home.sql(&write(&data));
        std::fs::write(&path, good).expect("written");
        assert_eq!(ran.code, 1, "{from}: {}", ran.out);
        assert!(ran.err.contains(message) && ran.err.contains(file), "{from}\n  wanted: {message}\n  got: {}", ran.err);
    }
    for (from, to, message) in [
        ("crosstalk/r22_s00", "crosstalk/r22_s33", "no detector named 'r22_s33'; did you mean 'r22_s"),
        ("transmission_filter/u_02", "transmission_filter/u_01", "no physical_filter named 'u_01'; did you mean 'u_0"),
        (crosstalk, "crosstalk/r22_s00/yesterday.ecsv", "yesterday.ecsv' is not a date"),
        (crosstalk, "crosstalk/r22_s00/19700101T000000.yaml", "only ECSV files are supported"),
        ("camera.fits", "camera.fit", "camera.fits' does not exist; set camera =>"),
        ("../comCam", "../comcam", "cannot find folder"),
    ] {
        let path = |name: &str| Path::new(&data).join("comCam").join(name);
        let (from, to) = if from.starts_with("..") {
            (Path::new(&data).join(&from[3..]), Path::new(&data).join(&to[3..]))
        } else {
            (path(from), path(to))
        };
        std::fs::rename(&from, &to).expect("renamed");
        let ran = home.sql(&write(&data));
        std::fs::rename(&to, &from).expect("renamed");
        assert_eq!(ran.code, 1, "{}: {}", from.display(), ran.out);
        assert!(ran.err.contains(message), "wanted: {message}\n  got: {}", ran.err);
    }
    // Two files for one data ID, and two that begin at once.
    let good = std::fs::read(format!("{data}/comCam/{crosstalk}")).expect("there");
    for (name, message) in [
        ("20241122T000000.ecsv", "20241122T000000.ecsv' have the same CALIBDATE"),
        ("1970-01-01.ecsv", "are valid from the same time on"),
    ] {
        let other = format!("{data}/comCam/crosstalk/r22_s00/{name}");
        std::fs::write(&other, &good).expect("written");
        let ran = home.sql(&write(&data));
        std::fs::remove_file(&other).expect("removed");
        assert!(ran.code == 1 && ran.err.contains(message), "wanted: {message}\n  got: {}", ran.err);
    }
    let bare = home.sql(&format!("CALL write_curated_calibrations('LSSTComCam', data => '{data}')"));
    assert!(bare.err.contains("needs label => '…' or collection => '…'"), "{}", bare.err);
    for table in ["collections", "dataset_types", "datasets", "files"] {
        assert_eq!(home.rows(&format!("SELECT count(*) FROM {table}")), ["0"], "{table}");
    }
}

/// The rows and files of the reference, which lie beside the project.
#[apply(test!)]
fn they_equal_those_of_the_reference() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/instrument");
    let Ok(want) = std::fs::read_to_string(shared.join("curated_datasets.csv")) else {
        return skip(&format!("{} is not there", shared.display()));
    };
    for db in ALL {
        let Some(home) = Home::new(db) else { continue };
        home.with_camera();
        let data = shared.join("curated_input").display().to_string();
        let camera = shared.join("camera_LSSTComCam.fits").display().to_string();
        home.sql(&write(&data).replace(')', &format!(", camera => '{camera}')"))).ok();
        let mut got = Vec::new();
        for kind in COUNTS.iter().filter_map(|line| line.split_once(',')).map(|(kind, _)| kind) {
            let has = |name: &str| {
                home.rows(&format!(
                    "SELECT count(*) FROM dataset_types WHERE name = '{kind}' AND dimensions LIKE '%{name}%'"
                ))
            };
            let column =
                |name: &str| if has(name) == ["1"] { format!("m.{name}") } else { format!("NULL AS no_{name}") };
            let (detector, filter) = (column("detector"), column("physical_filter"));
            got.extend(home.rows(&format!(
                "SELECT '{kind}', t.storage_class, m.instrument, {detector}, {filter}, m.run, \
                 coalesce(CAST(m.timespan_begin AS BIGINT), 0), coalesce(CAST(m.timespan_end AS BIGINT), 4102444800000000000), f.path, f.formatter \
                 FROM members('{kind}', 'LSSTComCam/calib/DM-48650') m JOIN files f USING (dataset_id) \
                 CROSS JOIN (SELECT storage_class FROM dataset_types WHERE name = '{kind}') t"
            )));
        }
        let mut want: Vec<_> = want.lines().skip(1).map(str::to_owned).collect();
        got.sort();
        want.sort();
        assert_eq!(got, want);
        if let Some(python) = butler("b29") {
            let expected = shared.join("curated_expected").display().to_string();
            assert_eq!(oracle(&python, "curated.py", &[&home.repo(), &data, &expected]), "34\n");
        }
    }
}
