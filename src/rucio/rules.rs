//! Replication rules and their locks.

use std::sync::Arc;

use futures::TryStreamExt;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalog::{List, of_did};
use super::client::{Call, Client};
use super::did::{Did, encoded_part};
use super::refusal::DUPLICATE_RULE;
use crate::error::{Error, Result};

/// A replication rule.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rule {
    /// Identifier, 32 hexadecimal digits.
    pub id: String,
    /// Scope of the DID.
    pub scope: String,
    /// Name of the DID.
    pub name: String,
    /// Account that the rule belongs to.
    pub account: String,
    /// Expression that selects storage elements.
    pub rse_expression: String,
    /// Number of copies.
    pub copies: i64,
    /// `OK`, `REPLICATING`, `STUCK`, `SUSPENDED`, `WAITING_APPROVAL` or `INJECT`.
    pub state: String,
    /// Number of files that are there.
    pub locks_ok_cnt: i64,
    /// Number of files that are being transferred.
    pub locks_replicating_cnt: i64,
    /// Number of files whose transfer failed.
    pub locks_stuck_cnt: i64,
    /// The last error, if there is one.
    pub error: Option<String>,
    /// Expiry time, UTC.
    pub expires_at: Option<String>,
    /// Creation time, UTC.
    pub created_at: Option<String>,
}

/// A lock: a file that a rule keeps at a storage element.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Lock {
    /// Scope.
    pub scope: String,
    /// Name.
    pub name: String,
    /// Storage element.
    pub rse: String,
    /// `OK`, `REPLICATING` or `STUCK`.
    pub state: String,
}

/// A rule to be created. Options that are not set have the defaults of the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewRule {
    /// Expression that selects storage elements.
    pub rse_expression: String,
    /// Number of copies.
    pub copies: i64,
    /// Seconds until the rule expires.
    pub lifetime: Option<i64>,
    /// `DATASET`, `ALL` or `NONE`.
    pub grouping: Option<String>,
    /// Account that the rule belongs to; by default that of the client.
    pub account: Option<String>,
    /// Activity of the transfers.
    pub activity: Option<String>,
    /// Comment.
    pub comment: Option<String>,
    /// Expression that selects the sources of transfers.
    pub source_rses: Option<String>,
    /// True to wait for an approval.
    pub ask_approval: bool,
    /// True to create the locks later.
    pub asynchronous: bool,
}

impl Client {
    /// Returns the rules of a DID.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown DID; server errors.
    pub(crate) async fn rules(self: &Arc<Self>, did: &Did) -> Result<Vec<Rule>> {
        // The list of an unknown DID is empty.
        self.did(did, false).await?;
        let rules: List<Rule> = self.lines(Call::get(format!("dids/{}/rules", did.path()))).await?;
        rules.try_collect().await
    }

    /// Lists the rules of all DIDs.
    ///
    /// # Errors
    /// Server errors.
    pub(crate) async fn all_rules(self: &Arc<Self>) -> Result<List<Rule>> {
        Ok(self.lines(Call::get("rules/")).await?)
    }

    /// Lists the locks of a rule.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown rule; server errors.
    pub(crate) async fn locks(self: &Arc<Self>, rule: &str) -> Result<List<Lock>> {
        // The list of an unknown rule is empty.
        self.rule(rule).await?;
        Ok(self.lines(Call::get(format!("rules/{}/locks", encoded_part(rule)))).await?)
    }

    /// Returns a rule.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown rule; server errors.
    pub(crate) async fn rule(&self, id: &str) -> Result<Rule> {
        let found = self.json(&Call::get(format!("rules/{}", encoded_part(id)))).await;
        found.map_err(|e| Error::from(e).context(format_args!("rule '{id}'")))
    }

    /// Creates a rule. Returns false if one with the same account, expression and number of copies exists.
    ///
    /// # Errors
    /// `Kind::Invalid` for a wrong expression or too few storage elements; `Kind::Denied`; server errors.
    pub(crate) async fn add_rule(&self, did: &Did, rule: &NewRule) -> Result<bool> {
        let body = json!({
            "dids": [did],
            "copies": rule.copies,
            "rse_expression": rule.rse_expression,
            // The key must be there; null is the account of the client.
            "account": rule.account,
            "weight": null,
            "lifetime": rule.lifetime,
            "grouping": rule.grouping,
            "locked": false,
            "source_replica_expression": rule.source_rses,
            "activity": rule.activity,
            "notify": null,
            "purge_replicas": false,
            "ignore_availability": false,
            "comment": rule.comment,
            "ask_approval": rule.ask_approval,
            "asynchronous": rule.asynchronous,
            "delay_injection": null,
            "priority": 3,
            "meta": null,
        });
        match self.send(&Call::new(Method::POST, "rules/", &body)).await {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is(DUPLICATE_RULE) => Ok(false),
            Err(refusal) => Err(of_did(did, refusal)),
        }
    }

    /// Deletes a rule; the server removes it within an hour.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown rule; server errors.
    pub(crate) async fn delete_rule(&self, id: &str) -> Result<()> {
        let call = Call::new(Method::DELETE, format!("rules/{}", encoded_part(id)), &json!({"purge_replicas": null}));
        let deleted = self.send(&call).await.map(drop);
        deleted.map_err(|e| Error::from(e).context(format_args!("rule '{id}'")))
    }
}

/// The text of a lock or rule error; Rucio writes `None` for parts without a value.
pub(crate) fn plain_error(error: Option<&str>) -> Option<String> {
    let error = error?.trim_end_matches(":None").trim_start_matches("RequestErrMsg.");
    (!error.is_empty() && error != "None").then(|| error.to_owned())
}

/// Returns true for a JSON value that is neither null nor empty text.
pub(crate) fn is_set(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}
