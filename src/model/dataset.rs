//! Dataset types, and the ids that data IDs alone decide.

use uuid::Uuid;

/// A dataset type as the registry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetType {
    /// Name, unique in the registry.
    pub name: String,
    /// Required dimensions, in the order of the universe.
    pub dimensions: Vec<String>,
    /// Name of the storage class.
    pub storage_class: String,
    /// Whether its datasets may be certified.
    pub is_calibration: bool,
}

/// The storage classes that come with the Butler, and the classes that read and write their files, where there is a
/// usual one (daf_butler 29 and 30).
pub fn storage_classes() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let lines = include_str!("storage_classes.csv").lines().skip(1).filter_map(|line| line.split_once(','));
    lines.map(|(name, formatter)| (name, Some(formatter).filter(|f| !f.is_empty())))
}

/// Namespace of all deterministic dataset ids: UUIDv5 of `lsst.org` in the DNS namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x840b_31d9_05cd_5161_b2c8_00d3_2b28_0d0f);

/// The id of a dataset decided by its type, run and data ID (the Butler's mode `DATAID_TYPE_RUN`).
///
/// `data_id` holds the required dimensions in any order; the text hashed has them sorted by name.
pub fn dataset_id(dataset_type: &str, run: &str, data_id: &[(&str, String)]) -> Uuid {
    let mut keys: Vec<_> = data_id.iter().collect();
    keys.sort_by_key(|(name, _)| *name);
    let mut text = format!("dataset_type={dataset_type},run={run}");
    for (name, value) in keys {
        text.push_str(&format!(",{name}={value}"));
    }
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_equal_the_butlers() {
        assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"lsst.org"));
        let raw = |e: &str, d: &str| {
            let data_id = [("instrument", "LSSTComCam".to_owned()), ("detector", d.into()), ("exposure", e.into())];
            dataset_id("raw", "LSSTComCam/raw/all", &data_id).to_string()
        };
        assert_eq!(raw("2024112000123", "4"), "d5df5665-8846-5153-9465-e2d7ebba1cc4");
        assert_eq!(raw("2024110800266", "0"), "c9b72b48-0087-57a6-bd0c-2120836aedd4");
        assert_eq!(dataset_id("glob", "r/ünïcode", &[]).to_string(), "43059deb-3ae3-5265-90dd-23a33d6f3c78");
    }
}
