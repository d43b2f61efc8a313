//! Closing of a dataset of Rucio.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::rucio::Client;
use crate::rucio::did::Did;

/// Closes a dataset of Rucio: no files can be attached to it afterwards.
#[derive(Debug)]
pub(crate) struct CloseRucioDataset {
    /// Client.
    pub client: Arc<Client>,
    /// Dataset.
    pub did: Did,
}

#[async_trait]
impl StandaloneChange for CloseRucioDataset {
    fn describe(&self) -> Vec<ReportRow> {
        vec![ReportRow::new("rucio_dataset", Status::Updated, self.did.to_string(), 1)]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        match self.client.close(&self.did).await? {
            true => Ok(Applied::AsDescribed),
            // Another client was faster.
            false => {
                let row = ReportRow::new("rucio_dataset", Status::Unchanged, self.did.to_string(), 1);
                Ok(Applied::Rows(vec![row]))
            }
        }
    }
}
