//! Bringing files into a repository.

use std::sync::Arc;

use regex::Regex;

use crate::engine::functions::definition::{ArgType, FunctionDef};
use crate::error::Error;
use crate::instrument::Instrument;
use crate::model::dataset::IdMode;
use crate::repo::DefineVisits;
use crate::repo::Import;
use crate::repo::IngestFiles;
use crate::repo::IngestOptions;
use crate::repo::IngestRaws;
use crate::store::transfer::TransferMode;

/// How `transfer` is explained.
const MODES: &str = "auto, link, symlink, hardlink, copy, move, relsymlink or direct; default auto";

pub fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::procedure("ingest_raws", "Ingests raw files of registered instruments.", |args| {
            let regex = args.text("regex").unwrap_or_else(|| r"\.fit[s]?\b".to_owned());
            Ok(Arc::new(IngestRaws {
                locations: args.list("locations").unwrap_or_default(),
                regex: Regex::new(&regex)
                    .map_err(|_| Error::invalid(format!("argument 'regex' is no regular expression: {regex}")))?,
                output_run: args.text("output_run"),
                transfer: TransferMode::from_name(args.text("transfer").as_deref().unwrap_or("auto"))?,
                track_file_attrs: args.bool("track_file_attrs", true),
                fail_fast: args.bool("fail_fast", false),
                update_records: args.bool("update_records", false),
                processes: usize::try_from(args.int("processes", 16))
                    .map_err(|_| Error::invalid("argument 'processes' must be positive"))?,
            }))
        })
        .arg("locations", ArgType::TextList, "folders, searched with all below them, and files")
        .option("regex", ArgType::Text, "which names in folders are raw files; default '\\.fit[s]?\\b'")
        .option("output_run", ArgType::Text, "the RUN collection; default the instrument's, such as LSSTComCam/raw/all")
        .option("transfer", ArgType::Text, MODES)
        .option("track_file_attrs", ArgType::Bool, "record the sizes of files; default true")
        .option("fail_fast", ArgType::Bool, "end at the first problem; default false: problems become rows of the answer")
        .option("update_records", ArgType::Bool, "overwrite exposure records that differ; default false")
        .option("processes", ArgType::Int, "how many folders are read at the same time; default 16")
        .notes(
            "What is known of a file comes from the `_index.json` of its folder or from a sidecar; FITS headers are \
             not read. Files that are ingested already are left as they are; only `direct` records another URI or \
             size anew.",
        )
        .example("CALL ingest_raws('DATA/raw/LSSTComCam', transfer => 'direct', fail_fast => true)"),
        FunctionDef::procedure("define_visits", "Defines visits of the exposures that look at the sky.", |args| {
            Ok(Arc::new(DefineVisits {
                instrument: Instrument::find(&args.required("instrument")?)?,
                update_records: args.bool("update_records", false),
                incremental: args.bool("incremental", false),
            }))
        })
        .arg("instrument", ArgType::Text, "its short name, its class, or a YAML file that describes it")
        .option("collections", ArgType::TextList, "taken for the sake of the Butler's option; the nominal camera is used")
        .option("rows", ArgType::Query("exposure"), "the exposures; default all of the instrument")
        .option("update_records", ArgType::Bool, "overwrite visits that differ; default false: they are an error")
        .option("incremental", ArgType::Bool, "add exposures of a sequence that came later; default false")
        .notes(
            "Every exposure with coordinates that can see the sky is a visit by itself; sequences are visits too. Regions \
             follow from the nominal camera. `rows` stands for the Butler's `--where`.",
        )
        .example("CALL define_visits('LSSTComCam', collections => 'LSSTComCam/raw/all')"),
        FunctionDef::procedure("ingest_files", "Ingests files that a table lists, as datasets of one type.", |args| {
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
        .arg("run", ArgType::Text, "the RUN collection; made when absent")
        .arg("rows", ArgType::Query("the file, then the dimensions"), "the files: a subquery, or the name of a table file")
        .option("prefix", ArgType::Text, "what relative file names are below; default the working directory")
        .option("data_id", ArgType::TextList, "dimension=value for all files")
        .option("formatter", ArgType::Text, "the class that reads the files; default that of the storage class")
        .option("id_generation_mode", ArgType::Text, "UNIQUE, DATAID_TYPE or DATAID_TYPE_RUN; default UNIQUE")
        .option("transfer", ArgType::Text, MODES)
        .option("track_file_attrs", ArgType::Bool, "record the sizes of files; default true")
        .notes("All or nothing is ingested. Data IDs that the run holds already are left as they are.")
        .example("CALL ingest_files('the_monster_20240904', 'refcats/DM-46370/the_monster_20240904', 'DATA/the_monster_20240904.ecsv', prefix => 'DATA/raw/refcats/the_monster_20240904', transfer => 'direct')"),
        FunctionDef::procedure("import", "Imports what `export` or `butler export-calibs` wrote.", |args| {
            let refuse_differences = match args.text("on_conflict").as_deref() {
                None | Some("keep") => false,
                Some("error") => true,
                Some(other) => return Err(Error::not_found("way of on_conflict", other, ["keep", "error"])),
            };
            Ok(Arc::new(Import {
                directory: args.required("directory")?,
                export_file: args.text("export_file").unwrap_or_else(|| "export.yaml".to_owned()),
                transfer: TransferMode::from_name(args.text("transfer").as_deref().unwrap_or("auto"))?,
                skip_dimensions: args.list("skip_dimensions").unwrap_or_default(),
                track_file_attrs: args.bool("track_file_attrs", true),
                without_datastore: args.bool("without_datastore", false),
                refuse_differences,
            }))
        })
        .arg("directory", ArgType::Text, "the folder that relative paths of the file count from")
        .option("export_file", ArgType::Text, "the file, in the folder or else from the working directory; default export.yaml")
        .option("transfer", ArgType::Text, MODES)
        .option("skip_dimensions", ArgType::TextList, "dimension elements whose records are not taken")
        .option("track_file_attrs", ArgType::Bool, "record the sizes of files; default true")
        .option("without_datastore", ArgType::Bool, "make the datasets known without their files; default false")
        .option(
            "on_conflict",
            ArgType::Text,
            "keep or error: what happens to a dimension record that is there with other values; default keep",
        )
        .notes(
            "All or nothing is imported. Datasets that are there already, with the same id, data ID and run, are left \
             as they are. A dimension record that is there with other values stays, and is counted.",
        )
        .example("CALL import('DATA/ancillary', export_file => 'DATA/pretrained-models-export.yaml', transfer => 'direct')"),
    ]
}
