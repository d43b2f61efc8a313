//! `ingest_raws`: raw files of an instrument become datasets, without moving them if so wished.

mod find;
mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use regex::Regex;

use self::find::{Found, Group, Metadata, Search};
use super::hand::{Change, Hand, Outcome};
use super::sync::{Status, compare, conflict, find_twins, select};
use super::{Access, Repo, Verb};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::instrument::{Instrument, Observation};
use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::registry::conn::Batches;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::dimensions::{self, table};
use crate::registry::schema::{Kind, Scanned};
use crate::registry::{collections, texts};
use crate::store::Place;
use crate::store::transfer::{Mode, Transfer};

/// Exposures that are written in one transaction.
const CHUNK: usize = 512;

/// Ingests raw files.
#[derive(Debug)]
pub struct IngestRaws {
    /// Folders and files.
    pub locations: Vec<String>,
    /// Which names in folders are raw files.
    pub regex: Regex,
    /// The run; by default the instrument's.
    pub output_run: Option<String>,
    /// How files get into the datastore.
    pub transfer: Mode,
    /// Whether sizes are recorded.
    pub track_file_attrs: bool,
    /// Whether the first problem ends it.
    pub fail_fast: bool,
    /// Whether exposure records that differ are overwritten.
    pub update_records: bool,
    /// How many folders are read at the same time.
    pub processes: usize,
}

/// The files of one exposure.
struct Exposure {
    instrument: Arc<Instrument>,
    observation: Observation,
    files: Vec<File>,
}

/// One file of an exposure.
struct File {
    place: Place,
    size: Option<u64>,
    detector: i64,
}

#[async_trait]
impl Verb for IngestRaws {
    async fn run(&self, access: &Access, _rows: Option<Batches>, hand: &mut Hand<'_>) -> Result<()> {
        let repo = access.repo().await?;
        let known = registered(&repo).await?;
        let search = Arc::new(Search { regex: self.regex.clone(), instruments: known });
        let mut groups = find::groups(&search, &self.locations, self.processes.max(1)).boxed();
        let mut state = State { task: self, repo: &repo, detectors: HashMap::new(), filters: HashMap::new() };
        hand.begin("ingest_raws", None);
        let mut waiting: BTreeMap<(String, i64), Exposure> = BTreeMap::new();
        while let Some(group) = groups.next().await {
            self.collect(group, &mut waiting, hand)?;
            if waiting.len() >= CHUNK {
                state.write(std::mem::take(&mut waiting), hand).await?;
            }
        }
        state.write(waiting, hand).await
    }
}

impl IngestRaws {
    /// Sorts the files of a group by exposure; what cannot be understood is counted, or ends it.
    fn collect(
        &self,
        group: Group,
        waiting: &mut BTreeMap<(String, i64), Exposure>,
        hand: &mut Hand<'_>,
    ) -> Result<()> {
        for (path, error) in group.failures {
            self.fail(hand, error.context(format_args!("'{path}'")))?;
        }
        for Found { place, size, metadata } in group.files {
            let Metadata { instrument, exposure, detector, observation } = metadata;
            let key = (instrument.name.clone(), exposure);
            let file = File { place, size, detector };
            match (waiting.get_mut(&key), observation) {
                (Some(there), _) => there.files.push(file),
                (None, Some(observation)) => {
                    waiting.insert(key, Exposure { instrument, observation: *observation, files: vec![file] });
                }
                (None, None) => return Err(Error::bug("the first file of an exposure has no observation")),
            }
        }
        Ok(())
    }

    fn fail(&self, hand: &mut Hand<'_>, error: Error) -> Result<()> {
        if self.fail_fast {
            return Err(error);
        }
        hand.note("raw", Outcome::Failed, error.said(), 1);
        Ok(())
    }
}

/// The instruments of the registry that this program knows, by name.
async fn registered(repo: &Repo) -> Result<Vec<Arc<Instrument>>> {
    let columns = vec![Scanned::plain("name", Kind::Text(None))];
    let rows = dimensions::values(&repo.registry, "instrument", columns, None).await?;
    let known = Instrument::built_in()?;
    let names = texts(&rows, 0);
    Ok(known.into_iter().filter(|i| names.contains(&i.name)).map(Arc::new).collect())
}

/// What is looked up once and used for every chunk.
struct State<'a> {
    task: &'a IngestRaws,
    repo: &'a Repo,
    /// Detector names by id, for each instrument.
    detectors: HashMap<String, HashMap<i64, String>>,
    /// Filters of each instrument.
    filters: HashMap<String, Vec<String>>,
}

impl State<'_> {
    /// Writes the exposures gathered, one instrument after the other.
    async fn write(&mut self, exposures: BTreeMap<(String, i64), Exposure>, hand: &mut Hand<'_>) -> Result<()> {
        let mut by_instrument: BTreeMap<String, Vec<Exposure>> = BTreeMap::new();
        for ((instrument, _), exposure) in exposures {
            by_instrument.entry(instrument).or_default().push(exposure);
        }
        for exposures in by_instrument.into_values() {
            self.write_instrument(exposures, hand).await?;
        }
        Ok(())
    }

    async fn write_instrument(&mut self, mut exposures: Vec<Exposure>, hand: &mut Hand<'_>) -> Result<()> {
        let Some(instrument) = exposures.first().map(|e| Arc::clone(&e.instrument)) else { return Ok(()) };
        self.check_registered(&instrument, &exposures).await?;
        exposures.iter_mut().for_each(|e| e.files.sort_by_key(|f| f.detector));
        let run = self.task.output_run.clone().unwrap_or_else(|| instrument.raw.run.clone());
        let mut plan = self.prepare(&instrument, &run, hand).await?;
        let exposures = self.records(exposures, &mut plan, hand).await?;
        self.datasets(&instrument, &run, &exposures, &mut plan, hand).await?;
        let (files, bytes) =
            exposures.iter().flat_map(|e| &e.files).fold((0, 0), |(n, b), f| (n + 1, b + f.size.unwrap_or(0)));
        hand.apply(plan).await?;
        hand.tick(files, bytes);
        Ok(())
    }

    /// A filter or detector that is not registered ends it at once, as in the Butler.
    async fn check_registered(&mut self, instrument: &Instrument, exposures: &[Exposure]) -> Result<()> {
        let name = &instrument.name;
        if !self.detectors.contains_key(name) {
            self.detectors.insert(name.clone(), rows::detectors(self.repo, name).await?);
            self.filters.insert(name.clone(), rows::filters(self.repo, name).await?);
        }
        let (detectors, filters) = (&self.detectors[name], &self.filters[name]);
        for exposure in exposures {
            let filter = &exposure.observation.physical_filter;
            if !filters.contains(filter) {
                let names = filters.iter().map(String::as_str);
                let error = Error::not_found(&format!("{name} filter"), filter, names);
                return Err(error.context(format_args!("exposure {}", exposure.observation.exposure)));
            }
            if let Some(file) = exposure.files.iter().find(|f| !detectors.contains_key(&f.detector)) {
                let said = format!("{name} has no detector {} (file '{}')", file.detector, file.place.local());
                return Err(Error::new(ErrorKind::NotFound, said));
            }
        }
        Ok(())
    }

    /// The dataset type and the run, when they are not there yet.
    async fn prepare(&self, instrument: &Instrument, run: &str, hand: &mut Hand<'_>) -> Result<Vec<Change>> {
        let raw = &instrument.raw;
        let wanted = DatasetType {
            name: raw.dataset_type.clone(),
            dimensions: self.repo.registry.universe.group(&raw.dimensions)?.required,
            storage_class: raw.storage_class.clone(),
            is_calibration: false,
        };
        let mut plan = Vec::new();
        match dataset_types::load(&self.repo.registry).await?.iter().find(|t| t.dataset_type.name == wanted.name) {
            Some(there) => dataset_types::check_same(&wanted, &there.dataset_type)?,
            // In a dry run it would be counted again for every chunk.
            None if hand.is_dry() && hand.knows("dataset_type") => {}
            None => plan.push(Change::DatasetType(wanted)),
        }
        match collections::load(&self.repo.registry).await?.find(run) {
            Some(there) if there.kind == CollectionType::Run => {}
            Some(there) => {
                return Err(Error::new(ErrorKind::Conflict, format!("collection '{run}' is {}, not RUN", there.kind)));
            }
            None if hand.is_dry() && hand.knows("collection") => {}
            None => plan.push(Change::Collection(run.to_owned(), CollectionType::Run, None)),
        }
        Ok(plan)
    }

    /// Plans the group, day_obs and exposure records; leaves out exposures that differ from what is there.
    async fn records(
        &self,
        exposures: Vec<Exposure>,
        plan: &mut Vec<Change>,
        hand: &mut Hand<'_>,
    ) -> Result<Vec<Exposure>> {
        let mut bad: Vec<Option<String>> = vec![None; exposures.len()];
        for element in ["group", "day_obs", "exposure"] {
            if self.repo.registry.universe.find(element).is_none() {
                continue;
            }
            let known = table(&self.repo.registry, element)?;
            let (records, of) = rows::records(&known, element, &exposures)?;
            let mut statuses = compare(&self.repo.registry, &known, &records).await?;
            find_twins(&known, &records, &mut statuses)?;
            for (exposure, row) in of.iter().enumerate() {
                if let Status::Differs(how) = &statuses[*row]
                    && !(self.task.update_records)
                {
                    bad[exposure].get_or_insert_with(|| conflict(element, how).said().to_owned());
                }
            }
            let new = select(&records, &statuses, |s| *s == Status::New)?;
            let changed = select(&records, &statuses, |s| matches!(s, Status::Differs(_)))?;
            let same = statuses.iter().filter(|s| **s == Status::Same).count();
            hand.note(element, Outcome::Existing, "", same as u64);
            if new.num_rows() > 0 {
                plan.push(Change::Insert(element.to_owned(), new));
            }
            if changed.num_rows() > 0 && self.task.update_records {
                plan.push(Change::Replace(element.to_owned(), changed));
            }
        }
        let mut good = Vec::with_capacity(exposures.len());
        for (exposure, bad) in exposures.into_iter().zip(bad) {
            match bad {
                None => good.push(exposure),
                Some(how) => {
                    let said = format!("exposure {}: {how}", exposure.observation.obs_id);
                    self.task.fail(hand, Error::new(ErrorKind::Conflict, said))?;
                }
            }
        }
        Ok(good)
    }

    /// Plans the datasets that are not there, and in place the file records that name another file.
    async fn datasets(
        &self,
        instrument: &Instrument,
        run: &str,
        exposures: &[Exposure],
        plan: &mut Vec<Change>,
        hand: &mut Hand<'_>,
    ) -> Result<()> {
        let name = &instrument.raw.dataset_type;
        let there = match self.type_record(name).await? {
            Some(record) => rows::stored(self.repo, &record, instrument, run, exposures).await?,
            None => HashMap::new(),
        };
        let (mut new, mut moved, mut files) = (Vec::new(), Vec::new(), Vec::new());
        let mut same = 0;
        let mut seen = HashSet::new();
        for exposure in exposures {
            for file in &exposure.files {
                if !seen.insert((exposure.observation.exposure, file.detector)) {
                    let said = format!("'{}': another file holds the same exposure and detector", file.place.local());
                    self.task.fail(hand, Error::new(ErrorKind::Conflict, said))?;
                    continue;
                }
                let row = self.row(instrument, run, exposure, file, &mut files)?;
                match there.get(&(row.exposure, row.detector)) {
                    None => new.push(row),
                    // Known, but no longer stored: stored again.
                    Some((id, None, _)) if *id == row.id => new.push(row),
                    Some((id, ..)) if *id != row.id => {
                        let said = format!(
                            "run '{run}' already holds another {name} of exposure {} and detector {}",
                            row.exposure, row.detector
                        );
                        self.task.fail(hand, Error::new(ErrorKind::Conflict, said))?;
                    }
                    Some((_, path, size)) if (path.as_deref(), *size) == (Some(&*row.path), Some(row.size)) => {
                        same += 1
                    }
                    Some(_) => moved.push(row),
                }
            }
        }
        hand.note("dataset", Outcome::Existing, name, same);
        let wanted: Vec<&PathBuf> = new.iter().chain(&moved).filter_map(|r| r.target.as_ref()).collect();
        files.retain(|f: &Transfer| wanted.contains(&&f.to));
        if !files.is_empty() {
            plan.push(Change::Files(files));
        }
        if !new.is_empty() {
            let rows = rows::dataset_rows(instrument, &new)?;
            plan.push(Change::Datasets(name.clone(), run.to_owned(), rows));
        }
        if !moved.is_empty() {
            plan.push(Change::ReplaceFiles(name.clone(), rows::dataset_rows(instrument, &moved)?));
        }
        Ok(())
    }

    async fn type_record(&self, name: &str) -> Result<Option<TypeRecord>> {
        Ok(dataset_types::load(&self.repo.registry).await?.into_iter().find(|t| t.dataset_type.name == *name))
    }

    /// The row of one file, and how it gets into the datastore.
    fn row(
        &self,
        instrument: &Instrument,
        run: &str,
        exposure: &Exposure,
        file: &File,
        files: &mut Vec<Transfer>,
    ) -> Result<rows::Row> {
        let root = Place::parse(&self.repo.datastore_root())?;
        let inside = file.place.below(&root);
        let (path, target) = match (self.task.transfer, inside) {
            (Mode::Direct, _) => (file.place.uri(), None),
            (Mode::Auto, Some(path)) => (path, None),
            (mode, _) => {
                let detector = &self.detectors[&instrument.name][&file.detector];
                let path = rows::placed(&self.repo.config, instrument, run, exposure, detector, &file.place.name())?;
                let to = PathBuf::from(root.child("x").local()).with_file_name("").join(&path);
                files.push(Transfer { from: PathBuf::from(file.place.local()), to: to.clone(), mode });
                (path, Some(to))
            }
        };
        let size = match (self.task.track_file_attrs, file.size) {
            (true, Some(size)) => i64::try_from(size).unwrap_or(-1),
            _ => -1,
        };
        let (exposure, detector) = (exposure.observation.exposure, file.detector);
        let id = rows::id(instrument, run, exposure, detector);
        Ok(rows::Row { id, exposure, detector, path, size, target })
    }
}
