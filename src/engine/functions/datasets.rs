//! Picking datasets.

use std::sync::Arc;

use crate::engine::functions::definition::{ArgType, Args, FunctionDef};
use crate::error::{Error, Result};
use crate::model::time::{self, Timespan};
use crate::repo::Associate;
use crate::repo::Certify;
use crate::repo::Decertify;
use crate::repo::Disassociate;
use crate::repo::Export;
use crate::store::transfer::TransferMode;

pub fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::procedure("associate", "Puts datasets into a TAGGED collection.", |args| {
            Ok(Arc::new(Associate { collection: args.required("collection")? }))
        })
        .arg("collection", ArgType::Text, "the collection; it must exist")
        .arg("rows", ArgType::Query("dataset_id"), "the ids of the datasets")
        .notes("Also as an aggregate, `SELECT associate('X', dataset_id) FROM raw …`, and as `INSERT INTO collection.\"X\" SELECT dataset_id …`.")
        .example("CALL associate('u/me/picked', (SELECT dataset_id FROM raw WHERE detector = 4))"),
        FunctionDef::procedure("disassociate", "Takes datasets out of a TAGGED collection.", |args| {
            Ok(Arc::new(Disassociate { collection: args.required("collection")? }))
        })
        .arg("collection", ArgType::Text, "the collection; it must exist")
        .arg("rows", ArgType::Query("dataset_id"), "the ids of the datasets; those not in it are passed over")
        .notes("Also as an aggregate, `SELECT disassociate('X', dataset_id) FROM raw …`.")
        .example("CALL disassociate('u/me/picked', (SELECT dataset_id FROM raw WHERE detector = 4))"),
        FunctionDef::procedure("certify", "Makes calibrations valid for some time in a CALIBRATION collection.", |args| {
            Ok(Arc::new(Certify { collection: args.required("collection")?, timespan: timespan(args)? }))
        })
        .arg("collection", ArgType::Text, "the collection; made when absent")
        .arg("rows", ArgType::Query("dataset_id, and timespan_begin and timespan_end if they differ"), "the datasets")
        .option("begin_date", ArgType::Text, "begin of their validity, TAI; default unbounded")
        .option("end_date", ArgType::Text, "end of their validity, TAI, not included; default unbounded")
        .notes(
            "A dataset that is certified so already is left. Another dataset of the type with the same data ID whose \
             validity overlaps is an error.",
        )
        .example("CALL certify('LSSTComCam/calib/DM-1', (SELECT dataset_id FROM bias), begin_date => '2024-10-01')"),
        FunctionDef::procedure("decertify", "Takes a time out of the validity of calibrations.", |args| {
            Ok(Arc::new(Decertify {
                collection: args.required("collection")?,
                dataset_type: args.required("dataset_type")?,
                timespan: timespan(args)?,
            }))
        })
        .arg("collection", ArgType::Text, "the CALIBRATION collection")
        .arg("dataset_type", ArgType::Text, "the dataset type")
        .option("rows", ArgType::Query("the dimensions of the dataset type"), "the data IDs; default all")
        .option("begin_date", ArgType::Text, "begin of the time, TAI; default unbounded")
        .option("end_date", ArgType::Text, "end of the time, TAI, not included; default unbounded")
        .notes("What is left of a validity range before and after the time stays.")
        .example("CALL decertify('LSSTComCam/calib/DM-1', 'bias', begin_date => '2024-11-01', end_date => '2024-11-15')"),
        FunctionDef::procedure("export", "Exports datasets with all that another repository needs to import them.", |args| {
            let transfer = args.text("transfer").map(|mode| TransferMode::from_name(&mode)).transpose()?;
            if transfer == Some(TransferMode::Move) {
                return Err(Error::invalid("files are not moved out of a datastore by export"));
            }
            let collections = args.list("collections").unwrap_or_default();
            if collections.is_empty() && !args.has_rows() {
                return Err(Error::invalid("export needs rows, the ids of datasets, or collections"));
            }
            let export_file = args.text("export_file").unwrap_or_else(|| "export.yaml".to_owned());
            Ok(Arc::new(Export { directory: args.required("directory")?, export_file, collections, transfer }))
        })
        .arg("directory", ArgType::Text, "the folder of the export file; made when absent")
        .option("rows", ArgType::Query("dataset_id"), "the datasets")
        .option("collections", ArgType::TextList, "collections to export whole: datasets, chains, tags and validity ranges")
        .option("export_file", ArgType::Text, "the name of the file; default export.yaml")
        .option("transfer", ArgType::Text, "how files get into the folder, or direct: the file holds their URIs; default not at all")
        .notes(
            "Without `transfer` the paths are those in the datastore: import with its root as the directory. A file of \
             that name is replaced.",
        )
        .example("CALL export('DATA/exported', (SELECT dataset_id FROM raw WHERE detector = 4), transfer => 'copy')"),
    ]
}

/// The time between `begin_date` and `end_date`.
fn timespan(args: &Args) -> Result<Timespan> {
    let end = |name: &str| match args.text(name) {
        None => Ok(None),
        Some(text) => time::parse(&text).map(Some).ok_or_else(|| {
            Error::invalid(format!("argument '{name}' takes a date or time such as 2024-10-01T12:00:00, not '{text}'"))
        }),
    };
    let (begin, end) = (end("begin_date")?, end("end_date")?);
    match (begin, end) {
        (Some(begin), Some(end)) if begin >= end => Err(Error::invalid("begin_date is not before end_date")),
        _ => Timespan::checked(begin, end),
    }
}
