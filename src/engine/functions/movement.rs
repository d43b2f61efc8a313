//! Procedures that move datasets between repositories and folders.

use std::sync::Arc;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::error::Error;
use crate::repo::TransferDatasets;
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
        .option("transfer", ArgType::Text, "transfer mode of the files: auto (hard link or copy), copy, hardlink, link, symlink or relsymlink; default auto")
        .option("register_dataset_types", ArgType::Bool, "register dataset types that do not exist; default false")
        .option("transfer_dimensions", ArgType::Bool, "insert dimension records that do not exist; default true")
        .option("associations", ArgType::Bool, "also copy chains, tags and validity ranges: of `collections`, or without them the tags and validity ranges of the datasets; default false")
        .notes(
            "As `butler transfer-datasets`: files keep their paths below the datastore root; files outside of it stay where \
             they are, unless a mode other than auto copies them. The exposures of visits are copied, too. Existing \
             dimension records are kept. Datasets that are not stored or whose files do not exist are reported as absent.",
        )
        .example("CALL transfer('DATA/other', collections => 'LSSTComCam/raw/all', register_dataset_types => true)"),
    ]
}
