//! Dataset types, and the ids that data IDs alone decide.

use uuid::Uuid;

use crate::error::{Error, Result};

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

/// How the ids of new datasets are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMode {
    /// Each at random.
    Unique,
    /// From dataset type and data ID.
    DataIdType,
    /// From dataset type, run and data ID.
    DataIdTypeRun,
}

impl IdMode {
    const ALL: [(&'static str, Self); 3] =
        [("UNIQUE", Self::Unique), ("DATAID_TYPE", Self::DataIdType), ("DATAID_TYPE_RUN", Self::DataIdTypeRun)];

    /// From the word of `--id-generation-mode`.
    ///
    /// # Errors
    /// A word that is no mode.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|f| f.1).ok_or_else(|| Error::not_found("id_generation_mode", name, Self::ALL.map(|(n, _)| n)))
    }
}

/// The id of a dataset decided by its type, its run if given, and its data ID (the Butler's modes `DATAID_TYPE_RUN` and
/// `DATAID_TYPE`).
///
/// `data_id` holds the required dimensions in any order; the text hashed has them sorted by name.
pub fn dataset_id(dataset_type: &str, run: Option<&str>, data_id: &[(&str, String)]) -> Uuid {
    let mut keys: Vec<_> = data_id.iter().collect();
    keys.sort_by_key(|(name, _)| *name);
    let mut text = format!("dataset_type={dataset_type}");
    if let Some(run) = run {
        text.push_str(&format!(",run={run}"));
    }
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
            dataset_id("raw", Some("LSSTComCam/raw/all"), &data_id).to_string()
        };
        assert_eq!(raw("2024112000123", "4"), "d5df5665-8846-5153-9465-e2d7ebba1cc4");
        assert_eq!(raw("2024110800266", "0"), "c9b72b48-0087-57a6-bd0c-2120836aedd4");
        assert_eq!(dataset_id("glob", Some("r/ünïcode"), &[]).to_string(), "43059deb-3ae3-5265-90dd-23a33d6f3c78");
    }
}
