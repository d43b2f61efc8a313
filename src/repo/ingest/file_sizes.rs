//! The sizes of files, local ones and those on a server.

use std::collections::{BTreeMap, HashMap};

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::error::{Error, Kind, Result};
use crate::store::{FileType, Location};

/// Maximum number of files of a folder that are checked one by one.
const FEW: usize = 4;
/// Number of folders that are listed concurrently.
const AT_ONCE: usize = 16;

/// Returns the sizes of numbered files in bytes.
pub(super) async fn lengths(wanted: Vec<(usize, Location)>) -> Result<Vec<(usize, i64)>> {
    let all: HashMap<usize, Location> = wanted.iter().cloned().collect();
    let size = |(row, size): (usize, Option<i64>)| match size {
        Some(size) => Ok((row, size)),
        None => Err(Error::new(Kind::NotFound, format!("file '{}' does not exist", all[&row].display()))),
    };
    sizes(wanted).await?.into_iter().map(size).collect()
}

/// Returns the sizes of numbered files in bytes; `None` for files that do not exist.
///
/// # Errors
/// `Kind::Invalid` for a folder, errors of the file system or the server.
pub(crate) async fn sizes(wanted: Vec<(usize, Location)>) -> Result<Vec<(usize, Option<i64>)>> {
    if wanted.iter().all(|(_, place)| place.is_local()) {
        let look = move || {
            let mut last: Option<(&Location, Option<i64>)> = None;
            let mut found = Vec::with_capacity(wanted.len());
            for (i, place) in &wanted {
                let size = match last {
                    Some((before, size)) if before == place => size,
                    _ => length(&place.display())?,
                };
                last = Some((place, size));
                found.push((*i, size));
            }
            Ok(found)
        };
        return tokio::task::spawn_blocking(look).await.map_err(|e| Error::bug(format!("reading file sizes: {e}")))?;
    }
    let mut folders: BTreeMap<String, Vec<(usize, Location)>> = BTreeMap::new();
    for (i, place) in wanted {
        folders.entry(place.parent().display()).or_default().push((i, place));
    }
    let looked = stream::iter(folders.into_values()).map(folder_lengths).buffered(AT_ONCE);
    Ok(looked.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

/// Returns the sizes of files in one remote folder, by single requests for few files, else by one listing.
async fn folder_lengths(files: Vec<(usize, Location)>) -> Result<Vec<(usize, Option<i64>)>> {
    let mut listed = HashMap::new();
    if files.len() > FEW {
        listed.extend(files[0].1.parent().list().await?.files);
    }
    let mut found = Vec::with_capacity(files.len());
    for (i, place) in files {
        let size = match (listed.get(&place.name()), listed.is_empty()) {
            (Some(size), _) => Some(*size),
            (None, false) => None,
            (None, true) => match place.stat().await? {
                FileType::File(size) => Some(size),
                FileType::Missing => None,
                FileType::Directory => return Err(Error::invalid(format!("'{}' is not a file", place.display()))),
            },
        };
        found.push((i, size.map(|size| i64::try_from(size).unwrap_or(-1))));
    }
    Ok(found)
}

fn length(name: &str) -> Result<Option<i64>> {
    match std::fs::metadata(name) {
        Ok(found) if found.is_file() => Ok(Some(i64::try_from(found.len()).unwrap_or(-1))),
        Ok(_) => Err(Error::invalid(format!("'{name}' is not a file"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::from(e).context(format_args!("file '{name}'"))),
    }
}
