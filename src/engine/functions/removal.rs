//! Procedures that remove datasets, collections and dataset types.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::error::Error;
use crate::repo::{
    CleanOrphans, CleanSummaries, Prune, PruneMode, RemoveCollection, RemoveDatasetType, RemoveRun, RemoveTrash,
};

/// The default of `min_age`, in seconds.
const DAY: i64 = 86_400;

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::procedure("prune", "Removes datasets and their files.", |args| {
            Ok(Arc::new(Prune {
                mode: PruneMode::from_name(&args.required("mode")?)?,
                collections: args.list("collections").unwrap_or_default(),
            }))
        })
        .arg("rows", ArgType::Query("dataset_id"), "the datasets")
        .arg("mode", ArgType::Text, "purge; unstore, to remove only the files; or disassociate")
        .option("collections", ArgType::TextList, "TAGGED collections that the datasets leave; not with purge")
        .notes(
            "As `butler prune-datasets`. EXPLAIN shows the datasets, the files, their bytes, and the memberships and \
             certifications that are lost. Files that were ingested with `direct` are never removed, nor files that \
             other datasets need. A file that cannot be removed is reported and keeps its records; a repeated call or \
             `empty_trash` tries again.",
        )
        .example("CALL prune((SELECT dataset_id FROM raw WHERE exposure = 2024110800245), 'unstore')"),
        FunctionDef::procedure("empty_trash", "Removes the files that an interrupted removal left.", |_| {
            Ok(Arc::new(RemoveTrash))
        })
        .example("CALL empty_trash()"),
        FunctionDef::procedure("remove_orphans", "Removes files of the datastore that no record names.", |args| {
            let seconds = args.int("min_age", DAY);
            let seconds = u64::try_from(seconds).map_err(|_| Error::invalid("argument 'min_age' is negative"))?;
            Ok(Arc::new(CleanOrphans { min_age: Duration::from_secs(seconds) }))
        })
        .arg("rows", ArgType::Query("uri"), "the files")
        .option("min_age", ArgType::Int, "seconds since a file was modified; younger files are kept; default a day")
        .notes("A file that another client is about to record is not yet named by a record; `min_age` protects it.")
        .example("CALL remove_orphans((SELECT uri FROM check_files('*') WHERE state = 'orphan'))"),
        FunctionDef::procedure(
            "refresh_summaries",
            "Removes summaries of dataset types that collections no longer hold.",
            |_| Ok(Arc::new(CleanSummaries)),
        )
        .notes("As `Registry.refresh_collection_summaries`. Searches of the Butler are faster with exact summaries.")
        .example("CALL refresh_summaries()"),
        FunctionDef::procedure("remove_run", "Removes RUN collections with their datasets and files.", |args| {
            Ok(Arc::new(RemoveRun { name: args.required("run")?, force: args.bool("force", false) }))
        })
        .arg("run", ArgType::Text, "a name or a glob; collections of other types that a glob matches are skipped")
        .option(
            "force",
            ArgType::Bool,
            "remove runs that are children of chains, and tagged or certified datasets; default false",
        )
        .notes("As `butler remove-runs`. Without `force`, the chains and collections that use the run are named.")
        .example("CALL remove_run('u/me/run1')"),
        FunctionDef::procedure("remove_collection", "Removes collections other than RUN; datasets remain.", |args| {
            Ok(Arc::new(RemoveCollection { name: args.required("collection")?, unlink: args.bool("unlink", false) }))
        })
        .arg("collection", ArgType::Text, "a name or a glob; RUN collections matched by a glob are skipped")
        .option("unlink", ArgType::Bool, "remove the collections from chains first; default false")
        .example("CALL remove_collection('u/me/picked')"),
        FunctionDef::procedure("remove_dataset_type", "Removes dataset types that have no datasets.", |args| {
            Ok(Arc::new(RemoveDatasetType { name: args.required("dataset_type")? }))
        })
        .arg("dataset_type", ArgType::Text, "a name or a glob")
        .example("CALL remove_dataset_type('never_used')"),
    ]
}
