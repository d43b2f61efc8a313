//! Procedures that move datasets between repositories and folders.

use std::sync::Arc;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::error::Error;
use crate::repo::{IngestZip, Retrieve, TransferDatasets};
use crate::store::transfer_mode::TransferMode;

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::procedure("transfer", "Copies datasets from another repository, with their files and ids.", |args| {
            let mode = TransferMode::from_name(&args.text("transfer").unwrap_or_else(|| "auto".to_owned()))?;
            if matches!(mode, TransferMode::Direct | TransferMode::Move) {
                let message = "transfer leaves the files of the other repository in its hands: the mode cannot be direct or move";
                return Err(Error::invalid(message));
            }
            let collections = args.list("collections").unwrap_or_default();
            if collections.is_empty() && !args.has_rows() {
                return Err(Error::invalid("transfer needs rows (dataset ids) or collections"));
            }
            Ok(Arc::new(TransferDatasets {
                from: args.required("from")?,
                collections,
                transfer: mode,
                register_dataset_types: args.bool("register_dataset_types", false),
                transfer_dimensions: args.bool("transfer_dimensions", true),
                associations: args.bool("associations", false),
            }))
        })
        .arg("from", ArgType::Text, "the other repository: its location, or the name of an attached one")
        .option("rows", ArgType::Query("dataset_id"), "the datasets")
        .option("collections", ArgType::TextList, "collections of the other repository whose datasets are copied")
        .option("transfer", ArgType::Text, "transfer mode of the files: auto (hard link, else symbolic link; a copy of files on a server), copy, hardlink, link, symlink or relsymlink; default auto")
        .option("register_dataset_types", ArgType::Bool, "register dataset types that do not exist; default false")
        .option("transfer_dimensions", ArgType::Bool, "insert dimension records that do not exist; default true")
        .option("associations", ArgType::Bool, "also copy chains, tags and validity ranges: of `collections`, or without them the tags and validity ranges of the datasets; default false")
        .notes(
            "As `butler transfer-datasets`: files keep their paths below the datastore root; files outside of it stay where \
             they are, unless a mode other than auto copies them. The exposures of visits are copied, too. Existing \
             dimension records are kept. Datasets that are not stored or whose files do not exist are reported as absent.",
        )
        .example("CALL transfer('DATA/other', collections => 'LSSTComCam/raw/all', register_dataset_types => true)"),
        retrieve(),
        ingest_zip(),
    ]
}

fn retrieve() -> FunctionDef {
    FunctionDef::procedure("retrieve", "Copies the files of datasets into a folder or a zip archive.", |args| {
        let transfer = TransferMode::from_name(&args.text("transfer").unwrap_or_else(|| "auto".to_owned()))?;
        if matches!(transfer, TransferMode::Direct | TransferMode::Move) {
            return Err(Error::invalid("retrieve leaves the files in the datastore: the mode cannot be direct or move"));
        }
        let collections = args.list("collections").unwrap_or_default();
        if collections.is_empty() && !args.has_rows() {
            return Err(Error::invalid("retrieve needs rows (dataset ids) or collections"));
        }
        Ok(Arc::new(Retrieve {
            directory: args.required("directory")?,
            collections,
            transfer,
            preserve_path: args.bool("preserve_path", true),
            clobber: args.bool("clobber", false),
            zip: args.bool("zip", false),
        }))
    })
    .arg("directory", ArgType::Text, "the folder; created if it does not exist")
    .option("rows", ArgType::Query("dataset_id"), "the datasets")
    .option("collections", ArgType::TextList, "collections whose datasets are retrieved")
    .option("transfer", ArgType::Text, "transfer mode of the files, as of `transfer`; default auto")
    .option("preserve_path", ArgType::Bool, "keep the paths of the datastore below the folder; default true")
    .option("clobber", ArgType::Bool, "replace existing files; default false")
    .option("zip", ArgType::Bool, "write one zip archive, named as by the Butler; default false")
    .notes(
        "As `butler retrieve-artifacts`: `_butler_zip_index.json` next to the files, or in the archive, lists the datasets, \
         their dimension records and their files. Existing files with the same content are kept.",
    )
    .example("CALL retrieve('DATA/retrieved', (SELECT dataset_id FROM raw WHERE detector = 4), zip => true)")
}

fn ingest_zip() -> FunctionDef {
    FunctionDef::procedure("ingest_zip", "Ingests zip archives of datasets that `retrieve` wrote.", |args| {
        let zips = args.list("zips").unwrap_or_default();
        if zips.is_empty() && !args.has_rows() {
            return Err(Error::invalid("ingest_zip needs archives"));
        }
        Ok(Arc::new(IngestZip {
            zips,
            transfer: TransferMode::from_name(&args.text("transfer").unwrap_or_else(|| "auto".to_owned()))?,
            transfer_dimensions: args.bool("transfer_dimensions", false),
        }))
    })
    .option("zips", ArgType::TextList, "the archives: paths or URIs")
    .option("transfer", ArgType::Text, "transfer mode of the archives; default auto")
    .option("transfer_dimensions", ArgType::Bool, "insert the dimension records of the archives; default false")
    .option("rows", ArgType::Query("uri"), "more archives, such as those that `list` finds")
    .notes(
        "As `butler ingest-zip`: dataset types and RUN collections that do not exist are registered, and datasets keep their \
         ids. An archive that was ingested before is unchanged; a dataset that is stored elsewhere is an error.",
    )
    .example(
        "CALL ingest_zip(rows => (SELECT 'DATA/retrieved/' || name AS uri FROM list('DATA/retrieved') WHERE name LIKE \
         '%.zip'), transfer => 'copy')",
    )
}
