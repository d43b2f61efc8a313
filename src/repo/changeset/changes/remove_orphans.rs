//! Removal of files that no record names.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::error::{Kind, Result};
use crate::registry::datasets::known_paths;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::store::Location;

/// Number of files that are looked up in one query.
const AT_ONCE: usize = 256;

/// Removes files of the datastore that no record names.
#[derive(Debug)]
pub(crate) struct RemoveOrphans {
    /// Root of the datastore.
    pub root: Location,
    /// Files below the root.
    pub files: Vec<Location>,
}

#[async_trait]
impl StandaloneChange for RemoveOrphans {
    fn describe(&self) -> Vec<ReportRow> {
        vec![ReportRow::new("file", Status::Removed, "", self.files.len() as u64)]
    }

    fn is_done(&self) -> bool {
        self.files.is_empty()
    }

    async fn apply(&self, handle: &RepositoryHandle) -> Result<Applied> {
        let repo = handle.repo().await?;
        let (mut removed, mut rows) = (0, Vec::new());
        for files in self.files.chunks(AT_ONCE) {
            // Another writer may have recorded a file since the plan.
            let known = recorded(&repo.registry, &self.root, files).await?;
            for file in files.iter().filter(|file| !known.contains(&file.uri())) {
                match file.remove().await {
                    Ok(()) => removed += 1,
                    Err(error) if error.kind() == Kind::NotFound => {}
                    Err(error) => {
                        let name = format!("{}: {}", file.display(), error.message());
                        rows.push(ReportRow::new("file", Status::Failed, name, 1));
                    }
                }
            }
        }
        rows.insert(0, ReportRow::new("file", Status::Removed, "", removed));
        Ok(Applied::Rows(rows))
    }
}

/// Returns the URIs of the files that records name, by their path below the root or by their URI.
///
/// # Errors
/// Database errors.
pub(crate) async fn recorded(
    registry: &crate::registry::Registry,
    root: &Location,
    files: &[Location],
) -> Result<HashSet<String>> {
    let names = |file: &Location| [file.strip_prefix(root).unwrap_or_default(), file.uri()];
    let known = known_paths(registry, &files.iter().flat_map(names).collect::<Vec<_>>()).await?;
    let is_known = |file: &&Location| names(file).iter().any(|name| known.contains(name));
    Ok(files.iter().filter(is_known).map(Location::uri).collect())
}
