//! Finds raw files and their metadata, from the `_index.json` of a folder or the sidecar of a file.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt};
use regex::Regex;
use tokio::sync::Semaphore;

use crate::error::{Error, Kind, Result};
use crate::format::index::{self, Content, Object};
use crate::instrument::{Entry, Instrument, Observation, check_properties};
use crate::store::walk::walk;
use crate::store::{DirListing, FileType, Location};

/// File name of an index.
const INDEX: &str = "_index.json";

/// Criteria for raw files.
#[derive(Debug)]
pub(super) struct RawFinder {
    /// Pattern for the names of raw files in folders.
    pub regex: Regex,
    /// Instruments that can be recognized.
    pub instruments: Vec<Arc<Instrument>>,
}

/// The raw files of one folder, or files that were given individually.
#[derive(Debug, Default)]
pub(super) struct FileGroup {
    /// Number of folders that were searched.
    pub folders: u64,
    /// Files with valid metadata.
    pub files: Vec<RawFile>,
    /// Files, indexes or locations with an error.
    pub failures: Vec<(String, Error)>,
}

/// A raw file with its metadata.
#[derive(Debug)]
pub(super) struct RawFile {
    /// Location of the file.
    pub place: Location,
    /// Size in bytes; `None` if only an index names the file.
    pub size: Option<u64>,
    /// Metadata of the file.
    pub metadata: Metadata,
}

/// The exposure and detector of a file.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Instrument.
    pub instrument: Arc<Instrument>,
    /// Exposure id.
    pub exposure: i64,
    /// Detector id.
    pub detector: i64,
    /// Exposure metadata; only for the first file of each exposure in a group.
    pub observation: Option<Box<Observation>>,
}

impl Metadata {
    /// Returns the instrument name and the exposure id.
    pub(super) fn key(&self) -> (String, i64) {
        (self.instrument.name.clone(), self.exposure)
    }
}

/// Returns all groups: folders depth first in name order, `at_once` of them concurrently, then individual files.
pub(super) fn groups(
    search: Arc<RawFinder>,
    locations: Vec<String>,
    at_once: usize,
) -> impl Stream<Item = FileGroup> + Send {
    let last = Arc::clone(&search);
    let explicit: Arc<std::sync::Mutex<Vec<(Location, u64)>>> = Arc::default();
    let named = Arc::clone(&explicit);
    let folders = stream::iter(locations).then(move |location| classify_location(location, Arc::clone(&named)));
    let walked = folders.flat_map(move |top| match top {
        Ok(place) => place.map_or_else(|| stream::empty().boxed(), |place| walk(place, at_once).map(with_name).boxed()),
        Err((path, error)) => stream::iter([(path, Err(error))]).boxed(),
    });
    let turns = Arc::new(Semaphore::new(at_once));
    let read = walked
        .map(move |(path, folder)| {
            let (search, turns) = (Arc::clone(&search), Arc::clone(&turns));
            async move {
                let work = async move {
                    let _turn = turns.acquire().await;
                    match folder {
                        Ok((place, folder)) => search.folder(&place, folder).await,
                        Err(error) => FileGroup { folders: 1, failures: vec![(path, error)], ..FileGroup::default() },
                    }
                };
                match tokio::spawn(work).await {
                    Ok(group) => group,
                    Err(e) => std::panic::resume_unwind(e.into_panic()),
                }
            }
        })
        // A larger buffer, so that one slow folder does not delay the others.
        .buffered(4 * at_once);
    let explicit = stream::once(async move {
        let files = std::mem::take(&mut *explicit.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        last.explicit(files).await
    });
    read.chain(explicit)
}

/// Adds the display name of a folder to its listing.
fn with_name((place, folder): (Location, Result<DirListing>)) -> (String, Result<(Location, DirListing)>) {
    (place.display(), folder.map(|folder| (place, folder)))
}

/// Returns the location of a folder; a file is added to `explicit` instead.
async fn classify_location(
    location: String,
    explicit: Arc<std::sync::Mutex<Vec<(Location, u64)>>>,
) -> Result<Option<Location>, (String, Error)> {
    let named = |e: Error| (location.clone(), e);
    let place = Location::parse(&location).map_err(named)?;
    match place.stat().await.map_err(named)? {
        FileType::Directory => Ok(Some(place)),
        FileType::File(size) => {
            explicit.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((place, size));
            Ok(None)
        }
        FileType::Missing => Err(named(Error::new(Kind::NotFound, "the folder or file does not exist"))),
    }
}

/// A validated index, with its common instrument.
struct Checked {
    index: index::Index,
    instrument: Option<Arc<Instrument>>,
}

impl RawFinder {
    /// Returns the raw files of a folder.
    async fn folder(&self, place: &Location, folder: DirListing) -> FileGroup {
        let raws: Vec<_> = folder.files.iter().filter(|(name, _)| self.regex.is_match(name)).cloned().collect();
        let mut group = FileGroup { folders: 1, ..FileGroup::default() };
        let others = folder.others.iter().filter(|(name, _)| name == INDEX || self.regex.is_match(name));
        group.failures.extend(others.map(|(name, why)| (place.child(name).display(), Error::invalid(*why))));
        if raws.is_empty() {
            return group;
        }
        let mut checked = None;
        if folder.files.iter().any(|(name, _)| name == INDEX) {
            match self.index(&place.child(INDEX)).await {
                Ok(index) => checked = Some(index),
                Err(error) => group.failures.push((place.child(INDEX).display(), error)),
            }
        }
        let mut seen = HashSet::new();
        for (name, size) in raws {
            let own = checked.as_ref().and_then(|c| c.index.files.get(&name)).and_then(|v| v.as_object());
            let metadata = match (&checked, own) {
                (Some(checked), Some(own)) => self.indexed(checked, own, &mut seen),
                _ => self.sidecar(place, &name, &folder, &mut seen).await,
            };
            match metadata {
                Ok(metadata) => group.files.push(RawFile { place: place.child(&name), size: Some(size), metadata }),
                Err(error) => group.failures.push((place.child(&name).display(), error)),
            }
        }
        group
    }

    /// Returns individually given files; an index stands for all files that it lists.
    async fn explicit(&self, files: Vec<(Location, u64)>) -> FileGroup {
        let mut group = FileGroup::default();
        let mut seen = HashSet::new();
        let mut by_folder: BTreeMap<String, Vec<(Location, u64)>> = BTreeMap::new();
        for (place, size) in files {
            if place.name() == INDEX {
                self.all_of_index(&place, &mut group, &mut seen).await;
                continue;
            }
            by_folder.entry(place.parent().display()).or_default().push((place, size));
        }
        for files in by_folder.into_values() {
            let parent = files[0].0.parent();
            let listing = match parent.list().await {
                Ok(listing) => listing,
                Err(error) => {
                    group.failures.extend(files.into_iter().map(|(place, _)| (place.display(), error.clone())));
                    continue;
                }
            };
            let names: Vec<String> = files.iter().map(|(place, _)| place.name()).collect();
            // The pattern does not apply to individually given files.
            let only = RawFinder { regex: any_of(&names), instruments: self.instruments.clone() };
            let mut part = Box::pin(only.folder(&parent, listing)).await;
            group.folders += part.folders;
            group.files.append(&mut part.files);
            group.failures.append(&mut part.failures);
        }
        group
    }

    async fn all_of_index(&self, place: &Location, group: &mut FileGroup, seen: &mut SeenExposures) {
        let folder = place.parent();
        let checked = match self.index(place).await {
            Ok(checked) => checked,
            Err(error) => return group.failures.push((place.display(), error)),
        };
        let mut broken = HashSet::new();
        for (name, own) in &checked.index.files {
            let file = folder.child(name);
            let Some(own) = own.as_object() else { continue };
            let size = match file.stat().await {
                Ok(FileType::File(size)) => Some(size),
                Ok(_) => {
                    let error = Error::new(Kind::NotFound, "the index lists it, but it does not exist");
                    group.failures.push((file.display(), error));
                    None
                }
                Err(error) => {
                    group.failures.push((file.display(), error));
                    None
                }
            };
            match self.indexed(&checked, own, seen) {
                Ok(metadata) => {
                    if size.is_none() {
                        broken.insert(metadata.key());
                    }
                    group.files.push(RawFile { place: file, size, metadata });
                }
                Err(error) => group.failures.push((file.display(), error)),
            }
        }
        // An exposure is ingested with all of its files or not at all, as in the Butler.
        group.files.retain(|file| !broken.contains(&file.metadata.key()));
        seen.retain(|key| !broken.contains(key));
    }

    async fn index(&self, place: &Location) -> Result<Checked> {
        let bytes = place.read(index::LIMIT).await?;
        let index = index::parse_index(&bytes)?;
        if index.content == Content::Translated {
            check_properties(&index.common)?;
            for (name, own) in &index.files {
                let own = own.as_object().ok_or_else(|| Error::bug("an index entry is not an object"))?;
                check_properties(own).map_err(|e| e.context(format_args!("entry '{name}'")))?;
            }
            if let Some(translator) = index.common.get("_translator").and_then(|t| t.as_str()) {
                check_translator(translator)?;
            }
        }
        let instrument = match index.content {
            Content::Translated => index.common.get("instrument").and_then(|i| i.as_str()).and_then(|n| self.named(n)),
            Content::Metadata => None,
        };
        Ok(Checked { index, instrument })
    }

    fn indexed(&self, checked: &Checked, own: &Object, seen: &mut SeenExposures) -> Result<Metadata> {
        let entry = Entry { common: &checked.index.common, own };
        match checked.index.content {
            Content::Translated => self.translated(&entry, checked.instrument.as_ref(), seen),
            Content::Metadata => self.header(&entry, seen),
        }
    }

    async fn sidecar(
        &self,
        place: &Location,
        name: &str,
        folder: &DirListing,
        seen: &mut SeenExposures,
    ) -> Result<Metadata> {
        let extension = crate::store::path_template::extension(name);
        let sidecar = format!("{}.json", &name[..name.len() - extension.len()]);
        if !folder.files.iter().any(|(other, _)| *other == sidecar) {
            let message = format!("it has no metadata: no entry in {INDEX}, no sidecar {sidecar}");
            return Err(Error::new(Kind::NotFound, message));
        }
        let bytes = place.child(&sidecar).read(index::LIMIT).await?;
        let (content, own) = index::parse_sidecar(&bytes).map_err(|e| e.context(&sidecar))?;
        let empty = Object::new();
        let entry = Entry { common: &empty, own: &own };
        match content {
            Content::Translated => {
                check_properties(&own).map_err(|e| e.context(&sidecar))?;
                self.translated(&entry, None, seen)
            }
            Content::Metadata => self.header(&entry, seen),
        }
    }

    fn named(&self, name: &str) -> Option<Arc<Instrument>> {
        self.instruments.iter().find(|i| i.name == name).cloned()
    }

    fn translated(
        &self,
        entry: &Entry<'_>,
        known: Option<&Arc<Instrument>>,
        seen: &mut SeenExposures,
    ) -> Result<Metadata> {
        let (name, exposure, detector) = entry.identity()?;
        let instrument = match known {
            Some(known) => Arc::clone(known),
            None => self.named(name).ok_or_else(|| {
                Error::not_found("registered instrument", name, self.instruments.iter().map(|i| i.name.as_str()))
            })?,
        };
        let observation = match seen.contains(&(name.to_owned(), exposure)) {
            true => None,
            false => {
                let observation = Observation::from_translated(entry)?;
                seen.insert((name.to_owned(), exposure));
                Some(Box::new(observation))
            }
        };
        Ok(Metadata { instrument, exposure, detector, observation })
    }

    fn header(&self, entry: &Entry<'_>, seen: &mut SeenExposures) -> Result<Metadata> {
        let instrument = self.instruments.iter().find(|i| i.recognises(entry)).ok_or_else(|| {
            Error::new(Kind::NotFound, "the header values do not match any registered and supported instrument")
        })?;
        let observation = instrument.translate(entry)?;
        let (exposure, detector) = (observation.exposure, observation.detector);
        let first = seen.insert((instrument.name.clone(), exposure));
        let observation = first.then(|| Box::new(observation));
        Ok(Metadata { instrument: Arc::clone(instrument), exposure, detector, observation })
    }
}

/// Exposures whose metadata was returned with an earlier file of the group.
type SeenExposures = HashSet<(String, i64)>;

fn check_translator(name: &str) -> Result<()> {
    let known = Instrument::built_in();
    if known.iter().any(|i| i.headers.translator == name) {
        return Ok(());
    }
    Err(Error::not_found("translator", name, known.iter().map(|i| i.headers.translator.as_str())))
}

/// Returns a pattern that matches exactly these names.
fn any_of(names: &[String]) -> Regex {
    let all: Vec<_> = names.iter().map(|n| regex::escape(n)).collect();
    Regex::new(&format!("^(?:{})$", all.join("|"))).unwrap_or_else(|_| unreachable!("escaped names make a pattern"))
}
