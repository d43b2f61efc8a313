//! The index of a zip archive of datasets, as `butler retrieve-artifacts --zip` writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::dataset::NAMESPACE;

/// The name of the member of an archive, or of the file in a folder, that is the index.
pub(crate) const INDEX_FILE: &str = "_butler_zip_index.json";

/// An index: datasets, and the files that hold them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ZipIndex {
    #[serde(default = "first_version")]
    index_version: String,
    /// The datasets.
    pub refs: IndexedDatasets,
    /// The files, by their names in the archive.
    pub artifact_map: BTreeMap<String, IndexedFile>,
}

/// The datasets of an index.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IndexedDatasets {
    #[serde(default = "first_version")]
    container_version: String,
    /// Version of the dimension universe.
    pub universe_version: i64,
    /// Namespace of the dimension universe.
    pub universe_namespace: String,
    /// Dataset types, by name.
    pub dataset_types: BTreeMap<String, IndexedType>,
    /// Datasets, by id.
    pub compact_refs: BTreeMap<Uuid, IndexedDataset>,
    /// Dimension records, by element: values in the order of the columns of its table.
    pub dimension_records: Option<BTreeMap<String, Vec<Vec<Value>>>>,
}

/// A dataset type.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IndexedType {
    /// Name.
    pub name: String,
    /// Name of the storage class.
    #[serde(rename = "storageClass")]
    pub storage_class: String,
    /// Required dimensions.
    pub dimensions: Vec<String>,
    #[serde(default, rename = "parentStorageClass")]
    parent_storage_class: Option<String>,
    /// Whether its datasets can be certified.
    #[serde(default, rename = "isCalibration")]
    pub is_calibration: bool,
}

/// A dataset.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IndexedDataset {
    /// Name of its type.
    pub dataset_type_name: String,
    /// RUN collection.
    pub run: String,
    /// Values of the required and implied dimensions.
    pub data_id: Map<String, Value>,
}

/// A file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IndexedFile {
    /// Its record in the datastore.
    pub info: FileInfo,
    /// The ids of its datasets.
    pub ids: Vec<Uuid>,
}

/// The record of a file in a datastore.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FileInfo {
    /// Formatter class.
    pub formatter: String,
    /// Path in the datastore that the file comes from.
    pub path: String,
    /// Name of the storage class.
    pub storage_class: String,
    /// Component that the file holds; `None` for whole datasets.
    pub component: Option<String>,
    /// Checksum.
    pub checksum: Option<String>,
    /// Size in bytes.
    pub file_size: i64,
}

fn first_version() -> String {
    "V1".to_owned()
}

impl IndexedType {
    /// A dataset type that is not a component.
    pub(crate) fn new(name: &str, storage_class: &str, dimensions: Vec<String>, is_calibration: bool) -> Self {
        let (name, storage_class) = (name.to_owned(), storage_class.to_owned());
        Self { name, storage_class, dimensions, parent_storage_class: None, is_calibration }
    }
}

impl ZipIndex {
    /// An index without datasets, for a dimension universe.
    pub(crate) fn new(namespace: &str, version: i64) -> Self {
        let refs = IndexedDatasets {
            container_version: first_version(),
            universe_version: version,
            universe_namespace: namespace.to_owned(),
            dataset_types: BTreeMap::new(),
            compact_refs: BTreeMap::new(),
            dimension_records: Some(BTreeMap::new()),
        };
        Self { index_version: first_version(), refs, artifact_map: BTreeMap::new() }
    }

    /// Parses an index.
    ///
    /// # Errors
    /// `Kind::Invalid` for another document, or for files of datasets that it does not have.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: String| Error::invalid(format!("'{INDEX_FILE}' is not an index of datasets: {what}"));
        let index: Self = serde_json::from_slice(bytes).map_err(|e| wrong(e.to_string()))?;
        for (name, version) in [("index", &index.index_version), ("container", &index.refs.container_version)] {
            if *version != first_version() {
                return Err(wrong(format!("the version of the {name} is '{version}', not V1")));
            }
        }
        for (name, file) in &index.artifact_map {
            let unknown = file.ids.iter().find(|id| !index.refs.compact_refs.contains_key(id));
            if let Some(id) = unknown {
                return Err(wrong(format!("dataset {id} of file '{name}' is missing")));
            }
            if file.info.component.is_some() {
                return Err(wrong(format!("file '{name}' holds a component, which is not supported")));
            }
        }
        for (id, dataset) in &index.refs.compact_refs {
            let name = &dataset.dataset_type_name;
            if !index.refs.dataset_types.contains_key(name) {
                return Err(wrong(format!("dataset type '{name}' of dataset {id} is missing")));
            }
        }
        Ok(index)
    }

    /// Returns the index as JSON.
    ///
    /// # Errors
    /// None for the values that an index can have.
    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::bug(format!("the index of datasets: {e}")))
    }

    /// Returns the name of the archive, which follows from the names of its files.
    pub(crate) fn archive_name(&self) -> String {
        let names: Vec<&str> = self.artifact_map.keys().map(String::as_str).collect();
        format!("{}.zip", Uuid::new_v5(&NAMESPACE, names.join(",").as_bytes()))
    }

    /// Returns the path of the archive below the root of a datastore.
    pub(crate) fn archive_path(&self) -> String {
        let name = self.archive_name();
        format!("zips/{}/{name}", &name[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_indexes_are_one_sentence() {
        let index = |file: &str| {
            format!(
                r#"{{"index_version":"V1","refs":{{"container_version":"V1","universe_version":7,
                "universe_namespace":"daf_butler","dataset_types":{{}},"compact_refs":{{}},"dimension_records":null}},
                "artifact_map":{{{file}}}}}"#
            )
        };
        assert_eq!(ZipIndex::parse(index("").as_bytes()).unwrap().refs.universe_version, 7);
        let info = r#"{"formatter":"f","path":"p","storage_class":"s","component":null,"checksum":null,"file_size":1}"#;
        let file = format!(r#""a":{{"info":{info},"ids":["3ba6b800-35c8-5a70-9d9a-bb258c6fffca"]}}"#);
        for (text, message) in [
            ("{}".to_owned(), "missing field `refs`"),
            (index("").replacen("\"V1\"", "\"V2\"", 1), "the version of the index is 'V2', not V1"),
            (index(&file), "dataset 3ba6b800-35c8-5a70-9d9a-bb258c6fffca of file 'a' is missing"),
        ] {
            let error = ZipIndex::parse(text.as_bytes()).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
    }
}
