//! Procedures for datasets: tags, certifications and export.

use std::sync::Arc;

use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::FunctionDef;
use crate::error::{Error, Result};
use crate::model::calendar;
use crate::model::time::Timespan;
use crate::repo::Associate;
use crate::repo::Certify;
use crate::repo::Decertify;
use crate::repo::Disassociate;
use crate::repo::Export;
use crate::store::transfer_mode::TransferMode;

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::procedure("associate", "Adds datasets to a TAGGED collection.", |args| {
            Ok(Arc::new(Associate { collection: args.required("collection")? }))
        })
        .arg("collection", ArgType::Text, "the collection; it must exist")
        .arg("rows", ArgType::Query("dataset_id"), "the ids of the datasets")
        .notes("Other forms are the aggregate `SELECT associate('X', dataset_id) FROM raw …` and `INSERT INTO collection.\"X\" SELECT dataset_id …`.")
        .example("CALL associate('u/me/picked', (SELECT dataset_id FROM raw WHERE detector = 4))"),
        FunctionDef::procedure("disassociate", "Removes datasets from a TAGGED collection.", |args| {
            Ok(Arc::new(Disassociate { collection: args.required("collection")? }))
        })
        .arg("collection", ArgType::Text, "the collection; it must exist")
        .arg("rows", ArgType::Query("dataset_id"), "the ids of the datasets; datasets that are not in the collection are skipped")
        .notes("Another form is the aggregate `SELECT disassociate('X', dataset_id) FROM raw …`.")
        .example("CALL disassociate('u/me/picked', (SELECT dataset_id FROM raw WHERE detector = 4))"),
        FunctionDef::procedure("certify", "Certifies calibrations in a CALIBRATION collection for a validity range.", |args| {
            Ok(Arc::new(Certify { collection: args.required("collection")?, timespan: timespan(args)? }))
        })
        .arg("collection", ArgType::Text, "the collection; created if it does not exist")
        .arg("rows", ArgType::Query("dataset_id, and timespan_begin and timespan_end if they differ"), "the datasets")
        .option("begin_date", ArgType::Text, "start of the validity range, TAI; default unbounded")
        .option("end_date", ArgType::Text, "end of the validity range, TAI, exclusive; default unbounded")
        .notes(
            "A dataset that is already certified for the same range is unchanged. An overlapping validity range of another \
             dataset with the same dataset type and data ID is an error.",
        )
        .example("CALL certify('LSSTComCam/calib/DM-1', (SELECT dataset_id FROM bias), begin_date => '2024-10-01')"),
        FunctionDef::procedure("decertify", "Removes a timespan from the validity ranges of calibrations.", |args| {
            Ok(Arc::new(Decertify {
                collection: args.required("collection")?,
                dataset_type: args.required("dataset_type")?,
                timespan: timespan(args)?,
            }))
        })
        .arg("collection", ArgType::Text, "the CALIBRATION collection")
        .arg("dataset_type", ArgType::Text, "the dataset type")
        .option("rows", ArgType::Query("the dimensions of the dataset type"), "the data IDs; default all")
        .option("begin_date", ArgType::Text, "start of the timespan, TAI; default unbounded")
        .option("end_date", ArgType::Text, "end of the timespan, TAI, exclusive; default unbounded")
        .notes("The parts of a validity range before and after the timespan are kept.")
        .example("CALL decertify('LSSTComCam/calib/DM-1', 'bias', begin_date => '2024-11-01', end_date => '2024-11-15')"),
        FunctionDef::procedure("export", "Exports datasets to a YAML file that `import` reads, with their dimension records and collections.", |args| {
            let transfer = args.text("transfer").map(|mode| TransferMode::from_name(&mode)).transpose()?;
            if transfer == Some(TransferMode::Move) {
                return Err(Error::invalid("export does not support transfer mode move"));
            }
            let collections = args.list("collections").unwrap_or_default();
            if collections.is_empty() && !args.has_rows() {
                return Err(Error::invalid("export needs rows (dataset ids) or collections"));
            }
            let export_file = args.text("export_file").unwrap_or_else(|| "export.yaml".to_owned());
            Ok(Arc::new(Export { directory: args.required("directory")?, export_file, collections, transfer }))
        })
        .arg("directory", ArgType::Text, "the folder of the export file; created if it does not exist")
        .option("rows", ArgType::Query("dataset_id"), "the datasets")
        .option("collections", ArgType::TextList, "collections to export with all their datasets, chains, tags and validity ranges")
        .option("export_file", ArgType::Text, "the name of the export file; default export.yaml")
        .option("transfer", ArgType::Text, "transfer mode of the files to the folder; direct writes their URIs; default no transfer")
        .notes(
            "Without `transfer`, the paths in the export file are relative to the datastore root: import with the root as \
             `directory`. An existing export file is replaced.",
        )
        .example("CALL export('DATA/exported', (SELECT dataset_id FROM raw WHERE detector = 4), transfer => 'copy')"),
    ]
}

/// The timespan (TAI) from `begin_date` to `end_date`, unbounded where one is missing.
fn timespan(args: &Args) -> Result<Timespan> {
    let end = |name: &str| match args.text(name) {
        None => Ok(None),
        Some(text) => calendar::parse(&text).map(Some).ok_or_else(|| {
            Error::invalid(format!("argument '{name}' takes a date or time such as 2024-10-01T12:00:00, not '{text}'"))
        }),
    };
    let (begin, end) = (end("begin_date")?, end("end_date")?);
    match (begin, end) {
        (Some(begin), Some(end)) if begin >= end => Err(Error::invalid("begin_date is not before end_date")),
        _ => Timespan::checked(begin, end),
    }
}
