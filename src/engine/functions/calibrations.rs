//! The calibrations that are valid for exposures.

use crate::engine::catalog::calibration_members::calibration_members;
use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::{FunctionDef, QueryContext};
use crate::error::{Error, Result};
use crate::registry::calibration_queries::{DIMENSIONS, is_for_exposures};

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::query("calibrations", "Returns the calibrations of all types that are valid for exposures.", calibrations)
            .arg("collections", ArgType::TextList, "collections, chains and globs, in search order")
            .option("exposure", ArgType::Int, "the exposure")
            .option("rows", ArgType::Query("instrument and exposure"), "the exposures; one of `exposure` and `rows` is required")
            .option("instrument", ArgType::Text, "the instrument, if exposures of several instruments have the number")
            .notes(
                "For each dataset type and detector, the datasets of the first collection with a validity range that overlaps \
                 the timespan of the exposure, as the Butler looks calibrations up; several datasets of one collection are \
                 several rows. Dimensions that a dataset type does not have are NULL, and types with other dimensions than \
                 those of an exposure and `detector` are left out. Members of RUN collections are always valid.",
            )
            .example(
                "SELECT dataset_type, detector, run FROM calibrations('LSSTComCam/calib/*', exposure => 2024102400001)",
            ),
        FunctionDef::search(
            "calibration_members",
            "Returns the datasets of all calibration types in each of the collections.",
            calibration_members,
        )
        .arg("collections", ArgType::TextList, "collections, chains and globs")
        .notes("`rank` is the position of the collection in the search order. `calibrations` selects among these rows.")
        .example("SELECT dataset_type, count(*) FROM calibration_members('LSSTComCam/calib/*') GROUP BY dataset_type"),
    ]
}

fn calibrations(args: &Args, context: &QueryContext<'_>) -> Result<String> {
    let collections = args.list("collections").unwrap_or_default();
    let collections: Vec<_> = collections.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    let given = match (args.is_set("exposure"), context.rows) {
        (true, None) => {
            let instrument =
                args.text("instrument").map(|name| format!(" AND instrument = '{}'", name.replace('\'', "''")));
            let exposure = args.int("exposure", 0);
            format!("SELECT * FROM exposure WHERE exposure = {exposure}{}", instrument.unwrap_or_default())
        }
        (false, Some(rows)) => {
            format!(
                "SELECT x.* FROM exposure x JOIN (SELECT DISTINCT instrument, exposure FROM ({rows})) y USING (instrument, exposure)"
            )
        }
        _ => {
            return Err(Error::invalid(
                "calibrations needs either exposure => … or rows => (SELECT instrument, exposure …)",
            ));
        }
    };
    let exposures = format!(
        "SELECT e.instrument, e.exposure, e.physical_filter, f.band, e.day_obs, e.\"group\", e.timespan_begin, \
         e.timespan_end FROM ({given}) e JOIN physical_filter f USING (instrument, physical_filter)"
    );
    let mut equal = String::new();
    for (dimension, _) in DIMENSIONS.iter().filter(|(name, _)| !["instrument", "detector"].contains(name)) {
        equal.push_str(&format!(" AND (c.\"{dimension}\" IS NULL OR c.\"{dimension}\" = e.\"{dimension}\")"));
    }
    let joined = |instrument: &str| {
        format!(
            "SELECT e.instrument, e.exposure, c.dataset_type, c.detector, c.physical_filter, c.band, c.dataset_id, c.run, \
             c.collection, c.timespan_begin, c.timespan_end, c.rank FROM ({exposures}) e \
             JOIN calibration_members([{}]) c ON {instrument}{equal} \
             AND c.timespan_begin < e.timespan_end AND c.timespan_end > e.timespan_begin",
            collections.join(", ")
        )
    };
    let mut parts = vec![joined("c.instrument = e.instrument")];
    let is_global = |record: &&crate::registry::dataset_types::TypeRecord| {
        is_for_exposures(record) && !record.dataset_type.dimensions.iter().any(|d| d == "instrument")
    };
    if context.types.iter().any(|record| is_global(&record)) {
        parts.push(joined("c.instrument IS NULL"));
    }
    let columns = "instrument, exposure, dataset_type, detector, physical_filter, band, dataset_id, run, collection, \
                   timespan_begin, timespan_end";
    Ok(format!(
        "SELECT {columns} FROM (SELECT *, rank() OVER (PARTITION BY instrument, exposure, dataset_type, detector ORDER BY \
         rank) AS place FROM ({})) WHERE place = 1",
        parts.join(" UNION ALL ")
    ))
}
