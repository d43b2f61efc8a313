//! Collections of a registry: their types, search order and edits of chains.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::model::glob;

/// The type of a collection; the discriminants are the numbers in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollectionType {
    /// A collection of datasets produced together; every dataset belongs to exactly one RUN collection.
    Run = 1,
    /// A selection of datasets, at most one per dataset type and data ID.
    Tagged = 2,
    /// An ordered list of other collections, which are searched in this order.
    Chained = 3,
    /// A collection of datasets with validity ranges.
    Calibration = 4,
}

impl CollectionType {
    const ALL: [Self; 4] = [Self::Run, Self::Tagged, Self::Chained, Self::Calibration];

    /// Returns the name of the type as in the Butler, such as `RUN`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "RUN",
            Self::Tagged => "TAGGED",
            Self::Chained => "CHAINED",
            Self::Calibration => "CALIBRATION",
        }
    }

    /// Returns the type for its number in the registry.
    ///
    /// # Errors
    /// A number that the Butler does not use.
    pub fn from_number(number: i64) -> Result<Self> {
        Self::ALL.into_iter().find(|t| *t as i64 == number).ok_or_else(|| {
            Error::new(Kind::Unsupported, format!("the registry holds a collection of unknown type {number}"))
        })
    }

    /// Returns the type for its name, case-insensitively.
    ///
    /// # Errors
    /// An unknown name.
    pub fn from_name(name: &str) -> Result<Self> {
        let wanted = name.to_uppercase();
        Self::ALL
            .into_iter()
            .find(|t| t.name() == wanted)
            .ok_or_else(|| Error::not_found("collection type", name, Self::ALL.map(Self::name)))
    }
}

impl fmt::Display for CollectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A collection of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collection {
    /// Integer key in the registry.
    pub id: i64,
    /// Name, unique in the registry.
    pub name: String,
    /// Type of the collection.
    pub kind: CollectionType,
    /// Documentation string, if any.
    pub doc: Option<String>,
    /// Children of a CHAINED collection in search order; empty for other types.
    pub children: Vec<String>,
}

/// All collections of a registry, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collections(BTreeMap<String, Collection>);

impl FromIterator<Collection> for Collections {
    fn from_iter<I: IntoIterator<Item = Collection>>(all: I) -> Self {
        Self(all.into_iter().map(|c| (c.name.clone(), c)).collect())
    }
}

/// A line of a collection tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeLine<'a> {
    /// Depth in the tree; 0 for the root.
    pub depth: usize,
    /// The collection on this line.
    pub collection: &'a Collection,
}

impl Collections {
    /// Iterates over the collections, ordered by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Collection> {
        self.0.values()
    }

    /// Returns the collection with this name.
    ///
    /// # Errors
    /// A name that does not exist.
    pub(crate) fn get(&self, name: &str) -> Result<&Collection> {
        self.find(name).ok_or_else(|| Error::not_found("collection", name, self.0.keys().map(String::as_str)))
    }

    /// Returns the collection with this name, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<&Collection> {
        self.0.get(name)
    }

    /// Returns the collections that match the expressions; an exact name must exist, a glob may match nothing.
    ///
    /// # Errors
    /// An exact name that does not exist.
    pub(crate) fn select(&self, expressions: &[String]) -> Result<Vec<&Collection>> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for expression in expressions {
            let matched: Vec<_> = if glob::is_pattern(expression) && self.find(expression).is_none() {
                self.iter().filter(|c| glob::matches(expression, &c.name)).collect()
            } else {
                vec![self.get(expression)?]
            };
            found.extend(matched.into_iter().filter(|c| seen.insert(c.id)));
        }
        Ok(found)
    }

    /// Returns the collections in search order: depth first, chains replaced by their children, each collection once.
    ///
    /// # Errors
    /// An exact name that does not exist.
    pub(crate) fn flatten(&self, expressions: &[String]) -> Result<Vec<&Collection>> {
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        for collection in self.select(expressions)? {
            self.walk(collection, &mut Vec::new(), &mut |line| {
                let first = seen.insert(line.collection.id);
                if first && line.collection.kind != CollectionType::Chained {
                    order.push(line.collection);
                }
                first
            });
        }
        Ok(order)
    }

    /// Returns the tree below a collection, as printed by `butler query-collections --chains=tree`.
    pub(crate) fn tree<'a>(&'a self, top: &'a Collection) -> Vec<TreeLine<'a>> {
        let mut lines = Vec::new();
        self.walk(top, &mut Vec::new(), &mut |line| {
            lines.push(line);
            true
        });
        lines
    }

    /// Visits `top` and, if the visitor returns true, its descendants, depth first. A chain that contains itself, which
    /// happens only in a damaged registry, is not followed again.
    fn walk<'a>(&'a self, top: &'a Collection, path: &mut Vec<i64>, visit: &mut dyn FnMut(TreeLine<'a>) -> bool) {
        if path.contains(&top.id) || !visit(TreeLine { depth: path.len(), collection: top }) {
            return;
        }
        path.push(top.id);
        for child in top.children.iter().filter_map(|c| self.find(c)) {
            self.walk(child, path, visit);
        }
        path.pop();
    }

    /// Returns the chains that have this collection as a child.
    pub(crate) fn parents(&self, name: &str) -> Vec<&Collection> {
        self.iter().filter(|c| c.children.iter().any(|child| child == name)).collect()
    }

    /// Returns the children of the chain `parent` after an edit.
    ///
    /// # Errors
    /// An unknown child, a parent that is not a chain, a cycle, `redefine` without children, an invalid position.
    pub(crate) fn edit_chain(&self, parent: &str, given: &[String], edit: ChainEdit) -> Result<Vec<String>> {
        let current = match self.find(parent) {
            Some(c) if c.kind != CollectionType::Chained => {
                return Err(Error::new(Kind::Conflict, format!("collection '{parent}' is {}, not CHAINED", c.kind)));
            }
            Some(c) => c.children.clone(),
            None if matches!(edit, ChainEdit::Remove | ChainEdit::Pop) => {
                return Err(Error::not_found("collection", parent, self.0.keys().map(String::as_str)));
            }
            None => Vec::new(),
        };
        if edit == ChainEdit::Pop {
            return pop(parent, current, given);
        }
        if given.is_empty() && edit == ChainEdit::Redefine {
            return Err(Error::invalid(format!("chain '{parent}' needs children in mode redefine")));
        }
        for child in given {
            self.get(child).map_err(|e| e.context(format_args!("chain '{parent}'")))?;
            // Removing a child cannot create a cycle, and must be possible to repair one.
            if edit != ChainEdit::Remove && self.reaches(child, parent) {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("adding '{child}' to chain '{parent}' would create a cycle"),
                ));
            }
        }
        let mut seen = HashSet::new();
        let given: Vec<_> = given.iter().filter(|c| seen.insert(c.as_str())).cloned().collect();
        let rest = current.into_iter().filter(|c| !seen.contains(c.as_str()));
        Ok(match edit {
            ChainEdit::Redefine => given,
            ChainEdit::Prepend => given.into_iter().chain(rest).collect(),
            ChainEdit::Extend => rest.chain(given).collect(),
            ChainEdit::Remove => rest.collect(),
            ChainEdit::Pop => return Err(Error::bug("pop was handled above")),
        })
    }

    fn reaches(&self, from: &str, wanted: &str) -> bool {
        let mut seen = HashSet::new();
        let mut waiting = vec![from];
        while let Some(name) = waiting.pop() {
            if name == wanted {
                return true;
            }
            if seen.insert(name) {
                waiting.extend(self.find(name).iter().flat_map(|c| c.children.iter().map(String::as_str)));
            }
        }
        false
    }
}

/// How an edit changes a chain (the modes of `butler collection-chain`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainEdit {
    /// Replace all children.
    Redefine,
    /// Put the children first; existing children are moved.
    Prepend,
    /// Put the children last; existing children are moved.
    Extend,
    /// Remove the children.
    Remove,
    /// Remove children by position.
    Pop,
}

impl ChainEdit {
    const ALL: [(&'static str, Self); 5] = [
        ("redefine", Self::Redefine),
        ("prepend", Self::Prepend),
        ("extend", Self::Extend),
        ("remove", Self::Remove),
        ("pop", Self::Pop),
    ];

    /// Returns the edit for the name of a mode.
    ///
    /// # Errors
    /// An unknown mode.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, edit)| edit)
            .ok_or_else(|| Error::not_found("chain mode", name, Self::ALL.map(|(n, _)| n)))
    }
}

/// Removes the children at these positions of the original chain; negative positions count from the end.
fn pop(parent: &str, current: Vec<String>, given: &[String]) -> Result<Vec<String>> {
    let length = current.len();
    let default = ["0".to_owned()];
    let positions = if given.is_empty() { &default[..] } else { given };
    let mut out = HashSet::new();
    for text in positions {
        let index: i64 = text
            .parse()
            .map_err(|_| Error::invalid(format!("mode pop takes positions, and '{text}' is not an integer")))?;
        let at = if index < 0 { index + length as i64 } else { index };
        if at < 0 || at >= length as i64 {
            return Err(Error::invalid(format!(
                "position {index} is out of range: chain '{parent}' has {length} children"
            )));
        }
        out.insert(at as usize);
    }
    Ok(current.into_iter().enumerate().filter(|(i, _)| !out.contains(i)).map(|(_, c)| c).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> Collections {
        let chain = |id, name: &str, children: &[&str]| Collection {
            id,
            name: name.into(),
            kind: CollectionType::Chained,
            doc: None,
            children: children.iter().map(|c| (*c).to_owned()).collect(),
        };
        let run = |id, name: &str| Collection { kind: CollectionType::Run, ..chain(id, name, &[]) };
        [run(1, "a"), run(2, "b"), run(3, "c"), chain(4, "inner", &["a", "b"]), chain(5, "outer", &["c", "inner", "a"])]
            .into_iter()
            .collect()
    }

    fn names(found: &[&Collection]) -> Vec<String> {
        found.iter().map(|c| c.name.clone()).collect()
    }

    #[test]
    fn flattens_depth_first_and_once() {
        let w = world();
        assert_eq!(names(&w.flatten(&["outer".into(), "b".into()]).unwrap()), ["c", "a", "b"]);
        assert_eq!(names(&w.flatten(&["?".into()]).unwrap()), ["a", "b", "c"]);
        assert_eq!(names(&w.flatten(&["zz*".into()]).unwrap()), [""; 0]);
        assert_eq!(
            w.flatten(&["outr".into()]).unwrap_err().message(),
            "no collection named 'outr'; did you mean 'outer'?"
        );
    }

    #[test]
    fn a_chain_that_holds_itself_ends() {
        let mut w = world();
        w.0.get_mut("inner").unwrap().children.push("outer".into());
        assert_eq!(names(&w.flatten(&["outer".into()]).unwrap()), ["c", "a", "b"]);
        assert_eq!(w.tree(w.get("outer").unwrap()).len(), 6);
    }

    #[test]
    fn edits_chains_as_the_butler_does() {
        let w = world();
        let edit = |given: &[&str], how| {
            w.edit_chain("outer", &given.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), how)
        };
        assert_eq!(edit(&["b", "b", "c"], ChainEdit::Redefine).unwrap(), ["b", "c"]);
        assert_eq!(edit(&["a"], ChainEdit::Prepend).unwrap(), ["a", "c", "inner"]);
        assert_eq!(edit(&["c"], ChainEdit::Extend).unwrap(), ["inner", "a", "c"]);
        assert_eq!(edit(&["b", "inner"], ChainEdit::Remove).unwrap(), ["c", "a"]);
        assert_eq!(edit(&["0", "-1"], ChainEdit::Pop).unwrap(), ["inner"]);
        assert_eq!(edit(&["99"], ChainEdit::Pop).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(w.edit_chain("inner", &["outer".into()], ChainEdit::Extend).unwrap_err().kind(), Kind::Conflict);
        assert_eq!(w.edit_chain("inner", &["outer".into()], ChainEdit::Remove).unwrap(), ["a", "b"]);
        assert_eq!(w.edit_chain("inner", &["inner".into()], ChainEdit::Extend).unwrap_err().kind(), Kind::Conflict);
    }
}
