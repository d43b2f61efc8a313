//! The tables that a query joins, and the columns of its dimensions.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{closed, elements, family};
use super::overlap::overlapping;
use super::{alias, quoted};
use crate::error::{Error, Kind, Result};
use crate::universe::{Element, Universe};

/// What a query needs of its tables.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    /// The universe of the repository.
    pub universe: &'a Universe,
    /// All dimensions of the query, with all that they require and imply.
    pub dimensions: &'a BTreeSet<String>,
    /// The dimensions whose values are used.
    pub keys: BTreeSet<String>,
    /// The elements whose other columns are used.
    pub elements: BTreeSet<String>,
    /// Pairs of elements whose regions overlap.
    pub overlaps: Vec<(String, String)>,
    /// The datasets: a relation for FROM, and its dimensions.
    pub datasets: Option<(String, &'a [String])>,
    /// The table of the statement that contains the query.
    pub outer: Option<Outer<'a>>,
}

/// A table of the statement that contains a query.
#[derive(Debug)]
pub(super) struct Outer<'a> {
    /// The element, unless it is the table of a dataset type.
    pub element: Option<&'a str>,
    /// The columns of its dimensions.
    pub columns: BTreeMap<String, String>,
}

/// The FROM clause of a query.
#[derive(Debug)]
pub(super) struct Sources {
    /// The joined tables.
    pub from: String,
    /// The column of each dimension whose value is used.
    pub keys: BTreeMap<String, String>,
    /// The conditions that join the tables to a table outside of the query.
    pub correlations: Vec<String>,
}

/// One table: what is written in FROM, its alias, and the column of each of its dimensions.
struct Source {
    relation: String,
    alias: String,
    columns: BTreeMap<String, String>,
}

impl Needs<'_> {
    fn source(&self, relation: String, name: &str, columns: BTreeMap<String, String>) -> Source {
        Source { relation, alias: alias(name, self.outer.is_some()), columns }
    }

    /// The table of an element.
    fn element(&self, element: &Element) -> Source {
        let name = &element.name;
        if let Some(source) = &element.union_of {
            let key = quoted(name);
            let relation = format!("(SELECT DISTINCT {key} FROM registry.{} WHERE {key} IS NOT NULL)", quoted(source));
            return self.source(relation, name, BTreeMap::from([(name.clone(), name.clone())]));
        }
        let key = element.key.as_ref().map_or(name.as_str(), |key| key.name.as_str());
        let column = |d: &String| (d.clone(), if d == name { key.to_owned() } else { d.clone() });
        let columns = element.required.iter().chain(&element.implied).map(column).collect();
        self.source(format!("registry.{}", quoted(name)), name, columns)
    }

    /// Returns the tables and their joins.
    ///
    /// # Errors
    /// `Kind::Unsupported` for pixels that no dataset and no region selects.
    pub(super) fn sources(mut self) -> Result<Sources> {
        let mut sources = Vec::new();
        if let Some((relation, dimensions)) = &self.datasets {
            let columns = dimensions.iter().map(|d| (d.clone(), d.clone())).collect();
            sources.push(self.source(relation.clone(), "dataset", columns));
        }
        for (at, (a, b)) in self.overlaps.iter().enumerate() {
            let (a, b) = if self.universe.element(a)?.is_skypix() { (b, a) } else { (a, b) };
            let required = [a, b].map(|name| self.universe.element(name).map(|e| e.required.clone()));
            let [first, second] = required;
            let columns = first?.into_iter().chain(second?).map(|d| (d.clone(), d)).collect();
            let relation = format!("({})", overlapping(self.universe, a, b)?);
            sources.push(self.source(relation, &format!("overlap{at}"), columns));
        }
        let relations = elements(self.universe, self.dimensions).filter(|e| e.always_join).map(|e| e.name.clone());
        let relations: Vec<String> = relations.collect();
        self.elements.extend(relations);
        if let Some(element) = self.outer.as_ref().and_then(|outer| outer.element) {
            self.elements.remove(element);
        }
        for name in &self.elements {
            sources.push(self.element(self.universe.element(name)?));
        }
        self.add_relationships(&mut sources);
        self.add_missing(&mut sources)?;
        let mut joined = joined(sources);
        for (dimension, column) in self.outer.into_iter().flat_map(|outer| outer.columns) {
            match joined.keys.get(&dimension) {
                Some(own) => joined.correlations.push(format!("{own} = {column}")),
                None => drop(joined.keys.insert(dimension, column)),
            }
        }
        joined.keys.retain(|dimension, _| self.keys.contains(dimension));
        Ok(joined)
    }

    /// Whether the table outside of the query has a dimension.
    fn outer_column(&self, dimension: &String) -> bool {
        self.outer.as_ref().is_some_and(|outer| outer.columns.contains_key(dimension))
    }

    /// Adds the elements whose implied dimensions are used, or are dimensions of another table.
    fn add_relationships(&mut self, sources: &mut Vec<Source>) {
        loop {
            let has = |dimension: &String| {
                self.outer_column(dimension) || sources.iter().any(|s| s.columns.contains_key(dimension))
            };
            let needed = |dimension: &String| self.keys.contains(dimension) || has(dimension);
            let next = self.universe.elements().iter().find(|e| {
                let is_outer = self.outer.as_ref().is_some_and(|outer| outer.element == Some(e.name.as_str()));
                let is_joined = is_outer || self.elements.contains(&e.name);
                self.dimensions.contains(&e.name) && !is_joined && e.implied.iter().any(needed)
            });
            let Some(next) = next else { return };
            self.elements.insert(next.name.clone());
            sources.push(self.element(next));
        }
    }

    /// Adds the tables of dimensions that no other table determines, and of keys that no other table has.
    fn add_missing(&mut self, sources: &mut Vec<Source>) -> Result<()> {
        loop {
            let own = sources.iter().flat_map(|s| s.columns.keys());
            let known: BTreeSet<&str> =
                own.chain(self.outer.iter().flat_map(|outer| outer.columns.keys())).map(String::as_str).collect();
            let determined = closed(self.universe, known.iter().copied())?;
            let missing =
                |name: &str| !known.contains(name) && (!determined.contains(name) || self.keys.contains(name));
            let next =
                self.universe.elements().iter().rev().find(|e| self.dimensions.contains(&e.name) && missing(&e.name));
            let Some(next) = next else { return Ok(()) };
            if next.is_skypix() {
                let message = format!("UnimplementedQueryError: dimension '{}' has no table to query", next.name);
                return Err(Error::new(Kind::Unsupported, message));
            }
            self.elements.insert(next.name.clone());
            sources.push(self.element(next));
            self.add_relationships(sources);
        }
    }
}

/// Joins tables by the dimensions that they share; each table is joined as soon as it shares most.
fn joined(mut sources: Vec<Source>) -> Sources {
    let mut columns: BTreeMap<String, String> = BTreeMap::new();
    let mut from = String::new();
    let mut is_first = true;
    while !sources.is_empty() {
        let shared = |source: &Source| source.columns.keys().filter(|d| columns.contains_key(*d)).count();
        let best = sources.iter().enumerate().max_by_key(|(at, s)| (shared(s), s.columns.len(), usize::MAX - at));
        let next = sources.remove(best.map_or(0, |(at, _)| at));
        let own = |column: &String| format!("{}.{}", next.alias, quoted(column));
        let equal: Vec<String> = next
            .columns
            .iter()
            .filter_map(|(d, column)| Some(format!("{} = {}", own(column), columns.get(d)?)))
            .collect();
        let join = match (is_first, equal.is_empty()) {
            (true, _) => format!("{} AS {}", next.relation, next.alias),
            (false, true) => format!(" CROSS JOIN {} AS {}", next.relation, next.alias),
            (false, false) => format!(" JOIN {} AS {} ON {}", next.relation, next.alias, equal.join(" AND ")),
        };
        from.push_str(&join);
        is_first = false;
        for (dimension, column) in &next.columns {
            columns.entry(dimension.clone()).or_insert_with(|| own(column));
        }
    }
    Sources { from, keys: columns, correlations: Vec::new() }
}

/// The pair of elements that is joined by its regions without being asked for, if the dimensions hold two families.
///
/// # Errors
/// `Kind::Invalid` if several pairs are possible.
pub(super) fn automatic_overlap(
    universe: &Universe,
    dimensions: &BTreeSet<String>,
    explicit: &[(String, String)],
) -> Result<Option<(String, String)>> {
    let mut finest: BTreeMap<&str, &Element> = BTreeMap::new();
    for element in elements(universe, dimensions) {
        let Some(family) = family(universe, &element.name) else { continue };
        let known = finest.entry(family).or_insert(element);
        if element.required.len() > known.required.len() {
            *known = element;
        }
    }
    let mut groups: Vec<BTreeSet<&str>> = finest.keys().map(|family| BTreeSet::from([*family])).collect();
    for (a, b) in explicit {
        let pair = [a, b].map(|name| family(universe, name).unwrap_or_default());
        let (mut merged, apart): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| pair.iter().any(|family| group.contains(family)));
        groups = apart;
        let all = merged.drain(..).flatten().collect();
        groups.push(all);
    }
    match groups.as_slice() {
        [] | [_] => Ok(None),
        [a, b] if a.len() == 1 && b.len() == 1 => {
            let name = |group: &BTreeSet<&str>| group.first().and_then(|f| finest.get(f)).map(|e| e.name.clone());
            Ok(name(a).zip(name(b)))
        }
        _ => {
            let names: Vec<_> = finest.values().map(|e| e.name.as_str()).collect();
            let message = format!(
                "InvalidQueryError: {} have regions; write which of them overlap, such as {}.region OVERLAPS {}.region",
                names.join(", "),
                names[0],
                names[1]
            );
            Err(Error::invalid(message))
        }
    }
}
