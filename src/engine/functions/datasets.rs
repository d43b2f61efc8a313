//! Picking datasets.

use std::sync::Arc;

use crate::engine::arguments::{Function, Takes};
use crate::repo::{Associate, Disassociate};

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
    ]
}
