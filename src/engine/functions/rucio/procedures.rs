//! The procedures of Rucio.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::FunctionDef;
use crate::error::{Error, Result};
use crate::repo::{
    FileKind, IngestRucio, RegisterOptions, RucioAddRule, RucioClose, RucioDeleteRule, RucioRegister,
    RucioRegisterFiles, RucioRegisterRaws, RucioWait,
};
use crate::rucio::did::Did;
use crate::rucio::replicas::UriMapping;
use crate::rucio::rules::NewRule;
use crate::store::transfer_mode::TransferMode;

/// The default number of files in one request.
const CHUNK: i64 = 500;

pub(super) fn functions() -> Vec<FunctionDef> {
    let did = "a data identifier, `scope:name`";
    let mut all = registrations();
    all.extend([
        FunctionDef::procedure("rucio_close", "Closes a dataset of Rucio; a closed dataset is unchanged.", |args| {
            Ok(Arc::new(RucioClose(Did::parse(&args.required("did")?)?)))
        })
        .arg("did", ArgType::Text, did)
        .notes("As `rucio did update --close`.")
        .example("CALL rucio_close('ancillary:Dataset/LSSTComCam/bias/DM-48520')"),
        FunctionDef::procedure("rucio_add_rule", "Creates a replication rule of Rucio.", |args| {
            Ok(Arc::new(RucioAddRule { did: Did::parse(&args.required("did")?)?, rule: rule(args)? }))
        })
        .arg("did", ArgType::Text, did)
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
        .example("CALL rucio_add_rule('raw:Dataset/LSSTComCam/raw/20241108', 'SLAC_RAW_DISK|IN2P3_RAW_DISK', copies => 2)"),
        FunctionDef::procedure("rucio_delete_rule", "Deletes a replication rule of Rucio, within an hour.", |args| {
            Ok(Arc::new(RucioDeleteRule(args.required("rule")?)))
        })
        .arg("rule", ArgType::Text, "the id of the rule")
        .notes("As `rucio rule remove`. A warning says if the DID has no other rule: Rucio may then delete its files.")
        .example("CALL rucio_delete_rule('5c1b8f3fe2e54b6a9f35a7ee0a0f2b41')"),
        FunctionDef::procedure("rucio_wait", "Waits until all replication rules of a DID are OK.", |args| {
            let timeout = match args.int("timeout", -1) {
                -1 => None,
                seconds => Some(Duration::from_secs(
                    u64::try_from(seconds).map_err(|_| Error::invalid("argument 'timeout' is negative"))?,
                )),
            };
            Ok(Arc::new(RucioWait { did: Did::parse(&args.required("did")?)?, timeout }))
        })
        .arg("did", ArgType::Text, did)
        .option("timeout", ArgType::Int, "maximum number of seconds; default no limit")
        .notes("Fails with the first files whose transfer failed, if a rule is STUCK.")
        .example("CALL rucio_wait('raw:Dataset/LSSTComCam/raw/20241108', timeout => 86400)"),
        FunctionDef::procedure(
            "ingest_rucio",
            "Ingests the datasets that Rucio keeps with the files of a DID.",
            |args| {
                Ok(Arc::new(IngestRucio {
                    did: Did::parse(&args.required("did")?)?,
                    rse_expression: args.text("rse_expression"),
                    prefix: args.text("prefix").map(|text| UriMapping::parse(&text)).transpose()?,
                    transfer: TransferMode::from_name(args.text("transfer").as_deref().unwrap_or("direct"))?,
                }))
            },
        )
        .arg("did", ArgType::Text, did)
        .option("rse_expression", ArgType::Text, "selects the storage elements whose files are used; default all")
        .option("prefix", ArgType::Text, "replaces the start of the URIs, `from=to`")
        .option("transfer", ArgType::Text, "how files are transferred; default direct")
        .notes(
            "Dataset types, runs and dimension records are those of the sidecars; existing ones are kept. Files without \
             a sidecar, such as zip archives, are reported as failed. Validity ranges, chains and tags are not in Rucio.",
        )
        .example("CALL ingest_rucio('raw:Dataset/LSSTComCam/raw/20241108', rse_expression => 'IN2P3_RAW_DISK')"),
    ]);
    all
}

fn registrations() -> Vec<FunctionDef> {
    let with_options = |function: FunctionDef| {
        function
            .option("rucio_register_config", ArgType::Text, "a configuration file of `rucio-register`")
            .option("rucio_rse", ArgType::Text, "the storage element of the files")
            .option("scope", ArgType::Text, "the scope of the files and of the dataset")
            .option("rse_root", ArgType::Text, "the start of the paths of files, which is taken off")
            .option("dtn_url", ArgType::Text, "the start of the URIs of files at the storage element")
            .option("chunk_size", ArgType::Int, "number of files in one request; default 500")
    };
    let register = FunctionDef::procedure("rucio_register", "Registers the files of datasets in Rucio.", |args| {
        Ok(Arc::new(RucioRegister { dataset: args.required("rucio_dataset")?, options: options(args)? }))
    })
    .arg(
        "rucio_dataset",
        ArgType::Text,
        "the name of the dataset of Rucio, without scope; created if it does not exist",
    )
    .arg("rows", ArgType::Query("dataset_id"), "the datasets");
    let files = FunctionDef::procedure("rucio_register_files", "Registers other files in Rucio.", |args| {
        Ok(Arc::new(RucioRegisterFiles {
            dataset: args.required("rucio_dataset")?,
            options: options(args)?,
            files: args.list("files").unwrap_or_default(),
            kind: FileKind::from_name(&args.required("kind")?)?,
        }))
    })
    .arg(
        "rucio_dataset",
        ArgType::Text,
        "the name of the dataset of Rucio, without scope; created if it does not exist",
    )
    .arg("files", ArgType::TextList, "paths or URLs of the files")
    .arg("kind", ArgType::Text, "zip_file or dim_file");
    let raws = FunctionDef::procedure(
        "rucio_register_raws",
        "Registers raws in datasets of Rucio that are named by their data IDs.",
        |args| {
            Ok(Arc::new(RucioRegisterRaws {
                datasets: args.list("rucio_datasets").unwrap_or_default(),
                options: options(args)?,
                skymap: args.text("skymap"),
            }))
        },
    )
    .arg("rucio_datasets", ArgType::TextList, "templates of the names of the datasets of Rucio, without scope")
    .arg("rows", ArgType::Query("dataset_id"), "the raws")
    .option("skymap", ArgType::Text, "the skymap of `{tract}`; default the only one");
    vec![
        with_options(register)
            .notes(
                "As `rucio-register data-products`; arguments take precedence over the configuration file, and that over \
                 the variable `RUCIO_REGISTER_CONFIG`. Files that are registered already are compared: with the same \
                 size, checksum and dataset they are unchanged; a changed dataset is updated; another size or checksum \
                 is an error.",
            )
            .example(
                "CALL rucio_register('Dataset/LSSTComCam/bias/DM-48520', \
                 (SELECT dataset_id FROM members('bias', 'LSSTComCam/calib/DM-48520')), \
                 rucio_register_config => 'DATA/main-calib-config.yaml')",
            ),
        with_options(raws)
            .notes(
                "A file is attached to the datasets of all templates. The fields of a template are those of the file \
                 templates of the Butler, such as `{instrument}` or `{exposure.obs_id}`. `{tract}` is `Tract4021` for \
                 each tract that overlaps the visit with the id of the exposure, and `NoTract` if there is none. A zip \
                 archive is one file, with the file of dimension records beside it, if there is one \
                 (`OBS_ID_dimensions.yaml`); other raws have a sidecar. Apart from this, as `rucio_register`.",
            )
            .example(
                "CALL rucio_register_raws(['Dataset/{instrument}/raw/{tract}/{day_obs}', \
                 'Dataset/{instrument}/raw/Obs/{day_obs}/{exposure.obs_id}'], (SELECT dataset_id FROM raw), \
                 rucio_register_config => 'DATA/raw-config.yaml')",
            ),
        with_options(files)
            .notes("As `rucio-register zips` and `rucio-register dimensions`.")
            .example(
                "CALL rucio_register_files('Dataset/LSSTComCam/dimensions', ['/data/export.yaml'], 'dim_file', \
                 rucio_register_config => 'DATA/main-calib-config.yaml')",
            ),
    ]
}

fn options(args: &Args) -> Result<RegisterOptions> {
    let chunk_size = args.int("chunk_size", CHUNK);
    Ok(RegisterOptions {
        config: args.text("rucio_register_config"),
        rse: args.text("rucio_rse"),
        scope: args.text("scope"),
        rse_root: args.text("rse_root"),
        dtn_url: args.text("dtn_url"),
        chunk_size: usize::try_from(chunk_size)
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| Error::invalid(format!("argument 'chunk_size' is not positive: {chunk_size}")))?,
    })
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
    let lifetime = args.int("lifetime", 0);
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
