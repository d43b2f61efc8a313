//! Procedures that bring files into a repository.

use std::sync::Arc;

use regex::Regex;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::error::Error;
use crate::instrument::Instrument;
use crate::model::dataset::IdMode;
use crate::repo::DefineVisits;
use crate::repo::Import;
use crate::repo::IngestFiles;
use crate::repo::IngestOptions;
use crate::repo::IngestRaws;
use crate::repo::OnDifference;
use crate::store::transfer_mode::TransferMode;

/// The description of the argument `transfer`.
const MODES: &str = "auto, link, symlink, hardlink, copy, move, relsymlink or direct; default auto";

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![ingest_raws(), define_visits(), ingest_files(), import()]
}

fn ingest_raws() -> FunctionDef {
    FunctionDef::procedure("ingest_raws", "Ingests raw files of registered instruments.", |args| {
        let regex = args.text("regex").unwrap_or_else(|| r"\.fit[s]?\b".to_owned());
        Ok(Arc::new(IngestRaws {
            locations: args.list("locations").unwrap_or_default(),
            regex: Regex::new(&regex)
                .map_err(|_| Error::invalid(format!("argument 'regex' is not a regular expression: {regex}")))?,
            output_run: args.text("output_run"),
            transfer: TransferMode::from_name(args.text("transfer").as_deref().unwrap_or("auto"))?,
            track_file_attrs: args.bool("track_file_attrs", true),
            fail_fast: args.bool("fail_fast", false),
            update_records: args.bool("update_records", false),
            processes: usize::try_from(args.int("processes", 16))
                .map_err(|_| Error::invalid("argument 'processes' must be positive"))?,
        }))
    })
    .arg("locations", ArgType::TextList, "files, and folders that are searched recursively")
    .option("regex", ArgType::Text, "regular expression for the names of raw files in folders; default '\\.fit[s]?\\b'")
    .option("output_run", ArgType::Text, "the RUN collection; default the instrument's, such as LSSTComCam/raw/all")
    .option("transfer", ArgType::Text, MODES)
    .option("track_file_attrs", ArgType::Bool, "record file sizes; default true")
    .option("fail_fast", ArgType::Bool, "stop at the first failed file; default false: failures are reported as rows")
    .option("update_records", ArgType::Bool, "update exposure records that differ; default false")
    .option("processes", ArgType::Int, "number of folders that are read concurrently; default 16")
    .notes(
        "Metadata is read from the `_index.json` of each folder or from sidecar files, not from FITS headers. Files \
             that are already ingested are unchanged; only `direct` updates a URI or size that differs.",
    )
    .example("CALL ingest_raws('DATA/raw/LSSTComCam', transfer => 'direct', fail_fast => true)")
}

fn define_visits() -> FunctionDef {
    FunctionDef::procedure("define_visits", "Defines visits from the exposures that can see the sky.", |args| {
        Ok(Arc::new(DefineVisits {
            instrument: Instrument::find(&args.required("instrument")?)?,
            update_records: args.bool("update_records", false),
            incremental: args.bool("incremental", false),
        }))
    })
    .arg("instrument", ArgType::Text, "its class, its short name, or a YAML file that describes it")
    .option("collections", ArgType::TextList, "accepted for compatibility and ignored; the nominal camera is used")
    .option("rows", ArgType::Query("exposure"), "the exposures; default all of the instrument")
    .option("update_records", ArgType::Bool, "update visits that differ; default false: a difference is an error")
    .option("incremental", ArgType::Bool, "add later exposures of a sequence to its visit; default false")
    .notes(
        "Each exposure with coordinates that can see the sky is a visit, and so is each sequence. Regions are computed \
             from the nominal camera. `rows` corresponds to the Butler's `--where`.",
    )
    .example("CALL define_visits('LSSTComCam', collections => 'LSSTComCam/raw/all')")
}

fn ingest_files() -> FunctionDef {
    FunctionDef::procedure("ingest_files", "Ingests the files in a table as datasets of one type.", |args| {
            let mode = args.text("id_generation_mode").unwrap_or_else(|| "UNIQUE".to_owned());
            Ok(Arc::new(IngestFiles {
                dataset_type: args.required("dataset_type")?,
                run: args.required("run")?,
                prefix: args.text("prefix"),
                data_id: args.list("data_id").unwrap_or_default(),
                formatter: args.text("formatter"),
                ids: IdMode::from_name(&mode)?,
                options: IngestOptions {
                    transfer: TransferMode::from_name(args.text("transfer").as_deref().unwrap_or("auto"))?,
                    track_file_attrs: args.bool("track_file_attrs", true),
                    without_datastore: false,
                },
            }))
        })
        .arg("dataset_type", ArgType::Text, "the dataset type; it must exist")
        .arg("run", ArgType::Text, "the RUN collection; created if it does not exist")
        .arg("rows", ArgType::Query("the file, then the dimensions"), "the files: a subquery, or the name of a table file")
        .option("prefix", ArgType::Text, "the folder of relative file names; default the working directory")
        .option("data_id", ArgType::TextList, "`dimension=value` pairs for all files")
        .option("formatter", ArgType::Text, "the formatter class; default the formatter of the storage class")
        .option("id_generation_mode", ArgType::Text, "UNIQUE, DATAID_TYPE or DATAID_TYPE_RUN; default UNIQUE")
        .option("transfer", ArgType::Text, MODES)
        .option("track_file_attrs", ArgType::Bool, "record file sizes; default true")
        .notes("All files are ingested in one transaction. Data IDs that the run already contains are unchanged.")
        .example("CALL ingest_files('the_monster_20240904', 'refcats/DM-46370/the_monster_20240904', 'DATA/the_monster_20240904.ecsv', prefix => 'DATA/raw/refcats/the_monster_20240904', transfer => 'direct')")
}

fn import() -> FunctionDef {
    FunctionDef::procedure(
        "import",
        "Imports datasets from an export file of `export` or `butler export-calibs`.",
        |args| {
            Ok(Arc::new(Import {
                directory: args.required("directory")?,
                export_file: args.text("export_file").unwrap_or_else(|| "export.yaml".to_owned()),
                transfer: TransferMode::from_name(args.text("transfer").as_deref().unwrap_or("auto"))?,
                skip_dimensions: args.list("skip_dimensions").unwrap_or_default(),
                track_file_attrs: args.bool("track_file_attrs", true),
                without_datastore: args.bool("without_datastore", false),
                on_difference: OnDifference::from_name(args.text("on_conflict").as_deref().unwrap_or("keep"))?,
            }))
        },
    )
    .arg("directory", ArgType::Text, "the folder of relative paths in the export file")
    .option(
        "export_file",
        ArgType::Text,
        "the export file, in the folder or in the working directory; default export.yaml",
    )
    .option("transfer", ArgType::Text, MODES)
    .option("skip_dimensions", ArgType::TextList, "dimension elements whose records are not imported")
    .option("track_file_attrs", ArgType::Bool, "record file sizes; default true")
    .option("without_datastore", ArgType::Bool, "register the datasets without their files; default false")
    .option(
        "on_conflict",
        ArgType::Text,
        "keep, update or error, for an existing dimension record with other values; default keep",
    )
    .notes(
        "The import is one transaction. Existing datasets with the same id, data ID and run are unchanged. An existing \
             dimension record with other values is kept and reported, unless `on_conflict` is another mode.",
    )
    .example("CALL import('DATA/ancillary', export_file => 'DATA/pretrained-models-export.yaml', transfer => 'direct')")
}
