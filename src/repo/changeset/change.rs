//! Changes, and the report rows that describe them.

use arrow::array::RecordBatch;

use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::model::time::Timespan;
use crate::registry::db::spill::SpillBuffer;
use crate::store::transfer::Transfer;

/// A change. The changes of a change set are applied together.
#[derive(Debug)]
pub enum Change {
    /// Creates a collection with a documentation.
    Collection(String, CollectionType, Option<String>),
    /// Removes a collection.
    RemoveCollection(String, CollectionType),
    /// Registers a dataset type.
    DatasetType(DatasetType),
    /// Inserts records of a dimension element.
    Insert(String, SpillBuffer),
    /// Replaces records of a dimension element.
    Replace(String, SpillBuffer),
    /// Transfers files into the datastore.
    Files(Vec<Transfer>),
    /// Removes the sources of moves that an earlier run has not finished.
    RemoveSources(Vec<Transfer>),
    /// Inserts datasets of a type into a run.
    Datasets(String, String, SpillBuffer),
    /// Replaces the file records of datasets of a type.
    ReplaceFiles(String, SpillBuffer),
    /// Adds datasets of a type to a TAGGED collection.
    Associate(String, String, SpillBuffer),
    /// Removes a timespan from the validity ranges of a type in a collection, for some data IDs or for all. The last
    /// field is the number of affected ranges.
    Decertify(String, String, Timespan, Option<RecordBatch>, u64),
    /// Adds datasets to a CALIBRATION or TAGGED collection by id, which are looked up when the change is applied:
    /// `dataset_id`, and for certifications the validity range.
    Join(String, CollectionType, SpillBuffer),
    /// Removes datasets of a type from a TAGGED collection.
    Disassociate(String, String, Vec<String>),
    /// Replaces the children of a chain: name, expected children, new children with positions.
    Chain(String, Vec<String>, Vec<(String, i64)>),
}

impl Change {
    /// Returns the rows that it writes, if any.
    pub(super) fn rows(&self) -> Option<&SpillBuffer> {
        match self {
            Self::Insert(_, rows)
            | Self::Replace(_, rows)
            | Self::Datasets(_, _, rows)
            | Self::ReplaceFiles(_, rows)
            | Self::Associate(_, _, rows)
            | Self::Join(_, _, rows) => Some(rows),
            _ => None,
        }
    }

    /// Returns the number of items that it changes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Files(files) | Self::RemoveSources(files) => files.len() as u64,
            Self::Disassociate(_, _, ids) => ids.len() as u64,
            Self::Decertify(.., hit) => *hit,
            other => other.rows().map_or(1, |rows| rows.len() as u64),
        }
    }
}

/// What became of items of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The item is new.
    Inserted,
    /// The item existed with other values, which were replaced.
    Updated,
    /// The item existed with the same values.
    Unchanged,
    /// The item was written to an export file.
    Exported,
    /// The item was removed.
    Removed,
    /// The item to be removed does not exist.
    Absent,
    /// The item could not be processed.
    Failed,
}

impl Status {
    /// Returns the word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inserted => "inserted",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Exported => "exported",
            Self::Removed => "removed",
            Self::Absent => "absent",
            Self::Failed => "failed",
        }
    }
}

/// A row of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// Kind of item: `collection`, `dataset`, a dimension element, and others.
    pub kind: String,
    /// What became of the items.
    pub status: Status,
    /// Item: a name, a dataset type, or a file with the reason of its failure.
    pub name: String,
    /// Number of items.
    pub count: u64,
}
