//! The procedures that register files in Rucio.

use std::sync::Arc;

use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::FunctionDef;
use crate::error::{Error, Result};
use crate::repo::{FileKind, RegisterOptions, RucioRegister, RucioRegisterFiles, RucioRegisterRaws};

/// The default number of files in one request.
const CHUNK: i64 = 500;
/// What the argument `rucio_dataset` is.
const DATASET: &str = "the name of the dataset of Rucio, without scope; created if it does not exist";

pub(super) fn functions() -> Vec<FunctionDef> {
    [register(), register_raws(), register_files()].into_iter().map(with_options).collect()
}

fn register() -> FunctionDef {
    FunctionDef::procedure("rucio_register", "Registers the files of datasets in Rucio.", |args| {
        Ok(Arc::new(RucioRegister { dataset: args.required("rucio_dataset")?, options: options(args)? }))
    })
    .arg("rucio_dataset", ArgType::Text, DATASET)
    .arg("rows", ArgType::Query("dataset_id"), "the datasets")
    .notes(
        "As `rucio-register data-products`; arguments take precedence over the configuration file, and that over the \
         variable `RUCIO_REGISTER_CONFIG`. Files that are registered already are compared: with the same size, checksum \
         and dataset they are unchanged; a changed dataset is updated; another size or checksum is an error.",
    )
    .example(
        "CALL rucio_register('Dataset/LSSTComCam/bias/DM-48520', \
         (SELECT dataset_id FROM members('bias', 'LSSTComCam/calib/DM-48520')), \
         rucio_register_config => 'DATA/main-calib-config.yaml')",
    )
}

fn register_raws() -> FunctionDef {
    FunctionDef::procedure(
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
    .option("skymap", ArgType::Text, "the skymap of `{tract}`; default the only one")
    .notes(
        "A file is attached to the datasets of all templates. The fields of a template are those of the file templates \
         of the Butler, such as `{instrument}` or `{exposure.obs_id}`. `{tract}` is `Tract4021` for each tract that \
         overlaps the visit with the id of the exposure, and `NoTract` if there is none. A zip archive is one file, \
         with the file of dimension records in the same folder, if there is one (`OBS_ID_dimensions.yaml`); other raws have a \
         sidecar. Apart from this, as `rucio_register`.",
    )
    .example(
        "CALL rucio_register_raws(['Dataset/{instrument}/raw/{tract}/{day_obs}', \
         'Dataset/{instrument}/raw/Obs/{day_obs}/{exposure.obs_id}'], (SELECT dataset_id FROM raw), \
         rucio_register_config => 'DATA/raw-config.yaml')",
    )
}

fn register_files() -> FunctionDef {
    FunctionDef::procedure("rucio_register_files", "Registers other files in Rucio.", |args| {
        Ok(Arc::new(RucioRegisterFiles {
            dataset: args.required("rucio_dataset")?,
            options: options(args)?,
            files: args.list("files").unwrap_or_default(),
            kind: FileKind::from_name(&args.required("kind")?)?,
        }))
    })
    .arg("rucio_dataset", ArgType::Text, DATASET)
    .arg("files", ArgType::TextList, "paths or URLs of the files")
    .arg("kind", ArgType::Text, "zip_file or dim_file")
    .notes("As `rucio-register zips` and `rucio-register dimensions`.")
    .example(
        "CALL rucio_register_files('Dataset/LSSTComCam/dimensions', ['/data/export.yaml'], 'dim_file', \
         rucio_register_config => 'DATA/main-calib-config.yaml')",
    )
}

fn with_options(function: FunctionDef) -> FunctionDef {
    function
        .option("rucio_register_config", ArgType::Text, "a configuration file of `rucio-register`")
        .option("rucio_rse", ArgType::Text, "the storage element of the files")
        .option("scope", ArgType::Text, "the scope of the files and of the dataset")
        .option("rse_root", ArgType::Text, "the start of the paths of files, which is taken off")
        .option("dtn_url", ArgType::Text, "the start of the URIs of files at the storage element")
        .option("chunk_size", ArgType::Int, "number of files in one request; default 500")
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
