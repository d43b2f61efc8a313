//! The replicas of all files below a DID, at the price of its contents where that is possible.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::catalog::{AT_ONCE, List, Member, ReplicaFilter, checksum};
use super::client::Client;
use super::did::Did;
use crate::error::{Error, Result};

/// Number of concurrent requests.
const REQUESTS: usize = 4;

/// Replaces the start of URIs.
#[derive(Debug, Clone)]
pub(crate) struct UriMapping {
    from: String,
    to: String,
}

impl UriMapping {
    /// Parses `from=to`.
    ///
    /// # Errors
    /// `Kind::Invalid` for other text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("argument 'prefix' takes 'from=to', not '{text}'"));
        let (from, to) = text.split_once('=').ok_or_else(wrong)?;
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }

    /// Returns the other URI; `None` for a URI with another start.
    pub(crate) fn apply(&self, uri: &str) -> Option<String> {
        Some(format!("{}{}", self.to, uri.strip_prefix(&self.from)?))
    }
}

/// A replica of a file.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    /// File.
    pub file: Did,
    /// Size in bytes.
    pub bytes: Option<i64>,
    /// Checksum, such as `adler32=0a1b2c3d`.
    pub checksum: Option<String>,
    /// Storage element.
    pub rse: String,
    /// `AVAILABLE`, `COPYING`, `UNAVAILABLE` or another state.
    pub state: String,
    /// URI.
    pub uri: String,
}

/// A storage element that has all files of a dataset, at URIs that follow from their names.
#[derive(Debug, Clone)]
struct Complete {
    rse: String,
    /// The URI before the name of the file.
    prefix: String,
    /// True if the scope stands between prefix and name.
    with_scope: bool,
}

impl Complete {
    fn uri(&self, file: &Did) -> String {
        match self.with_scope {
            true => format!("{}{}/{}", self.prefix, file.scope, file.name),
            false => format!("{}{}", self.prefix, file.name),
        }
    }
}

impl Client {
    /// Lists the replicas of all files below a DID. Of storage elements that have all files of a dataset at URIs that
    /// follow from their names, only the contents are read.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown DID, `Kind::Invalid` for a wrong expression; server errors.
    pub(crate) async fn all_replicas(self: &Arc<Self>, did: &Did, filter: ReplicaFilter) -> Result<List<Replica>> {
        let selected = match &filter.rse_expression {
            Some(expression) => Some(self.rse_names(Some(expression)).await?),
            None => None,
        };
        let (complete, present) = self.complete(did, &filter, selected.as_deref()).await?;
        // The others are asked for by name.
        let mut rest = filter;
        let mut asks = true;
        if !complete.is_empty() {
            let is_complete = |rse: &String| complete.iter().any(|complete| complete.rse == *rse);
            let others: Vec<String> = present.into_iter().filter(|rse| !is_complete(rse)).collect();
            asks = !others.is_empty();
            rest.rse_expression = Some(others.join("|"));
        }
        let (client, rest) = (Arc::clone(self), Arc::new(rest));
        // A file may be in several datasets of a container.
        let mut seen = HashSet::new();
        let is_new =
            move |member: &Member| std::future::ready(seen.insert((member.scope.clone(), member.name.clone())));
        let chunks = self.files(did).await?.try_filter(is_new).try_chunks(AT_ONCE).map_err(|e| e.1);
        let listed = chunks.map_ok(move |members| {
            let (client, rest, complete) = (Arc::clone(&client), Arc::clone(&rest), complete.clone());
            async move { client.replicas_of(members, &complete, &rest, asks).await }
        });
        let listed = listed.try_buffered(REQUESTS).map_ok(|replicas| stream::iter(replicas.into_iter().map(Ok)));
        Ok(listed.try_flatten().boxed())
    }

    async fn replicas_of(
        self: &Arc<Self>,
        members: Vec<Member>,
        complete: &[Complete],
        rest: &ReplicaFilter,
        asks: bool,
    ) -> Result<Vec<Replica>> {
        let mut replicas = Vec::new();
        let file = |member: &Member| Did { scope: member.scope.clone(), name: member.name.clone() };
        for member in &members {
            for complete in complete {
                let file = file(member);
                let uri = complete.uri(&file);
                replicas.push(Replica {
                    file,
                    bytes: member.bytes,
                    checksum: checksum(member.adler32.as_deref(), member.md5.as_deref()),
                    rse: complete.rse.clone(),
                    state: "AVAILABLE".to_owned(),
                    uri,
                });
            }
        }
        if asks {
            let files: Vec<Did> = members.iter().map(file).collect();
            for found in self.replicas(&files, rest).await? {
                let checksum = checksum(found.adler32.as_deref(), found.md5.as_deref());
                for (uri, pfn) in found.pfns {
                    replicas.push(Replica {
                        file: Did { scope: found.scope.clone(), name: found.name.clone() },
                        bytes: found.bytes,
                        checksum: checksum.clone(),
                        state: found.states.get(&pfn.rse).cloned().unwrap_or_else(|| "AVAILABLE".to_owned()),
                        rse: pfn.rse,
                        uri,
                    });
                }
            }
        }
        Ok(replicas)
    }

    /// Returns the selected storage elements that have all files of a dataset at URIs that follow from their names, and
    /// all selected ones that have files.
    async fn complete(
        self: &Arc<Self>,
        did: &Did,
        filter: &ReplicaFilter,
        selected: Option<&[String]>,
    ) -> Result<(Vec<Complete>, Vec<String>)> {
        let state = self.did(did, true).await?;
        if filter.all_states || state.did_type != "DATASET" || state.length.is_none_or(|length| length == 0) {
            return Ok((Vec::new(), Vec::new()));
        }
        let (mut complete, mut present) = (Vec::new(), Vec::new());
        for replica in self.dataset_replicas(did).await? {
            let is_selected = selected.is_none_or(|all| all.contains(&replica.rse));
            if is_selected && replica.available_length == state.length {
                complete.extend(self.prefix(&replica.rse, filter).await?);
            }
            if is_selected {
                present.push(replica.rse);
            }
        }
        Ok((complete, present))
    }

    /// Returns how URIs follow from names, if they do.
    async fn prefix(self: &Arc<Self>, rse: &str, filter: &ReplicaFilter) -> Result<Option<Complete>> {
        let element = self.rse(rse).await?;
        let [protocol] = element.protocols.as_slice() else { return Ok(None) };
        let is_wanted = filter.schemes.is_empty()
            || filter.schemes.iter().any(|scheme| protocol.url().starts_with(&format!("{scheme}://")));
        if !element.deterministic || !is_wanted {
            return Ok(None);
        }
        let probes = ["a/b.c", "d"].map(|name| Did { scope: "scope".to_owned(), name: name.to_owned() });
        let uris: BTreeMap<String, String> = self.uris(rse, &probes).await?;
        let uris = probes.each_ref().map(|probe| uris.get(&probe.to_string()).cloned().unwrap_or_default());
        let prefix_of = |with_scope: bool| {
            let start = |uri: &String, probe: &Did| {
                let scope = if with_scope { "scope/" } else { "" };
                uri.strip_suffix(&format!("{scope}{}", probe.name)).map(str::to_owned)
            };
            let first = start(&uris[0], &probes[0])?;
            (start(&uris[1], &probes[1])? == first && !first.contains("scope/")).then_some(first)
        };
        let found = [true, false].into_iter().find_map(|with_scope| Some((prefix_of(with_scope)?, with_scope)));
        Ok(found.map(|(prefix, with_scope)| Complete { rse: rse.to_owned(), prefix, with_scope }))
    }
}
