//! Collections: names under which datasets are found, and chains that search others in order.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::model::glob;

/// The four kinds of collection, with the numbers the registry stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollectionType {
    /// Datasets made together; every dataset is born in exactly one.
    Run = 1,
    /// A pick of datasets, one for each data ID.
    Tagged = 2,
    /// An ordered list of other collections.
    Chained = 3,
    /// Datasets with validity ranges.
    Calibration = 4,
}

impl CollectionType {
    const ALL: [Self; 4] = [Self::Run, Self::Tagged, Self::Chained, Self::Calibration];

    /// The word the `butler` command prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "RUN",
            Self::Tagged => "TAGGED",
            Self::Chained => "CHAINED",
            Self::Calibration => "CALIBRATION",
        }
    }

    /// From the number in the registry.
    ///
    /// # Errors
    /// A number the Butler does not use.
    pub fn from_number(number: i64) -> Result<Self> {
        Self::ALL.into_iter().find(|t| *t as i64 == number).ok_or_else(|| {
            Error::new(Kind::Unsupported, format!("the registry holds a collection of unknown type {number}"))
        })
    }

    /// From its word, in any case.
    ///
    /// # Errors
    /// A word that names no type.
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

/// One collection of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Key in the registry.
    pub id: i64,
    /// Name, unique in the registry.
    pub name: String,
    /// RUN, TAGGED, CHAINED or CALIBRATION.
    pub kind: CollectionType,
    /// Documentation, if any.
    pub doc: Option<String>,
    /// For a chain: its children, first searched first.
    pub children: Vec<String>,
}

/// All collections of a registry, by name.
#[derive(Debug, Clone, Default)]
pub struct Collections(BTreeMap<String, Collection>);

impl FromIterator<Collection> for Collections {
    fn from_iter<I: IntoIterator<Item = Collection>>(all: I) -> Self {
        Self(all.into_iter().map(|c| (c.name.clone(), c)).collect())
    }
}

/// One line of a tree: how deep, and which collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeLine<'a> {
    /// 0 at the top.
    pub depth: usize,
    /// The collection of this line.
    pub collection: &'a Collection,
}

impl Collections {
    /// In name order.
    pub fn iter(&self) -> impl Iterator<Item = &Collection> {
        self.0.values()
    }

    /// The collection of this name.
    ///
    /// # Errors
    /// None has the name.
    pub fn get(&self, name: &str) -> Result<&Collection> {
        self.find(name).ok_or_else(|| Error::not_found("collection", name, self.0.keys().map(String::as_str)))
    }

    /// The collection of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&Collection> {
        self.0.get(name)
    }

    /// Collections named or matched by the expressions: an exact name must exist, a glob may match nothing.
    ///
    /// # Errors
    /// An exact name that does not exist.
    pub fn select(&self, expressions: &[String]) -> Result<Vec<&Collection>> {
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

    /// The order in which these are searched: depth first, chains replaced by their children, each once.
    ///
    /// # Errors
    /// An exact name that does not exist.
    pub fn flatten(&self, expressions: &[String]) -> Result<Vec<&Collection>> {
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

    /// The tree below a collection, as `query-collections --chains=tree` draws it.
    pub fn tree<'a>(&'a self, top: &'a Collection) -> Vec<TreeLine<'a>> {
        let mut lines = Vec::new();
        self.walk(top, &mut Vec::new(), &mut |line| {
            lines.push(line);
            true
        });
        lines
    }

    /// Visits `top` and, where the visitor says so, its descendants, depth first; a chain that holds itself, which
    /// only a damaged registry has, is not followed again.
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

    /// Chains that hold this collection as a child.
    pub fn parents(&self, name: &str) -> Vec<&Collection> {
        self.iter().filter(|c| c.children.iter().any(|child| child == name)).collect()
    }

    /// The new children of `parent` after an edit, unless it would search itself.
    ///
    /// # Errors
    /// An unknown child, a parent that is no chain, a cycle, or `redefine` without children.
    pub fn edit_chain(&self, parent: &str, given: &[String], edit: ChainEdit) -> Result<Vec<String>> {
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
            // Taking a child out makes no cycle, and is how one is mended.
            if edit != ChainEdit::Remove && self.reaches(child, parent) {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("chain '{parent}' would search itself through '{child}'"),
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

/// How `collection-chain` changes a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEdit {
    /// Replace all children.
    Redefine,
    /// Put the children first; those already there move.
    Prepend,
    /// Put the children last; those already there move.
    Extend,
    /// Take the children out.
    Remove,
    /// Take children out by position.
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

    /// From the word of `--mode`.
    ///
    /// # Errors
    /// A word that is no mode.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, edit)| edit)
            .ok_or_else(|| Error::not_found("chain mode", name, Self::ALL.map(|(n, _)| n)))
    }
}

/// Takes out the children at the given positions of the original chain; negative counts from the end.
fn pop(parent: &str, current: Vec<String>, given: &[String]) -> Result<Vec<String>> {
    let length = current.len();
    let default = ["0".to_owned()];
    let positions = if given.is_empty() { &default[..] } else { given };
    let mut out = HashSet::new();
    for text in positions {
        let index: i64 = text
            .parse()
            .map_err(|_| Error::invalid(format!("mode pop takes positions, and '{text}' is not a whole number")))?;
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
