//! `ingest_zip`: ingests zip archives of datasets, as `retrieve(zip => true)` writes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::format::export_item::{File, Item};
use crate::format::sidecar::fields;
use crate::format::zip_index::{INDEX_FILE, ZipIndex};
use crate::model::collection::CollectionType;
use crate::model::zip_member;
use crate::registry::dimensions;
use crate::registry::file_records::stored_files;
use crate::repo::Repo;
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::ingest::incoming::RecordedFile;
use crate::repo::operations::import::plan::ImportPlan;
use crate::repo::operations::import::{Import, OnDifference};
use crate::store::transfer_mode::TransferMode;
use crate::store::{Location, archive};

/// Ingests zip archives.
#[derive(Debug)]
pub(crate) struct IngestZip {
    /// Archives: paths or URIs.
    pub zips: Vec<String>,
    /// How the archives are transferred into the datastore.
    pub transfer: TransferMode,
    /// True to insert the dimension records of the archives.
    pub transfer_dimensions: bool,
}

/// An archive whose index was read.
struct Indexed {
    location: Location,
    index: ZipIndex,
    /// Its path in the datastore.
    path: String,
}

/// Number of archives that are ingested in one transaction.
const TOGETHER: usize = 4096;
/// Number of archives that are read concurrently.
const AT_ONCE: usize = 16;
/// Largest size of an index in bytes.
const LIMIT: u64 = 256 << 20;

#[async_trait]
impl Operation for IngestZip {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let mut zips = self.zips.clone();
        if let Some(rows) = context.rows {
            zips.extend(read_texts(Some(rows), "uri").await?);
        }
        let mut seen = BTreeSet::new();
        zips.retain(|zip| seen.insert(zip.clone()));
        let progress = context.progress;
        progress.begin("ingest_zip", Some(zips.len() as u64));
        let chunks: Vec<Vec<String>> = zips.chunks(TOGETHER).map(<[String]>::to_vec).collect();
        let sets = stream::iter(chunks).then(move |chunk| {
            let (repo, progress) = (std::sync::Arc::clone(&repo), std::sync::Arc::clone(&progress));
            async move {
                let all: Vec<Indexed> =
                    stream::iter(chunk).map(|zip| self.indexed(zip)).buffered(AT_ONCE).try_collect().await?;
                check_ids(&repo, &all).await?;
                progress.tick(all.len() as u64, 0);
                self.change_set(&repo, all).await
            }
        });
        Ok(sets.boxed())
    }
}

impl IngestZip {
    async fn indexed(&self, zip: String) -> Result<Indexed> {
        let location = Location::parse(&zip)?;
        let bytes = archive::read_member(&location, INDEX_FILE, LIMIT).await?;
        let index = ZipIndex::parse(&bytes).map_err(|e| e.context(format_args!("archive '{zip}'")))?;
        let members = archive::members(&location).await?;
        for (member, file) in &index.artifact_map {
            let said = u64::try_from(file.info.file_size).ok();
            let wrong = match members.get(member) {
                None => format!("its index names '{member}', which it does not hold"),
                Some(Some(size)) if said.is_some_and(|said| said != *size) => {
                    format!("'{member}' has {size} bytes, not {} as in its index", file.info.file_size)
                }
                Some(_) => continue,
            };
            return Err(Error::invalid(format!("archive '{}': {wrong}", location.display())));
        }
        let path = if self.transfer == TransferMode::Direct { location.uri() } else { index.archive_path() };
        Ok(Indexed { location, index, path })
    }

    /// Returns the changes for some archives.
    async fn change_set<'a>(&self, repo: &Repo, all: Vec<Indexed>) -> Result<ChangeSet<'a>> {
        let task = Import {
            directory: repo.datastore_root(),
            export_file: String::new(),
            transfer: self.transfer,
            skip_dimensions: Vec::new(),
            track_file_attrs: true,
            without_datastore: false,
            on_difference: OnDifference::Keep,
        };
        let mut plan = ImportPlan::new(&task, repo).await?;
        for Indexed { location, index, path } in all {
            let input = format!("archive '{}'", location.display());
            self.add(repo, &mut plan, &location, index, &path, &input).await?;
        }
        plan.finish().await
    }

    /// Adds what an archive holds.
    async fn add(
        &self,
        repo: &Repo,
        plan: &mut ImportPlan<'_>,
        location: &Location,
        index: ZipIndex,
        path: &str,
        input: &str,
    ) -> Result<()> {
        let named = |e: Error| e.context(input);
        let ZipIndex { refs, artifact_map, .. } = index;
        let (namespace, version) = (refs.universe_namespace, refs.universe_version);
        plan.take(Item::Universe { namespace, version }, input, None).await?;
        for kind in refs.dataset_types.into_values() {
            let (name, dimensions, storage_class) = (kind.name, kind.dimensions, kind.storage_class);
            let item = Item::DatasetType { name, dimensions, storage_class, is_calibration: kind.is_calibration };
            plan.take(item, input, None).await?;
        }
        let runs: BTreeSet<String> = refs.compact_refs.values().map(|dataset| dataset.run.clone()).collect();
        for name in runs {
            let item = Item::Collection { name, kind: CollectionType::Run, doc: None, children: Vec::new() };
            plan.take(item, input, None).await?;
        }
        if self.transfer_dimensions {
            for item in records(repo, refs.dimension_records.unwrap_or_default()).map_err(named)? {
                plan.take(item, input, None).await?;
            }
        }
        for (member, file) in artifact_map {
            let info = file.info;
            let mut groups: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
            for id in file.ids {
                let Some(dataset) = refs.compact_refs.get(&id) else { continue };
                let data_id = fields(&dataset.data_id).map_err(named)?;
                groups.entry((&dataset.dataset_type_name, &dataset.run)).or_default().push((id, data_id));
            }
            for ((dataset_type, run), datasets) in groups {
                let (dataset_type, run, formatter) = (dataset_type.to_owned(), run.to_owned(), info.formatter.clone());
                let file =
                    File { line: 0, dataset_type, run, datasets, path: String::new(), formatter: Some(formatter) };
                let recorded = RecordedFile {
                    path: Some(zip_member::join(path, &member)),
                    size: info.file_size,
                    storage_class: info.storage_class.clone(),
                    checksum: info.checksum.clone(),
                };
                plan.take_file(file, location.clone(), recorded).await.map_err(named)?;
            }
        }
        Ok(())
    }
}

/// Checks that no dataset is in two archives or already stored elsewhere.
async fn check_ids(repo: &Repo, all: &[Indexed]) -> Result<()> {
    let mut paths: HashMap<Uuid, String> = HashMap::new();
    for Indexed { location, index, path } in all {
        for (member, file) in &index.artifact_map {
            for id in &file.ids {
                let path = zip_member::join(path, member);
                if let Some(other) = paths.insert(*id, path.clone()).filter(|other| *other != path) {
                    let message =
                        format!("archive '{}' holds dataset {id}, which is also in '{other}'", location.display());
                    return Err(Error::new(Kind::Conflict, message));
                }
            }
        }
    }
    let ids: Vec<String> = paths.keys().map(Uuid::to_string).collect();
    for some in ids.chunks(TOGETHER) {
        for (id, file) in stored_files(&repo.registry, some).await? {
            let path = Uuid::parse_str(&id).ok().and_then(|id| paths.get(&id));
            if path.is_some_and(|path| *path != file.path) {
                let message = format!("dataset {id} is already stored, as '{}'", file.path);
                return Err(Error::new(Kind::Conflict, message));
            }
        }
    }
    Ok(())
}

/// Returns the dimension records of an index; those of elements without a table are left out.
fn records(repo: &Repo, all: BTreeMap<String, Vec<Vec<Value>>>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for (element, rows) in all {
        if !repo.registry.universe.element(&element)?.has_table {
            continue;
        }
        let table = dimensions::table(&repo.registry, &element)?;
        for row in rows {
            if row.len() != table.columns.len() {
                let message = format!("a record of '{element}' has {} values, not {}", row.len(), table.columns.len());
                return Err(Error::invalid(message));
            }
            let names = table.columns.iter().map(|column| column.name.clone());
            let values: Map<String, Value> = names.zip(row).collect();
            items.push(Item::Record { element: element.clone(), line: 0, fields: fields(&values)? });
        }
    }
    Ok(items)
}
