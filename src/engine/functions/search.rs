//! Table functions that search collections with the semantics of the Butler.

use crate::engine::catalog::dataset_search;
use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::FunctionDef;
use crate::error::{Error, Result};
use crate::sphere::skypix;
use crate::universe::{Element, Universe};

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
            overlapping,
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

/// The query of `overlapping`.
fn overlapping(args: &Args, universe: &Universe) -> Result<String> {
    let (a, b) = (args.required("a")?, args.required("b")?);
    let first = spatial(universe, &a)?;
    let keys = |alias: &str, names: &[String]| {
        let all: Vec<_> = names.iter().map(|name| format!("{alias}.{name}")).collect();
        all.join(", ")
    };
    if universe.element(&b)?.is_skypix() {
        let columns = keys("a", &first.required);
        if b == universe.common_skypix {
            return Ok(format!("SELECT {columns}, a.skypix_index AS {b} FROM registry.{a}_skypix_overlap a"));
        }
        let (envelope, level) = match skypix::split(&b) {
            Some(("htm", level)) => ("htm_envelope", level),
            Some(("healpix", level)) => ("healpix_envelope", level),
            _ => {
                let message =
                    format!("overlaps with '{b}' are not supported, only overlaps with HTM and HEALPix pixels");
                return Err(Error::invalid(message));
            }
        };
        return Ok(format!("SELECT {columns}, unnest({envelope}(a.region, {level})) AS {b} FROM {a} a"));
    }
    let second = spatial(universe, &b)?;
    if universe.spatial_family(&a) == universe.spatial_family(&b) {
        let message = format!("'{a}' and '{b}' have regions of the same family: join them by their dimensions");
        return Err(Error::invalid(message));
    }
    let (shared, own): (Vec<_>, Vec<_>) = second.required.iter().cloned().partition(|d| first.required.contains(d));
    let same = |left: &str, right: &str, names: &[String]| {
        let all: Vec<_> = names.iter().map(|name| format!(" AND {left}.{name} = {right}.{name}")).collect();
        all.concat()
    };
    let columns = format!("{}, {}", keys("k", &first.required), keys("k", &own));
    let pairs = format!("{}, {}", keys("x", &first.required), keys("y", &own));
    Ok(format!(
        "SELECT {columns} FROM (SELECT DISTINCT {pairs} FROM registry.{a}_skypix_overlap x \
         JOIN registry.{b}_skypix_overlap y ON x.skypix_system = y.skypix_system AND x.skypix_level = y.skypix_level \
         AND x.skypix_index = y.skypix_index{}) k \
         JOIN {a} a ON true{} JOIN {b} b ON true{} WHERE overlaps(a.region, b.region)",
        same("x", "y", &shared),
        same("k", "a", &first.required),
        same("k", "b", &second.required),
    ))
}

/// The element `name`, if its records have regions.
fn spatial<'a>(universe: &'a Universe, name: &str) -> Result<&'a Element> {
    let element = universe.element(name)?;
    if element.has_table && universe.spatial_family(name).is_some() {
        return Ok(element);
    }
    let names = universe.tables().filter(|e| universe.spatial_family(&e.name).is_some()).map(|e| e.name.as_str());
    Err(Error::not_found("element with regions", name, names))
}
