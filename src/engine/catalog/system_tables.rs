//! Views written in SQL, and system tables computed by the session.
//!
//! The tables of dimension elements and of dataset types are created in `catalog`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::error::Result;

use crate::engine::functions;
use crate::engine::functions::definition::FunctionDef;
use crate::registry::dataset_types::TypeRecord;
use crate::universe::{Element, Universe};

/// The views over the schema `registry`: name and SQL. The leading comments of the SQL are the documentation.
pub(crate) const VIEWS: [(&str, &str); 6] = [
    ("collections", include_str!("../../../sql/views/collections.sql")),
    ("collection_chains", include_str!("../../../sql/views/collection_chains.sql")),
    ("datasets", include_str!("../../../sql/views/datasets.sql")),
    ("files", include_str!("../../../sql/views/files.sql")),
    ("exposures", include_str!("../../../sql/views/exposures.sql")),
    ("visits", include_str!("../../../sql/views/visits.sql")),
];

/// A table name, a description, and the descriptions of its columns.
pub(crate) type DerivedTable = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Tables whose SQL depends on the repository, with their documentation.
pub(crate) const DERIVED_TABLES: [DerivedTable; 1] = [(
    "memberships",
    "Every dataset in every RUN, TAGGED or CALIBRATION collection that contains it, with its validity range.",
    &[("dataset_type", "name of the dataset type")],
)];

/// The descriptions of columns, which are the same in all tables.
pub(crate) const COLUMNS: &str = include_str!("../../../sql/columns.csv");

/// The input of system tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemTableContext<'a> {
    /// The dimension universe.
    pub universe: &'a Universe,
    /// The dataset types of the repository.
    pub types: &'a [TypeRecord],
}

/// A table that the session computes.
#[derive(Debug)]
pub(crate) struct SystemTable {
    /// The name of the table.
    pub name: &'static str,
    /// A description in one sentence.
    pub description: &'static str,
    /// The columns and their descriptions.
    pub columns: &'static [(&'static str, &'static str)],
    /// Computes the rows.
    pub rows: fn(SystemTableContext<'_>) -> Result<RecordBatch>,
}

/// The system tables.
pub(crate) const SYSTEM_TABLES: [SystemTable; 3] = [
    SystemTable {
        name: "dataset_types",
        description: "The dataset types of the repository.",
        columns: &[
            ("name", "name of the dataset type"),
            ("dimensions", "its required dimensions, in the order of the universe"),
            ("storage_class", "name of its storage class"),
            ("is_calibration", "whether its datasets can be certified"),
        ],
        rows: dataset_types,
    },
    SystemTable {
        name: "dimensions",
        description: "The dimensions of the repository in the order of the universe, without skypix dimensions.",
        columns: &[
            ("name", "name of the dimension or of a relation between dimensions"),
            ("position", "position in the order"),
            ("required", "the required dimensions, itself included"),
            ("implied", "the implied dimensions, whose values depend on the record"),
            ("key", "the type of its own key; NULL for a relation"),
            ("has_region", "whether records have a region on the sky"),
            ("has_timespan", "whether records have a timespan"),
        ],
        rows: dimensions,
    },
    SystemTable {
        name: "functions",
        description: "The procedures and functions of this program.",
        columns: &[
            ("name", "name of the function"),
            ("arguments", "its arguments in order; arguments in brackets are optional"),
            ("description", "what it does"),
            ("example", "a statement that uses it"),
        ],
        rows: |_| function_rows(functions::all()),
    },
];

fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn owned(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

fn truth(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<BooleanArray>())
}

fn dataset_types(known: SystemTableContext<'_>) -> Result<RecordBatch> {
    let types = || known.types.iter().map(|t| &t.dataset_type);
    Ok(RecordBatch::try_from_iter([
        ("name", text(types().map(|t| Some(t.name.as_str())))),
        ("dimensions", owned(types().map(|t| t.dimensions.join(", ")))),
        ("storage_class", text(types().map(|t| Some(t.storage_class.as_str())))),
        ("is_calibration", truth(types().map(|t| t.is_calibration))),
    ])?)
}

fn dimensions(known: SystemTableContext<'_>) -> Result<RecordBatch> {
    let own = |e: &&Element| e.has_table || e.union_of.is_some();
    let all = || known.universe.elements().iter().filter(own);
    let key = |e: &Element| e.key.as_ref().map(|k| crate::engine::catalog::type_word(k.kind));
    let keys: Vec<_> = all().map(key).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("name", text(all().map(|e| Some(e.name.as_str()))), false),
        ("position", Arc::new((0..all().count() as i64).collect::<Int64Array>()) as ArrayRef, false),
        ("required", owned(all().map(|e| e.required.join(", "))), false),
        ("implied", owned(all().map(|e| e.implied.join(", "))), false),
        ("key", text(keys.iter().copied()), true),
        ("has_region", truth(all().map(|e| e.spatial)), false),
        ("has_timespan", truth(all().map(|e| e.temporal)), false),
    ])?)
}

fn function_rows(all: &[FunctionDef]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter([
        ("name", text(all.iter().map(|f| Some(f.name)))),
        ("arguments", owned(all.iter().map(FunctionDef::signature))),
        ("description", text(all.iter().map(|f| Some(f.description)))),
        ("example", text(all.iter().map(|f| Some(f.example)))),
    ])?)
}
