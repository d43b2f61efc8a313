//! `retrieve`: copies the files of datasets out of the datastore, with an index of what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::format::zip_index::{FileInfo, INDEX_FILE, IndexedDataset, IndexedFile, IndexedType, ZipIndex};
use crate::model::zip_member;
use crate::registry::dataset_queries::columns;
use crate::registry::file_records::{StoredFile, stored_files};
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{SelectedDatasets, WriteArtifacts};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::selection::{dimension_records, select_datasets};
use crate::repo::sidecars::{RecordIndex, json_value, record_values};
use crate::store::transfer_mode::TransferMode;
use crate::store::{Location, archive};

/// Copies the files of datasets into a folder or a zip archive.
#[derive(Debug)]
pub(crate) struct Retrieve {
    /// The folder; created if it does not exist.
    pub directory: String,
    /// Collections whose datasets are retrieved.
    pub collections: Vec<String>,
    /// How files are transferred into the folder.
    pub transfer: TransferMode,
    /// True to keep the paths of the datastore below the folder.
    pub preserve_path: bool,
    /// True to replace existing files.
    pub clobber: bool,
    /// True to write one zip archive instead of files.
    pub zip: bool,
}

/// A file that is retrieved.
#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    /// The file, or the archive that holds it.
    pub location: Location,
    /// The name of the member, if the file is in an archive.
    pub member: Option<String>,
    /// Its name in the target.
    pub name: String,
}

#[async_trait]
impl Operation for Retrieve {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        repo.registry.check_files()?;
        let directory = Location::parse(&self.directory)?;
        let root = Location::parse(&repo.datastore_root())?;
        if directory == root || directory.strip_prefix(&root).is_some() {
            return Err(Error::invalid(format!("folder '{}' is in the datastore", directory.display())));
        }
        let ids = match context.rows {
            Some(rows) => read_texts(Some(rows), "dataset_id").await?,
            None => Vec::new(),
        };
        let selected = select_datasets(&repo, &ids, &self.collections).await?;
        context.progress.begin("retrieve", Some(selected.iter().map(|one| one.rows.len() as u64).sum()));
        let (artifacts, index) = self.artifacts(&repo, (&root, &directory), &selected).await?;
        let mut set = ChangeSet::default();
        if artifacts.is_empty() {
            return Ok(set.into_plan());
        }
        let (transfer, clobber, zip) = (self.transfer, self.clobber, self.zip);
        let change = WriteArtifacts { directory, artifacts, index, transfer, clobber, zip };
        set.push(Change::Standalone(Box::new(change)));
        Ok(set.into_plan())
    }
}

impl Retrieve {
    /// Returns the files of datasets, each once, and their index.
    async fn artifacts(
        &self,
        repo: &Repo,
        (root, directory): (&Location, &Location),
        selected: &[SelectedDatasets],
    ) -> Result<(Vec<Artifact>, ZipIndex)> {
        let universe = &repo.registry.universe;
        let mut index = ZipIndex::new(&universe.namespace, universe.version);
        let mut namer = Namer { task: self, root, archives: BTreeMap::new() };
        let mut artifacts: BTreeMap<String, Artifact> = BTreeMap::new();
        let records = dimension_records(repo, selected, false).await?;
        let writers = RecordIndex::new(universe, &records)?;
        for one in selected {
            let kind = &one.record.dataset_type;
            let indexed =
                IndexedType::new(&kind.name, &kind.storage_class, kind.dimensions.clone(), kind.is_calibration);
            index.refs.dataset_types.insert(kind.name.clone(), indexed);
            let writer = writers.writer(&one.record)?;
            let columns = columns(&one.record);
            for batch in one.rows.batches()? {
                let batch = batch?;
                let run_at = kind.dimensions.len() + 1;
                let (ids, runs) = (string_values(&batch, 0), string_values(&batch, run_at));
                let stored = stored_files(&repo.registry, &ids).await?;
                for (row, id) in ids.iter().enumerate() {
                    let file = stored.get(id).ok_or_else(|| {
                        let message = format!("dataset {id} of type '{}' is not stored: it has no file", kind.name);
                        Error::new(Kind::NotFound, message)
                    })?;
                    let cells = columns[1..run_at].iter().zip(&batch.columns()[1..run_at]);
                    let values = cells.map(|(column, array)| json_value(column, array, row)).collect();
                    let (dataset_type_name, run) = (kind.name.clone(), runs[row].clone());
                    let dataset = IndexedDataset { dataset_type_name, run, data_id: writer.data_id(values)? };
                    let uuid = Uuid::parse_str(id).map_err(|e| Error::bug(format!("dataset id '{id}': {e}")))?;
                    index.refs.compact_refs.insert(uuid, dataset);
                    let (artifact, info) = namer.artifact(id, file).await?;
                    directory.inside(&artifact.name)?;
                    let same = artifacts.entry(artifact.name.clone()).or_insert_with(|| artifact.clone());
                    if (&same.location, &same.member) != (&artifact.location, &artifact.member) {
                        let message = format!("two files have the name '{}'; use preserve_path => true", artifact.name);
                        return Err(Error::new(Kind::Conflict, message));
                    }
                    let entry = index.artifact_map.entry(artifact.name);
                    entry.or_insert_with(|| IndexedFile { info, ids: Vec::new() }).ids.push(uuid);
                }
            }
        }
        let mut all: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
        for (table, rows) in &records {
            all.insert(table.name.clone(), record_values(table, rows));
        }
        // Dimensions without a table, such as `band`, are records of their values.
        for element in universe.elements().iter().filter(|element| element.union_of.is_some()) {
            let datasets = index.refs.compact_refs.values();
            let mut values: Vec<&Value> = datasets.filter_map(|dataset| dataset.data_id.get(&element.name)).collect();
            values.sort_by_key(|value| value.to_string());
            values.dedup();
            if !values.is_empty() {
                all.insert(element.name.clone(), values.into_iter().map(|value| vec![json!(value)]).collect());
            }
        }
        index.refs.dimension_records = Some(all);
        Ok((artifacts.into_values().collect(), index))
    }
}

/// Names the retrieved files, as the Butler does.
struct Namer<'a> {
    task: &'a Retrieve,
    root: &'a Location,
    /// The indexes of the archives that hold files, by path.
    archives: BTreeMap<String, Arc<ZipIndex>>,
}

impl Namer<'_> {
    /// Returns the file of a dataset, and its entry in the index.
    async fn artifact(&mut self, id: &str, file: &StoredFile) -> Result<(Artifact, FileInfo)> {
        let (path, member) = zip_member::split(&file.path);
        let location = self.root.of_record(path)?;
        let name_of = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut info = FileInfo {
            formatter: file.formatter.clone(),
            path: path.to_owned(),
            storage_class: file.storage_class.clone(),
            component: None,
            checksum: file.checksum.clone(),
            file_size: file.size,
        };
        let preserve = self.task.preserve_path && !self.task.zip;
        let name = match member {
            Some(member) => {
                let index = self.index(path, &location).await?;
                if let Some(indexed) = index.artifact_map.get(member) {
                    info.path.clone_from(&indexed.info.path);
                }
                let folder = index.archive_path();
                let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
                if preserve { format!("{folder}/{member}") } else { member.to_owned() }
            }
            None if self.task.zip => format!("{}-{}", &id[..8.min(id.len())], name_of(location.path())),
            None if !preserve => name_of(location.path()),
            None if Url::parse(path).is_ok_and(|url| url.has_host() || path.contains("://")) => {
                location.path().trim_start_matches('/').to_owned()
            }
            None => path.to_owned(),
        };
        Ok((Artifact { location, member: member.map(str::to_owned), name }, info))
    }

    async fn index(&mut self, path: &str, location: &Location) -> Result<Arc<ZipIndex>> {
        if let Some(known) = self.archives.get(path) {
            return Ok(Arc::clone(known));
        }
        let bytes = archive::read_member(location, INDEX_FILE, u64::from(u32::MAX)).await?;
        let index = Arc::new(ZipIndex::parse(&bytes)?);
        self.archives.insert(path.to_owned(), Arc::clone(&index));
        Ok(index)
    }
}
