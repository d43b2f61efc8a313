//! Searching collections as the Butler does.

use crate::engine::arguments::{Function, Takes};

pub fn functions() -> Vec<Function> {
    vec![
        Function::search("find_first", "For every data ID, the dataset the collections find first.")
            .arg("dataset_type", Takes::Text, "the dataset type")
            .arg("collections", Takes::TextList, "collections, chains and globs, first searched first")
            .notes(
                "Calibration collections are searched by validity range: the answer of a calibration type has \
                 `timespan_begin` and `timespan_end` (TAI), and at every instant the first collection with a valid \
                 dataset wins.",
            )
            .example("SELECT * FROM find_first('raw', 'LSSTComCam/raw/all')"),
        Function::search("members", "Every dataset of a type in every one of the collections.")
            .arg("dataset_type", Takes::Text, "the dataset type")
            .arg("collections", Takes::TextList, "collections, chains and globs")
            .example("SELECT collection, count(*) FROM members('raw', '*') GROUP BY collection"),
        Function::search("collection_tree", "The tree of a chain, as `query-collections --chains=tree` draws it.")
            .arg("collections", Takes::TextList, "collections and globs; each match is the top of a tree")
            .option("flatten", Takes::Bool, "each collection once, in the order of a search, without chains")
            .example("SELECT tree, type FROM collection_tree('LSSTComCam*')"),
    ]
}
