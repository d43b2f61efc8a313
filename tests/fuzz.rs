//! Fuzz targets for libFuzzer: readers of external files must return for all inputs. `tests/fuzz.sh` runs them.
#![no_main]

use std::sync::LazyLock;

use butlersql::internal::curated::Curated;
use butlersql::internal::export_yaml::Export;
use butlersql::internal::fits_table::parse_fits_table;
use butlersql::internal::skymap_config::SkyMap;
use butlersql::internal::sphere::region::Region;
use butlersql::internal::tables::parse_ecsv;
use libfuzzer_sys::fuzz_target;

/// The reader named by `BUTLERSQL_FUZZ`.
static READER: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("BUTLERSQL_FUZZ").unwrap_or_default();
    match name.as_str() {
        "export_yaml" => |bytes| {
            let mut reader = Export::new(std::io::Cursor::new(bytes.to_vec()));
            while let Ok(Some(_)) = reader.next_item() {}
        },
        "fits" => |bytes| drop(parse_fits_table(bytes)),
        "ecsv" => |bytes| drop(parse_ecsv(bytes)),
        "skymap" => |bytes| {
            if let Ok(map) = SkyMap::parse(&String::from_utf8_lossy(bytes), &[]) {
                let _ = (map.hash(), map.pickle());
            }
        },
        "curated" => |bytes| {
            for class in ["CrosstalkCalib", "Defects", "TransmissionCurve"] {
                let _ = Curated::parse(class, bytes);
            }
        },
        "region" => |bytes| {
            let Some(region) = Region::decode(bytes) else { return };
            let _ = (region.bounding_circle(), region.bounding_box(), region.envelope(3), region.overlaps(&region));
            assert_eq!(Region::decode(&region.encode()).map(|r| r.encode()), Some(region.encode()));
        },
        other => panic!("BUTLERSQL_FUZZ names no reader: '{other}'"),
    }
});

fuzz_target!(|bytes: &[u8]| READER(bytes));
