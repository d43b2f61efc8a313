//! Ingests batches of exposures, each in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::{Error, Kind, Result};
use crate::instrument::Instrument;
use crate::model::collection::CollectionType;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::dimensions::table;
use crate::repo::Repo;
use crate::repo::changeset::applier::ChangeApplier;
use crate::repo::changeset::change::{Change, Status};
use crate::repo::changeset::comparison::{Comparison, compare, conflict, filter_rows, find_duplicates};
use crate::repo::operations::collections;
use crate::repo::operations::ingest_raws::{Exposure, File, IngestRaws, rows};
use crate::store::Location;
use crate::store::transfer::{Transfer, TransferMode, TransferSource, unfinished_moves};

/// Ingests batches of exposures; caches what is needed for every batch.
pub(super) struct ExposureBatcher<'a> {
    task: &'a IngestRaws,
    repo: &'a Repo,
    instruments: HashMap<String, InstrumentInfo>,
}

/// What the registry contains for an instrument.
struct InstrumentInfo {
    /// Detector names by id.
    detectors: HashMap<i64, String>,
    filters: Vec<String>,
    /// Dataset type of the raws, if it is registered.
    raw: Option<TypeRecord>,
    /// True if dataset type and run exist, or were reported in a dry run.
    prepared: bool,
}

/// The changes of one batch, its unchanged items and its failures.
#[derive(Default)]
struct PendingChanges {
    changes: Vec<Change>,
    /// Kind, name and number of unchanged items.
    existing: Vec<(String, String, u64)>,
    failures: Vec<Error>,
}

impl<'a> ExposureBatcher<'a> {
    pub(in crate::repo) fn new(task: &'a IngestRaws, repo: &'a Repo) -> Self {
        Self { task, repo, instruments: HashMap::new() }
    }

    /// Writes a batch of exposures, one instrument after another.
    pub(super) async fn write(
        &mut self,
        exposures: BTreeMap<(String, i64), Exposure>,
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let mut by_instrument: BTreeMap<String, Vec<Exposure>> = BTreeMap::new();
        for ((instrument, _), mut exposure) in exposures {
            exposure.files.sort_by_key(|f| f.detector);
            by_instrument.entry(instrument).or_default().push(exposure);
        }
        for exposures in by_instrument.into_values() {
            let Some(instrument) = exposures.first().map(|e| Arc::clone(&e.instrument)) else { continue };
            self.look_up(&instrument).await?;
            self.check_registered(&instrument, &exposures)?;
            // A conflict of run or dataset type affects all exposures, so it is checked before they are split.
            let run = self.task.output_run.clone().unwrap_or_else(|| instrument.raw.run.clone());
            self.prepare(&instrument, &run, &mut PendingChanges::default()).await?;
            self.write_or_split(&instrument, &exposures, applier).await?;
        }
        Ok(())
    }

    /// Writes exposures together. If this fails, writes each half separately, so that only the exposures with errors
    /// fail, as in the Butler, which writes them one by one.
    fn write_or_split<'s>(
        &'s mut self,
        instrument: &'s Instrument,
        exposures: &'s [Exposure],
        applier: &'s mut ChangeApplier<'_>,
    ) -> BoxFuture<'s, Result<()>> {
        async move {
            let Err(error) = self.write_together(instrument, exposures, applier).await else { return Ok(()) };
            let concerns_one = matches!(
                error.kind(),
                Kind::Invalid | Kind::Conflict | Kind::Unsupported | Kind::NotFound | Kind::Exists
            );
            if self.task.fail_fast || !concerns_one {
                return Err(error);
            }
            match exposures {
                [one] => self.task.fail(applier, error.context(format_args!("exposure {}", one.observation.obs_id))),
                many => {
                    let (first, second) = many.split_at(many.len() / 2);
                    self.write_or_split(instrument, first, applier).await?;
                    self.write_or_split(instrument, second, applier).await
                }
            }
        }
        .boxed()
    }

    async fn write_together(
        &mut self,
        instrument: &Instrument,
        exposures: &[Exposure],
        applier: &mut ChangeApplier<'_>,
    ) -> Result<()> {
        let run = self.task.output_run.clone().unwrap_or_else(|| instrument.raw.run.clone());
        self.look_up(instrument).await?;
        let mut pending = PendingChanges::default();
        self.prepare(instrument, &run, &mut pending).await?;
        let good = self.records(exposures, &mut pending).await?;
        self.datasets(instrument, &run, &good, &mut pending).await?;
        if self.task.fail_fast && !pending.failures.is_empty() {
            return Err(pending.failures.swap_remove(0));
        }
        applier.apply(pending.changes).await?;
        if let Some(known) = self.instruments.get_mut(&instrument.name) {
            known.prepared = true;
        }
        for (thing, detail, count) in pending.existing {
            applier.record(&thing, Status::Unchanged, detail, count);
        }
        for error in pending.failures {
            self.task.fail(applier, error)?;
        }
        let (files, bytes) =
            good.iter().flat_map(|e| &e.files).fold((0, 0), |(n, b), f| (n + 1, b + f.size.unwrap_or(0)));
        applier.tick(files, bytes);
        Ok(())
    }

    async fn look_up(&mut self, instrument: &Instrument) -> Result<()> {
        let name = &instrument.name;
        if !self.instruments.contains_key(name) {
            let detectors = rows::detectors(self.repo, name).await?;
            let filters = rows::filters(self.repo, name).await?;
            self.instruments.insert(name.clone(), InstrumentInfo { detectors, filters, raw: None, prepared: false });
        }
        if self.instruments[name].raw.is_none() {
            let raw = dataset_types::load(&self.repo.registry).await?;
            let raw = raw.into_iter().find(|t| t.dataset_type.name == instrument.raw.dataset_type);
            if let Some(known) = self.instruments.get_mut(name) {
                known.raw = raw;
            }
        }
        Ok(())
    }

    /// Checks that filters and detectors are registered; otherwise the operation fails, as in the Butler.
    fn check_registered(&self, instrument: &Instrument, exposures: &[Exposure]) -> Result<()> {
        let name = &instrument.name;
        let InstrumentInfo { detectors, filters, .. } = &self.instruments[name];
        for exposure in exposures {
            let filter = &exposure.observation.physical_filter;
            if !filters.contains(filter) {
                let names = filters.iter().map(String::as_str);
                let error = Error::not_found(&format!("{name} filter"), filter, names);
                return Err(error.context(format_args!("exposure {}", exposure.observation.exposure)));
            }
            if let Some(file) = exposure.files.iter().find(|f| !detectors.contains_key(&f.detector)) {
                let message = format!("{name} has no detector {} (file '{}')", file.detector, file.place.display());
                return Err(Error::new(Kind::NotFound, message));
            }
        }
        Ok(())
    }

    /// Adds the dataset type and the run, if they do not exist.
    async fn prepare(&self, instrument: &Instrument, run: &str, pending: &mut PendingChanges) -> Result<()> {
        let known = &self.instruments[&instrument.name];
        if known.prepared {
            return Ok(());
        }
        let wanted = rows::raw_type(self.repo, instrument)?;
        match &known.raw {
            Some(there) => dataset_types::check_same(&wanted, &there.dataset_type)?,
            None if self.instruments.values().any(|k| k.prepared) => {}
            None => pending.changes.push(Change::DatasetType(wanted)),
        }
        pending.changes.extend(collections::ensure_collection(self.repo, run, CollectionType::Run).await?);
        Ok(())
    }

    /// Adds the group, day_obs and exposure records. Returns the exposures that do not conflict with existing records.
    async fn records<'e>(&self, exposures: &'e [Exposure], pending: &mut PendingChanges) -> Result<Vec<&'e Exposure>> {
        let update = self.task.update_records;
        let mut bad: Vec<Option<String>> = vec![None; exposures.len()];
        let mut drafted = Vec::new();
        for element in ["group", "day_obs", "exposure"] {
            if self.repo.registry.universe.find(element).is_none() {
                continue;
            }
            let known = table(&self.repo.registry, element)?;
            let (records, of) = rows::records(&known, element, exposures)?;
            let mut statuses = compare(&self.repo.registry, &known, &records).await?;
            for (row, _) in find_duplicates(&known, &records)?.iter().enumerate().filter(|(_, first)| first.is_some()) {
                if statuses[row] == Comparison::New {
                    statuses[row] = Comparison::Differs("an earlier exposure has other values".to_owned());
                }
            }
            for (exposure, row) in of.iter().enumerate() {
                if let Comparison::Differs(how) = &statuses[*row]
                    && !update
                {
                    bad[exposure].get_or_insert_with(|| conflict(element, how).message().to_owned());
                }
            }
            drafted.push((element, records, of, statuses));
        }
        for (element, records, of, statuses) in drafted {
            // Records that only failed exposures refer to are not written.
            let mut needed = vec![false; records.num_rows()];
            of.iter().zip(&bad).filter(|(_, bad)| bad.is_none()).for_each(|(row, _)| needed[*row] = true);
            let is = |wanted: fn(&Comparison) -> bool| {
                statuses.iter().zip(&needed).map(move |(s, needed)| *needed && wanted(s))
            };
            let new = filter_rows(&records, is(|s| *s == Comparison::New))?;
            let changed = filter_rows(&records, is(|s| matches!(s, Comparison::Differs(_))))?;
            let same = is(|s| *s == Comparison::Unchanged).filter(|same| *same).count();
            pending.existing.push((element.to_owned(), String::new(), same as u64));
            if new.num_rows() > 0 {
                pending.changes.push(Change::Insert(element.to_owned(), new.into()));
            }
            if changed.num_rows() > 0 {
                pending.changes.push(Change::Replace(element.to_owned(), changed.into()));
            }
        }
        let mut good = Vec::with_capacity(exposures.len());
        for (exposure, bad) in exposures.iter().zip(bad) {
            match bad {
                None => good.push(exposure),
                Some(how) => {
                    let message = format!("exposure {}: {how}", exposure.observation.obs_id);
                    pending.failures.push(Error::new(Kind::Conflict, message));
                }
            }
        }
        Ok(good)
    }

    /// Adds the datasets that do not exist. Existing datasets are unchanged; only `direct` can replace their file
    /// record, as in the Butler.
    async fn datasets(
        &self,
        instrument: &Instrument,
        run: &str,
        exposures: &[&Exposure],
        pending: &mut PendingChanges,
    ) -> Result<()> {
        let name = &instrument.raw.dataset_type;
        let there = match &self.instruments[&instrument.name].raw {
            Some(record) => rows::existing_raws(self.repo, record, instrument, run, exposures).await?,
            None => HashMap::new(),
        };
        let (mut new, mut moved, mut files, mut stored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let root = Location::parse(&self.repo.datastore_root())?;
        let mut same = 0;
        let mut seen = HashSet::new();
        for exposure in exposures {
            for file in &exposure.files {
                if !seen.insert((exposure.observation.exposure, file.detector)) {
                    let message =
                        format!("'{}': another file holds the same exposure and detector", file.place.display());
                    pending.failures.push(Error::new(Kind::Conflict, message));
                    continue;
                }
                let row = self.row(instrument, run, exposure, file, &mut files)?;
                match there.get(&(row.exposure, row.detector)) {
                    None => new.push(row),
                    // The dataset exists but is not stored: its file is stored again.
                    Some((id, None, _)) if *id == row.id => new.push(row),
                    Some((id, ..)) if *id != row.id => {
                        let message = format!(
                            "run '{run}' already holds another {name} of exposure {} and detector {}",
                            row.exposure, row.detector
                        );
                        pending.failures.push(Error::new(Kind::Conflict, message));
                    }
                    Some((_, path, size))
                        if self.task.transfer != TransferMode::Direct
                            // A file inside the datastore is not replaced.
                            || path.as_ref().is_some_and(|path| !path.contains("://"))
                            || (path.as_deref(), *size) == (Some(&*row.path), Some(row.size)) =>
                    {
                        same += 1;
                        if let (TransferMode::Move, Some(path)) = (self.task.transfer, path)
                            && !path.contains("://")
                        {
                            let from = TransferSource::File(file.place.clone());
                            stored.push(Transfer { from, to: root.child(path), mode: TransferMode::Move });
                        }
                    }
                    Some(_) => moved.push(row),
                }
            }
        }
        pending.existing.push(("dataset".to_owned(), name.clone(), same));
        let wanted: HashSet<String> = new.iter().filter_map(|r| Some(r.target.as_ref()?.display())).collect();
        files.retain(|f: &Transfer| wanted.contains(&f.to.display()));
        if !files.is_empty() {
            pending.changes.push(Change::Files(files));
        }
        if !new.is_empty() {
            let rows = rows::dataset_rows(instrument, &new)?;
            pending.changes.push(Change::Datasets(name.clone(), run.to_owned(), rows.into()));
        }
        if !moved.is_empty() {
            pending.changes.push(Change::ReplaceFiles(name.clone(), rows::dataset_rows(instrument, &moved)?.into()));
        }
        let sources = unfinished_moves(stored).await?;
        if !sources.is_empty() {
            pending.changes.push(Change::RemoveSources(sources));
        }
        Ok(())
    }

    /// Returns the row of a file, and adds its transfer to `files`.
    fn row(
        &self,
        instrument: &Instrument,
        run: &str,
        exposure: &Exposure,
        file: &File,
        files: &mut Vec<Transfer>,
    ) -> Result<rows::Row> {
        let root = Location::parse(&self.repo.datastore_root())?;
        let inside = file.place.strip_prefix(&root);
        let (path, target) = match (self.task.transfer, inside) {
            (TransferMode::Direct, _) => (file.place.uri(), None),
            (TransferMode::Auto, Some(path)) => (path, None),
            (mode, _) => {
                let name = &self.instruments[&instrument.name].detectors[&file.detector];
                let detector = (file.detector, name.as_str());
                let path = rows::raw_path(self.repo, instrument, run, exposure, detector, &file.place.name())?;
                let to = root.child(&path);
                files.push(Transfer { from: TransferSource::File(file.place.clone()), to: to.clone(), mode });
                (path, Some(to))
            }
        };
        let size = match (self.task.track_file_attrs, file.size) {
            (true, Some(size)) => i64::try_from(size).unwrap_or(-1),
            _ => -1,
        };
        let (exposure, detector) = (exposure.observation.exposure, file.detector);
        let id = rows::raw_dataset_id(instrument, run, exposure, detector);
        Ok(rows::Row { id, exposure, detector, path, size, target })
    }
}
