//! The changes of an import, collected while the export file is read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray};

use super::Import;
use super::datasets::{Datasets, mark};
use super::migrate::Migration;
use super::records::Records;
use crate::error::{Error, Kind, Result};
use crate::format::export_item::{File, Item};
use crate::format::export_yaml::Export;
use crate::model::collection::{CollectionType, Collections};
use crate::model::dataset::DatasetType;
use crate::model::time::Timespan;
use crate::registry::collections;
use crate::registry::dataset_types::{self, TypeRecord, check_same};
use crate::registry::db::rows::record_batch;
use crate::registry::db::spill::SpillBuffer;
use crate::repo::Repo;
use crate::repo::changeset::ChangeSet;
use crate::repo::changeset::changes::{AddMembers, CreateCollection, CreateDatasetType, SetChildren};
use crate::repo::changeset::report::Status;
use crate::repo::ingest::incoming::{IncomingFile, RecordedFile};
use crate::repo::operations::collections::check;
use crate::repo::operations::dataset_types::{check_name, check_storage_class};
use crate::store::Location;

/// The changes of an import, collected while the file is read. Nothing is written before the end of the file.
pub(in crate::repo::operations) struct ImportPlan<'a> {
    task: &'a Import,
    repo: &'a Repo,
    there: Collections,
    migration: Migration,
    registered: Vec<TypeRecord>,
    new_types: Vec<DatasetType>,
    same_types: BTreeSet<String>,
    collections: Vec<(String, CollectionType, Option<String>, Vec<String>)>,
    records: Records<'a>,
    datasets: Datasets<'a>,
    joins: BTreeMap<String, Join>,
}

/// Memberships of one collection.
struct Join {
    kind: CollectionType,
    rows: SpillBuffer,
    waiting: Vec<(uuid::Uuid, Option<Timespan>)>,
}

impl<'a> ImportPlan<'a> {
    pub(in crate::repo::operations) async fn new(task: &'a Import, repo: &'a Repo) -> Result<Self> {
        Ok(Self {
            task,
            repo,
            there: collections::load(&repo.registry).await?,
            migration: Migration::default(),
            registered: dataset_types::load(&repo.registry).await?,
            new_types: Vec::new(),
            same_types: BTreeSet::new(),
            collections: Vec::new(),
            records: Records::new(repo, task.on_difference),
            datasets: Datasets::new(task, repo)?,
            joins: BTreeMap::new(),
        })
    }

    /// Adds an item of an input, which errors name. Datasets that precede their type are found in `file`.
    pub(in crate::repo::operations) async fn take(
        &mut self,
        item: Item,
        input: &str,
        file: Option<&Location>,
    ) -> Result<()> {
        let named = |e: Error| e.context(input);
        match item {
            Item::Universe { namespace, version } => {
                self.migration = Migration::new(self.repo, &namespace, version).await?;
                Ok(())
            }
            Item::DatasetType { name, dimensions, storage_class, is_calibration } => {
                self.declare(DatasetType { name, dimensions, storage_class, is_calibration }).map_err(named)
            }
            Item::Collection { name, kind, doc, children } => self.collection(name, kind, doc, children).map_err(named),
            Item::Record { element, line, fields } => {
                let migrated = self.migration.records(&element, line, &fields).map_err(named)?;
                for (element, fields) in migrated.unwrap_or_else(|| vec![(element, fields)]) {
                    if !self.task.skip_dimensions.contains(&element) {
                        self.records.take(&element, line, fields).await.map_err(named)?;
                    }
                }
                Ok(())
            }
            Item::Element { element, line } => {
                let known = self.repo.registry.universe.element(&element).map(|_| ());
                known.map_err(|e| named(e.context(format_args!("line {line}"))))
            }
            Item::File(found) => {
                if let Some(file) = file.filter(|_| !self.knows(&found)) {
                    self.look_ahead(file).await?;
                }
                let dataset_type = self.dataset_type(&found.dataset_type).map_err(named)?.clone();
                let record = self.registered.iter().find(|t| t.dataset_type.name == dataset_type.name);
                self.datasets.take(&dataset_type, record, found, None, &mut self.records).await.map_err(named)
            }
            Item::Association { collection, timespan, dataset_ids } => {
                let kind = if timespan.is_some() { CollectionType::Calibration } else { CollectionType::Tagged };
                let join = self.joins.entry(collection).or_insert_with(|| Join {
                    kind,
                    rows: SpillBuffer::default(),
                    waiting: Vec::new(),
                });
                if join.kind != kind {
                    let message = format!("a collection has associations as {} and as {kind}", join.kind);
                    return Err(named(Error::new(Kind::Conflict, message)));
                }
                join.waiting.extend(dataset_ids.into_iter().map(|id| (id, timespan)));
                join.flush(4096)
            }
        }
    }

    /// Adds a file of another repository, at a location.
    pub(in crate::repo::operations) async fn take_file(
        &mut self,
        file: File,
        location: Location,
        recorded: RecordedFile,
    ) -> Result<()> {
        let dataset_type = self.dataset_type(&file.dataset_type)?.clone();
        let record = self.registered.iter().find(|t| t.dataset_type.name == dataset_type.name);
        self.datasets.take(&dataset_type, record, file, Some((location, recorded)), &mut self.records).await
    }

    /// Adds dimension records of another repository, as rows of the table of an element.
    pub(in crate::repo::operations) async fn take_records(&mut self, element: &str, rows: RecordBatch) -> Result<()> {
        self.records.take_rows(element, rows).await
    }

    /// Adds datasets of another repository: rows of `dataset_id` and the dimensions, and their files.
    pub(in crate::repo::operations) async fn take_datasets(
        &mut self,
        name: &str,
        run: &str,
        rows: RecordBatch,
        files: Vec<IncomingFile>,
    ) -> Result<()> {
        let dataset_type = self.dataset_type(name)?.clone();
        let record = self.registered.iter().find(|t| t.dataset_type.name == name);
        self.datasets.take_rows(&dataset_type, record, run, (rows, files), &mut self.records).await
    }

    fn declare(&mut self, mut wanted: DatasetType) -> Result<()> {
        let dimensions = self.migration.dimensions(wanted.dimensions);
        wanted.dimensions = self.repo.registry.universe.group(&dimensions)?.required;
        check_name(&self.repo.registry.universe, &wanted.name)?;
        check_storage_class(self.repo, &wanted.storage_class)?;
        let registered = self.registered.iter().map(|t| &t.dataset_type);
        match registered.chain(&self.new_types).find(|t| t.name == wanted.name) {
            Some(there) => {
                check_same(&wanted, there)?;
                self.same_types.insert(wanted.name);
            }
            None => self.new_types.push(wanted),
        }
        Ok(())
    }

    fn collection(
        &mut self,
        name: String,
        kind: CollectionType,
        doc: Option<String>,
        children: Vec<String>,
    ) -> Result<()> {
        let declared = self.collections.iter().find(|c| c.0 == name).map(|c| c.1);
        if let Some(there) = self.there.find(&name).map(|c| c.kind).or(declared).filter(|there| *there != kind) {
            return Err(Error::new(Kind::Conflict, format!("collection '{name}' is {there}, not {kind}")));
        }
        match self.collections.iter_mut().find(|c| c.0 == name) {
            Some(twice) => twice.3 = children,
            None => self.collections.push((name, kind, doc, children)),
        }
        Ok(())
    }

    fn knows(&self, file: &File) -> bool {
        self.dataset_type(&file.dataset_type).is_ok()
    }

    fn dataset_type(&self, name: &str) -> Result<&DatasetType> {
        let all = || self.registered.iter().map(|t| &t.dataset_type).chain(&self.new_types);
        let found = all().find(|t| t.name == name);
        found.ok_or_else(|| Error::not_found("dataset type", name, all().map(|t| t.name.as_str())))
    }

    /// Declares all dataset types of the file, for datasets that precede their type.
    async fn look_ahead(&mut self, file: &Location) -> Result<()> {
        let types = read_again(file, |export| {
            let mut types = Vec::new();
            while let Some(item) = export.next_item()? {
                if let Item::DatasetType { name, dimensions, storage_class, is_calibration } = item {
                    types.push(DatasetType { name, dimensions, storage_class, is_calibration });
                }
            }
            Ok(types)
        });
        for wanted in types.await? {
            self.declare(wanted)?;
        }
        Ok(())
    }

    /// Checks that every id occurs only once in the file, by reading it again if hashes of ids are equal.
    pub(super) async fn check_ids(&mut self, file: &Location) -> Result<()> {
        let marks = self.datasets.take_twice();
        if marks.is_empty() {
            return Ok(());
        }
        let look = move |export: &mut Export<_>| {
            let mut seen = HashSet::new();
            while let Some(item) = export.next_item()? {
                let Item::File(File { datasets, line, .. }) = item else { continue };
                let mut ids = datasets.into_iter().map(|(id, _)| id).filter(|id| marks.contains(&mark(*id)));
                if let Some(id) = ids.find(|id| !seen.insert(*id)) {
                    return Err(Error::new(Kind::Conflict, format!("line {line}: dataset {id} occurs twice")));
                }
            }
            // For equal hashes of different ids, each hash has at least two ids.
            if seen.len() < 2 * marks.len() {
                return Err(Error::new(Kind::Conflict, "it was changed while it was read"));
            }
            Ok(())
        };
        read_again(file, look).await
    }

    pub(in crate::repo::operations) async fn finish(mut self) -> Result<ChangeSet<'static>> {
        let mut set = ChangeSet::default();
        for name in self.same_types.iter().filter(|name| self.new_types.iter().all(|t| t.name != **name)) {
            set.record("dataset_type", Status::Unchanged, name, 1);
        }
        set.extend(self.new_types.drain(..).map(CreateDatasetType));
        self.check_runs()?;
        let mut chains = Vec::new();
        for (name, kind, doc, children) in &self.collections {
            match self.there.find(name) {
                Some(_) => set.record("collection", Status::Unchanged, format!("{kind} {name}"), 1),
                None => set.push(CreateCollection { name: name.clone(), kind: *kind, doc: doc.clone() }),
            }
            if *kind == CollectionType::Chained {
                chains.extend(self.chain(name, children)?);
            }
        }
        set.extend(chains);
        self.datasets.flush(&mut self.records).await?;
        self.records.finish(&mut set).await?;
        self.datasets.finish(&mut set);
        for (collection, mut join) in std::mem::take(&mut self.joins) {
            self.check_join(&collection, join.kind)?;
            join.flush(1)?;
            set.push(AddMembers { collection, kind: join.kind, rows: join.rows });
        }
        Ok(set)
    }

    /// Checks that the runs of the datasets are in the file or in the registry.
    fn check_runs(&self) -> Result<()> {
        for run in self.datasets.runs() {
            let kind = self.collections.iter().find(|c| c.0 == *run).map(|c| c.1);
            match self.there.find(run).map(|c| c.kind).or(kind) {
                Some(kind) => check(run, kind, CollectionType::Run)?,
                None => return Err(Error::not_found("collection", run, self.names())),
            }
        }
        Ok(())
    }

    fn check_join(&self, name: &str, wanted: CollectionType) -> Result<()> {
        let declared = self.collections.iter().find(|c| c.0 == name).map(|c| c.1);
        match self.there.find(name).map(|c| c.kind).or(declared) {
            Some(kind) if kind == wanted => Ok(()),
            Some(kind) => Err(Error::new(Kind::Conflict, format!("collection '{name}' is {kind}, not {wanted}"))),
            None => Err(Error::not_found("collection", name, self.names())),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.there.iter().map(|c| c.name.as_str()).chain(self.collections.iter().map(|c| c.0.as_str()))
    }

    /// Returns the change that sets the children of a chain, or `None` if they do not change.
    fn chain(&self, name: &str, children: &[String]) -> Result<Option<SetChildren>> {
        let at = self.collections.iter().position(|c| c.0 == name).unwrap_or(usize::MAX);
        for child in children {
            // A chain that comes later in the file does not exist yet, as in the Butler.
            let declared = self.collections.iter().enumerate();
            let declared =
                declared.filter(|(i, c)| c.1 != CollectionType::Chained || *i < at).any(|(_, c)| c.0 == *child);
            if self.there.find(child).is_none() && !declared {
                let others = self.names().filter(|other| other != child);
                return Err(Error::not_found("collection", child, others).context(format_args!("chain '{name}'")));
            }
            if self.searches(child, name, at, &mut BTreeSet::new()) {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("adding '{child}' to chain '{name}' would create a cycle"),
                ));
            }
        }
        let expected = self.there.find(name).map(|c| c.children.clone()).unwrap_or_default();
        if expected == children {
            return Ok(None);
        }
        let children = children.iter().cloned().zip(0..).collect();
        Ok(Some(SetChildren { chain: name.to_owned(), expected, children }))
    }

    /// Returns true if `name` is `wanted` or searches it, after the first `before` collections of the file are created.
    fn searches<'s>(&'s self, name: &'s str, wanted: &str, before: usize, seen: &mut BTreeSet<&'s str>) -> bool {
        if name == wanted || !seen.insert(name) {
            return name == wanted;
        }
        let in_file = self.collections.iter().take(before).find(|c| c.0 == name && c.1 == CollectionType::Chained);
        let children = match in_file {
            Some(chain) => &chain.3[..],
            None => self.there.find(name).map_or(&[][..], |c| &c.children),
        };
        children.iter().any(|child| self.searches(child, wanted, before, seen))
    }
}

impl Join {
    /// Moves the waiting rows to the buffer if there are at least `least` of them.
    fn flush(&mut self, least: usize) -> Result<()> {
        if self.waiting.len() < least {
            return Ok(());
        }
        let ids: StringArray = self.waiting.iter().map(|(id, _)| Some(id.to_string())).collect();
        let mut columns = vec![("dataset_id", Arc::new(ids) as ArrayRef)];
        if self.kind == CollectionType::Calibration {
            let begins: TimestampNanosecondArray = self.waiting.iter().map(|(_, t)| t.map(|t| t.begin)).collect();
            let ends: TimestampNanosecondArray = self.waiting.iter().map(|(_, t)| t.map(|t| t.end)).collect();
            columns.push(("timespan_begin", Arc::new(begins)));
            columns.push(("timespan_end", Arc::new(ends)));
        }
        self.waiting.clear();
        self.rows.push(record_batch(columns)?)
    }
}

/// Reads an export file again.
async fn read_again<T: Send + 'static>(
    file: &Location,
    look: impl FnOnce(&mut Export<std::fs::File>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let opened = file.open().await?;
    let reading = tokio::task::spawn_blocking(move || look(&mut Export::new(opened)));
    let found = reading.await.map_err(|e| Error::bug(format!("reading an export file: {e}")))?;
    found.map_err(|e| e.context(format_args!("export file '{}'", file.display())))
}
