//! `rucio_register_raws`: registers raws in datasets of Rucio whose names follow from data IDs and tracts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::config::RegisterOptions;
use super::files::{Candidate, FileKind, FileRules, files_of};
use super::register::{Registration, read_all};
use super::tracts::Tracts;
use crate::error::{Error, Result};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::db::rows::required_column;
use crate::registry::{i64_values, string_values};
use crate::repo::Repo;
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::{Operation, Plan, PlanContext};
use crate::repo::ingest::file_paths::{self, PendingRecords};
use crate::repo::selection::select_datasets;
use crate::store::{Location, path_template};

/// The field of a template that stands for each tract that an exposure overlaps.
const TRACT: &str = "tract";

/// Registers raws, one file a detector or one zip archive an exposure.
#[derive(Debug)]
pub(crate) struct RucioRegisterRaws {
    /// Templates of the names of datasets of Rucio, without scope; a file is attached to the datasets of all.
    pub datasets: Vec<String>,
    /// Options.
    pub options: RegisterOptions,
    /// Skymap of the tracts; by default the only one.
    pub skymap: Option<String>,
}

#[async_trait]
impl Operation for RucioRegisterRaws {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        if self.datasets.is_empty() {
            return Err(Error::invalid("rucio_datasets names no dataset"));
        }
        let config = self.options.resolve()?;
        let repo = context.handle.repo().await?;
        let ids = read_texts(context.rows, "dataset_id").await?;
        let selected = select_datasets(&repo, &ids, &[]).await?;
        let rules = FileRules { kind: "raw_file", takes_zips: true };
        let mut files = files_of(&repo, &selected, rules).await?;
        let mut names = Vec::with_capacity(files.of_row.len());
        let has_tracts = self.datasets.iter().any(|template| path_template::fields(template).contains(&TRACT));
        let tracts = if has_tracts { Some(Tracts::load(&repo, self.skymap.as_deref()).await?) } else { None };
        for one in &selected {
            for batch in one.rows.batches()? {
                names.extend(self.names(&repo, &one.record, &batch?, tracts.as_ref()).await?);
            }
        }
        let mut datasets: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (file, names) in files.of_row.iter().zip(names) {
            for name in names {
                datasets.entry(name).or_default().insert(*file);
            }
        }
        let mut of_zip = HashMap::new();
        for (zip, dimensions) in dimension_files(&files.candidates).await? {
            of_zip.insert(zip, files.candidates.len());
            files.candidates.push(dimensions);
        }
        for members in datasets.values_mut() {
            let added: Vec<usize> = members.iter().filter_map(|zip| of_zip.get(zip).copied()).collect();
            members.extend(added);
        }
        let total: usize = datasets.values().map(BTreeSet::len).sum();
        context.progress.begin("rucio_register_raws", Some(total as u64));
        let files = read_all(&config, files.candidates).await?;
        let mut registration = Registration::new(config, self.options.chunk_size)?;
        for (dataset, members) in datasets {
            registration.add(&dataset, members.into_iter().map(|at| files[at].clone()).collect()).await?;
        }
        Ok(registration.into_plan())
    }
}

impl RucioRegisterRaws {
    /// Returns the names of the datasets of Rucio for each row.
    async fn names(
        &self,
        repo: &Repo,
        record: &TypeRecord,
        rows: &RecordBatch,
        tracts: Option<&Tracts>,
    ) -> Result<Vec<Vec<String>>> {
        let dataset_type = &record.dataset_type;
        let (ids, runs) = (string_values(rows, 0), string_values(rows, rows.num_columns() - 3));
        let wanted: Vec<&str> = self.datasets.iter().flat_map(|template| path_template::fields(template)).collect();
        let fields = file_paths::fields(repo, dataset_type, rows, wanted, &PendingRecords::new()).await?;
        let tracts = match tracts {
            Some(tracts) => of_rows(repo, tracts, rows).await?,
            None => vec![Vec::new(); rows.num_rows()],
        };
        let mut all = Vec::with_capacity(rows.num_rows());
        for (row, tracts) in tracts.into_iter().enumerate() {
            let mut names = Vec::new();
            for template in &self.datasets {
                let value = |field: &str| match field {
                    "datasetType" => Some(dataset_type.name.clone()),
                    "id" => Some(ids[row].clone()),
                    "run" => Some(runs[row].clone()),
                    other => fields.get(other)?[row].clone(),
                };
                if path_template::fields(template).contains(&TRACT) {
                    for tract in &tracts {
                        let value = |field: &str| if field == TRACT { Some(tract.clone()) } else { value(field) };
                        names.push(path_template::expand(template, &value)?);
                    }
                } else {
                    names.push(path_template::expand(template, &value)?);
                }
            }
            all.push(names);
        }
        Ok(all)
    }
}

/// Returns the tracts of each row, such as `Tract4021`; `NoTract` for an exposure that overlaps none.
async fn of_rows(repo: &Repo, tracts: &Tracts, rows: &RecordBatch) -> Result<Vec<Vec<String>>> {
    if ["instrument", "exposure"].iter().any(|name| rows.column_by_name(name).is_none()) {
        return Err(Error::invalid("{tract} needs datasets with the dimensions instrument and exposure"));
    }
    let (instruments, exposures) = (required_column(rows, "instrument")?, required_column(rows, "exposure")?);
    let known = tracts.of_exposures(repo, &instruments, &exposures).await?;
    let at = |name| rows.schema_ref().index_of(name).map_err(Error::from);
    let keys = string_values(rows, at("instrument")?).into_iter().zip(i64_values(rows, at("exposure")?));
    let texts = |key| match known.get(&key).map_or(&[][..], Vec::as_slice) {
        [] => vec!["NoTract".to_owned()],
        ids => ids.iter().map(|id| format!("Tract{id}")).collect(),
    };
    Ok(keys.map(texts).collect())
}

/// Returns the files with dimension records in the folders of zip archives: the position of the archive, and the file.
async fn dimension_files(files: &[Candidate]) -> Result<Vec<(usize, Candidate)>> {
    let mut listings: HashMap<String, HashSet<String>> = HashMap::new();
    let mut found = Vec::new();
    for (at, file) in files.iter().enumerate().filter(|(_, file)| file.meta == FileKind::Zip.meta()) {
        let folder = file.location.parent();
        let names = match listings.entry(folder.display()) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(names_in(&folder).await?),
        };
        let zip = file.location.name();
        let name = format!("{}_dimensions.yaml", zip.strip_suffix(".zip").unwrap_or(&zip));
        if names.contains(&name) {
            found.push((at, Candidate { location: folder.child(&name), meta: FileKind::Dimensions.meta() }));
        }
    }
    Ok(found)
}

async fn names_in(folder: &Location) -> Result<HashSet<String>> {
    Ok(folder.entries(false).await?.into_iter().map(|entry| entry.name().to_owned()).collect())
}
