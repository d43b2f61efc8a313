//! Plans: what a verb wants changed, and how a report tells what became of it.

use arrow::array::RecordBatch;

use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::model::time::Timespan;
use crate::registry::db::spill::SpillBuffer;
use crate::store::transfer::Transfer;

/// One change; those of a plan are applied together.
#[derive(Debug)]
pub enum Change {
    /// A collection to be made.
    Collection(String, CollectionType, Option<String>),
    /// A collection to be removed.
    RemoveCollection(String, CollectionType),
    /// A dataset type to be registered.
    DatasetType(DatasetType),
    /// Records of a dimension element to be inserted.
    Insert(String, SpillBuffer),
    /// Records of a dimension element to be replaced.
    Replace(String, SpillBuffer),
    /// Files to be brought into the datastore.
    Files(Vec<Transfer>),
    /// Moves whose files are in the datastore, as an earlier run left them: their sources to be removed.
    RemoveSources(Vec<Transfer>),
    /// Datasets of a type to be stored in a run.
    Datasets(String, String, SpillBuffer),
    /// File records of datasets of a type to be replaced.
    ReplaceFiles(String, SpillBuffer),
    /// Datasets of a type to be put into a TAGGED collection.
    Associate(String, String, SpillBuffer),
    /// A time to be taken out of the validity ranges of a type, for some data IDs or for all; how many ranges it hits.
    Decertify(String, String, Timespan, Option<RecordBatch>, u64),
    /// Memberships of a CALIBRATION or TAGGED collection whose datasets are known when the plan is applied:
    /// `dataset_id`, and for certifications their validity ranges.
    Join(String, CollectionType, SpillBuffer),
    /// Datasets of a type to be taken out of a TAGGED collection.
    Disassociate(String, String, Vec<String>),
    /// A chain that had these children to get these, at these positions.
    Chain(String, Vec<String>, Vec<(String, i64)>),
}

impl Change {
    /// The rows it writes, if it is made of rows.
    pub(in crate::repo) fn rows(&self) -> Option<&SpillBuffer> {
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

    /// How many things it changes.
    pub(in crate::repo) fn size(&self) -> u64 {
        match self {
            Self::Files(files) | Self::RemoveSources(files) => files.len() as u64,
            Self::Disassociate(_, _, ids) => ids.len() as u64,
            Self::Decertify(.., hit) => *hit,
            other => other.rows().map_or(1, |rows| rows.len() as u64),
        }
    }
}

/// What became of things of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// New.
    Inserted,
    /// There before, with other values.
    Updated,
    /// There before, as asked.
    Unchanged,
    /// Written to a file for others.
    Exported,
    /// Gone.
    Removed,
    /// Not possible.
    Failed,
}

impl Status {
    /// Its word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inserted => "inserted",
            Self::Updated => "updated",
            Self::Unchanged => "existing",
            Self::Exported => "exported",
            Self::Removed => "removed",
            Self::Failed => "failed",
        }
    }
}

/// A line of a report: the kind of thing, what became of it, which, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// The kind of thing: `collection`, `dataset`, a dimension element …
    pub kind: String,
    /// What became of it.
    pub status: Status,
    /// Which: a name, a dataset type, a file with the reason it failed.
    pub name: String,
    /// How many.
    pub count: u64,
}
