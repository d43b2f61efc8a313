//! Files of datasets that are copied out of the datastore, into a folder or a zip archive.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::format::zip_index::{INDEX_FILE, ZipIndex};
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::operations::Artifact;
use crate::store::transfer::{Transfer, TransferSource, rollback, transfer_all};
use crate::store::transfer_mode::TransferMode;
use crate::store::{FileType, Location, archive, temporary};

/// Writes files and their index.
#[derive(Debug)]
pub(crate) struct WriteArtifacts {
    /// The folder; created if it does not exist.
    pub directory: Location,
    /// The files.
    pub artifacts: Vec<Artifact>,
    /// What they hold.
    pub index: ZipIndex,
    /// How files are transferred into the folder.
    pub transfer: TransferMode,
    /// True to replace existing files.
    pub clobber: bool,
    /// True to write one zip archive instead of files.
    pub zip: bool,
}

#[async_trait]
impl StandaloneChange for WriteArtifacts {
    fn describe(&self) -> Vec<ReportRow> {
        let datasets = self.index.refs.compact_refs.len() as u64;
        let target = if self.zip { self.archive().display() } else { String::new() };
        let files = ReportRow::new("file", Status::Exported, target, self.artifacts.len() as u64);
        vec![ReportRow::new("dataset", Status::Exported, "", datasets), files]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        match self.directory.stat().await? {
            FileType::File(_) => {
                return Err(Error::invalid(format!("'{}' is a file, not a folder", self.directory.display())));
            }
            FileType::Directory => self.sweep().await,
            FileType::Missing => {}
        }
        if self.zip { self.write_archive().await } else { self.write_files().await }
    }
}

impl WriteArtifacts {
    /// Removes what killed processes left in the folders. Errors are only logged.
    async fn sweep(&self) {
        let mut folders = BTreeMap::from([(self.directory.uri(), self.directory.clone())]);
        for artifact in self.artifacts.iter().filter(|artifact| artifact.member.is_some()) {
            let folder = self.directory.child(&artifact.name).parent();
            folders.insert(folder.uri(), folder);
        }
        for folder in folders.into_values() {
            if let Err(error) = folder.sweep().await {
                tracing::warn!("leftovers of killed processes stay in '{}': {error}", folder.display());
            }
        }
    }

    fn archive(&self) -> Location {
        self.directory.child(&self.index.archive_name())
    }

    async fn write_files(&self) -> Result<Applied> {
        let files = self.artifacts.iter().filter(|artifact| artifact.member.is_none());
        let transfers: Vec<Transfer> = files
            .map(|artifact| Transfer {
                from: TransferSource::File(artifact.location.clone()),
                to: self.directory.child(&artifact.name),
                mode: self.transfer,
            })
            .collect();
        if self.clobber {
            for artifact in &self.artifacts {
                let target = self.directory.child(&artifact.name);
                if !leads_to(&target, &artifact.location) {
                    remove_file(&target).await?;
                }
            }
        }
        let mut made = Vec::new();
        let done = async {
            transfer_all(&transfers, &mut made).await?;
            self.extract(&self.directory, &mut made).await
        };
        if let Err(error) = done.await {
            rollback(&made).await;
            return Err(error);
        }
        let index = self.directory.child(INDEX_FILE);
        remove_file(&index).await?;
        index.write(Bytes::from(format!("{}\n", self.index.to_json()?))).await?;
        Ok(Applied::AsDescribed)
    }

    /// Extracts the files that are members of archives.
    async fn extract(&self, directory: &Location, made: &mut Vec<Location>) -> Result<()> {
        let mut archives: BTreeMap<String, (Location, Vec<(String, Location)>)> = BTreeMap::new();
        for artifact in &self.artifacts {
            let Some(member) = &artifact.member else { continue };
            let (_, members) =
                archives.entry(artifact.location.uri()).or_insert_with(|| (artifact.location.clone(), Vec::new()));
            members.push((member.clone(), directory.child(&artifact.name)));
        }
        for (location, members) in archives.into_values() {
            made.extend(archive::extract(&location, members).await?);
        }
        Ok(())
    }

    async fn write_archive(&self) -> Result<Applied> {
        let target = self.archive();
        let index = self.index.to_json()? + "\n";
        if target.stat().await? != FileType::Missing && !self.clobber {
            let present = archive::read_member(&target, INDEX_FILE, u64::from(u32::MAX)).await;
            if present.is_ok_and(|present| present == index) {
                return Ok(Applied::Rows(vec![ReportRow::new("file", Status::Unchanged, target.display(), 1)]));
            }
            let message = format!("'{}' exists; use clobber => true to replace it", target.display());
            return Err(Error::new(Kind::Exists, message));
        }
        let folder = self.directory.local()?;
        let named = |e: std::io::Error| Error::from(e).context(format_args!("folder '{}'", folder.display()));
        std::fs::create_dir_all(&folder).map_err(named)?;
        let scratch = temporary::create_folder(&folder).map_err(named)?;
        let extracted = Location::parse(&scratch.path().display().to_string())?;
        self.extract(&extracted, &mut Vec::new()).await?;
        let mut files = Vec::with_capacity(self.artifacts.len());
        for artifact in &self.artifacts {
            let file = match artifact.member {
                Some(_) => extracted.child(&artifact.name),
                None => artifact.location.clone(),
            };
            files.push((artifact.name.clone(), file));
        }
        archive::write(Path::new(&target.local()?), INDEX_FILE, index, files).await?;
        Ok(Applied::AsDescribed)
    }
}

/// Whether a target is its own source, or a link to it, which must not be removed.
fn leads_to(target: &Location, source: &Location) -> bool {
    match (target.local(), source.local()) {
        (Ok(target), Ok(source)) => {
            target.canonicalize().is_ok_and(|target| source.canonicalize().is_ok_and(|source| source == target))
        }
        _ => target == source,
    }
}

/// Removes a file if it exists.
async fn remove_file(location: &Location) -> Result<()> {
    match location.stat().await? {
        FileType::Missing => Ok(()),
        FileType::File(_) => location.remove().await,
        FileType::Directory => Err(Error::new(Kind::Exists, format!("'{}' is a folder", location.display()))),
    }
}
