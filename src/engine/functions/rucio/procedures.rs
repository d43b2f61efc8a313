//! The procedures of Rucio.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::FunctionDef;
use crate::error::{Error, Result};
use crate::repo::{IngestRucio, OnDifference, RucioAddRule, RucioClose, RucioDeleteRule, RucioWait};
use crate::rucio::did::Did;
use crate::rucio::replicas::UriMapping;
use crate::rucio::rules::NewRule;
use crate::store::transfer_mode::TransferMode;

/// What the argument `did` is.
const DID: &str = "a data identifier, `scope:name`";

pub(super) fn functions() -> Vec<FunctionDef> {
    let mut all = rules();
    all.push(ingest());
    all
}

fn rules() -> Vec<FunctionDef> {
    vec![
        FunctionDef::procedure("rucio_close", "Closes a dataset of Rucio; a closed dataset is unchanged.", |args| {
            Ok(Arc::new(RucioClose(Did::parse(&args.required("did")?)?)))
        })
        .arg("did", ArgType::Text, DID)
        .notes("As `rucio did update --close`.")
        .example("CALL rucio_close('ancillary:Dataset/LSSTComCam/bias/DM-48520')"),
        FunctionDef::procedure("rucio_add_rule", "Creates a replication rule of Rucio.", |args| {
            Ok(Arc::new(RucioAddRule { did: Did::parse(&args.required("did")?)?, rule: rule(args)? }))
        })
        .arg("did", ArgType::Text, DID)
        .arg("rse_exp", ArgType::Text, "an RSE expression, such as `SLAC_BUTLER_DISK|IN2P3_RAW_DISK`")
        .option("copies", ArgType::Int, "number of copies; default 1")
        .option("lifetime", ArgType::Int, "seconds until the rule expires; default never")
        .option("grouping", ArgType::Text, "DATASET, ALL or NONE; default DATASET")
        .option("account", ArgType::Text, "the account of the rule; default that of the client")
        .option("activity", ArgType::Text, "the activity of the transfers")
        .option("comment", ArgType::Text, "a comment")
        .option("source_rses", ArgType::Text, "an RSE expression for the sources of the transfers")
        .option("ask_approval", ArgType::Bool, "wait for an approval; default false")
        .option("asynchronous", ArgType::Bool, "create the locks later; default false")
        .notes(
            "As `rucio rule add`. A rule with the same copies and account whose expression selects the same storage \
             elements is unchanged. EXPLAIN estimates the bytes to be transferred.",
        )
        .example(
            "CALL rucio_add_rule('raw:Dataset/LSSTComCam/raw/20241108', 'SLAC_RAW_DISK|IN2P3_RAW_DISK', copies => 2)",
        ),
        FunctionDef::procedure("rucio_delete_rule", "Deletes a replication rule of Rucio, within an hour.", |args| {
            let rule = args.required("rule")?;
            if rule.is_empty() {
                return Err(Error::invalid("argument 'rule' is empty"));
            }
            Ok(Arc::new(RucioDeleteRule(rule)))
        })
        .arg("rule", ArgType::Text, "the id of the rule")
        .notes("As `rucio rule remove`. A warning says if the DID has no other rule: Rucio may then delete its files.")
        .example("CALL rucio_delete_rule('5c1b8f3fe2e54b6a9f35a7ee0a0f2b41')"),
        FunctionDef::procedure("rucio_wait", "Waits until all replication rules of a DID are OK.", |args| {
            let timeout = match args.int("timeout", i64::MIN) {
                i64::MIN => None,
                seconds => Some(Duration::from_secs(
                    u64::try_from(seconds).map_err(|_| Error::invalid("argument 'timeout' is negative"))?,
                )),
            };
            Ok(Arc::new(RucioWait { did: Did::parse(&args.required("did")?)?, timeout }))
        })
        .arg("did", ArgType::Text, DID)
        .option("timeout", ArgType::Int, "maximum number of seconds; default no limit")
        .notes("Fails with the first files whose transfer failed, if a rule is STUCK.")
        .example("CALL rucio_wait('raw:Dataset/LSSTComCam/raw/20241108', timeout => 86400)"),
    ]
}

fn ingest() -> FunctionDef {
    FunctionDef::procedure(
            "ingest_rucio",
            "Ingests the datasets that Rucio keeps with the files of a DID.",
            |args| {
                Ok(Arc::new(IngestRucio {
                    did: Did::parse(&args.required("did")?)?,
                    rse_expression: args.text("rse_expression"),
                    prefix: args.text("prefix").map(|text| UriMapping::parse(&text)).transpose()?,
                    transfer: match TransferMode::from_name(args.text("transfer").as_deref().unwrap_or("direct"))? {
                        TransferMode::Move => {
                            return Err(Error::invalid("files of Rucio cannot be moved: Rucio would lose them"));
                        }
                        transfer => transfer,
                    },
                    on_difference: match args.bool("update_records", false) {
                        true => OnDifference::Update,
                        false => OnDifference::Keep,
                    },
                }))
            },
        )
        .arg("did", ArgType::Text, DID)
        .option("rse_expression", ArgType::Text, "selects the storage elements whose files are used; default all")
        .option("prefix", ArgType::Text, "replaces the start of the URIs, `from=to`")
        .option("transfer", ArgType::Text, "how files are transferred; default direct")
        .option("update_records", ArgType::Bool, "replace dimension records that differ from the sidecars; default false")
        .notes(
            "Dataset types, runs and dimension records are those of the sidecars; existing ones are kept, unless `update_records`. Files without \
             a sidecar, such as zip archives, are reported as failed. Validity ranges, chains and tags are not in Rucio.",
        )
        .example("CALL ingest_rucio('raw:Dataset/LSSTComCam/raw/20241108', rse_expression => 'IN2P3_RAW_DISK')")
}

fn rule(args: &Args) -> Result<NewRule> {
    let copies = args.int("copies", 1);
    if copies < 1 {
        return Err(Error::invalid(format!("argument 'copies' of rucio_add_rule is not positive: {copies}")));
    }
    let grouping = args.text("grouping");
    if let Some(other) = grouping.as_deref().filter(|word| !["DATASET", "ALL", "NONE"].contains(word)) {
        return Err(Error::invalid(format!("argument 'grouping' is DATASET, ALL or NONE, not '{other}'")));
    }
    let lifetime = args.int("lifetime", i64::MIN);
    if lifetime != i64::MIN && lifetime <= 0 {
        return Err(Error::invalid(format!("argument 'lifetime' is not positive: {lifetime}")));
    }
    Ok(NewRule {
        rse_expression: args.required("rse_exp")?,
        copies,
        lifetime: (lifetime > 0).then_some(lifetime),
        grouping,
        account: args.text("account"),
        activity: args.text("activity"),
        comment: args.text("comment"),
        source_rses: args.text("source_rses"),
        ask_approval: args.bool("ask_approval", false),
        asynchronous: args.bool("asynchronous", false),
    })
}
