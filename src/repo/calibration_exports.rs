//! Finds export files below a folder and summarizes their contents per ticket.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::error::{Error, Result};
use crate::format::export_item::Item;
use crate::format::export_yaml::Export;
use crate::store::Location;

/// The contents of an export file that belong to one ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExportSummary {
    /// Path of the export file.
    pub file: String,
    /// Ticket in the collection names, such as `DM-48520`; `None` for names without a ticket.
    pub ticket: Option<String>,
    /// Collection names, including runs.
    pub collections: BTreeSet<String>,
    /// Dataset types of the datasets.
    pub dataset_types: BTreeSet<String>,
    /// Number of datasets.
    pub datasets: i64,
}

/// File name of export files.
const FILE: &str = "export.yaml";

/// Returns summaries of the export files below a folder, ordered by file and ticket.
///
/// # Errors
/// `Kind::NotFound` when the folder does not exist; errors for a malformed export file.
pub(crate) async fn find(folder: &str) -> Result<Vec<ExportSummary>> {
    let mut waiting = vec![Location::parse(folder)?];
    let mut files = Vec::new();
    // Links may form a cycle.
    let mut linked = BTreeSet::new();
    while let Some(place) = waiting.pop() {
        let listing = place.list().await?;
        waiting.extend(listing.folders.iter().map(|name| place.child(name)));
        for link in listing.links.iter().map(|name| place.child(name)) {
            if linked.insert(link.local()?.canonicalize()?) {
                waiting.push(link);
            }
        }
        files.extend(listing.files.iter().filter(|(name, _)| name == FILE).map(|(name, _)| place.child(name)));
    }
    files.sort_by_key(Location::display);
    let mut found = Vec::new();
    for file in files {
        let (name, opened) = (file.display(), file.open().await?);
        let read = tokio::task::spawn_blocking(move || read(&name, opened)).await;
        found.extend(read.map_err(|e| Error::bug(format!("reading export files: {e}")))??);
    }
    Ok(found)
}

fn read(file: &str, opened: std::fs::File) -> Result<Vec<ExportSummary>> {
    let named = |e: Error| e.context(format_args!("export file '{file}'"));
    let mut export = Export::new(opened);
    let pattern = Regex::new(r"\bDM-[0-9]+\b").map_err(|e| Error::bug(e.to_string()))?;
    let mut all: BTreeMap<Option<String>, ExportSummary> = BTreeMap::new();
    let mut of = |name: &str, add: &mut dyn FnMut(&mut ExportSummary)| {
        let ticket = pattern.find(name).map(|m| m.as_str().to_owned());
        let empty = || ExportSummary { file: file.to_owned(), ticket: ticket.clone(), ..ExportSummary::default() };
        add(all.entry(ticket.clone()).or_insert_with(empty));
    };
    while let Some(item) = export.next_item().map_err(named)? {
        match item {
            Item::Collection { name, .. } => of(&name, &mut |found| {
                found.collections.insert(name.clone());
            }),
            Item::File(item) => of(&item.run, &mut |found| {
                found.dataset_types.insert(item.dataset_type.clone());
                found.datasets += item.datasets.len() as i64;
            }),
            _ => {}
        }
    }
    Ok(all.into_values().collect())
}
