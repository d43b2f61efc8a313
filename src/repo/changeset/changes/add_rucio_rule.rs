//! Creation of a replication rule of Rucio.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::rucio::Client;
use crate::rucio::did::Did;
use crate::rucio::rules::NewRule;

/// Creates a replication rule of Rucio.
#[derive(Debug)]
pub(crate) struct AddRucioRule {
    /// Client.
    pub client: Arc<Client>,
    /// Dataset.
    pub did: Did,
    /// Rule.
    pub rule: NewRule,
    /// Estimated number of bytes that the rule transfers.
    pub bytes: u64,
}

#[async_trait]
impl StandaloneChange for AddRucioRule {
    fn describe(&self) -> Vec<ReportRow> {
        let name = format!("{} on {}", self.did, self.rule.rse_expression);
        let rule = ReportRow::new("rucio_rule", Status::Inserted, name.clone(), 1);
        vec![rule, ReportRow::new("byte_to_transfer", Status::Inserted, name, self.bytes)]
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        self.client.add_rule(&self.did, &self.rule).await.map(Applied::from)
    }
}
