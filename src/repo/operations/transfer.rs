//! `transfer`: copies datasets from another repository, with the records that they need.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::format::export_item::Item;
use crate::model::collection::{Collection, CollectionType};
use crate::model::zip_member;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::file_records::{StoredFile, stored_files};
use crate::registry::{collections, datasets, string_values};
use crate::repo::Repo;
use crate::repo::changeset::changes::SelectedDatasets;
use crate::repo::changeset::comparison::filter_rows;
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{Operation, Plan, PlanContext};
use crate::repo::ingest::file_sizes::sizes;
use crate::repo::ingest::incoming::{IncomingFile, RecordedFile};
use crate::repo::operations::copy_collection::memberships;
use crate::repo::operations::import::plan::ImportPlan;
use crate::repo::operations::import::{Import, OnDifference};
use crate::repo::selection::{collections_of, dimension_records, select_datasets};
use crate::store::Location;
use crate::store::transfer_mode::TransferMode;

/// Copies datasets from another repository.
#[derive(Debug)]
pub(crate) struct TransferDatasets {
    /// The other repository: the name of an attached one, or its location.
    pub from: String,
    /// Collections of the other repository whose datasets are copied.
    pub collections: Vec<String>,
    /// How files are transferred.
    pub transfer: TransferMode,
    /// True to register dataset types that do not exist.
    pub register_dataset_types: bool,
    /// True to copy dimension records that do not exist.
    pub transfer_dimensions: bool,
    /// True to copy tags, validity ranges and chains.
    pub associations: bool,
}

#[async_trait]
impl Operation for TransferDatasets {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let source = context.handle.source(&self.from).repo().await.map_err(|e| self.named(e))?;
        check_universes(&source, &repo).map_err(|e| self.named(e))?;
        source.registry.check_files().map_err(|e| self.named(e))?;
        let ids = match context.rows {
            Some(rows) => read_texts(Some(rows), "dataset_id").await?,
            None => Vec::new(),
        };
        let selected = select_datasets(&source, &ids, &self.collections).await.map_err(|e| self.named(e))?;
        let total = selected.iter().map(|one| one.rows.len() as u64).sum();
        context.progress.begin("transfer", Some(total));
        let task = self.import(&repo);
        let input = format!("repository '{}'", self.from);
        let mut plan = ImportPlan::new(&task, &repo).await?;
        self.add_types(&repo, &selected, &mut plan, &input).await?;
        let known = collections::load(&source.registry).await?;
        let requested = if self.associations { &self.collections[..] } else { &[] };
        let mut wanted = collections_of(&known, &selected, requested)?;
        if self.associations && requested.is_empty() {
            let is_kept = |c: &&Collection| matches!(c.kind, CollectionType::Tagged | CollectionType::Calibration);
            wanted.extend(known.iter().filter(is_kept).cloned());
        }
        if self.transfer_dimensions {
            for (table, rows) in dimension_records(&source, &selected, true).await? {
                plan.take_records(&table.name, rows).await.map_err(|e| e.context(&input))?;
            }
        }
        let (mut unstored, mut missing) = (0, Vec::new());
        let mut copied = HashSet::new();
        for SelectedDatasets { record, rows } in &selected {
            for batch in rows.batches()? {
                let batch = batch?;
                context.progress.tick(batch.num_rows() as u64, 0);
                let found = self.files(&source, &batch).await.map_err(|e| self.named(e))?;
                unstored += found.unstored;
                missing.extend(found.missing);
                copied.extend(datasets::ids(&found.rows, "dataset_id")?);
                add_datasets(&mut plan, record, found.rows, found.files).await.map_err(|e| e.context(&input))?;
            }
        }
        for collection in wanted {
            self.add_collection(&source, &selected, &copied, collection, &mut plan, &input).await?;
        }
        let mut set = plan.finish().await.map_err(|e| e.context(&input))?;
        set.record("dataset", Status::Absent, "not stored in the other repository", unstored);
        if let Some(first) = missing.first() {
            let name = format!("file '{first}' does not exist");
            set.record("dataset", Status::Absent, name, missing.len() as u64);
        }
        set.set_input(input);
        Ok(set.into_plan())
    }
}

/// The datasets of a batch that can be copied.
struct Found {
    /// Their rows.
    rows: RecordBatch,
    /// The file of each row.
    files: Vec<IncomingFile>,
    /// Number of datasets that are not stored.
    unstored: u64,
    /// Files that do not exist.
    missing: Vec<String>,
}

impl TransferDatasets {
    fn named(&self, error: Error) -> Error {
        error.context(format_args!("repository '{}'", self.from))
    }

    /// Returns the options of the import that writes what is read from the other repository.
    fn import(&self, repo: &Repo) -> Import {
        Import {
            directory: repo.datastore_root(),
            export_file: String::new(),
            transfer: self.transfer,
            skip_dimensions: Vec::new(),
            track_file_attrs: true,
            without_datastore: false,
            on_difference: OnDifference::Keep,
        }
    }

    async fn add_types(
        &self,
        repo: &Repo,
        selected: &[SelectedDatasets],
        plan: &mut ImportPlan<'_>,
        input: &str,
    ) -> Result<()> {
        let registered = dataset_types::load(&repo.registry).await?;
        for SelectedDatasets { record, .. } in selected {
            let wanted = record.dataset_type.clone();
            if !self.register_dataset_types && registered.iter().all(|known| known.dataset_type.name != wanted.name) {
                let message = format!(
                    "dataset type '{}' is not registered: register it, or set register_dataset_types => true",
                    wanted.name
                );
                return Err(Error::new(Kind::NotFound, message));
            }
            let (name, dimensions, storage_class) = (wanted.name, wanted.dimensions, wanted.storage_class);
            let item = Item::DatasetType { name, dimensions, storage_class, is_calibration: wanted.is_calibration };
            plan.take(item, input, None).await?;
        }
        Ok(())
    }

    /// Returns the datasets whose files exist, as the Butler of version 29 transfers them.
    async fn files(&self, source: &Repo, batch: &RecordBatch) -> Result<Found> {
        let root = Location::parse(&source.datastore_root())?;
        let ids = datasets::ids(batch, "dataset_id")?;
        let stored = stored_files(&source.registry, &ids).await?;
        let mut files: Vec<Option<IncomingFile>> = Vec::with_capacity(ids.len());
        for id in &ids {
            files.push(stored.get(id).map(|file| self.incoming(&root, file)).transpose()?);
        }
        let paths =
            || files.iter().flatten().filter_map(|file| file.recorded.as_ref()).map(|file| file.path.as_deref());
        let is_member = |path: Option<&str>| path.is_some_and(|path| zip_member::archive(path).is_some());
        if paths().any(|path| path.is_none()) && paths().any(is_member) {
            let message = "files outside of the datastore and members of archives are not copied together: \
                           use transfer => 'auto'";
            return Err(Error::new(Kind::Unsupported, message));
        }
        let unstored = files.iter().filter(|file| file.is_none()).count() as u64;
        let locations = files.iter().enumerate().filter_map(|(row, file)| Some((row, file.as_ref()?.location.clone())));
        let mut missing = Vec::new();
        for (row, size) in sizes(locations.collect()).await? {
            if size.is_none() {
                missing.extend(files[row].take().map(|file| file.location.display()));
            }
        }
        let rows = filter_rows(batch, files.iter().map(Option::is_some))?;
        Ok(Found { rows, files: files.into_iter().flatten().collect(), unstored, missing })
    }

    fn incoming(&self, root: &Location, file: &StoredFile) -> Result<IncomingFile> {
        let (archive, member) = zip_member::split(&file.path);
        let is_outside = archive.contains("://");
        let location = if is_outside { Location::parse(archive)? } else { root.inside(archive)? };
        // A file outside of the datastore stays there, unless it is copied explicitly.
        let path = (!is_outside || self.transfer == TransferMode::Auto).then(|| file.path.clone());
        if member.is_some() && self.transfer != TransferMode::Auto && is_outside {
            let message = format!(
                "archive '{}' is outside of the datastore, and is not copied: use transfer => 'auto'",
                location.display()
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        let recorded = Some(RecordedFile {
            path,
            size: file.size,
            storage_class: file.storage_class.clone(),
            checksum: file.checksum.clone(),
        });
        Ok(IncomingFile { location, formatter: Arc::from(&*file.formatter), recorded })
    }

    /// Adds a collection, and with associations its members among the copied datasets.
    async fn add_collection(
        &self,
        source: &Repo,
        selected: &[SelectedDatasets],
        copied: &HashSet<String>,
        collection: Collection,
        plan: &mut ImportPlan<'_>,
        input: &str,
    ) -> Result<()> {
        let Collection { name, kind, doc, children, .. } = collection;
        let mut associations = Vec::new();
        if matches!(kind, CollectionType::Tagged | CollectionType::Calibration) {
            for SelectedDatasets { record, .. } in selected {
                let is_copied = |id: &str| copied.contains(id);
                associations.extend(memberships(source, record, (&name, kind), &name, is_copied).await?);
            }
        }
        // Without a choice of collections, only those that hold datasets are copied.
        let is_chosen = !self.collections.is_empty() || kind == CollectionType::Run;
        if associations.is_empty() && !is_chosen {
            return Ok(());
        }
        plan.take(Item::Collection { name, kind, doc, children }, input, None).await?;
        for association in associations {
            plan.take(association, input, None).await?;
        }
        Ok(())
    }
}

/// Checks that both repositories have the same dimensions.
fn check_universes(source: &Repo, repo: &Repo) -> Result<()> {
    let [there, here] = [source, repo].map(|repo| &repo.registry.universe);
    if (&there.namespace, there.version) == (&here.namespace, here.version) {
        return Ok(());
    }
    let message = format!(
        "its dimension universe is {} {}, and that of this repository {} {}: use export and import",
        there.namespace, there.version, here.namespace, here.version
    );
    Err(Error::new(Kind::Unsupported, message))
}

/// Adds datasets of one type, ordered by run.
async fn add_datasets(
    plan: &mut ImportPlan<'_>,
    record: &TypeRecord,
    rows: RecordBatch,
    files: Vec<IncomingFile>,
) -> Result<()> {
    let data_id = record.dataset_type.dimensions.len() + 1;
    let runs = string_values(&rows, data_id);
    let rows = rows.project(&(0..data_id).collect::<Vec<_>>())?;
    let mut files = files.into_iter();
    let mut start = 0;
    for part in runs.chunk_by(|a, b| a == b) {
        let some = files.by_ref().take(part.len()).collect();
        plan.take_datasets(&record.dataset_type.name, &part[0], rows.slice(start, part.len()), some).await?;
        start += part.len();
    }
    Ok(())
}
