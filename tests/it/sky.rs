//! Joins on the sky give the pairs that the Butler gives.

use crate::world::{Db, Home, butler, oracle, run};

#[test]
fn overlaps_are_those_of_the_butler() {
    for (db, version) in [(Db::Sqlite, "b30"), (Db::Postgres, "b29")] {
        let Some(home) = Home::new(db) else { continue };
        home.sample(&["--exposures", "40", "--nights", "2"]);
        run(&mut home.campaign()).ok();
        let Some(python) = butler(version) else { continue };
        for (a, b, columns) in [
            ("visit", "patch", "instrument visit skymap tract patch"),
            ("tract", "visit_detector_region", "skymap tract instrument visit detector"),
            ("visit", "htm7", "instrument visit htm7"),
        ] {
            let names: Vec<&str> = columns.split(' ').collect();
            let mut ours = home.rows(&format!("SELECT {} FROM overlapping('{a}', '{b}')", names.join(", ")));
            ours.sort();
            let theirs = oracle(&python, "overlaps.py", &[&[&*home.repo()], &names[..]].concat());
            assert!(ours.len() > 20, "{a} {b}: {}", ours.len());
            assert_eq!(ours, theirs.lines().collect::<Vec<_>>(), "{db:?} {a} {b}");
        }
    }
}
