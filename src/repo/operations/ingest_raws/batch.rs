//! Plans the ingest of batches of exposures, each in one change set.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::queue::{Batch, BatchQueue, failed};
use crate::error::{Error, Kind, Result};
use crate::instrument::Instrument;
use crate::model::collection::CollectionType;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets::ExistingDataset;
use crate::registry::db::spill::SpillBuffer;
use crate::repo::Repo;
use crate::repo::changeset::ChangeSet;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::CreateDatasetType;
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::repo::ingest::incoming::{Decision, IngestChanges, IngestOptions, classify};
use crate::repo::operations::collections;
use crate::repo::operations::ingest_raws::{Exposure, IngestRaws, rows};
use crate::store::transfer::{Transfer, TransferSource, unfinished_moves};
use crate::store::transfer_mode::TransferMode;
use crate::store::{Location, path_template};

/// Plans batches of exposures; caches what is needed for every batch.
pub(super) struct ExposureBatcher<'a> {
    pub(super) task: &'a IngestRaws,
    pub(super) repo: Arc<Repo>,
    instruments: HashMap<String, InstrumentInfo>,
    queue: Arc<Mutex<BatchQueue>>,
    /// The instrument whose dataset type and run are created by the change set that was returned last.
    preparing: Option<String>,
}

/// What the registry contains for an instrument.
struct InstrumentInfo {
    /// Detector names by id.
    detectors: HashMap<i64, String>,
    filters: Vec<String>,
    /// Dataset type of the raws, if it is registered.
    raw: Option<TypeRecord>,
    /// True if dataset type and run exist, or were reported in a dry run.
    is_prepared: bool,
}

impl<'a> ExposureBatcher<'a> {
    pub(super) fn new(task: &'a IngestRaws, repo: Arc<Repo>) -> Self {
        Self { task, repo, instruments: HashMap::new(), queue: Arc::default(), preparing: None }
    }

    /// Adds exposures, one batch for each instrument.
    pub(super) fn add(&mut self, exposures: BTreeMap<(String, i64), Exposure>) {
        let mut by_instrument: BTreeMap<String, Vec<Exposure>> = BTreeMap::new();
        for ((instrument, _), mut exposure) in exposures {
            exposure.files.sort_by_key(|f| f.detector);
            by_instrument.entry(instrument).or_default().push(exposure);
        }
        let batches = by_instrument.into_values().filter_map(|exposures| {
            let instrument = Arc::clone(&exposures.first()?.instrument);
            Some(Batch { instrument, exposures, is_checked: false })
        });
        self.lock().batches.extend(batches);
    }

    /// Reports a failed file or folder.
    pub(super) fn fail(&self, error: &Error) {
        self.lock().failures.push(failed(error));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BatchQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next change set, or `None` if all exposures are planned.
    pub(super) async fn next(&mut self) -> Result<Option<ChangeSet<'a>>> {
        let has_failed = std::mem::take(&mut self.lock().has_failed);
        if let Some(name) = self.preparing.take()
            && let Some(known) = self.instruments.get_mut(&name)
        {
            known.is_prepared |= !has_failed;
        }
        loop {
            let Some(mut batch) = self.lock().batches.pop_front() else { return Ok(self.take_failures()) };
            self.look_up(&batch.instrument).await?;
            if !batch.is_checked {
                self.check_registered(&batch.instrument, &batch.exposures)?;
                batch.is_checked = true;
            }
            // A conflict of run or dataset type affects all exposures, so the batch is not split.
            let prepared = self.prepare(&batch.instrument).await?;
            let fail_fast = self.task.fail_fast;
            match self.change_set(&batch, prepared).await {
                Ok(set) => {
                    self.preparing = Some(batch.instrument.name.clone());
                    let queue = Arc::clone(&self.queue);
                    let split = move |error| {
                        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                        queue.has_failed = true;
                        queue.split(batch, error, fail_fast)
                    };
                    return Ok(Some(set.on_failure(split)));
                }
                Err(error) => self.lock().split(batch, error, fail_fast)?,
            }
        }
    }

    /// Returns a change set that only reports failures, if there are any.
    fn take_failures(&self) -> Option<ChangeSet<'a>> {
        let failures = std::mem::take(&mut self.lock().failures);
        let mut set = ChangeSet::default();
        set.record_all(failures.iter().cloned());
        (!failures.is_empty()).then_some(set)
    }

    fn run_of(&self, instrument: &Instrument) -> String {
        self.task.output_run.clone().unwrap_or_else(|| instrument.raw.run.clone())
    }

    /// Returns the change set of a batch.
    async fn change_set(&self, batch: &Batch, prepared: Vec<Change>) -> Result<ChangeSet<'a>> {
        let instrument = &*batch.instrument;
        let mut set = ChangeSet::default();
        set.extend(prepared);
        let (mut failures, mut unchanged) = (Vec::new(), Vec::new());
        let needed = self.records(&batch.exposures).await?;
        let good = self.without_conflicts(&batch.exposures, &needed, &mut failures);
        let mut exposures = SpillBuffer::default();
        for element in needed {
            if element.element == "exposure" {
                exposures = element.records.clone().into();
            }
            unchanged.push(self.add_records(element, &good, &mut set)?);
        }
        let good: Vec<&Exposure> = good.iter().map(|at| &batch.exposures[*at]).collect();
        let changes = self.datasets(instrument, &good, &exposures, &mut failures).await?;
        let (name, run) = (&instrument.raw.dataset_type, self.run_of(instrument));
        unchanged.push(ReportRow::new("dataset", Status::Unchanged, name, changes.unchanged));
        set.extend(changes.into_changes(name, &run));
        if self.task.fail_fast && !failures.is_empty() {
            return Err(failures.swap_remove(0));
        }
        set.record_all(unchanged.into_iter().filter(|row| row.count > 0));
        set.record_all(failures.iter().map(failed));
        let files = good.iter().flat_map(|exposure| &exposure.files);
        let (files, bytes) = files.fold((0, 0), |(n, bytes), file| (n + 1, bytes + file.size.unwrap_or(0)));
        set.set_completed(files, bytes);
        Ok(set)
    }

    async fn look_up(&mut self, instrument: &Instrument) -> Result<()> {
        let name = &instrument.name;
        if !self.instruments.contains_key(name) {
            let detectors = rows::detectors(&self.repo, name).await?;
            let filters = rows::filters(&self.repo, name).await?;
            let info = InstrumentInfo { detectors, filters, raw: None, is_prepared: false };
            self.instruments.insert(name.clone(), info);
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

    /// Returns the changes that create the dataset type and the run, if they do not exist.
    async fn prepare(&self, instrument: &Instrument) -> Result<Vec<Change>> {
        let known = &self.instruments[&instrument.name];
        let mut changes = Vec::new();
        if known.is_prepared {
            return Ok(changes);
        }
        let wanted = rows::raw_type(&self.repo, instrument)?;
        match &known.raw {
            Some(there) => dataset_types::check_same(&wanted, &there.dataset_type)?,
            None if self.instruments.values().any(|k| k.is_prepared) => {}
            None => changes.push(CreateDatasetType(wanted).into()),
        }
        let run = collections::ensure_collection(&self.repo, &self.run_of(instrument), CollectionType::Run).await?;
        changes.extend(run.map(Change::from));
        Ok(changes)
    }

    /// Returns the changes for the datasets of these exposures.
    async fn datasets(
        &self,
        instrument: &Instrument,
        exposures: &[&Exposure],
        records: &SpillBuffer,
        failures: &mut Vec<Error>,
    ) -> Result<IngestChanges> {
        let run = self.run_of(instrument);
        let name = &instrument.raw.dataset_type;
        let there = match &self.instruments[&instrument.name].raw {
            Some(record) => rows::existing_raws(&self.repo, record, instrument, &run, exposures).await?,
            None => HashMap::new(),
        };
        let (mut new, mut replaced, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        let mut changes = IngestChanges::default();
        let mut seen = HashSet::new();
        for row in self.rows(instrument, &run, exposures) {
            let key = (row.exposure, row.detector);
            if !seen.insert(key) {
                let message =
                    format!("'{}': another file holds the same exposure and detector", row.location.display());
                failures.push(Error::new(Kind::Conflict, message));
                continue;
            }
            let existing = there.get(&key);
            match classify(&row.id, row.location, row.size, existing, self.options()) {
                Decision::Insert => new.push(row),
                Decision::ReplaceFile => replaced.push(row),
                Decision::Keep => {
                    changes.unchanged += 1;
                    stored.extend(existing.and_then(|existing| self.unfinished_move(row.location, existing)));
                }
                Decision::Refuse => {
                    let message = format!(
                        "run '{run}' already holds another {name} of exposure {} and detector {}",
                        row.exposure, row.detector
                    );
                    failures.push(Error::new(Kind::Conflict, message));
                }
            }
        }
        changes.sources = unfinished_moves(stored).await?;
        for (rows, target) in [(new, &mut changes.new), (replaced, &mut changes.replaced)] {
            if !rows.is_empty() {
                let paths = self.place(instrument, &run, &rows, records, &mut changes.transfers).await?;
                target.push(rows::dataset_rows(instrument, &rows, &paths)?)?;
            }
        }
        Ok(changes)
    }

    fn options(&self) -> IngestOptions {
        let IngestRaws { transfer, track_file_attrs, .. } = *self.task;
        IngestOptions { transfer, track_file_attrs, without_datastore: false }
    }

    /// Returns the dataset of each file.
    fn rows<'e>(
        &self,
        instrument: &Instrument,
        run: &str,
        exposures: &[&'e Exposure],
    ) -> impl Iterator<Item = rows::Row<'e>> {
        let files = exposures.iter().flat_map(|exposure| exposure.files.iter().map(|file| (*exposure, file)));
        files.map(move |(exposure, file)| {
            let size = file.size.filter(|_| self.task.track_file_attrs);
            let size = size.map_or(-1, |size| i64::try_from(size).unwrap_or(-1));
            let (exposure, detector) = (exposure.observation.exposure, file.detector);
            let id = rows::raw_dataset_id(instrument, run, exposure, detector);
            rows::Row { id, exposure, detector, location: &file.place, size }
        })
    }

    /// Returns the move of a stored file, if files are moved into the datastore.
    fn unfinished_move(&self, location: &Location, existing: &ExistingDataset) -> Option<Transfer> {
        let (path, _) = existing.file.as_ref().filter(|(path, _)| !path.contains("://"))?;
        let root = Location::parse(&self.repo.datastore_root()).ok()?;
        let from = TransferSource::File(location.clone());
        let is_move = self.task.transfer == TransferMode::Move;
        is_move.then(|| Transfer { from, to: root.child(path), mode: TransferMode::Move })
    }

    /// Returns the recorded paths of files, and adds their transfers.
    async fn place(
        &self,
        instrument: &Instrument,
        run: &str,
        files: &[rows::Row<'_>],
        records: &SpillBuffer,
        transfers: &mut Vec<Transfer>,
    ) -> Result<Vec<String>> {
        let mode = self.task.transfer;
        if mode == TransferMode::Direct {
            return Ok(files.iter().map(|file| file.location.uri()).collect());
        }
        let root = Location::parse(&self.repo.datastore_root())?;
        let inside = |file: &rows::Row<'_>| file.location.strip_prefix(&root).filter(|_| mode == TransferMode::Auto);
        let outside: Vec<&rows::Row<'_>> = files.iter().filter(|file| inside(file).is_none()).collect();
        let data_ids = rows::data_ids(instrument, &outside)?;
        let pending = PendingRecords::from([("exposure", records)]);
        let raw_type = rows::raw_type(&self.repo, instrument)?;
        let mut templated = paths(&self.repo, &raw_type, run, &data_ids, &pending).await?.into_iter();
        let mut all = Vec::with_capacity(files.len());
        for file in files {
            if let Some(path) = inside(file) {
                all.push(path);
                continue;
            }
            let stem = templated.next().ok_or_else(|| Error::bug("a file has no path"))?;
            let path = format!("{stem}{}", raw_extension(&file.location.name())?);
            let from = TransferSource::File(file.location.clone());
            transfers.push(Transfer { from, to: root.child(&path), mode });
            all.push(path);
        }
        Ok(all)
    }
}

/// Returns the extension of a raw file, if its formatter reads files with it.
fn raw_extension(file: &str) -> Result<&str> {
    let extension = path_template::extension(file);
    if matches!(extension, ".fits" | ".fits.gz" | ".fits.fz" | ".fz" | ".fit") {
        return Ok(extension);
    }
    let message = format!("file '{file}' has the extension '{extension}', which its formatter does not read");
    Err(Error::new(Kind::Unsupported, message))
}
