//! Regions and joins on the sky are those of the Butler and its library `sphgeom`.

use butlersql::internal::sphere::region::Region;
use butlersql::internal::sphere::{healpix, htm};
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::world::{Db, Home, butler, oracle, run};

#[apply(test!)]
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

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("digits");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("digits")).collect()
}

/// Whether two encodings of bounds are the same but for rounding, which small regions amplify.
fn near(a: &[u8], b: &[u8]) -> bool {
    let numbers = |bytes: &[u8]| -> Vec<f64> {
        bytes[1..].as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
    };
    let pairs = numbers(a).into_iter().zip(numbers(b));
    a.len() == b.len()
        && a[0] == b[0]
        && pairs.into_iter().all(|(x, y)| (x - y).abs() < 1e-9 || x.to_bits() == y.to_bits())
}

#[apply(test!)]
fn regions_at_random_are_what_sphgeom_says() {
    let Some(python) = butler("b29") else { return };
    let (mut seen, mut pixels) = (0, 0);
    for line in oracle(&python, "regions.py", &["1500", "103"]).lines() {
        let case: Value = serde_json::from_str(line).expect("JSON");
        let region = |name: &str| Region::decode(&bytes(&case[name])).unwrap_or_else(|| panic!("{line}"));
        let (a, b) = (region("a"), region("b"));
        assert_eq!(a.encode(), bytes(&case["a"]), "{line}");
        assert_eq!(u64::from(a.relation(&b).bits()), case["relate"].as_u64().expect("bits"), "{line}");
        assert_eq!(a.overlaps(&b), case["overlaps"].as_bool(), "{line}");
        assert!(near(&Region::Box(a.bounding_box()).encode(), &bytes(&case["box"])), "{line}");
        assert!(near(&Region::Circle(a.bounding_circle()).encode(), &bytes(&case["circle"])), "{line}");
        let ranges: Vec<[i64; 2]> = a.envelope(5).iter().map(|r| [r.start, r.end]).collect();
        assert_eq!(serde_json::to_value(ranges).expect("JSON"), case["envelope"], "{line}");
        let level = u32::try_from(case["healpix"][0].as_u64().expect("a level")).expect("small");
        if let Some(ranges) = case["healpix"][1].as_array() {
            let end = |range: &Value, at: usize| range[at].as_i64().expect("a pixel");
            let want: Vec<i64> = ranges.iter().flat_map(|range| end(range, 0)..end(range, 1)).collect();
            assert_eq!(healpix::envelope(&a, level).into_iter().collect::<Vec<_>>(), want, "{line}");
            pixels += want.len();
        }
        let at = [0, 1, 2].map(|i| case["point"][i].as_f64().expect("a number"));
        assert_eq!(a.contains(at), case["contains"], "{line}");
        let level = u32::try_from(case["level"].as_u64().expect("a level")).expect("small");
        assert_eq!(htm::index(at, level), case["index"].as_i64().expect("an index"), "{line}");
        seen += 1;
    }
    assert_eq!(seen, 1500);
    assert!(pixels > 10_000, "{pixels}");
}
