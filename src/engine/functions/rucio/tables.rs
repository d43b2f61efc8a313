//! The tables of Rucio: storage elements, DIDs, contents, metadata, replicas, rules and locks.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::columns::{BOOL, INT, TEXT, TIME, batches, bools, ints, owned, schema, texts, times};
use crate::engine::catalog::rucio_tables::{RucioRows, Wanted, wider};
use crate::error::{Error, Kind, Result, hint};
use crate::format::sidecar::Sidecar;
use crate::model::glob;
use crate::registry::db::Batches;
use crate::registry::db::rows::record_batch;
use crate::rucio::Client;
use crate::rucio::catalog::{AT_ONCE, Found, Member, Metadata, ReplicaFilter, checksum};
use crate::rucio::did::Did;
use crate::rucio::replicas::Replica;
use crate::rucio::rses::Rse;
use crate::rucio::rules::{Lock, Rule, is_set, plain_error};

/// Number of concurrent requests.
const REQUESTS: usize = 4;

/// `rucio_rses`: storage elements.
#[derive(Debug)]
pub(super) struct Rses {
    /// Expression that selects them.
    pub expression: Option<String>,
}

#[async_trait]
impl RucioRows for Rses {
    fn schema(&self) -> SchemaRef {
        let text = ["rse", "type", "site"].map(|name| (name, TEXT));
        let more =
            [("deterministic", BOOL), ("algorithm", TEXT), ("prefix", TEXT), ("readable", BOOL), ("writable", BOOL)];
        schema(&[&text[..], &more[..]].concat())
    }

    async fn rows(&self, client: Arc<Client>, wanted: Wanted) -> Result<Batches> {
        let names = client.rse_names(self.expression.as_deref()).await?;
        let with_site = wanted.any(&["site"]);
        let ask = move |name: String| {
            let client = Arc::clone(&client);
            async move {
                let rse = client.rse(&name).await?;
                let site = if with_site { client.rse_attribute(&name, "site").await? } else { None };
                Ok((rse, site))
            }
        };
        let list = stream::iter(names).map(ask).buffered(REQUESTS).boxed();
        Ok(batches(list, |all: &[(Rse, Option<String>)]| {
            let prefix = |rse: &Rse| rse.protocols.first().map(|protocol| protocol.url());
            record_batch([
                ("rse", texts(all.iter().map(|(rse, _)| rse.rse.as_str()))),
                ("type", texts(all.iter().map(|(rse, _)| rse.rse_type.as_deref()))),
                ("site", texts(all.iter().map(|(_, site)| site.as_deref()))),
                ("deterministic", bools(all.iter().map(|(rse, _)| Some(rse.deterministic)))),
                ("algorithm", texts(all.iter().map(|(rse, _)| rse.lfn2pfn_algorithm.as_deref()))),
                ("prefix", owned(all.iter().map(|(rse, _)| prefix(rse)))),
                ("readable", bools(all.iter().map(|(rse, _)| Some(rse.availability_read)))),
                ("writable", bools(all.iter().map(|(rse, _)| Some(rse.availability_write)))),
            ])
        }))
    }
}

/// `rucio_dids`: the DIDs of a scope.
#[derive(Debug)]
pub(super) struct Dids {
    /// Scope; `*` for all scopes.
    pub scope: String,
    /// Glob of names.
    pub glob: String,
    /// `all`, `collection`, `dataset`, `container` or `file`.
    pub did_type: String,
}

/// A DID with what the query needs of it.
#[derive(Debug)]
struct DidRow {
    found: Found,
    files: Option<i64>,
    bytes: Option<i64>,
    is_open: Option<bool>,
    account: Option<String>,
    created: Option<String>,
}

#[async_trait]
impl RucioRows for Dids {
    fn schema(&self) -> SchemaRef {
        schema(&[
            ("scope", TEXT),
            ("name", TEXT),
            ("type", TEXT),
            ("is_open", BOOL),
            ("files", INT),
            ("bytes", INT),
            ("account", TEXT),
            ("created", TIME),
        ])
    }

    async fn rows(&self, client: Arc<Client>, wanted: Wanted) -> Result<Batches> {
        let mut scopes = client.scopes().await?;
        if self.scope != "*" {
            if !scopes.contains(&self.scope) {
                let hint = hint(&self.scope, scopes.iter().map(String::as_str));
                return Err(Error::new(Kind::NotFound, format!("Rucio has no scope '{}'{hint}", self.scope)));
            }
            scopes = vec![self.scope.clone()];
        }
        let glob = wanted.name.clone().filter(|_| self.glob == "*").unwrap_or_else(|| self.glob.clone());
        let wanted_type = wanted.did_type.as_deref().map(str::to_lowercase);
        let known = |kind: &String| ["file", "dataset", "container"].contains(&kind.as_str());
        let did_type = wanted_type.filter(|kind| known(kind) && self.did_type == "all");
        let did_type = did_type.unwrap_or_else(|| self.did_type.clone());
        let searching = Arc::clone(&client);
        let found = stream::iter(scopes.into_iter().map(Ok)).and_then(move |scope| {
            let (client, glob, did_type) = (Arc::clone(&searching), glob.clone(), did_type.clone());
            async move { client.search(&scope, &did_type, &wider(&glob)).await }
        });
        let argument = self.glob.clone();
        let is_wanted = move |found: &Found| std::future::ready(glob::matches(&argument, &found.name));
        let chunks = found.try_flatten().try_filter(is_wanted).try_chunks(AT_ONCE).map_err(|e| e.1);
        let rows = chunks.map_ok(move |found| {
            let (client, wanted) = (Arc::clone(&client), wanted.clone());
            async move { did_rows(&client, found, &wanted).await }
        });
        let rows = rows.try_buffered(REQUESTS).map_ok(|rows| stream::iter(rows.into_iter().map(Ok))).try_flatten();
        Ok(batches(rows.boxed(), |rows: &[DidRow]| {
            record_batch([
                ("scope", texts(rows.iter().map(|row| row.found.scope.as_str()))),
                ("name", texts(rows.iter().map(|row| row.found.name.as_str()))),
                ("type", texts(rows.iter().map(|row| row.found.did_type.as_str()))),
                ("is_open", bools(rows.iter().map(|row| row.is_open))),
                ("files", ints(rows.iter().map(|row| row.files))),
                ("bytes", ints(rows.iter().map(|row| row.bytes))),
                ("account", texts(rows.iter().map(|row| row.account.as_deref()))),
                ("created", times(rows.iter().map(|row| row.created.as_deref()))),
            ])
        }))
    }
}

/// Asks for the columns that a search does not return. Files are counted one DID at a time.
async fn did_rows(client: &Arc<Client>, found: Vec<Found>, wanted: &Wanted) -> Result<Vec<DidRow>> {
    let did = |found: &Found| Did { scope: found.scope.clone(), name: found.name.clone() };
    let dids: Vec<Did> = found.iter().map(did).collect();
    let mut columns = HashMap::new();
    if wanted.any(&["is_open", "account", "created", "bytes"]) {
        for known in client.did_columns(&dids).await? {
            columns.insert(Did { scope: known.scope.clone(), name: known.name.clone() }, known);
        }
    }
    let counts = wanted.any(&["files", "bytes"]);
    let rows = found.into_iter().zip(dids).map(|(found, did)| {
        let known = columns.remove(&did);
        let row: BoxFuture<'_, Result<DidRow>> = Box::pin(async move {
            let is_file = found.did_type == "FILE";
            let (is_open, account, created, size) = match known {
                Some(known) => (known.is_open, known.account, known.created_at, known.bytes),
                None => (None, None, None, None),
            };
            let (files, bytes) = match () {
                () if is_file => (Some(1), size),
                () if counts => match client.did(&did, true).await {
                    Ok(state) => (state.length, state.bytes),
                    // It was removed meanwhile, or the server takes its name for another request.
                    Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => (None, None),
                    Err(error) => return Err(error),
                },
                () => (None, None),
            };
            Ok(DidRow { is_open: is_open.filter(|_| !is_file), found, files, bytes, account, created })
        });
        row
    });
    stream::iter(rows).buffered(REQUESTS).try_collect().await
}

/// `rucio_contents`: the members of a dataset or container.
#[derive(Debug)]
pub(super) struct Contents(pub Did);

#[async_trait]
impl RucioRows for Contents {
    fn schema(&self) -> SchemaRef {
        schema(&[("scope", TEXT), ("name", TEXT), ("type", TEXT), ("bytes", INT), ("checksum", TEXT)])
    }

    async fn rows(&self, client: Arc<Client>, _: Wanted) -> Result<Batches> {
        Ok(batches(client.contents(&self.0).await?, |members: &[Member]| {
            record_batch([
                ("scope", texts(members.iter().map(|m| m.scope.as_str()))),
                ("name", texts(members.iter().map(|m| m.name.as_str()))),
                ("type", texts(members.iter().map(|m| m.did_type.as_deref()))),
                ("bytes", ints(members.iter().map(|m| m.bytes))),
                ("checksum", owned(members.iter().map(|m| checksum(m.adler32.as_deref(), m.md5.as_deref())))),
            ])
        }))
    }
}

/// `rucio_files`: the files below a DID.
#[derive(Debug)]
pub(super) struct Files(pub Did);

#[async_trait]
impl RucioRows for Files {
    fn schema(&self) -> SchemaRef {
        schema(&[("parent", TEXT), ("scope", TEXT), ("name", TEXT), ("bytes", INT), ("checksum", TEXT)])
    }

    async fn rows(&self, client: Arc<Client>, _: Wanted) -> Result<Batches> {
        Ok(batches(client.files(&self.0).await?, |members: &[Member]| {
            let parent = |m: &Member| Some(format!("{}:{}", m.parent_scope.as_deref()?, m.parent_name.as_deref()?));
            record_batch([
                ("parent", owned(members.iter().map(parent))),
                ("scope", texts(members.iter().map(|m| m.scope.as_str()))),
                ("name", texts(members.iter().map(|m| m.name.as_str()))),
                ("bytes", ints(members.iter().map(|m| m.bytes))),
                ("checksum", owned(members.iter().map(|m| checksum(m.adler32.as_deref(), m.md5.as_deref())))),
            ])
        }))
    }
}

/// `rucio_metadata`: the Rubin metadata of the files below a DID.
#[derive(Debug)]
pub(super) struct FileMetadata(pub Did);

#[async_trait]
impl RucioRows for FileMetadata {
    fn schema(&self) -> SchemaRef {
        let names = ["scope", "name", "rubin_butler", "dataset_id", "dataset_type", "run", "data_id", "sidecar"];
        schema(&names.map(|name| (name, TEXT)))
    }

    async fn rows(&self, client: Arc<Client>, _: Wanted) -> Result<Batches> {
        let chunks = client.files(&self.0).await?.try_chunks(AT_ONCE).map_err(|e| e.1);
        let list = chunks.map_ok(move |members| {
            let client = Arc::clone(&client);
            let files: Vec<Did> = members.into_iter().map(|m| Did { scope: m.scope, name: m.name }).collect();
            async move {
                let found = client.metadata(&files).await?;
                let known = found.into_iter().map(|m| (Did { scope: m.scope.clone(), name: m.name.clone() }, m));
                let known: HashMap<Did, Metadata> = known.collect();
                let missing =
                    |did: Did| Metadata { scope: did.scope, name: did.name, rubin_butler: None, rubin_sidecar: None };
                Ok(files
                    .into_iter()
                    .map(move |did| known.get(&did).cloned().unwrap_or_else(|| missing(did)))
                    .collect::<Vec<_>>())
            }
        });
        let list = list.try_buffered(REQUESTS).map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten();
        Ok(batches(list.boxed(), metadata_batch))
    }
}

fn metadata_batch(all: &[Metadata]) -> Result<RecordBatch> {
    let plain = |value: &Option<serde_json::Value>| {
        let value = value.as_ref().filter(|value| is_set(value))?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let sidecars: Vec<Option<String>> = all.iter().map(|m| plain(&m.rubin_sidecar)).collect();
    // A sidecar of another kind has no columns, but is shown.
    let parsed: Vec<Option<Sidecar>> = sidecars.iter().map(|text| Sidecar::parse(text.as_deref()?).ok()).collect();
    let of = |get: fn(&Sidecar) -> String| owned(parsed.iter().map(|sidecar| sidecar.as_ref().map(get)));
    record_batch([
        ("scope", texts(all.iter().map(|m| m.scope.as_str()))),
        ("name", texts(all.iter().map(|m| m.name.as_str()))),
        ("rubin_butler", owned(all.iter().map(|m| plain(&m.rubin_butler)))),
        ("dataset_id", of(|sidecar| sidecar.id.to_string())),
        ("dataset_type", of(|sidecar| sidecar.dataset_type.name.clone())),
        ("run", of(|sidecar| sidecar.run.clone())),
        ("data_id", of(|sidecar| serde_json::to_string(&sidecar.data_id.values).unwrap_or_default())),
        ("sidecar", owned(sidecars.iter().cloned())),
    ])
}

/// `rucio_replicas`: the replicas of the files below a DID.
#[derive(Debug)]
pub(super) struct FileReplicas {
    /// DID.
    pub did: Did,
    /// Which replicas.
    pub filter: ReplicaFilter,
}

#[async_trait]
impl RucioRows for FileReplicas {
    fn schema(&self) -> SchemaRef {
        schema(&[
            ("scope", TEXT),
            ("name", TEXT),
            ("bytes", INT),
            ("checksum", TEXT),
            ("rse", TEXT),
            ("state", TEXT),
            ("uri", TEXT),
        ])
    }

    async fn rows(&self, client: Arc<Client>, _: Wanted) -> Result<Batches> {
        let list = client.all_replicas(&self.did, self.filter.clone()).await?;
        Ok(batches(list, |replicas: &[Replica]| {
            record_batch([
                ("scope", texts(replicas.iter().map(|r| r.file.scope.as_str()))),
                ("name", texts(replicas.iter().map(|r| r.file.name.as_str()))),
                ("bytes", ints(replicas.iter().map(|r| r.bytes))),
                ("checksum", texts(replicas.iter().map(|r| r.checksum.as_deref()))),
                ("rse", texts(replicas.iter().map(|r| r.rse.as_str()))),
                ("state", texts(replicas.iter().map(|r| r.state.as_str()))),
                ("uri", texts(replicas.iter().map(|r| r.uri.as_str()))),
            ])
        }))
    }
}

/// `rucio_rules`: the rules of a DID, or of all.
#[derive(Debug)]
pub(super) struct Rules(pub Option<Did>);

#[async_trait]
impl RucioRows for Rules {
    fn schema(&self) -> SchemaRef {
        let text = ["id", "did", "account", "rse_expression"].map(|name| (name, TEXT));
        let more = [
            ("copies", INT),
            ("state", TEXT),
            ("locks_ok", INT),
            ("locks_replicating", INT),
            ("locks_stuck", INT),
            ("error", TEXT),
            ("expires", TIME),
            ("created", TIME),
        ];
        schema(&[&text[..], &more[..]].concat())
    }

    async fn rows(&self, client: Arc<Client>, _: Wanted) -> Result<Batches> {
        let list = match &self.0 {
            Some(did) => stream::iter(client.rules(did).await?.into_iter().map(Ok)).boxed(),
            None => client.all_rules().await?,
        };
        Ok(batches(list, |rules: &[Rule]| {
            record_batch([
                ("id", texts(rules.iter().map(|r| r.id.as_str()))),
                ("did", owned(rules.iter().map(|r| Some(format!("{}:{}", r.scope, r.name))))),
                ("account", texts(rules.iter().map(|r| r.account.as_str()))),
                ("rse_expression", texts(rules.iter().map(|r| r.rse_expression.as_str()))),
                ("copies", ints(rules.iter().map(|r| Some(r.copies)))),
                ("state", texts(rules.iter().map(|r| r.state.as_str()))),
                ("locks_ok", ints(rules.iter().map(|r| Some(r.locks_ok_cnt)))),
                ("locks_replicating", ints(rules.iter().map(|r| Some(r.locks_replicating_cnt)))),
                ("locks_stuck", ints(rules.iter().map(|r| Some(r.locks_stuck_cnt)))),
                ("error", owned(rules.iter().map(|r| plain_error(r.error.as_deref())))),
                ("expires", times(rules.iter().map(|r| r.expires_at.as_deref()))),
                ("created", times(rules.iter().map(|r| r.created_at.as_deref()))),
            ])
        }))
    }
}

/// `rucio_locks`: the locks of a rule.
#[derive(Debug)]
pub(super) struct Locks(pub String);

#[async_trait]
impl RucioRows for Locks {
    fn schema(&self) -> SchemaRef {
        schema(&["scope", "name", "rse", "state"].map(|name| (name, TEXT)))
    }

    async fn rows(&self, client: Arc<Client>, _: Wanted) -> Result<Batches> {
        if self.0.is_empty() {
            return Err(Error::new(Kind::Invalid, "rucio_locks needs the id of a rule"));
        }
        Ok(batches(client.locks(&self.0).await?, |locks: &[Lock]| {
            record_batch([
                ("scope", texts(locks.iter().map(|l| l.scope.as_str()))),
                ("name", texts(locks.iter().map(|l| l.name.as_str()))),
                ("rse", texts(locks.iter().map(|l| l.rse.as_str()))),
                ("state", texts(locks.iter().map(|l| l.state.as_str()))),
            ])
        }))
    }
}
