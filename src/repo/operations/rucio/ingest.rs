//! `ingest_rucio`: ingests the datasets that Rucio keeps with the files of a DID.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::format::export_item::{File, Item};
use crate::format::sidecar::{Sidecar, fields};
use crate::instrument::Instrument;
use crate::model::collection::CollectionType;
use crate::registry::datasets::row_texts;
use crate::registry::db::rows::{record_batch, required_column};
use crate::registry::dimensions;
use crate::registry::schema::arrow_type;
use crate::repo::Repo;
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::changeset::{Operation, Plan, PlanContext};
use crate::repo::operations::import::plan::ImportPlan;
use crate::repo::operations::{Import, OnDifference};
use crate::rucio::Client;
use crate::rucio::catalog::{AT_ONCE, ReplicaFilter};
use crate::rucio::did::Did;
use crate::rucio::replicas::UriMapping;
use crate::store::transfer_mode::TransferMode;

/// Ingests datasets with the files of a DID; dataset types, runs and dimension records come from the sidecars.
#[derive(Debug)]
pub(crate) struct IngestRucio {
    /// DID.
    pub did: Did,
    /// Selects the storage elements whose files are used.
    pub rse_expression: Option<String>,
    /// Replaces the start of the URIs.
    pub prefix: Option<UriMapping>,
    /// How files are transferred into the datastore.
    pub transfer: TransferMode,
    /// What happens to existing dimension records that differ from those of the sidecars.
    pub on_difference: OnDifference,
}

/// A file with its dataset.
struct Entry {
    name: String,
    uri: String,
    sidecar: Sidecar,
}

#[async_trait]
impl Operation for IngestRucio {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let client = Client::of_environment()?;
        let repo = context.handle.repo().await?;
        context.progress.begin("ingest_rucio", None);
        let mut failures = Vec::new();
        let uris = self.uris(&client).await?;
        let mut entries = Vec::new();
        let mut files = BTreeSet::new();
        let mut members = client.files(&self.did).await?;
        while let Some(member) = members.try_next().await? {
            files.insert(Did { scope: member.scope, name: member.name });
        }
        for absent in files.iter().filter(|file| !uris.contains_key(file)) {
            let name = format!("{absent}: it has no available replica");
            failures.push(ReportRow::new("file", Status::Failed, name, 1));
        }
        let files: Vec<Did> = files.into_iter().filter(|file| uris.contains_key(file)).collect();
        for chunk in files.chunks(AT_ONCE) {
            self.entries(&client, chunk, &uris, &mut entries, &mut failures).await?;
            context.progress.tick(chunk.len() as u64, 0);
        }
        let entries = with_records(&repo, entries, &mut failures).await?;
        let input = format!("Rucio DID '{}'", self.did);
        let task = self.import();
        let mut draft = ImportPlan::new(&task, &repo).await?;
        for (item, file) in items(&repo, &entries, self.on_difference, &mut failures)? {
            let named = file.map_or_else(|| input.clone(), |file| format!("file '{file}'"));
            draft.take(item, &named, None).await.map_err(without_line)?;
        }
        let mut set = draft.finish().await.map_err(|e| without_line(e).context(&input))?;
        set.record_all(failures);
        set.set_input(input);
        Ok(set.into_plan())
    }
}

/// Records of sidecars have no line.
fn without_line(error: Error) -> Error {
    match error.message().contains("line 0: ") {
        true => Error::new(error.kind(), error.message().replace("line 0: ", "")),
        false => error,
    }
}

impl IngestRucio {
    fn import(&self) -> Import {
        Import {
            directory: "/".to_owned(),
            export_file: String::new(),
            transfer: self.transfer,
            skip_dimensions: Vec::new(),
            track_file_attrs: true,
            without_datastore: false,
            on_difference: self.on_difference,
        }
    }

    /// Returns one URI of each file, mapped by the prefix.
    async fn uris(&self, client: &Arc<Client>) -> Result<BTreeMap<Did, String>> {
        let filter = ReplicaFilter { rse_expression: self.rse_expression.clone(), ..ReplicaFilter::default() };
        let mut replicas = client.all_replicas(&self.did, filter).await?;
        let mut uris = BTreeMap::new();
        while let Some(replica) = replicas.try_next().await? {
            let uri = match &self.prefix {
                Some(prefix) => prefix.apply(&replica.uri).ok_or_else(|| {
                    Error::invalid(format!("'{}' does not begin with the first part of 'prefix'", replica.uri))
                })?,
                None => replica.uri,
            };
            uris.entry(replica.file).or_insert(uri);
        }
        Ok(uris)
    }

    /// Reads the sidecars of files. Files without one are reported.
    async fn entries(
        &self,
        client: &Arc<Client>,
        files: &[Did],
        uris: &BTreeMap<Did, String>,
        entries: &mut Vec<Entry>,
        failures: &mut Vec<ReportRow>,
    ) -> Result<()> {
        let known = client.metadata(files).await?;
        let mut known: BTreeMap<Did, _> =
            known.into_iter().map(|m| (Did { scope: m.scope.clone(), name: m.name.clone() }, m)).collect();
        for file in files {
            let metadata = known.remove(file);
            let kind = metadata.as_ref().and_then(|m| m.rubin_butler.clone()).unwrap_or(Value::Null);
            let text = metadata.and_then(|m| m.rubin_sidecar);
            let text = text.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty());
            let parsed = match text {
                Some(text) => Sidecar::parse(text).and_then(|sidecar| match sidecar.run.trim() {
                    "" => Err(Error::invalid("its sidecar has no run")),
                    _ => Ok(sidecar),
                }),
                None => Err(Error::invalid(match kind.as_str() {
                    Some("zip_file") => "it is a zip archive, which is not supported".to_owned(),
                    Some("dim_file") => "it holds dimension records; import reads it".to_owned(),
                    _ => "it has no sidecar".to_owned(),
                })),
            };
            match parsed {
                Ok(sidecar) => entries.push(Entry { name: file.to_string(), uri: uris[file].clone(), sidecar }),
                Err(error) => {
                    failures.push(ReportRow::new("file", Status::Failed, format!("{file}: {}", error.message()), 1));
                }
            }
        }
        Ok(())
    }
}

/// Returns the entries whose dimension records are in the sidecar or in the registry; the others are reported.
async fn with_records(repo: &Repo, entries: Vec<Entry>, failures: &mut Vec<ReportRow>) -> Result<Vec<Entry>> {
    let mut missing = HashSet::new();
    let has_none = |entry: &Entry| entry.sidecar.records().next().is_none();
    for element in repo.registry.universe.tables() {
        let needs = |entry: &Entry| {
            let dimensions = &entry.sidecar.dataset_type.dimensions;
            has_none(entry) && element.required.iter().all(|dimension| dimensions.contains(dimension))
        };
        let users: Vec<usize> = (0..entries.len()).filter(|at| needs(&entries[*at])).collect();
        if users.is_empty() {
            continue;
        }
        let table = dimensions::table(&repo.registry, &element.name)?;
        let mut columns = Vec::new();
        for (column, dimension) in table.primary_key.iter().zip(&element.required) {
            let values = users.iter().map(|at| entries[*at].sidecar.data_id.values.get(dimension));
            let kind = table.column(column).map(|c| arrow_type(c.kind)).unwrap_or(DataType::Utf8);
            let array: ArrayRef = match kind {
                DataType::Int64 => Arc::new(values.map(|v| v.and_then(Value::as_i64)).collect::<Int64Array>()),
                _ => Arc::new(values.map(|v| v.and_then(Value::as_str)).collect::<StringArray>()),
            };
            columns.push((column.as_str(), array));
        }
        let keys = record_batch(columns)?;
        let found =
            dimensions::records_with_keys(&repo.registry, &table, &table.primary_key, std::slice::from_ref(&keys))
                .await?;
        let names = table.primary_key.iter();
        let found =
            names.map(|name| Ok((name.as_str(), required_column(&found, name)?))).collect::<Result<Vec<_>>>()?;
        let known: HashSet<String> = row_texts(&record_batch(found)?)?.into_iter().collect();
        let absent = users.into_iter().zip(row_texts(&keys)?).filter(|(_, key)| !known.contains(key));
        missing.extend(absent.map(|(user, _)| user));
    }
    let mut kept = Vec::new();
    for (at, entry) in entries.into_iter().enumerate() {
        if missing.contains(&at) {
            let reason = "its dimension records are neither in the sidecar nor in the registry";
            failures.push(ReportRow::new("file", Status::Failed, format!("{}: {reason}", entry.name), 1));
        } else {
            kept.push(entry);
        }
    }
    Ok(kept)
}

/// Returns what an export file of the datasets would hold: dataset types, runs, records in the order of the universe, and
/// files; each with the file that it is from.
fn items<'e>(
    repo: &Repo,
    entries: &'e [Entry],
    on_difference: OnDifference,
    outcomes: &mut Vec<ReportRow>,
) -> Result<Vec<(Item, Option<&'e str>)>> {
    let universe = &repo.registry.universe;
    let mut items = vec![(Item::Universe { namespace: universe.namespace.clone(), version: universe.version }, None)];
    let mut types = BTreeMap::new();
    for Entry { sidecar, name, .. } in entries {
        let first = types.entry(&sidecar.dataset_type.name).or_insert(&sidecar.dataset_type);
        if **first != sidecar.dataset_type {
            let message =
                format!("file '{name}' has another definition of dataset type '{}' than other files", first.name);
            return Err(Error::new(Kind::Conflict, message));
        }
    }
    items.extend(types.into_values().map(|one| {
        let item = Item::DatasetType {
            name: one.name.clone(),
            dimensions: one.dimensions.clone(),
            storage_class: one.storage_class.clone(),
            is_calibration: one.is_calibration,
        };
        (item, None)
    }));
    let runs: BTreeSet<&String> = entries.iter().map(|entry| &entry.sidecar.run).collect();
    let run = |name: &String| {
        let item = Item::Collection { name: name.clone(), kind: CollectionType::Run, doc: None, children: Vec::new() };
        (item, None)
    };
    items.extend(runs.into_iter().map(run));
    items.extend(records(repo, entries, on_difference, outcomes)?);
    for Entry { sidecar, uri, name } in entries {
        let values = &sidecar.data_id.values;
        let required = |name: &String| sidecar.dataset_type.dimensions.contains(name);
        let data_id = values.iter().filter(|(name, _)| required(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
        let file = Item::File(File {
            line: 0,
            dataset_type: sidecar.dataset_type.name.clone(),
            run: sidecar.run.clone(),
            datasets: vec![(sidecar.id, fields(&data_id)?)],
            path: uri.clone(),
            formatter: raw_formatter(sidecar),
        });
        items.push((file, Some(name)));
    }
    Ok(items)
}

/// Returns the dimension records of all sidecars, each once, in the order of the universe. Of different records with one
/// key, the first is kept, and the others are reported; nothing would decide which of them replaces an existing one.
fn records<'e>(
    repo: &Repo,
    entries: &'e [Entry],
    on_difference: OnDifference,
    outcomes: &mut Vec<ReportRow>,
) -> Result<Vec<(Item, Option<&'e str>)>> {
    let mut by_element: BTreeMap<usize, Vec<(Item, Option<&str>)>> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut first: HashMap<String, &str> = HashMap::new();
    let elements = repo.registry.universe.elements();
    for Entry { sidecar, name, .. } in entries {
        for (element, record) in sidecar.records() {
            let position = elements.iter().position(|known| known.name == element && known.has_table);
            let Some(position) = position else { continue };
            if !seen.insert((position, Value::Object(record.clone()).to_string())) {
                continue;
            }
            let own = elements[position].key.as_ref().map_or("", |key| key.name.as_str());
            let column = |dimension: &String| if *dimension == element { own.to_owned() } else { dimension.clone() };
            let key = elements[position].required.iter().map(|d| record.get(&column(d)).unwrap_or(&Value::Null));
            let key = format!("{element} {}", key.map(Value::to_string).collect::<Vec<_>>().join(" "));
            if let Some(other) = first.get(&key) {
                let message = format!("the sidecars of '{other}' and '{name}' have different records of '{element}'");
                if on_difference == OnDifference::Update {
                    return Err(Error::new(Kind::Conflict, message));
                }
                outcomes.push(ReportRow::new(element, Status::Unchanged, message, 1));
                continue;
            }
            first.insert(key, name);
            let fields = fields(record).map_err(|e| e.context(format_args!("file '{name}', record of '{element}'")))?;
            let records = by_element.entry(position).or_default();
            records.push((Item::Record { element: element.to_owned(), line: 0, fields }, Some(name)));
        }
    }
    Ok(by_element.into_values().flatten().collect())
}

/// Returns the formatter of raws, which sidecars do not have: that of the instrument.
fn raw_formatter(sidecar: &Sidecar) -> Option<String> {
    let instrument = sidecar.data_id.values.get("instrument")?.as_str()?;
    let is_raw = sidecar.dataset_type.name == "raw" && sidecar.dataset_type.storage_class == "Exposure";
    is_raw.then(|| Instrument::find(instrument).ok().map(|known| known.raw.formatter.clone())).flatten()
}
