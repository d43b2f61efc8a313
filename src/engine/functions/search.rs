//! Table functions that search collections with the semantics of the Butler.

use crate::engine::catalog::dataset_search;
use crate::engine::expression::overlap::overlapping;
use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::search("find_first", "Returns, for each data ID, the first dataset in the search order of the collections.", dataset_search::find_first)
            .arg("dataset_type", ArgType::Text, "the dataset type")
            .arg("collections", ArgType::TextList, "collections, chains and globs, in search order")
            .notes(
                "Calibration collections are searched by validity range: for a calibration type the result has \
                 `timespan_begin` and `timespan_end` (TAI), and at each time the first collection with a valid \
                 dataset is used.",
            )
            .example("SELECT * FROM find_first('raw', 'LSSTComCam/raw/all')"),
        FunctionDef::search("members", "Returns the datasets of a type in each of the collections.", dataset_search::members)
            .arg("dataset_type", ArgType::Text, "the dataset type")
            .arg("collections", ArgType::TextList, "collections, chains and globs")
            .example("SELECT collection, count(*) FROM members('raw', '*') GROUP BY collection"),
        FunctionDef::search("collection_tree", "Returns the tree of chains, in the format of `query-collections --chains=tree`.", dataset_search::collection_tree)
            .arg("collections", ArgType::TextList, "collections and globs; each match is the root of a tree")
            .option("flatten", ArgType::Bool, "list each collection once, in search order, without chains; default false")
            .example("SELECT tree, type FROM collection_tree('LSSTComCam*')"),
        FunctionDef::search(
            "check_files",
            "Compares the file records of collections with the existing files.",
            dataset_search::check_files,
        )
        .arg("collections", ArgType::TextList, "collections, chains and globs")
        .option("read", ArgType::Bool, "read the first byte of each file; default false: only folders are listed")
        .notes(
            "Columns: `state` (`ok`, `missing`, `size_mismatch`, `unreadable`; `orphan` for a file in a folder of the \
                 datastore, if no file record has its path), `uri`, `dataset_type`, `dataset_id`, `expected_size` and `size` \
                 (bytes), `detail`.",
        )
        .example("SELECT state, count(*) FROM check_files('LSSTComCam/raw/all') GROUP BY state"),
        FunctionDef::query(
            "overlapping",
            "Returns the pairs of records of two dimension elements whose regions overlap.",
            |args, context| overlapping(context.universe, &args.required("a")?, &args.required("b")?),
        )
        .arg("a", ArgType::Text, "an element with regions, such as `visit` or `visit_detector_region`")
        .arg("b", ArgType::Text, "another element, such as `patch`, or a pixelization, such as `htm7` or `healpix9`")
        .notes(
            "The columns are the dimensions of both elements. Records that share an HTM pixel are compared exactly, as in \
             the Butler; pixels are computed by `htm_envelope` and `healpix_envelope`.",
        )
        .example("SELECT DISTINCT tract FROM overlapping('visit', 'patch') WHERE visit = 2024102400017"),
    ]
}
