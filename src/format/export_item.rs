//! Items of an export file.

use uuid::Uuid;

use super::yaml_nodes::Node;
use crate::model::collection::CollectionType;
use crate::model::time::Timespan;

/// An item of an export file.
#[derive(Debug)]
pub enum Item {
    /// The dimension universe of the following items.
    Universe {
        /// Namespace of the universe.
        namespace: String,
        /// Version of the universe; 0 if the file does not give one.
        version: i64,
    },
    /// A dataset type to be registered.
    DatasetType {
        /// Name of the object to be registered.
        name: String,
        /// Required and implied dimensions, in any order.
        dimensions: Vec<String>,
        /// Name of the storage class.
        storage_class: String,
        /// Whether its datasets may be certified.
        is_calibration: bool,
    },
    /// A collection to be registered.
    Collection {
        /// Name of the object to be registered.
        name: String,
        /// Type of the collection.
        kind: CollectionType,
        /// Documentation string, if any.
        doc: Option<String>,
        /// Children of a CHAINED collection, in search order.
        children: Vec<String>,
    },
    /// The start of a block of dimension records.
    Element {
        /// The dimension element.
        element: String,
        /// Line in the file, from 1.
        line: usize,
    },
    /// A dimension record.
    Record {
        /// The dimension element.
        element: String,
        /// Line in the file, from 1.
        line: usize,
        /// Names and values of the fields.
        fields: Vec<(String, Node)>,
    },
    /// A file and the datasets stored in it.
    File(File),
    /// Datasets associated with a TAGGED collection, or certified in a CALIBRATION collection.
    Association {
        /// Name of the collection.
        collection: String,
        /// The validity range (CALIBRATION collections only).
        timespan: Option<Timespan>,
        /// Ids of the datasets.
        dataset_ids: Vec<Uuid>,
    },
}

/// A file and the datasets stored in it.
#[derive(Debug)]
pub struct File {
    /// Line in the file, from 1.
    pub line: usize,
    /// Name of the dataset type.
    pub dataset_type: String,
    /// Name of the RUN collection.
    pub run: String,
    /// Ids and data IDs of the datasets in the file.
    pub datasets: Vec<(Uuid, Vec<(String, Node)>)>,
    /// Path of the file, relative to the export folder or absolute.
    pub path: String,
    /// The formatter class, if given.
    pub formatter: Option<String>,
}
