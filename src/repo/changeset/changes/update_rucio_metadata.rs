//! Replacement of the metadata of files of Rucio.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::rucio::Client;
use crate::rucio::did::Did;
use crate::rucio::registration::NewFile;

/// Replaces the metadata of files of Rucio.
#[derive(Debug)]
pub(crate) struct UpdateRucioMetadata {
    /// Client.
    pub client: Arc<Client>,
    /// Dataset, for the report.
    pub did: Did,
    /// Files.
    pub files: Vec<NewFile>,
}

#[async_trait]
impl StandaloneChange for UpdateRucioMetadata {
    fn describe(&self) -> Vec<ReportRow> {
        vec![ReportRow::new("rucio_file", Status::Updated, self.did.to_string(), self.files.len() as u64)]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        self.client.set_metadata(&self.files).await?;
        Ok(Applied::AsDescribed)
    }
}
