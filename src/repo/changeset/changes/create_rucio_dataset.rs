//! Creation of a dataset of Rucio.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::rucio::Client;
use crate::rucio::did::Did;

/// Creates a dataset of Rucio, to which files can only be added.
#[derive(Debug)]
pub(crate) struct CreateRucioDataset {
    /// Client.
    pub client: Arc<Client>,
    /// Dataset.
    pub did: Did,
    /// Storage element of its files.
    pub rse: String,
}

#[async_trait]
impl StandaloneChange for CreateRucioDataset {
    fn describe(&self) -> Vec<ReportRow> {
        vec![ReportRow::new("rucio_dataset", Status::Inserted, self.did.to_string(), 1)]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        self.client.create_dataset(&self.did, &self.rse).await.map(Applied::from)
    }
}
