//! Table functions with the Butler's query expressions.

use crate::engine::expression::query::{self, DatasetQuery, Options};
use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::{FunctionDef, QueryContext};
use crate::error::{Error, Result};

const LANGUAGE: &str = "The expression has the syntax and the meaning of the Butler's `--where`, except that the Butler \
                        doubles the radius of `CIRCLE`. Names are those of dimensions and of the fields of their \
                        records. An instrument or sky map must be mentioned if a dimension that depends on it is. Bound \
                        values are named with or without a colon.";

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        with_options(
            FunctionDef::query(
                "query_datasets",
                "Returns the datasets of a type that an expression selects.",
                datasets,
            )
            .arg("dataset_type", ArgType::Text, "the dataset type")
            .arg("collections", ArgType::TextList, "collections, chains and globs, in search order"),
        )
        .option("find_first", ArgType::Bool, "return only the first dataset of each data ID; default true")
        .example(
            "SELECT * FROM query_datasets('raw', 'LSSTComCam/raw/all', where => 'instrument = ''LSSTComCam'' AND \
             exposure.day_obs > 20241101')",
        ),
        with_options(
            FunctionDef::query(
                "query_data_ids",
                "Returns the data IDs that an expression selects.",
                |args, context| {
                    query::data_ids(context.universe, &args.list("dimensions").unwrap_or_default(), &options(args))
                },
            )
            .arg("dimensions", ArgType::TextList, "the dimensions"),
        )
        .example("SELECT * FROM query_data_ids(['visit', 'tract'], where => 'band = ''r''')"),
        with_options(
            FunctionDef::query(
                "query_dimension_records",
                "Returns the records of a dimension element that an expression selects.",
                |args, context| query::records(context.universe, &args.required("element")?, &options(args)),
            )
            .arg("element", ArgType::Text, "the dimension element"),
        )
        .example("SELECT * FROM query_dimension_records('exposure', where => 'band = ''r'' AND seq_num IN (1..50:2)')"),
    ]
}

/// Adds the arguments that all queries have.
fn with_options(function: FunctionDef) -> FunctionDef {
    function
        .option("where", ArgType::Text, "the expression; default all")
        .option("bind", ArgType::Binds, "values of names in the expression, as a struct such as {'day': 20241101}")
        .option("order_by", ArgType::TextList, "names to sort by; `-` in front reverses")
        .option("limit", ArgType::Int, "the largest number of rows")
        .notes(LANGUAGE)
}

fn options(args: &Args) -> Options {
    Options {
        condition: args.text("where").unwrap_or_default(),
        binds: args.binds("bind"),
        order_by: args.list("order_by").unwrap_or_default(),
        limit: args.is_set("limit").then(|| args.int("limit", 0)),
    }
}

fn datasets(args: &Args, context: &QueryContext<'_>) -> Result<String> {
    let wanted = args.required("dataset_type")?;
    let names = || context.types.iter().map(|t| t.dataset_type.name.as_str());
    let record = context.types.iter().find(|t| t.dataset_type.name == wanted);
    let record = record.ok_or_else(|| Error::not_found("dataset type", &wanted, names()))?;
    let expressions = args.list("collections").unwrap_or_default();
    let collections = context.collections.flatten(&expressions)?;
    let find_first = args.bool("find_first", true);
    let search = DatasetQuery { record, expressions: &expressions, collections, find_first };
    query::datasets(context.universe, &search, &options(args))
}
