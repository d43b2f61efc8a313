//! A query expression as a predicate on one table of a statement.

use std::collections::BTreeMap;

use super::bind::Binds;
use super::names::closed;
use super::parser::parse;
use super::quoted;
use super::sources::{Needs, Outer, automatic_overlap};
use super::translator::{OuterTable, Scope, Translator};
use crate::error::{Error, Result};
use crate::model::dataset::DatasetType;
use crate::universe::Universe;

/// Returns the condition that the rows of a table meet an expression. `dimensions` are the columns of the table that are
/// required dimensions; `dataset` is its dataset type, or `None` for the table of an element.
///
/// # Errors
/// `Kind::Invalid` for an expression that the Butler does not accept, or that depends on validity ranges.
pub(in crate::engine) fn predicate(
    universe: &Universe,
    table: OuterTable<'_>,
    dimensions: &[String],
    dataset: Option<&DatasetType>,
    text: &str,
) -> Result<String> {
    let result = closed(universe, dimensions.iter().map(String::as_str))?;
    let binds = Binds::default();
    let scope = Scope { universe, result, dataset: dataset.map(|_| table.name), table: Some(table), binds: &binds };
    let Some(tree) = parse(text)? else { return Ok("TRUE".to_owned()) };
    let no_keys = BTreeMap::new();
    let mut translator = Translator::new(&scope, text, &no_keys);
    translator.condition(&tree, true)?;
    let mentions = translator.seen;
    mentions.check_governors()?;
    let all = scope.result.iter().chain(&mentions.dimensions).map(String::as_str);
    let all = closed(universe, all)?;
    if dataset.is_some_and(|kind| kind.is_calibration)
        && let Some(other) =
            mentions.keys.iter().chain(&all).find(|d| universe.temporal.contains(*d) && !scope.result.contains(*d))
    {
        let message = format!(
            "the datasets of calibration type '{}' are valid for a '{other}' by the collections that are searched; \
             use query_datasets",
            table.name
        );
        return Err(Error::invalid(message));
    }
    let mut overlaps = mentions.overlaps.clone();
    overlaps.extend(automatic_overlap(universe, &all, &overlaps)?);
    // The table of an element has the dimensions that it implies.
    let element = universe.find(table.name).filter(|_| dataset.is_none());
    let implied = element.map(|e| e.implied.as_slice()).unwrap_or_default();
    let outer = dimensions.iter().chain(implied).map(|d| (d.clone(), format!("{}.{}", table.alias, quoted(d))));
    let needs = Needs {
        universe,
        dimensions: &all,
        keys: mentions.dimensions.clone(),
        elements: mentions.elements,
        overlaps,
        datasets: None,
        outer: Some(Outer { element: element.map(|e| e.name.as_str()), columns: outer.collect() }),
    };
    let sources = needs.sources()?;
    let condition = Translator::new(&scope, text, &sources.keys).condition(&tree, true)?;
    if sources.from.is_empty() {
        return Ok(condition);
    }
    let mut conditions = sources.correlations;
    conditions.push(condition);
    Ok(format!("EXISTS (SELECT 1 FROM {} WHERE {})", sources.from, conditions.join(" AND ")))
}
