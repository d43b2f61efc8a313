//! Bringing files into a repository.

use std::sync::Arc;

use regex::Regex;

use crate::engine::arguments::{Function, Takes};
use crate::error::Error;
use crate::repo::IngestRaws;
use crate::store::transfer::Mode;

pub fn functions() -> Vec<Function> {
    vec![
        Function::verb("ingest_raws", "Ingests raw files of registered instruments.", |given| {
            let regex = given.text("regex").unwrap_or_else(|| r"\.fit[s]?\b".to_owned());
            Ok(Arc::new(IngestRaws {
                locations: given.list("locations").unwrap_or_default(),
                regex: Regex::new(&regex)
                    .map_err(|_| Error::invalid(format!("argument 'regex' is no regular expression: {regex}")))?,
                output_run: given.text("output_run"),
                transfer: Mode::from_name(given.text("transfer").as_deref().unwrap_or("auto"))?,
                track_file_attrs: given.bool("track_file_attrs", true),
                fail_fast: given.bool("fail_fast", false),
                update_records: given.bool("update_records", false),
                processes: usize::try_from(given.int("processes", 16))
                    .map_err(|_| Error::invalid("argument 'processes' must be positive"))?,
            }))
        })
        .arg("locations", Takes::TextList, "folders, searched with all below them, and files")
        .option("regex", Takes::Text, "which names in folders are raw files; default '\\.fit[s]?\\b'")
        .option("output_run", Takes::Text, "the RUN collection; default the instrument's, such as LSSTComCam/raw/all")
        .option(
            "transfer",
            Takes::Text,
            "auto, link, symlink, hardlink, copy, move, relsymlink or direct; default auto",
        )
        .option("track_file_attrs", Takes::Bool, "record the sizes of files; default true")
        .option("fail_fast", Takes::Bool, "end at the first problem; default false: problems become rows of the answer")
        .option("update_records", Takes::Bool, "overwrite exposure records that differ; default false")
        .option("processes", Takes::Int, "how many folders are read at the same time; default 16")
        .notes(
            "What is known of a file comes from the `_index.json` of its folder or from a sidecar; FITS headers are \
             not read. Files that are ingested already are left as they are, in every transfer mode.",
        )
        .example("CALL ingest_raws('DATA/raw/LSSTComCam', transfer => 'direct', fail_fast => true)"),
    ]
}
