//! Deletion of a replication rule of Rucio.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::rucio::Client;

/// Deletes a replication rule of Rucio; the server removes it within an hour.
#[derive(Debug)]
pub(crate) struct DeleteRucioRule {
    /// Client.
    pub client: Arc<Client>,
    /// Rule.
    pub id: String,
}

#[async_trait]
impl StandaloneChange for DeleteRucioRule {
    fn describe(&self) -> Vec<ReportRow> {
        vec![ReportRow::new("rucio_rule", Status::Removed, self.id.as_str(), 1)]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        self.client.delete_rule(&self.id).await?;
        Ok(Applied::AsDescribed)
    }
}
