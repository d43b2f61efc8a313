//! The dimension records of an export file, compared with the registry.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;

use crate::error::{Error, Kind, Result};
use crate::format::export_blocks::{checked, instant, region, timespan};
use crate::format::yaml_nodes::Node;
use crate::registry::db::rows::{BATCH, BatchBuilder, ColumnBuilder};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions::table;
use crate::registry::schema::{ColumnType, ReadColumn, TableDef};
use crate::repo::Repo;
use crate::repo::changeset::ChangeSet;
use crate::repo::changeset::changes::WriteRecords;
use crate::repo::changeset::comparison::{Comparison, compare, conflict, find_duplicates, select};
use crate::repo::changeset::report::Status;
use crate::repo::ingest::file_paths::PendingRecords;

/// What happens to an existing dimension record that has other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDifference {
    /// It is kept and reported.
    Keep,
    /// It is replaced.
    Update,
    /// The operation fails.
    Fail,
}

impl OnDifference {
    /// Parses `keep`, `update` or `error`.
    ///
    /// # Errors
    /// `Kind::NotFound` for another word.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match name {
            "keep" => Ok(Self::Keep),
            "update" => Ok(Self::Update),
            "error" => Ok(Self::Fail),
            other => Err(Error::not_found("on_conflict mode", other, ["keep", "update", "error"])),
        }
    }
}

/// The records of all elements.
pub(in crate::repo) struct Records<'a> {
    repo: &'a Repo,
    on_difference: OnDifference,
    elements: HashMap<String, Element>,
}

/// The records of one element.
struct Element {
    table: TableDef,
    columns: Vec<ReadColumn>,
    /// Key column, which export files may also name after the dimension.
    key: Option<String>,
    gather: BatchBuilder,
    new: SpillBuffer,
    /// Records that replace existing ones.
    changed: SpillBuffer,
    same: u64,
    differing: u64,
    example: String,
}

impl<'a> Records<'a> {
    pub(in crate::repo) fn new(repo: &'a Repo, on_difference: OnDifference) -> Self {
        Self { repo, on_difference, elements: HashMap::new() }
    }

    /// Adds a record.
    pub(super) async fn take(&mut self, name: &str, line: usize, fields: Vec<(String, Node)>) -> Result<()> {
        let (repo, on_difference) = (self.repo, self.on_difference);
        let element = self.element(name).map_err(|e| e.context(format_args!("line {line}")))?;
        element.push(name, line, fields)?;
        if element.gather.rows() == BATCH {
            element.flush(name, repo, on_difference).await?;
        }
        Ok(())
    }

    /// Adds records, as rows of the table of an element.
    pub(super) async fn take_rows(&mut self, name: &str, rows: RecordBatch) -> Result<()> {
        let (repo, on_difference) = (self.repo, self.on_difference);
        self.element(name)?.add(name, repo, on_difference, rows).await
    }

    /// The records of an element; none at first.
    fn element(&mut self, name: &str) -> Result<&mut Element> {
        let new = match self.elements.entry(name.to_owned()) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(new) => new,
        };
        let table = table(&self.repo.registry, name)?;
        let columns = table.read_columns();
        let key = self.repo.registry.universe.element(name)?.key.as_ref().map(|k| k.name.clone());
        let gather = BatchBuilder::new(&columns);
        Ok(new.insert(Element {
            table,
            columns,
            key,
            gather,
            new: SpillBuffer::default(),
            changed: SpillBuffer::default(),
            same: 0,
            differing: 0,
            example: String::new(),
        }))
    }

    /// Returns the new records so far, by element.
    pub(super) async fn planned(&mut self) -> Result<PendingRecords<'_>> {
        for (name, element) in &mut self.elements {
            element.flush(name, self.repo, self.on_difference).await?;
        }
        Ok(self.elements.iter().map(|(name, element)| (name.as_str(), &element.new)).collect())
    }

    /// Adds the changes for new records to a change set, in the order of the universe.
    pub(super) async fn finish(&mut self, set: &mut ChangeSet<'_>) -> Result<()> {
        for element in self.repo.registry.universe.tables() {
            let name = &element.name;
            let Some(mut found) = self.elements.remove(name) else { continue };
            found.flush(name, self.repo, self.on_difference).await?;
            set.record(name, Status::Unchanged, "", found.same);
            let kept = format!("kept, though the source has other values ({})", found.example);
            set.record(name, Status::Unchanged, kept, found.differing);
            if !found.new.is_empty() {
                set.push(WriteRecords::insert(name, found.new));
            }
            if !found.changed.is_empty() {
                set.push(WriteRecords::replace(name, found.changed));
            }
        }
        Ok(())
    }
}

impl Element {
    fn push(&mut self, name: &str, line: usize, mut fields: Vec<(String, Node)>) -> Result<()> {
        for (field, _) in &mut fields {
            if let (true, Some(key)) = (field == name, &self.key) {
                field.clone_from(key);
            }
        }
        let mut span = None;
        let mut ends = [None, None];
        let mut values: BTreeMap<String, Node> = BTreeMap::new();
        for (field, node) in fields {
            match field.as_str() {
                "timespan" if node.is_null() => {}
                "timespan" => span = Some(timespan(node)?),
                "datetime_begin" => ends[0] = Some(node),
                "datetime_end" => ends[1] = Some(node),
                _ => drop(values.insert(field, node)),
            }
        }
        match ends {
            // A null bound is unbounded; a null timespan is NULL.
            [Some(begin), Some(end)] if span.is_none() => {
                span = Some(checked(line, instant(&begin)?, instant(&end)?)?);
            }
            [None, None] => {}
            [Some(_), Some(_)] => {
                let message = format!("line {line}: a record of '{name}' has both timespan and datetime_begin");
                return Err(Error::invalid(message));
            }
            _ => {
                let message =
                    format!("line {line}: a record of '{name}' has only one of datetime_begin and datetime_end");
                return Err(Error::invalid(message));
            }
        }
        for (column, cell) in self.columns.iter().zip(self.gather.columns()) {
            let at = |e: Error| e.context(format_args!("field '{}'", column.name));
            match (values.remove(&column.name), column.name.as_str(), span) {
                (Some(node), ..) if !node.is_null() => fill(cell, node).map_err(at)?,
                (None, "timespan_begin", Some(span)) => cell.int(span.begin),
                (None, "timespan_end", Some(span)) => cell.int(span.end),
                _ if !column.nullable => {
                    let message = format!("line {line}: a record of '{name}' has no value for '{}'", column.name);
                    return Err(Error::invalid(message));
                }
                _ => cell.null(),
            }
        }
        if let Some((field, _)) = values.first_key_value() {
            let names = self.columns.iter().map(|c| c.name.as_str());
            let error = Error::not_found(&format!("field of '{name}'"), field, names);
            return Err(error.context(format_args!("line {line}")));
        }
        self.gather.end_row();
        Ok(())
    }

    async fn flush(&mut self, name: &str, repo: &Repo, on_difference: OnDifference) -> Result<()> {
        if self.gather.rows() == 0 {
            return Ok(());
        }
        let rows = self.gather.take()?;
        self.add(name, repo, on_difference, rows).await
    }

    /// Compares records with the registry.
    async fn add(&mut self, name: &str, repo: &Repo, on_difference: OnDifference, rows: RecordBatch) -> Result<()> {
        let statuses = compare(&repo.registry, &self.table, &rows).await?;
        for status in &statuses {
            match status {
                Comparison::New => {}
                Comparison::Unchanged => self.same += 1,
                Comparison::Differs(how) if on_difference == OnDifference::Fail => return Err(conflict(name, how)),
                Comparison::Differs(_) if on_difference == OnDifference::Update => {}
                Comparison::Differs(how) => {
                    if self.differing == 0 {
                        self.example.clone_from(how);
                    }
                    self.differing += 1;
                }
            }
        }
        if on_difference == OnDifference::Update {
            let changed = select(&rows, &statuses, |s| matches!(s, Comparison::Differs(_)))?;
            if changed.num_rows() > 0 {
                if find_duplicates(&self.table, &changed)?.iter().any(Option::is_some) {
                    let message = format!("two records of '{name}' have the same key, but other values");
                    return Err(Error::new(Kind::Conflict, message));
                }
                self.changed.push(changed)?;
            }
        }
        let new = select(&rows, &statuses, |s| *s == Comparison::New)?;
        if new.num_rows() > 0 { self.new.push(new) } else { Ok(()) }
    }
}

/// Appends a value that is not null to a column.
pub(super) fn fill(cell: &mut ColumnBuilder, node: Node) -> Result<()> {
    match cell.kind() {
        ColumnType::Text(_) | ColumnType::Uuid => cell.text(node.text()?.as_bytes())?,
        ColumnType::Int | ColumnType::Small => cell.int(node.int()?),
        ColumnType::Float => cell.float(node.float()?),
        ColumnType::Bool => cell.int(i64::from(node.bool()?)),
        ColumnType::Time | ColumnType::UtcTime | ColumnType::Span => cell.int(node.time()?),
        ColumnType::Bytes if node.tag.as_deref().is_some_and(|tag| tag.ends_with("binary")) => {
            let digits: String = node.text()?.split_whitespace().collect();
            cell.text(digits.as_bytes()).map_err(|_| node.wrong("there should be base64"))?;
        }
        ColumnType::Bytes => cell.bytes(&region(node)?),
    }
    Ok(())
}
