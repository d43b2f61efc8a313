//! Waiting for the replication rules of a DID of Rucio.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;

use crate::error::{Error, Kind, Result};
use crate::repo::RepositoryHandle;
use crate::repo::changeset::PlanProgress;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::rucio::Client;
use crate::rucio::did::Did;
use crate::rucio::rules::{Rule, plain_error};

/// Pause before the second look at the rules; doubled each time up to [`LONGEST`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Maximum number of stuck files that an error names.
const NAMED: usize = 5;

/// Waits until all rules of a DID are `OK`.
pub(crate) struct WaitForRucioRules {
    /// Client.
    pub client: Arc<Client>,
    /// DID.
    pub did: Did,
    /// The rules when the wait was planned.
    pub rules: Vec<Rule>,
    /// Maximum time to wait; `None` for no limit.
    pub timeout: Option<Duration>,
    /// Receives the number of files that are there.
    pub progress: Arc<PlanProgress>,
}

impl std::fmt::Debug for WaitForRucioRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitForRucioRules").field("did", &self.did).finish_non_exhaustive()
    }
}

#[async_trait]
impl StandaloneChange for WaitForRucioRules {
    fn describe(&self) -> Vec<ReportRow> {
        vec![ReportRow::new("rucio_rule", Status::Updated, self.did.to_string(), self.rules.len() as u64)]
    }

    fn is_done(&self) -> bool {
        self.rules.iter().all(|rule| rule.state == "OK")
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        let start = Instant::now();
        let mut rules = self.rules.clone();
        let mut pause = PAUSE;
        let mut there = 0;
        loop {
            let now = rules.iter().map(|rule| rule.locks_ok_cnt).sum();
            self.progress.tick(u64::try_from(now - there).unwrap_or(0), 0);
            there = now;
            if let Some(stuck) = rules.iter().find(|rule| rule.state == "STUCK") {
                return Err(self.stuck(stuck).await?);
            }
            if rules.iter().all(|rule| rule.state == "OK") {
                return Ok(Applied::AsDescribed);
            }
            if let Some(other) =
                rules.iter().find(|rule| matches!(rule.state.as_str(), "SUSPENDED" | "WAITING_APPROVAL"))
            {
                let message =
                    format!("rule {} of '{}' is {}: it does not continue by itself", other.id, self.did, other.state);
                return Err(Error::new(Kind::Failed, message));
            }
            let left = self.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                let missing: i64 = rules.iter().map(|rule| rule.locks_replicating_cnt).sum();
                let message = format!(
                    "the rules of '{}' are not OK after {} s: {missing} files are being transferred",
                    self.did,
                    start.elapsed().as_secs()
                );
                return Err(Error::new(Kind::Failed, message));
            }
            tokio::time::sleep(left.map_or(pause, |left| left.min(pause))).await;
            pause = (pause * 2).min(LONGEST);
            rules = self.client.rules(&self.did).await?;
        }
    }
}

impl WaitForRucioRules {
    /// The error for a rule whose transfers failed, with the first files.
    async fn stuck(&self, rule: &Rule) -> Result<Error> {
        let locks: Vec<_> = self.client.locks(&rule.id).await?.try_collect().await?;
        let stuck = locks.iter().filter(|lock| lock.state == "STUCK");
        let names: Vec<String> = stuck.take(NAMED).map(|lock| format!("{} at {}", lock.name, lock.rse)).collect();
        let reason = plain_error(rule.error.as_deref()).map_or(String::new(), |error| format!(" ({error})"));
        let message = format!(
            "rule {} of '{}' is STUCK{reason}; {} files cannot be transferred: {}",
            rule.id,
            self.did,
            rule.locks_stuck_cnt,
            names.join(", ")
        );
        Ok(Error::new(Kind::Failed, message))
    }
}
