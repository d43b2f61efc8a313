//! The translator of an expression: what its names may refer to, and what it mentions.

use std::collections::{BTreeMap, BTreeSet};

use super::bind::Binds;
use crate::error::{Error, Result};
use crate::universe::{Element, Universe};

/// What names of an expression may refer to.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    /// The universe of the repository.
    pub universe: &'a Universe,
    /// The dimensions of the result, with all that they require and imply.
    pub result: BTreeSet<String>,
    /// The dataset type of the query.
    pub dataset: Option<&'a str>,
    /// The columns of datasets, by their names; `None` for all of them, in the table `dataset`.
    pub table: Option<OuterTable<'a>>,
    /// The bound values.
    pub binds: &'a Binds,
}

/// A table of the statement that contains an expression.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct OuterTable<'a> {
    /// The dimension element or dataset type.
    pub name: &'a str,
    /// The name of the table in the statement, as SQL.
    pub alias: &'a str,
}

/// What an expression mentions.
#[derive(Debug, Default, Clone)]
pub(super) struct Mentions {
    /// Dimensions, by their keys or by fields of their elements.
    pub dimensions: BTreeSet<String>,
    /// Elements with fields other than keys.
    pub elements: BTreeSet<String>,
    /// Fields of datasets.
    pub dataset_fields: BTreeSet<String>,
    /// Pairs of elements whose regions overlap.
    pub overlaps: Vec<(String, String)>,
    /// Whether validity ranges are compared with the timespan of an element.
    pub validity: bool,
    /// Governors that must be mentioned.
    needed_governors: BTreeSet<String>,
    /// Dimensions that are mentioned by their keys.
    pub keys: BTreeSet<String>,
}

impl Mentions {
    /// Notes that an element is identified within its governor.
    pub(super) fn require_governor(&mut self, universe: &Universe, element: &Element) {
        let governor = |name: &&String| universe.find(name).is_some_and(|e| e.governor) && **name != element.name;
        self.needed_governors.extend(element.required.iter().filter(governor).cloned());
    }

    /// Checks that each governor is mentioned if a dimension or a name that depends on it is.
    ///
    /// # Errors
    /// `Kind::Invalid` for the first one that is not.
    pub(super) fn check_governors(&self) -> Result<()> {
        match self.needed_governors.iter().find(|governor| !self.keys.contains(*governor)) {
            None => Ok(()),
            Some(governor) => Err(Error::invalid(format!(
                "InvalidQueryError: the expression references a dimension that depends on {governor}; \
                 add {governor} = '…' to it"
            ))),
        }
    }
}

/// Translates an expression. Keys of dimensions are written as `keys` has them.
pub(super) struct Translator<'a> {
    /// What names refer to.
    pub scope: &'a Scope<'a>,
    /// The text of the expression, for errors.
    pub text: &'a str,
    /// The column of each dimension.
    pub keys: &'a BTreeMap<String, String>,
    /// What was mentioned up to now.
    pub seen: Mentions,
}

impl<'a> Translator<'a> {
    /// A translator that has seen nothing.
    pub(super) fn new(scope: &'a Scope<'a>, text: &'a str, keys: &'a BTreeMap<String, String>) -> Self {
        Self { scope, text, keys, seen: Mentions::default() }
    }
}
