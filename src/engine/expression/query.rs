//! Queries for datasets, data IDs and dimension records with the Butler's query expressions.

use std::collections::{BTreeMap, BTreeSet};

use super::bind::Binds;
use super::names::{closed, elements};
use super::parser::{Node, parse};
use super::sources::{Needs, automatic_overlap};
use super::translator::{Mentions, Scope, Translator};
use super::values::{Item, Scalar, Type};
use super::{literal, quoted};
use crate::error::{Error, Result};
use crate::model::collection::{Collection, CollectionType};
use crate::model::glob;
use crate::registry::dataset_types::TypeRecord;
use crate::registry::schema::butler_tables::element_table;
use crate::universe::Universe;

/// The arguments that all queries have.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Options {
    /// The expression; blank for no condition.
    pub condition: String,
    /// The bound values.
    pub binds: Binds,
    /// Names to sort by; `-` in front reverses.
    pub order_by: Vec<String>,
    /// The largest number of rows.
    pub limit: Option<i64>,
}

/// A search for datasets.
#[derive(Debug)]
pub(in crate::engine) struct DatasetQuery<'a> {
    /// The dataset type.
    pub record: &'a TypeRecord,
    /// The collections, chains and globs as written.
    pub expressions: &'a [String],
    /// The collections that are searched, in order.
    pub collections: Vec<&'a Collection>,
    /// Whether only the first dataset of each data ID is wanted.
    pub find_first: bool,
}

/// The SELECT of a query for datasets.
///
/// # Errors
/// `Kind::Invalid` for an expression that the Butler does not accept, and for a glob if the first dataset is wanted.
pub(in crate::engine) fn datasets(universe: &Universe, query: &DatasetQuery<'_>, options: &Options) -> Result<String> {
    let kind = &query.record.dataset_type;
    if query.find_first
        && let Some(pattern) = query.expressions.iter().find(|e| glob::is_pattern(e))
    {
        let message = format!("InvalidQueryError: '{pattern}' is a pattern; find_first => true needs names");
        return Err(Error::invalid(message));
    }
    let result = closed(universe, kind.dimensions.iter().map(String::as_str))?;
    let scope = Scope { universe, result, dataset: Some(&kind.name), table: None, binds: &options.binds };
    let mut plan = Plan::new(&scope, options)?;
    let certified = kind.is_calibration && query.collections.iter().any(|c| c.kind == CollectionType::Calibration);
    if certified && !plan.mentions.validity {
        plan.join_validity(universe);
    }
    // Conditions on the dataset itself come before the choice of the first one.
    let chosen_later = certified || kind.is_calibration || !plan.mentions.dataset_fields.is_empty();
    let ranked = query.find_first && query.collections.len() > 1 && chosen_later || query.find_first && certified;
    let function =
        if query.find_first && !chosen_later && query.collections.len() > 1 { "find_first" } else { "members" };
    plan.datasets = Some((base(query, function, &plan.mentions, certified), &kind.dimensions));
    let mut columns = vec!["dataset_id".to_owned()];
    columns.extend(kind.dimensions.iter().cloned());
    columns.extend(["run", "collection"].map(str::to_owned));
    if kind.is_calibration {
        columns.extend(["timespan_begin", "timespan_end"].map(str::to_owned));
    }
    plan.keys.extend(kind.dimensions.iter().cloned());
    plan.columns = columns.iter().map(|c| (format!("dataset.{}", quoted(c)), c.clone())).collect();
    plan.rank = ranked.then_some(Rank { query, certified });
    plan.select()
}

/// The SELECT of a query for data IDs.
///
/// # Errors
/// `Kind::NotFound` for an unknown dimension, and `Kind::Invalid` for an expression that the Butler does not accept.
pub(in crate::engine) fn data_ids(universe: &Universe, dimensions: &[String], options: &Options) -> Result<String> {
    let group = universe.group(dimensions)?;
    let result: BTreeSet<String> = group.required.iter().chain(&group.implied).cloned().collect();
    let scope = Scope { universe, result, dataset: None, table: None, binds: &options.binds };
    let mut plan = Plan::new(&scope, options)?;
    plan.keys.extend(group.required.iter().cloned());
    plan.result_keys = group.required;
    plan.select()
}

/// The SELECT of a query for the records of an element.
///
/// # Errors
/// `Kind::NotFound` for an unknown element, and `Kind::Invalid` for an expression that the Butler does not accept.
pub(in crate::engine) fn records(universe: &Universe, name: &str, options: &Options) -> Result<String> {
    let element = universe.element(name)?;
    if element.is_skypix() {
        return Err(Error::invalid(format!("UnimplementedQueryError: dimension '{name}' has no table to query")));
    }
    let result = closed(universe, element.required.iter().map(String::as_str))?;
    let scope = Scope { universe, result, dataset: None, table: None, binds: &options.binds };
    let mut plan = Plan::new(&scope, options)?;
    plan.mentions.elements.insert(name.to_owned());
    let own = |column: &str| format!("{}.{}", quoted(name), quoted(column));
    plan.columns = match element.union_of {
        Some(_) => vec![(own(name), name.to_owned())],
        None => {
            let key = element.key.as_ref().map(|key| key.name.as_str());
            let shown = |column: &str| if key == Some(column) { name.to_owned() } else { column.to_owned() };
            let columns = element_table(universe, element).read_columns();
            columns.iter().map(|c| (own(&c.name), shown(&c.name))).collect()
        }
    };
    plan.select()
}

/// How the datasets of one data ID are ranked.
struct Rank<'a> {
    query: &'a DatasetQuery<'a>,
    certified: bool,
}

/// A query while its parts are collected.
struct Plan<'a> {
    scope: &'a Scope<'a>,
    options: &'a Options,
    tree: Option<Node>,
    /// What the expression and the order mention.
    mentions: Mentions,
    /// Further conditions.
    conditions: Vec<String>,
    /// The dimensions whose values are used.
    keys: BTreeSet<String>,
    /// The dimensions of the result, if it has no other columns.
    result_keys: Vec<String>,
    /// The columns of the result: SQL and name.
    columns: Vec<(String, String)>,
    datasets: Option<(String, &'a [String])>,
    rank: Option<Rank<'a>>,
}

impl<'a> Plan<'a> {
    fn new(scope: &'a Scope<'a>, options: &'a Options) -> Result<Self> {
        let tree = parse(&options.condition)?;
        let no_keys = BTreeMap::new();
        let mut translator = Translator::new(scope, &options.condition, &no_keys);
        if let Some(tree) = &tree {
            translator.condition(tree, true)?;
        }
        let mut mentions = translator.seen;
        mentions.check_governors()?;
        for term in &options.order_by {
            let seen = order_column(scope, term, &no_keys)?.1;
            mentions.dimensions.extend(seen.dimensions);
            mentions.elements.extend(seen.elements);
            mentions.dataset_fields.extend(seen.dataset_fields);
        }
        let keys = mentions.dimensions.clone();
        Ok(Self {
            scope,
            options,
            tree,
            mentions,
            conditions: Vec::new(),
            keys,
            result_keys: Vec::new(),
            columns: Vec::new(),
            datasets: None,
            rank: None,
        })
    }

    /// All dimensions of the query.
    fn dimensions(&self) -> Result<BTreeSet<String>> {
        let all = self.scope.result.iter().chain(&self.mentions.dimensions).map(String::as_str);
        closed(self.scope.universe, all)
    }

    /// Joins validity ranges with the timespan of the first temporal element of the query.
    fn join_validity(&mut self, universe: &Universe) {
        let Ok(dimensions) = self.dimensions() else { return };
        let temporal = universe.temporal.iter().find(|name| dimensions.contains(*name));
        let Some(element) = temporal else { return };
        self.mentions.elements.insert(element.clone());
        let own = |column: &str| format!("{}.{}", quoted(element), quoted(column));
        self.conditions.push(format!(
            "(dataset.timespan_begin IS NULL OR {} < dataset.timespan_end AND dataset.timespan_begin < {})",
            own("timespan_begin"),
            own("timespan_end")
        ));
    }

    fn select(self) -> Result<String> {
        let universe = self.scope.universe;
        let dimensions = self.dimensions()?;
        let mut overlaps = self.mentions.overlaps.clone();
        overlaps.extend(automatic_overlap(universe, &dimensions, &overlaps)?);
        let needs = Needs {
            universe,
            dimensions: &dimensions,
            keys: self.keys.clone(),
            elements: self.mentions.elements.clone(),
            overlaps,
            datasets: self.datasets.clone(),
            outer: None,
        };
        let sources = needs.sources()?;
        let mut translator = Translator::new(self.scope, &self.options.condition, &sources.keys);
        let mut conditions = self.conditions.clone();
        if let Some(tree) = &self.tree {
            conditions.push(translator.condition(tree, true)?);
        }
        let mut columns = self.columns.clone();
        let key = |d: &String| sources.keys.get(d).map(|column| (column.clone(), d.clone()));
        columns.extend(self.result_keys.iter().filter_map(key));
        if columns.is_empty() {
            columns.push(("TRUE".to_owned(), "found".to_owned()));
        }
        let mut order = Vec::new();
        for (term, at) in self.options.order_by.iter().zip(1..) {
            let (column, _, descending) = order_column(self.scope, term, &sources.keys)?;
            columns.push((column.text, format!("order{at}")));
            order.push(format!("\"order{at}\"{}", if descending { " DESC" } else { "" }));
        }
        let shown: Vec<String> = columns.iter().map(|(text, name)| format!("{text} AS {}", quoted(name))).collect();
        let is_repeated = dimensions != self.scope.result || self.result_keys.is_empty() && self.columns.is_empty();
        let distinct = if is_repeated { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{}", shown.join(", "));
        if !sources.from.is_empty() {
            sql.push_str(&format!(" FROM {}", sources.from));
        }
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        let names: Vec<String> = columns.iter().map(|(_, name)| quoted(name)).collect();
        let wanted = names[..names.len() - order.len()].join(", ");
        if let Some(rank) = &self.rank {
            sql = rank.first(&sql, &names.join(", "));
        }
        if !order.is_empty() {
            sql = format!("SELECT {wanted} FROM ({sql}) AS found ORDER BY {}", order.join(", "));
        }
        if let Some(limit) = self.options.limit {
            sql.push_str(&format!(" LIMIT {}", limit.unsigned_abs()));
        }
        Ok(sql)
    }
}

impl Rank<'_> {
    /// Keeps the datasets of the first collection for each data ID; several certified ones are an error.
    fn first(&self, sql: &str, columns: &str) -> String {
        let order = self.query.collections.iter().zip(0..);
        let order: Vec<_> = order.map(|(c, rank)| format!("WHEN {} THEN {rank}", literal(&c.name))).collect();
        let keys: Vec<_> = self.query.record.dataset_type.dimensions.iter().map(|d| quoted(d)).collect();
        let by = if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) };
        let ranked = format!("SELECT *, CASE collection {} END AS rank FROM ({sql}) AS found", order.join(" "));
        if !self.certified {
            return format!(
                "SELECT {columns} FROM (SELECT *, row_number() OVER ({by}ORDER BY rank) AS place FROM ({ranked}) AS \
                 ranked) AS placed WHERE place = 1"
            );
        }
        let message = "CalibrationLookupError: several calibrations are valid for one data ID; constrain the time, such as \
                       by an exposure, or use find_first => false";
        let with_rank = if by.is_empty() { "PARTITION BY rank".to_owned() } else { format!("{}, rank", by.trim_end()) };
        format!(
            "SELECT {columns} FROM (SELECT *, rank() OVER ({by}ORDER BY rank) AS place, count(*) OVER ({with_rank}) AS \
             candidates FROM ({ranked}) AS ranked) AS placed WHERE place = 1 AND \
             CASE WHEN candidates > 1 THEN error({}) ELSE TRUE END",
            literal(message)
        )
    }
}

/// The datasets of a search as a relation.
fn base(query: &DatasetQuery<'_>, function: &str, mentions: &Mentions, certified: bool) -> String {
    let name = &query.record.dataset_type.name;
    let collections: Vec<_> = query.expressions.iter().map(|e| literal(e)).collect();
    let call = format!("{function}({}, [{}])", literal(name), collections.join(", "));
    let is_calibration = query.record.dataset_type.is_calibration;
    let dated = mentions.dataset_fields.contains("ingest_date");
    let ranged = mentions.dataset_fields.contains("timespan");
    let plain = query.collections.iter().all(|c| c.kind == CollectionType::Calibration);
    if !dated && (is_calibration && plain || !is_calibration && !ranged) {
        return call;
    }
    let mut columns = vec!["m.dataset_id".to_owned()];
    columns.extend(query.record.dataset_type.dimensions.iter().map(|d| format!("m.{}", quoted(d))));
    columns.extend(["m.run", "m.collection"].map(str::to_owned));
    // Only members of CALIBRATION collections have validity ranges.
    let names = query.collections.iter().filter(|c| c.kind == CollectionType::Calibration);
    let names: Vec<_> = names.map(|c| literal(&c.name)).collect();
    for bound in ["timespan_begin", "timespan_end"] {
        columns.push(match (is_calibration, certified) {
            (true, true) => format!("CASE WHEN m.collection IN ({}) THEN m.{bound} END AS {bound}", names.join(", ")),
            _ if is_calibration || ranged => format!("CAST(NULL AS TIMESTAMP) AS {bound}"),
            _ => continue,
        });
    }
    let mut join = String::new();
    if dated {
        columns.push("d.ingest_date".to_owned());
        join = format!(" JOIN dataset.{} AS d ON d.dataset_id = m.dataset_id", quoted(name));
    }
    format!("(SELECT {} FROM {call} AS m{join})", columns.join(", "))
}

/// The column that a term of the order names, what it mentions, and whether the order is reversed.
fn order_column(scope: &Scope<'_>, term: &str, keys: &BTreeMap<String, String>) -> Result<(Scalar, Mentions, bool)> {
    let (name, descending) = match term.strip_prefix('-') {
        Some(name) => (name, true),
        None => (term, false),
    };
    if name.is_empty() {
        return Err(Error::invalid("an empty name in order_by"));
    }
    let no_binds = Binds::default();
    let scope = Scope { result: scope.result.clone(), binds: &no_binds, ..*scope };
    let mut translator = Translator::new(&scope, term, keys);
    let Item::Scalar(column) = translator.name(name, 0)? else {
        return Err(Error::invalid(format!("InvalidQueryError: '{name}' in order_by is not a column")));
    };
    if matches!(column.kind, Type::Bool | Type::Region | Type::Timespan) {
        let message = format!("InvalidQueryError: '{name}' of type {} has no order", column.kind.name());
        return Err(Error::invalid(message));
    }
    let known = elements(scope.universe, &scope.result).map(|e| e.name.as_str());
    let known: BTreeSet<&str> = known.collect();
    let seen = translator.seen;
    if seen.dimensions.iter().chain(&seen.elements).any(|name| !known.contains(name.as_str())) {
        let message =
            format!("InvalidQueryError: '{name}' in order_by does not belong to the dimensions of the result");
        return Err(Error::invalid(message));
    }
    Ok((column, seen, descending))
}
