//! Picking datasets.

use std::sync::Arc;

use crate::engine::arguments::{Function, Given, Takes};
use crate::error::{Error, Result};
use crate::model::time::{self, Timespan};
use crate::repo::{Associate, Certify, Decertify, Disassociate, Export};
use crate::store::transfer::TransferMode;

pub fn functions() -> Vec<Function> {
    vec![
        Function::verb("associate", "Puts datasets into a TAGGED collection.", |given| {
            Ok(Arc::new(Associate { collection: given.need("collection")? }))
        })
        .arg("collection", Takes::Text, "the collection; it must exist")
        .arg("rows", Takes::Rows("dataset_id"), "the ids of the datasets")
        .notes("Also as an aggregate, `SELECT associate('X', dataset_id) FROM raw …`, and as `INSERT INTO collection.\"X\" SELECT dataset_id …`.")
        .example("CALL associate('u/me/picked', (SELECT dataset_id FROM raw WHERE detector = 4))"),
        Function::verb("disassociate", "Takes datasets out of a TAGGED collection.", |given| {
            Ok(Arc::new(Disassociate { collection: given.need("collection")? }))
        })
        .arg("collection", Takes::Text, "the collection; it must exist")
        .arg("rows", Takes::Rows("dataset_id"), "the ids of the datasets; those not in it are passed over")
        .notes("Also as an aggregate, `SELECT disassociate('X', dataset_id) FROM raw …`.")
        .example("CALL disassociate('u/me/picked', (SELECT dataset_id FROM raw WHERE detector = 4))"),
        Function::verb("certify", "Makes calibrations valid for some time in a CALIBRATION collection.", |given| {
            Ok(Arc::new(Certify { collection: given.need("collection")?, timespan: timespan(given)? }))
        })
        .arg("collection", Takes::Text, "the collection; made when absent")
        .arg("rows", Takes::Rows("dataset_id, and timespan_begin and timespan_end if they differ"), "the datasets")
        .option("begin_date", Takes::Text, "begin of their validity, TAI; default unbounded")
        .option("end_date", Takes::Text, "end of their validity, TAI, not included; default unbounded")
        .notes(
            "A dataset that is certified so already is left. Another dataset of the type with the same data ID whose \
             validity overlaps is an error.",
        )
        .example("CALL certify('LSSTComCam/calib/DM-1', (SELECT dataset_id FROM bias), begin_date => '2024-10-01')"),
        Function::verb("decertify", "Takes a time out of the validity of calibrations.", |given| {
            Ok(Arc::new(Decertify {
                collection: given.need("collection")?,
                dataset_type: given.need("dataset_type")?,
                timespan: timespan(given)?,
            }))
        })
        .arg("collection", Takes::Text, "the CALIBRATION collection")
        .arg("dataset_type", Takes::Text, "the dataset type")
        .option("rows", Takes::Rows("the dimensions of the dataset type"), "the data IDs; default all")
        .option("begin_date", Takes::Text, "begin of the time, TAI; default unbounded")
        .option("end_date", Takes::Text, "end of the time, TAI, not included; default unbounded")
        .notes("What is left of a validity range before and after the time stays.")
        .example("CALL decertify('LSSTComCam/calib/DM-1', 'bias', begin_date => '2024-11-01', end_date => '2024-11-15')"),
        Function::verb("export", "Exports datasets with all that another repository needs to import them.", |given| {
            let transfer = given.text("transfer").map(|mode| TransferMode::from_name(&mode)).transpose()?;
            if transfer == Some(TransferMode::Move) {
                return Err(Error::invalid("files are not moved out of a datastore by export"));
            }
            let collections = given.list("collections").unwrap_or_default();
            if collections.is_empty() && !given.has_rows() {
                return Err(Error::invalid("export needs rows, the ids of datasets, or collections"));
            }
            let export_file = given.text("export_file").unwrap_or_else(|| "export.yaml".to_owned());
            Ok(Arc::new(Export { directory: given.need("directory")?, export_file, collections, transfer }))
        })
        .arg("directory", Takes::Text, "the folder of the export file; made when absent")
        .option("rows", Takes::Rows("dataset_id"), "the datasets")
        .option("collections", Takes::TextList, "collections to export whole: datasets, chains, tags and validity ranges")
        .option("export_file", Takes::Text, "the name of the file; default export.yaml")
        .option("transfer", Takes::Text, "how files get into the folder, or direct: the file holds their URIs; default not at all")
        .notes(
            "Without `transfer` the paths are those in the datastore: import with its root as the directory. A file of \
             that name is replaced.",
        )
        .example("CALL export('DATA/exported', (SELECT dataset_id FROM raw WHERE detector = 4), transfer => 'copy')"),
    ]
}

/// The time between `begin_date` and `end_date`.
fn timespan(given: &Given) -> Result<Timespan> {
    let end = |name: &str| match given.text(name) {
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
