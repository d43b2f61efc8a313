//! Migrates exported records from an older dimension universe, as the importer of the Butler does
//! (`YamlRepoImportBackend`).

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::format::yaml_nodes::{Node, Value};
use crate::instrument::{Instrument, day_obs_timespan};
use crate::model::calendar;
use crate::registry::dimensions;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;
use crate::repo::Repo;
use crate::universe::Universe;

/// The fields of a record.
pub(in crate::repo) type Fields = Vec<(String, Node)>;

/// The namespace of universes that can be migrated.
const NAMESPACE: &str = "daf_butler";

/// The differences between the universe of an export file and the universe of the repository.
#[derive(Debug, Default)]
pub(super) struct Migration {
    /// Visits had a visit system.
    visit_system: bool,
    /// Visits had a seeing.
    seeing: bool,
    /// Visits had no `day_obs`.
    adds_day_obs: bool,
    /// Exposures had `group_name` and `group_id`; `group` was not a dimension.
    group: bool,
    /// `day_obs` was not a dimension of visits, and of exposures.
    day_obs: [bool; 2],
    /// Seconds from midnight (TAI) to the begin of an observing day, by instrument.
    offsets: HashMap<String, i64>,
    /// Groups and observing days whose record was created.
    seen: HashSet<(&'static str, String, String)>,
}

impl Migration {
    /// Determines the differences from a universe of this namespace and version.
    ///
    /// # Errors
    /// Database errors.
    pub(super) async fn new(repo: &Repo, namespace: &str, version: i64) -> Result<Self> {
        let universe = &repo.registry.universe;
        if namespace != NAMESPACE || universe.namespace != NAMESPACE || version >= 6 {
            return Ok(Self::default());
        }
        let implied = |name: &str, of: &str| implies(universe, name, of);
        let described = |name: &str| has_metadata(universe, "visit", name);
        Ok(Self {
            visit_system: version < 2 && universe.find("visit_system_membership").is_some(),
            seeing: version < 1 && universe.find("visit").is_some() && !described("seeing"),
            adds_day_obs: version < 1 && (implied("visit", "day_obs") || described("day_obs")),
            group: implied("exposure", "group"),
            day_obs: [implied("visit", "day_obs"), implied("exposure", "day_obs")],
            offsets: offsets(repo).await?,
            seen: HashSet::new(),
        })
    }

    /// Returns the dimensions of a dataset type without dimensions that were removed from the universe.
    pub(super) fn dimensions(&self, mut dimensions: Vec<String>) -> Vec<String> {
        if self.visit_system && dimensions.iter().any(|d| d == "visit") {
            dimensions.retain(|d| d != "visit_system");
        }
        dimensions
    }

    /// Migrates a record. Returns the migrated record, preceded by records of other elements that it requires, or
    /// `None` if the record does not change.
    ///
    /// # Errors
    /// A record without a required field, with its line.
    pub(super) fn records(
        &mut self,
        element: &str,
        line: usize,
        given: &Fields,
    ) -> Result<Option<Vec<(String, Fields)>>> {
        let is_changed = match element {
            "visit" => self.visit_system || self.seeing || self.adds_day_obs || self.day_obs[0],
            "exposure" => self.group || self.day_obs[1],
            _ => false,
        };
        if !is_changed {
            return Ok(None);
        }
        let (mut needed, mut fields) = (Vec::new(), given.clone());
        match element {
            "visit" => {
                if self.visit_system {
                    let system = need(take(&mut fields, "visit_system"), "visit", "visit_system", line)?;
                    let (instrument, visit) = (copy(&fields, "instrument", line)?, copy(&fields, "id", line)?);
                    let named = [("instrument", instrument), ("visit_system", system), ("visit", visit)];
                    let member = named.map(|(name, node)| (name.to_owned(), node));
                    needed.push(("visit_system_membership", member.to_vec()));
                }
                if self.seeing {
                    take(&mut fields, "seeing");
                }
                if self.adds_day_obs {
                    let begin = copy(&fields, "datetime_begin", line)?.time()?;
                    let offset = self.offsets.get(copy(&fields, "instrument", line)?.text()?).copied().unwrap_or(0);
                    let day = calendar::day_of(begin - offset * 1_000_000_000);
                    fields.retain(|(name, _)| name != "day_obs");
                    fields.push(("day_obs".to_owned(), scalar(day.to_string(), line)));
                }
                if self.day_obs[0] {
                    needed.extend(self.night(&fields, line)?);
                }
            }
            "exposure" => {
                if self.group {
                    let group = need(take(&mut fields, "group_name"), "exposure", "group_name", line)?;
                    need(take(&mut fields, "group_id"), "exposure", "group_id", line)?;
                    let instrument = copy(&fields, "instrument", line)?;
                    if self.is_new("group", &instrument, &group)? {
                        let named = [("instrument", instrument), ("name", group.clone())];
                        needed.push(("group", named.map(|(name, node)| (name.to_owned(), node)).to_vec()));
                    }
                    fields.push(("group".to_owned(), group));
                }
                if self.day_obs[1] {
                    needed.extend(self.night(&fields, line)?);
                }
            }
            _ => {}
        }
        needed.push((element, fields));
        Ok(Some(needed.into_iter().map(|(element, fields)| (element.to_owned(), fields)).collect()))
    }

    /// Returns the `day_obs` record of another record, unless it was created before.
    fn night(&mut self, fields: &Fields, line: usize) -> Result<Option<(&'static str, Fields)>> {
        let (instrument, day) = (copy(fields, "instrument", line)?, copy(fields, "day_obs", line)?);
        if !self.is_new("day_obs", &instrument, &day)? {
            return Ok(None);
        }
        let number = day.int()?;
        let span = self.offsets.get(instrument.text()?).and_then(|offset| day_obs_timespan(number, *offset));
        let mut record = vec![("instrument".to_owned(), instrument), ("id".to_owned(), day)];
        if let Some((begin, end)) = span {
            let bound = |at: i64| Node { tag: Some("butler_time/tai/iso".to_owned()), ..scalar(blank(at), line) };
            record.extend([("datetime_begin".to_owned(), bound(begin)), ("datetime_end".to_owned(), bound(end))]);
        }
        Ok(Some(("day_obs", record)))
    }

    fn is_new(&mut self, element: &'static str, instrument: &Node, key: &Node) -> Result<bool> {
        Ok(self.seen.insert((element, instrument.text()?.to_owned(), key.text()?.to_owned())))
    }
}

/// Returns true if an element implies a dimension.
fn implies(universe: &Universe, element: &str, dimension: &str) -> bool {
    universe.find(element).is_some_and(|e| e.implied.iter().any(|d| d == dimension))
}

fn has_metadata(universe: &Universe, element: &str, name: &str) -> bool {
    universe.find(element).is_some_and(|e| e.metadata.iter().any(|field| field.name == name))
}

/// Returns the offsets of the observing days of the registered instruments, for the built-in instrument classes.
async fn offsets(repo: &Repo) -> Result<HashMap<String, i64>> {
    let columns = ["name", "class_name"].map(|name| ReadColumn::plain(name, ColumnType::Text(None))).to_vec();
    let rows = dimensions::values(&repo.registry, "instrument", columns, None).await?;
    let offset = |class: &String| {
        let known = Instrument::built_in().iter().find(|i| i.class_name == *class)?;
        known.observing_day_offset()
    };
    Ok(string_values(&rows, 0)
        .into_iter()
        .zip(string_values(&rows, 1))
        .filter_map(|(name, class)| Some((name, offset(&class)?)))
        .collect())
}

/// Removes and returns a field.
fn take(fields: &mut Fields, name: &str) -> Option<Node> {
    let at = fields.iter().position(|(field, _)| field == name)?;
    Some(fields.remove(at).1)
}

fn copy(fields: &Fields, name: &str, line: usize) -> Result<Node> {
    let found = fields.iter().find(|(field, _)| field == name).map(|(_, node)| node.clone());
    found.ok_or_else(|| Error::invalid(format!("line {line}: the record has no '{name}'")))
}

fn need(found: Option<Node>, element: &str, name: &str, line: usize) -> Result<Node> {
    found.ok_or_else(|| {
        let message = format!("line {line}: a record of '{element}' from a universe before version 6 has no '{name}'");
        Error::invalid(message)
    })
}

fn scalar(text: String, line: usize) -> Node {
    Node { line, tag: None, value: Value::Scalar(text, true) }
}

/// Formats a time as in export files.
fn blank(at: i64) -> String {
    calendar::format(at).replace('T', " ")
}
