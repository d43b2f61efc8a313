//! Removal of the files of datasets in the trash of the datastore.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use crate::error::{Error, Kind, Result};
use crate::model::zip_member;
use crate::registry::removal::{self, Trashed};
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::{Repo, RepositoryHandle};
use crate::store::{FileType, Location};

/// Number of files that are removed concurrently.
const AT_ONCE: usize = 16;

/// Removes the files of all datasets in the trash, then their records. A file that cannot be removed keeps its records
/// and its row in the trash, and is reported. Files outside of the datastore, and files that stored datasets need, are
/// not removed.
#[derive(Debug)]
pub(crate) struct EmptyTrash {
    /// Number of files that the plan expects.
    pub files: u64,
    /// Size in bytes of these files.
    pub bytes: u64,
}

#[async_trait]
impl StandaloneChange for EmptyTrash {
    fn describe(&self) -> Vec<ReportRow> {
        let row = |kind, count| ReportRow::new(kind, Status::Removed, "", count);
        vec![row("file", self.files), row("byte", self.bytes)]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, handle: &RepositoryHandle) -> Result<Applied> {
        let repo = handle.repo().await?;
        repo.registry.check_writable()?;
        let root = Location::parse(&repo.datastore_root())?;
        let (mut removed, mut failures) = (0, Vec::new());
        let mut after: Option<String> = None;
        loop {
            let page = removal::read_trash(&repo.registry, after.as_deref()).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            if matches!(root.stat().await?, FileType::Missing) {
                let message = format!("the datastore '{}' does not exist: files cannot be removed", root.display());
                return Err(Error::new(Kind::NotFound, message));
            }
            removed += empty(&repo, &root, page, &mut failures).await?;
        }
        let mut rows = vec![ReportRow::new("file", Status::Removed, "", removed)];
        if removed == self.files {
            rows.push(ReportRow::new("byte", Status::Removed, "", self.bytes));
        }
        rows.extend(failures);
        Ok(Applied::Rows(rows))
    }
}

/// Removes the files of some datasets, and the records of those whose files are gone. Returns the number of removed
/// files.
async fn empty(repo: &Repo, root: &Location, page: Vec<Trashed>, failures: &mut Vec<ReportRow>) -> Result<u64> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut done: HashSet<String> = HashSet::new();
    for Trashed { id, path, is_shared } in page {
        done.insert(id.clone());
        let Some(path) = path.filter(|path| !is_shared && !path.contains("://")) else { continue };
        owners.entry(zip_member::split(&path).0.to_owned()).or_default().push(id);
    }
    // Another dataset may name the file by its URI.
    let uris: Vec<String> = owners.keys().map(|path| root.child(path).uri()).collect();
    if !uris.is_empty() {
        let stored = removal::stored_uris(&repo.registry, &uris).await?;
        owners.retain(|path, _| !stored.contains(&root.child(path).uri()));
    }
    let removals = owners.into_iter().map(|(path, ids)| {
        let file = root.child(&path);
        async move { (ids, file.remove().await, file) }
    });
    let mut removals = stream::iter(removals).buffer_unordered(AT_ONCE);
    let mut removed = 0;
    let mut lost = HashSet::new();
    while let Some((ids, result, file)) = removals.next().await {
        match result {
            Ok(()) => {
                removed += 1;
                lost.extend(ids);
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => {
                let name = format!("{}: {}", file.display(), error.message());
                failures.push(ReportRow::new("file", Status::Failed, name, 1));
                done.retain(|id| !ids.contains(id));
            }
        }
    }
    drop(removals);
    let mut done: Vec<String> = done.into_iter().collect();
    // A fixed order prevents deadlocks between two writers of the same rows.
    done.sort_unstable();
    let mut tx = repo.registry.begin().await?;
    let stored = removal::forget(&mut tx, &repo.registry, &done).await?;
    tx.commit().await?;
    for id in stored.into_iter().filter(|id| lost.contains(id)) {
        let name = format!("dataset {id} was stored again while its file was removed: ingest it again");
        failures.push(ReportRow::new("file", Status::Failed, name, 1));
    }
    Ok(removed)
}
