//! Registration of files in a dataset of Rucio.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::rucio::Client;
use crate::rucio::did::Did;
use crate::rucio::registration::NewFile;

/// Registers files with their replicas in a dataset of Rucio, in one transaction of the server.
#[derive(Debug)]
pub(crate) struct AttachRucioFiles {
    /// Client.
    pub client: Arc<Client>,
    /// Dataset.
    pub did: Did,
    /// Storage element of the files.
    pub rse: String,
    /// Files.
    pub files: Vec<NewFile>,
}

#[async_trait]
impl StandaloneChange for AttachRucioFiles {
    fn describe(&self) -> Vec<ReportRow> {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        let files = ReportRow::new("rucio_file", Status::Inserted, self.did.to_string(), self.files.len() as u64);
        vec![files, ReportRow::new("byte", Status::Inserted, self.did.to_string(), bytes)]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        self.client.attach(&self.did, &self.rse, &self.files).await?;
        Ok(Applied::AsDescribed)
    }
}
