//! The definitions of all procedures and functions, one file for each family.

pub(crate) mod args;
mod calibrations;
mod call;
mod collections;
mod datasets;
pub(crate) mod definition;
mod error;
mod files;
mod ingest;
mod movement;
mod predicate;
mod query;
pub mod reference;
mod removal;
mod repository;
pub(crate) mod resolve;
mod rucio;
mod search;
pub(crate) mod sky;
pub(crate) mod table_function;
mod time;

use std::sync::LazyLock;

use crate::engine::functions::definition::FunctionDef;

/// All procedures and functions, by family.
static FUNCTIONS: LazyLock<Vec<FunctionDef>> = LazyLock::new(|| {
    let families = [
        repository::functions(),
        ingest::functions(),
        collections::functions(),
        datasets::functions(),
        movement::functions(),
        removal::functions(),
        search::functions(),
        calibrations::functions(),
        query::functions(),
        predicate::functions(),
        sky::functions(),
        files::functions(),
        rucio::functions(),
        time::functions(),
        error::functions(),
    ];
    families.into_iter().flatten().map(FunctionDef::with_repository).collect()
});

/// All procedures and functions, in the order of the reference.
pub fn all() -> &'static [FunctionDef] {
    &FUNCTIONS
}

/// The procedure or function with this name, which is in lower case.
pub fn find(name: &str) -> Option<&'static FunctionDef> {
    FUNCTIONS.iter().find(|f| f.name == name)
}
