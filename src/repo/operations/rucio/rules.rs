//! `rucio_close`, `rucio_add_rule`, `rucio_delete_rule` and `rucio_wait`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{AddRucioRule, CloseRucioDataset, DeleteRucioRule, WaitForRucioRules};
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::rucio::Client;
use crate::rucio::did::Did;
use crate::rucio::rules::NewRule;

/// The kind of a report row that warns of what a change may lead to.
const WARNING: &str = "warning";

/// Closes a dataset.
#[derive(Debug)]
pub(crate) struct RucioClose(pub Did);

#[async_trait]
impl Operation for RucioClose {
    async fn plan<'a>(&'a self, _context: PlanContext<'a>) -> Result<Plan<'a>> {
        let client = Client::of_environment()?;
        let state = client.did(&self.0, false).await?;
        let mut set = ChangeSet::default();
        if state.open == Some(false) && state.did_type != "FILE" {
            set.record("rucio_dataset", Status::Unchanged, self.0.to_string(), 1);
        } else {
            set.push(Change::Standalone(Box::new(CloseRucioDataset { client, did: self.0.clone() })));
        }
        Ok(set.into_plan())
    }
}

/// Creates a replication rule.
#[derive(Debug)]
pub(crate) struct RucioAddRule {
    /// DID.
    pub did: Did,
    /// Rule.
    pub rule: NewRule,
}

#[async_trait]
impl Operation for RucioAddRule {
    async fn plan<'a>(&'a self, _context: PlanContext<'a>) -> Result<Plan<'a>> {
        let client = Client::of_environment()?;
        let rules = client.rules(&self.did).await?;
        let targets: BTreeSet<String> = client.rse_names(Some(&self.rule.rse_expression)).await?.into_iter().collect();
        if targets.len() < usize::try_from(self.rule.copies).unwrap_or(usize::MAX) {
            let message = format!(
                "'{}' selects {} storage elements, too few for {} copies",
                self.rule.rse_expression,
                targets.len(),
                self.rule.copies
            );
            return Err(Error::invalid(message));
        }
        let mut set = ChangeSet::default();
        let account = self.rule.account.as_deref().or(client.account());
        for rule in &rules {
            let is_alike = rule.copies == self.rule.copies && account.is_none_or(|account| account == rule.account);
            // A deleted rule expires within an hour.
            if is_alike && rule.expires_at.is_some() && rule.rse_expression == self.rule.rse_expression {
                let expires = rule.expires_at.as_deref().unwrap_or_default();
                let message = format!("rule {} has the same expression, but expires at {expires}", rule.id);
                return Err(Error::new(Kind::Conflict, message));
            }
            let is_alike = is_alike && rule.expires_at.is_none();
            // Rucio compares the text of expressions; the same storage elements are the same rule.
            if is_alike && self.selects(&client, &rule.rse_expression, &targets).await? {
                set.record("rucio_rule", Status::Unchanged, format!("{} {}", rule.id, rule.state), 1);
                return Ok(set.into_plan());
            }
        }
        let bytes = self.bytes(&client, &targets, &mut set).await?;
        let (did, rule) = (self.did.clone(), self.rule.clone());
        set.push(Change::Standalone(Box::new(AddRucioRule { client, did, rule, bytes })));
        Ok(set.into_plan())
    }
}

impl RucioAddRule {
    /// Returns true if an expression selects the same storage elements.
    async fn selects(&self, client: &Arc<Client>, expression: &str, targets: &BTreeSet<String>) -> Result<bool> {
        if expression == self.rule.rse_expression {
            return Ok(true);
        }
        match client.rse_names(Some(expression)).await {
            Ok(names) => Ok(names.into_iter().collect::<BTreeSet<_>>() == *targets),
            // The expression of an old rule may name a storage element that no longer exists.
            Err(error) if error.kind() == Kind::Invalid => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Estimates the number of bytes to transfer: the size of the dataset for each copy that no target has. Reports a
    /// warning if a target has the files already: when the last rule there is deleted, Rucio may delete these files.
    async fn bytes(&self, client: &Arc<Client>, targets: &BTreeSet<String>, set: &mut ChangeSet<'_>) -> Result<u64> {
        let state = client.did(&self.did, true).await?;
        let replicas = if state.did_type == "DATASET" { client.dataset_replicas(&self.did).await? } else { Vec::new() };
        let here = || replicas.iter().filter(|replica| targets.contains(&replica.rse));
        let complete = here().filter(|replica| replica.available_length == state.length).count();
        let has_files = here().filter(|replica| replica.available_length.is_some_and(|length| length > 0));
        let homes: Vec<&str> = has_files.map(|replica| replica.rse.as_str()).collect();
        if !homes.is_empty() {
            let warning = format!(
                "the rule also locks the files that are at {} already: when the last rule there is deleted, Rucio may \
                 delete them",
                homes.join(", ")
            );
            set.record(WARNING, Status::Unchanged, warning, 1);
        }
        let copies = u64::try_from(self.rule.copies).unwrap_or(0).saturating_sub(complete as u64);
        Ok(copies * u64::try_from(state.bytes.unwrap_or(0)).unwrap_or(0))
    }
}

/// Deletes a replication rule.
#[derive(Debug)]
pub(crate) struct RucioDeleteRule(pub String);

#[async_trait]
impl Operation for RucioDeleteRule {
    async fn plan<'a>(&'a self, _context: PlanContext<'a>) -> Result<Plan<'a>> {
        let client = Client::of_environment()?;
        let mut set = ChangeSet::default();
        match client.rule(&self.0).await {
            Ok(rule) => {
                let did = Did { scope: rule.scope, name: rule.name };
                let targets = client.rse_names(Some(&rule.rse_expression)).await?;
                let mut kept = BTreeSet::new();
                for other in client.rules(&did).await? {
                    if other.id != rule.id && other.expires_at.is_none() {
                        kept.extend(client.rse_names(Some(&other.rse_expression)).await?);
                    }
                }
                let lost: Vec<&str> = targets.iter().map(String::as_str).filter(|rse| !kept.contains(*rse)).collect();
                if !lost.is_empty() {
                    let warning = format!(
                        "'{did}' has no other rule at {}: Rucio may delete its files there, also those of a Butler \
                         repository",
                        lost.join(", ")
                    );
                    set.record(WARNING, Status::Unchanged, warning, 1);
                }
                set.push(Change::Standalone(Box::new(DeleteRucioRule { client, id: self.0.clone() })));
            }
            Err(error) if error.kind() == Kind::NotFound => {
                set.record("rucio_rule", Status::Absent, self.0.as_str(), 1)
            }
            Err(error) => return Err(error),
        }
        Ok(set.into_plan())
    }
}

/// Waits for the rules of a DID.
#[derive(Debug)]
pub(crate) struct RucioWait {
    /// DID.
    pub did: Did,
    /// Maximum time to wait.
    pub timeout: Option<Duration>,
}

#[async_trait]
impl Operation for RucioWait {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let client = Client::of_environment()?;
        let rules = client.rules(&self.did).await?;
        if rules.is_empty() {
            let message = format!("'{}' has no replication rule; rucio_add_rule creates one", self.did);
            return Err(Error::new(Kind::NotFound, message));
        }
        let mut set = ChangeSet::default();
        if rules.iter().all(|rule| rule.state == "OK") {
            set.record("rucio_rule", Status::Unchanged, self.did.to_string(), rules.len() as u64);
            return Ok(set.into_plan());
        }
        let locks: i64 = rules.iter().map(|r| r.locks_ok_cnt + r.locks_replicating_cnt + r.locks_stuck_cnt).sum();
        context.progress.begin("rucio_wait", u64::try_from(locks).ok());
        let (did, timeout, progress) = (self.did.clone(), self.timeout, context.progress);
        set.push(Change::Standalone(Box::new(WaitForRucioRules { client, did, rules, timeout, progress })));
        Ok(set.into_plan())
    }
}
