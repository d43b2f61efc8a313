//! The dimension universe: dimensions, the dimensions they require and imply, and the order of all elements.
//!
//! The universe of a repository is read from the repository (`config:dimensions.json`); the copy in this folder is
//! only used to create new repositories.

mod document;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::document::{Document, FieldSpec, Skypix, Spec};
use crate::error::{Error, Kind, Result};

/// The universe of new repositories: `daf_butler` version 7, which is supported by all Butlers since w_2024.
pub(crate) const DEFAULT: &str = include_str!("daf_butler-v7.json");

/// The type of a key or metadata field of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldType {
    /// Text, with its declared length.
    Text(u32),
    /// 64-bit integer.
    Int,
    /// 64-bit float.
    Float,
    /// Boolean.
    Bool,
    /// Bytes of a hash.
    Hash,
    /// Time in TAI nanoseconds.
    Time,
}

/// A key or metadata field of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Name of the column.
    pub name: String,
    /// Type of the column.
    pub kind: FieldType,
}

/// A dimension element: a dimension, or a relation between dimensions.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    /// Name of the element and of its table.
    pub name: String,
    /// The element's own key column in its table; `None` for a relation.
    pub key: Option<Field>,
    /// Alternate keys, which also identify a row.
    pub alternate_keys: Vec<Field>,
    /// Metadata fields.
    pub metadata: Vec<Field>,
    /// Required dimensions in universe order, including the element itself if it is a dimension.
    pub required: Vec<String>,
    /// Implied dimensions in universe order.
    pub implied: Vec<String>,
    /// Whether the element is a governor dimension (`instrument`, `skymap`).
    pub governor: bool,
    /// Whether the element has a table; skypix dimensions and unions such as `band` do not.
    pub has_table: bool,
    /// For a union such as `band`: the element whose rows contain its values.
    pub union_of: Option<String>,
    /// Whether the element has a region on the sky.
    pub spatial: bool,
    /// Whether the element has a timespan.
    pub temporal: bool,
    /// For a relation: whether queries with all its dimensions join it, such as `visit_definition`.
    pub always_join: bool,
    /// For a relation: the dimension whose records are complete only with it, such as `visit` for `visit_definition`.
    pub populated_by: Option<String>,
}

/// The dimension elements of one version of the universe.
#[derive(Debug, Clone)]
pub(crate) struct Universe {
    /// Version of the universe.
    pub version: i64,
    /// Namespace of the universe, normally `daf_butler`.
    pub namespace: String,
    /// The skypix dimension of the overlap tables, normally `htm7`.
    pub common_skypix: String,
    /// The elements with timespans; the first ones are preferred in joins with validity ranges.
    pub temporal: Vec<String>,
    elements: Vec<Element>,
    index: HashMap<String, usize>,
    families: HashMap<String, String>,
}

impl Element {
    /// Returns true if the values of the element are sky pixels, which have no records.
    pub(crate) fn is_skypix(&self) -> bool {
        !self.has_table && self.union_of.is_none()
    }
}

impl Universe {
    /// Parses the text of `config:dimensions.json`.
    ///
    /// # Errors
    /// Text that is not such a document, refers to an unknown element, or contains a cycle.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let document: Document = serde_json::from_str(text)
            .map_err(|e| Error::invalid(format!("the dimension universe cannot be read: {e}")).with_source(e))?;
        let order = order(&document)?;
        let index: HashMap<_, _> = order.iter().cloned().zip(0..).collect();
        let spatial = families(&document.topology.spatial);
        let temporal = families(&document.topology.temporal);
        let elements = order
            .iter()
            .map(|name| match document.elements.get(name) {
                Some(spec) => element(name, spec, &document, &index, &spatial, &temporal),
                None => Ok(skypix(name)),
            })
            .collect::<Result<_>>()?;
        let common_skypix = match document.skypix.get("common") {
            Some(Skypix::Common(name)) => name.clone(),
            _ => return Err(Error::invalid("the dimension universe names no common skypix dimension")),
        };
        let (version, namespace) = (document.version, document.namespace);
        let temporal = document.topology.temporal.into_values().flatten().collect();
        Ok(Self { version, namespace, common_skypix, temporal, elements, index, families: spatial })
    }

    /// Returns all elements in universe order, including skypix dimensions.
    pub(crate) fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// Iterates over the elements that have a table, in universe order.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Element> {
        self.elements.iter().filter(|e| e.has_table)
    }

    /// Returns the element with this name.
    ///
    /// # Errors
    /// A name that does not exist.
    pub(crate) fn element(&self, name: &str) -> Result<&Element> {
        self.find(name).ok_or_else(|| Error::not_found("dimension", name, self.index.keys().map(String::as_str)))
    }

    /// Returns the element with this name, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<&Element> {
        self.index.get(name).map(|i| &self.elements[*i])
    }

    /// Returns the spatial family of an element; elements of the same family are not joined by overlap.
    pub(crate) fn spatial_family(&self, name: &str) -> Option<&str> {
        self.families.get(name).map(String::as_str)
    }

    /// Returns the dimension group that these dimensions expand to.
    ///
    /// # Errors
    /// A name that is not a dimension.
    pub(crate) fn group(&self, names: &[String]) -> Result<Group> {
        let mut todo: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut members = BTreeSet::new();
        let mut implied = BTreeSet::new();
        while let Some(name) = todo.pop() {
            let element = self.element(name)?;
            if element.key.is_none() {
                return Err(Error::invalid(format!("'{name}' is a relation between dimensions, not a dimension")));
            }
            if members.insert(self.index[name]) {
                implied.extend(element.implied.iter().map(|n| self.index[n]));
                todo.extend(element.required.iter().chain(&element.implied).map(String::as_str));
            }
        }
        let (implied, required): (Vec<_>, Vec<_>) =
            members.into_iter().map(|i| (implied.contains(&i), &self.elements[i])).partition(|(is, _)| *is);
        let names = |side: Vec<(bool, &Element)>| side.into_iter().map(|(_, e)| e.name.clone()).collect();
        Ok(Group { required: names(required), implied: names(implied) })
    }
}

/// A set of dimensions with all dimensions they require and imply, in universe order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Dimensions whose values identify a row.
    pub required: Vec<String>,
    /// Dimensions whose values follow from the required ones.
    pub implied: Vec<String>,
}

/// Returns all names in topological order; names without mutual dependency are sorted alphabetically.
fn order(document: &Document) -> Result<Vec<String>> {
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for system in document.skypix.keys().filter(|s| *s != "common") {
        waiting.insert(system, BTreeSet::new());
    }
    for (name, spec) in &document.elements {
        waiting.insert(name, spec.requires.iter().chain(&spec.implies).map(String::as_str).collect());
    }
    for (family, members) in document.topology.spatial.iter().chain(&document.topology.temporal) {
        waiting.insert(family, members.iter().map(String::as_str).collect());
    }
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let ready: Vec<&str> = waiting
            .iter()
            .filter(|(_, needs)| !needs.iter().any(|n| waiting.contains_key(n)))
            .map(|(name, _)| *name)
            .collect();
        if ready.is_empty() {
            let names: Vec<_> = waiting.into_keys().collect();
            return Err(Error::invalid(format!("the dimensions {} require each other", names.join(", "))));
        }
        for name in ready {
            waiting.remove(name);
            match document.skypix.get(name) {
                Some(Skypix::System { min_level, max_level }) => {
                    order.extend((*min_level..=*max_level).map(|level| format!("{name}{level}")));
                }
                _ if document.elements.contains_key(name) => order.push(name.to_owned()),
                _ => {}
            }
        }
    }
    Ok(order)
}

fn families(topology: &BTreeMap<String, Vec<String>>) -> HashMap<String, String> {
    topology.iter().flat_map(|(family, members)| members.iter().map(|m| (m.clone(), family.clone()))).collect()
}

fn skypix(name: &str) -> Element {
    Element {
        name: name.to_owned(),
        key: Some(Field { name: "id".to_owned(), kind: FieldType::Int }),
        alternate_keys: Vec::new(),
        metadata: Vec::new(),
        required: vec![name.to_owned()],
        implied: Vec::new(),
        governor: false,
        has_table: false,
        union_of: None,
        spatial: false,
        temporal: false,
        always_join: false,
        populated_by: None,
    }
}

fn element(
    name: &str,
    spec: &Spec,
    document: &Document,
    index: &HashMap<String, usize>,
    spatial: &HashMap<String, String>,
    temporal: &HashMap<String, String>,
) -> Result<Element> {
    let mut required = BTreeSet::new();
    let mut todo: Vec<&String> = spec.requires.iter().collect();
    while let Some(other) = todo.pop() {
        if required.insert(other.as_str()) {
            let found = document.elements.get(other);
            todo.extend(&found.ok_or_else(|| unknown(name, other))?.requires);
        }
    }
    if !spec.keys.is_empty() {
        required.insert(name);
    }
    let sorted = |names: &mut dyn Iterator<Item = &str>| -> Result<Vec<String>> {
        let mut names: Vec<_> =
            names.map(|n| Ok((index.get(n).ok_or_else(|| unknown(name, n))?, n))).collect::<Result<_>>()?;
        names.sort_unstable();
        Ok(names.into_iter().map(|(_, n)| n.to_owned()).collect())
    };
    let mut keys = spec.keys.iter().map(field);
    let union_of = spec.union_of();
    Ok(Element {
        name: name.to_owned(),
        key: keys.next().transpose()?,
        alternate_keys: keys.collect::<Result<_>>()?,
        metadata: spec.metadata.iter().map(field).collect::<Result<_>>()?,
        required: sorted(&mut required.into_iter())?,
        implied: sorted(&mut spec.implies.iter().map(String::as_str))?,
        governor: spec.governor,
        has_table: union_of.is_none(),
        union_of,
        spatial: spatial.contains_key(name),
        temporal: temporal.contains_key(name),
        always_join: spec.always_join,
        populated_by: spec.populated_by.clone(),
    })
}

fn unknown(element: &str, name: &str) -> Error {
    Error::invalid(format!("dimension '{element}' refers to '{name}', which the universe does not have"))
}

fn field(spec: &FieldSpec) -> Result<Field> {
    let kind = match spec.kind.as_str() {
        "string" => FieldType::Text(spec.length),
        "int" => FieldType::Int,
        "float" => FieldType::Float,
        "bool" => FieldType::Bool,
        "hash" => FieldType::Hash,
        "datetime" => FieldType::Time,
        other => {
            let message = format!("field '{}' of the dimension universe has the unknown type '{other}'", spec.name);
            return Err(Error::new(Kind::Unsupported, message));
        }
    };
    Ok(Field { name: spec.name.clone(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(names: &[&str]) -> (String, String) {
        let universe = Universe::parse(DEFAULT).unwrap();
        let group = universe.group(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        (group.required.join(" "), group.implied.join(" "))
    }

    #[test]
    fn orders_as_the_butler_does() {
        let universe = Universe::parse(DEFAULT).unwrap();
        let tables: Vec<_> = universe.tables().map(|e| e.name.as_str()).collect();
        assert_eq!(
            tables.join(" "),
            "instrument skymap day_obs detector group physical_filter subfilter tract visit_system exposure patch \
             visit visit_definition visit_detector_region visit_system_membership"
        );
        assert_eq!(universe.elements().len(), 57);
        assert_eq!(universe.elements()[0].name, "band");
    }

    #[test]
    fn groups_expand() {
        assert_eq!(
            group(&["visit", "detector"]),
            ("instrument detector visit".into(), "band day_obs physical_filter".into())
        );
        assert_eq!(group(&["band", "patch"]), ("band skymap tract patch".into(), String::new()));
        assert_eq!(
            group(&["physical_filter", "detector"]),
            ("instrument detector physical_filter".into(), "band".into())
        );
        assert_eq!(group(&[]), (String::new(), String::new()));
    }
}
