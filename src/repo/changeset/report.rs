//! The report of a procedure: what became of items of each kind.

use std::collections::BTreeMap;

/// Maximum number of names that a report lists per kind and status.
const MAX_NAMES: usize = 8;

/// What became of items of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
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
    pub(crate) fn word(self) -> &'static str {
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
pub(crate) struct ReportRow {
    /// Kind of item: `collection`, `dataset`, a dimension element, and others.
    pub kind: String,
    /// What became of the items.
    pub status: Status,
    /// Item: a name, a dataset type, or a file with the reason of its failure.
    pub name: String,
    /// Number of items.
    pub count: u64,
}

impl ReportRow {
    /// Creates a row.
    pub(crate) fn new(kind: &str, status: Status, name: impl Into<String>, count: u64) -> Self {
        Self { kind: kind.to_owned(), status, name: name.into(), count }
    }
}

/// A report that is being collected.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Counts by number of the kind, status and name.
    counts: BTreeMap<(usize, Status, String), u64>,
    kinds: Vec<String>,
}

impl Report {
    /// Adds a row. A row without items only determines the position of its kind.
    pub(super) fn add(&mut self, row: ReportRow) {
        let ReportRow { kind, status, name, count } = row;
        let at = self.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        });
        if count > 0 {
            *self.counts.entry((at, status, name)).or_default() += count;
        }
    }

    /// Removes all rows.
    pub(super) fn clear(&mut self) {
        self.counts.clear();
    }

    /// Returns the rows, ordered by the first occurrence of each kind. Many items of one kind and status are summed up
    /// in one row, unless they failed.
    pub(super) fn into_rows(self) -> Vec<ReportRow> {
        let mut groups: BTreeMap<(usize, Status), Vec<(String, u64)>> = BTreeMap::new();
        for ((at, status, name), count) in self.counts {
            groups.entry((at, status)).or_default().push((name, count));
        }
        let mut rows = Vec::new();
        for ((at, status), mut names) in groups {
            if names.len() > MAX_NAMES && status != Status::Failed {
                names = vec![(String::new(), names.iter().map(|(_, count)| count).sum())];
            }
            let kind = &self.kinds[at];
            rows.extend(names.into_iter().map(|(name, count)| ReportRow::new(kind, status, name, count)));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_summed_up_and_failures_are_listed() {
        let mut report = Report::default();
        report.add(ReportRow::new("visit", Status::Unchanged, "", 0));
        for name in 0..9 {
            report.add(ReportRow::new("dataset", Status::Inserted, format!("type{name}"), 2));
            report.add(ReportRow::new("raw", Status::Failed, format!("file{name}"), 1));
        }
        report.add(ReportRow::new("visit", Status::Inserted, "", 1));
        let rows = report.into_rows();
        assert_eq!(rows[0], ReportRow::new("visit", Status::Inserted, "", 1));
        assert_eq!(rows[1], ReportRow::new("dataset", Status::Inserted, "", 18));
        assert_eq!(rows[2..].iter().filter(|row| row.status == Status::Failed).count(), 9);
        assert_eq!(rows.len(), 11);
    }
}
