//! Dataset types, storage classes and deterministic dataset ids.

use uuid::Uuid;

use crate::error::{Error, Result};

/// A dataset type of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatasetType {
    /// Name, unique in the registry.
    pub name: String,
    /// Required dimensions, in the order of the universe.
    pub dimensions: Vec<String>,
    /// Name of the storage class.
    pub storage_class: String,
    /// Whether its datasets can be certified.
    pub is_calibration: bool,
}

/// Returns the storage classes of the Butler (daf_butler 29 and 30), each with its default formatter class, if any.
pub(crate) fn storage_classes() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let lines = include_str!("storage_classes.csv").lines().skip(1).filter_map(|line| line.split_once(','));
    lines.map(|(name, formatter)| (name, Some(formatter).filter(|f| !f.is_empty())))
}

/// The namespace of deterministic dataset ids: the UUIDv5 of `lsst.org` in the DNS namespace.
pub(crate) const NAMESPACE: Uuid = Uuid::from_u128(0x840b_31d9_05cd_5161_b2c8_00d3_2b28_0d0f);

/// How the ids of new datasets are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdMode {
    /// Random ids.
    Unique,
    /// Ids determined by dataset type and data ID.
    DataIdType,
    /// Ids determined by dataset type, RUN collection and data ID.
    DataIdTypeRun,
}

impl IdMode {
    const ALL: [(&'static str, Self); 3] =
        [("UNIQUE", Self::Unique), ("DATAID_TYPE", Self::DataIdType), ("DATAID_TYPE_RUN", Self::DataIdTypeRun)];

    /// Returns the mode for its name, case-insensitively.
    ///
    /// # Errors
    /// An unknown mode.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|f| f.1).ok_or_else(|| Error::not_found("id_generation_mode", name, Self::ALL.map(|(n, _)| n)))
    }
}

/// Returns the deterministic id of a dataset: with a RUN collection in mode `DATAID_TYPE_RUN`, without it in mode
/// `DATAID_TYPE`.
///
/// `data_id` contains the required dimensions in any order; they are sorted by name before hashing.
pub(crate) fn dataset_id(dataset_type: &str, run: Option<&str>, data_id: &[(&str, String)]) -> Uuid {
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
