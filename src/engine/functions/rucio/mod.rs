//! Tables and procedures of Rucio.

mod check;
mod columns;
mod procedures;
mod registrations;
mod tables;

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use self::tables::{Contents, Dids, FileMetadata, FileReplicas, Files, Locks, Rses, Rules};
use crate::engine::catalog::rucio_tables::{RucioRows, RucioTable};
use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::FunctionDef;
use crate::error::{Error, Result, hint};
use crate::rucio::catalog::ReplicaFilter;
use crate::rucio::did::Did;

/// The types of DIDs that a search takes.
const TYPES: [&str; 5] = ["all", "collection", "dataset", "container", "file"];

pub(super) fn functions() -> Vec<FunctionDef> {
    let did = "a data identifier, `scope:name`";
    let mut all = vec![
        FunctionDef::table("rucio_rses", "Lists storage elements (RSEs) of Rucio.", |args| {
            table(Rses { expression: args.text("expression") })
        })
        .option("expression", ArgType::Text, "an RSE expression, such as `site=SLAC`; default all")
        .notes("Columns: `rse`, `type`, `site`, `deterministic`, `algorithm`, `prefix` (URI), `readable`, `writable`.")
        .example("SELECT rse, prefix FROM rucio_rses()"),
        FunctionDef::table("rucio_dids", "Finds datasets, containers and files of Rucio by name.", dids)
            .arg("did", ArgType::Text, "`scope:glob` or a scope; `*` as the scope stands for all scopes; a `*` in a name also matches `/`")
            .option("type", ArgType::Text, "all, collection, dataset, container or file; default all")
            .notes(
                "Columns: `scope`, `name`, `type`, `is_open`, `files`, `bytes`, `account`, `created` (UTC). A condition on \
                 `name` with `=` or LIKE is sent to the server if the argument is a scope, and one on `type` with `=` if \
                 the argument `type` is omitted. `files` and `bytes` are counted, with a request for each \
                 DID, only if the query needs them.",
            )
            .example("SELECT name, files FROM rucio_dids('ancillary:Dataset/LSSTComCam/*')"),
        FunctionDef::table("rucio_contents", "Lists the members of a dataset or container of Rucio.", |args| {
            table(Contents(Did::parse(&args.required("did")?)?))
        })
        .arg("did", ArgType::Text, did)
        .notes("Columns: `scope`, `name`, `type`, `bytes`, `checksum`.")
        .example("SELECT count(*), sum(bytes) FROM rucio_contents('raw:Dataset/LSSTComCam/raw/20241108')"),
        FunctionDef::table("rucio_files", "Lists the files in a dataset, or in the datasets of a container.", |args| {
            table(Files(Did::parse(&args.required("did")?)?))
        })
        .arg("did", ArgType::Text, did)
        .notes("Columns: `parent` (the dataset), `scope`, `name`, `bytes`, `checksum`.")
        .example("SELECT parent, count(*) FROM rucio_files('raw:Dataset/LSSTComCam/raw/20241108') GROUP BY parent"),
        FunctionDef::table("rucio_metadata", "Reads the Butler datasets that Rucio keeps with files.", |args| {
            table(FileMetadata(Did::parse(&args.required("did")?)?))
        })
        .arg("did", ArgType::Text, did)
        .notes(
            "Columns: `scope`, `name`, `rubin_butler` (the kind of file), `dataset_id`, `dataset_type`, `run`, `data_id` \
             (JSON), `sidecar` (JSON).",
        )
        .example("SELECT dataset_type, count(*) FROM rucio_metadata('ancillary:Dataset/u/me/products') GROUP BY 1"),
        FunctionDef::table("rucio_replicas", "Lists the replicas of the files below a DID, with their URIs.", |args| {
            table(FileReplicas {
                did: Did::parse(&args.required("did")?)?,
                filter: ReplicaFilter {
                    rse_expression: args.text("rse_expression"),
                    all_states: args.bool("all_states", false),
                    schemes: args.list("schemes").unwrap_or_default(),
                },
            })
        })
        .arg("did", ArgType::Text, did)
        .option("rse_expression", ArgType::Text, "selects storage elements; default all")
        .option("all_states", ArgType::Bool, "list replicas that are not available too; default false")
        .option("schemes", ArgType::TextList, "URI schemes; default all")
        .notes(
            "Columns: `scope`, `name`, `bytes`, `checksum`, `rse`, `state`, `uri`. URIs at a deterministic storage element \
             that has all files of a dataset follow from the names, which is many times faster.",
        )
        .example("SELECT rse, count(*) FROM rucio_replicas('raw:Dataset/LSSTComCam/raw/20241108') GROUP BY rse"),
        FunctionDef::table("rucio_rules", "Lists the replication rules of a DID, or of all DIDs.", |args| {
            table(Rules(args.text("did").map(|did| Did::parse(&did)).transpose()?))
        })
        .option("did", ArgType::Text, did)
        .notes(
            "Columns: `id`, `did`, `account`, `rse_expression`, `copies`, `state`, `locks_ok`, `locks_replicating`, \
             `locks_stuck`, `error`, `expires` (UTC), `created` (UTC).",
        )
        .example("SELECT did, locks_stuck, error FROM rucio_rules() WHERE state = 'STUCK'"),
        FunctionDef::table("rucio_locks", "Lists the files that a replication rule keeps, with their states.", |args| {
            table(Locks(args.required("rule")?))
        })
        .arg("rule", ArgType::Text, "the id of the rule")
        .notes("Columns: `scope`, `name`, `rse`, `state`.")
        .example("SELECT name FROM rucio_locks('5c1b8f3fe2e54b6a9f35a7ee0a0f2b41') WHERE state = 'STUCK'"),
    ];
    all.push(check::function());
    all.extend(registrations::functions());
    all.extend(procedures::functions());
    all
}

fn table(rows: impl RucioRows + 'static) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(RucioTable(Arc::new(rows))))
}

fn dids(args: &Args) -> Result<Arc<dyn TableProvider>> {
    let did = args.required("did")?;
    let (scope, glob) = did.split_once(':').unwrap_or((&did, "*"));
    if scope.is_empty() || glob.is_empty() {
        return Err(Error::invalid(format!("'{did}' is neither a scope nor 'scope:glob'")));
    }
    let did_type = args.text("type").map_or_else(|| "all".to_owned(), |kind| kind.to_lowercase());
    if !TYPES.contains(&did_type.as_str()) {
        let message =
            format!("'{did_type}' is not a type of DIDs; there are {}{}", TYPES.join(", "), hint(&did_type, TYPES));
        return Err(Error::invalid(message));
    }
    table(Dids { scope: scope.to_owned(), glob: glob.to_owned(), did_type })
}
