//! `chain`: edits CHAINED collections.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::model::collection::{ChainEdit, CollectionType};
use crate::registry::collections::{load, positions};
use crate::repo::changeset::changes::{CreateCollection, SetChildren};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};

/// Edits a chain, which is created if it does not exist.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Name of the chain.
    pub parent: String,
    /// Children, or for `pop` their positions; `None` if they are given as rows.
    pub children: Option<Vec<String>>,
    /// Edit mode.
    pub edit: ChainEdit,
    /// Documentation of a new chain.
    pub doc: Option<String>,
    /// True to replace chains among the children by the collections they search.
    pub flatten: bool,
}

#[async_trait]
impl Operation for Chain {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let mut given = match &self.children {
            Some(children) => children.clone(),
            None => read_texts(context.rows, "name").await?,
        };
        let known = load(&repo.registry).await?;
        if self.flatten {
            if matches!(self.edit, ChainEdit::Remove | ChainEdit::Pop) {
                return Err(Error::invalid("flatten requires the mode redefine, prepend or extend"));
            }
            given = known.flatten(&given)?.into_iter().map(|c| c.name.clone()).collect();
        }
        let children = known.edit_chain(&self.parent, &given, self.edit)?;
        let there = known.find(&self.parent);
        let mut set = ChangeSet::default();
        if there.is_some_and(|c| c.children == children) {
            set.record("chain", Status::Unchanged, &self.parent, 1);
            return Ok(set.into_plan());
        }
        if children.len() > 1 << 14 {
            return Err(Error::new(Kind::Invalid, format!("chain '{}' would have too many children", self.parent)));
        }
        if there.is_none() {
            let (name, doc) = (self.parent.clone(), self.doc.clone());
            set.push(CreateCollection { name, kind: CollectionType::Chained, doc });
        }
        let kept: BTreeMap<String, i64> = match there {
            Some(c) => c.children.iter().cloned().zip(positions(&repo.registry.conn, &self.parent).await?).collect(),
            None => BTreeMap::new(),
        };
        let expected = there.map(|c| c.children.clone()).unwrap_or_default();
        let children = place(self.edit, &kept, &given, children);
        set.push(SetChildren { chain: self.parent.clone(), expected, children });
        Ok(set.into_plan())
    }
}

/// Returns the children with their positions, as the Butler numbers them: children that are not edited keep their
/// positions, and new children are numbered before the first or after the last of them.
fn place(
    edit: ChainEdit,
    there: &BTreeMap<String, i64>,
    given: &[String],
    children: Vec<String>,
) -> Vec<(String, i64)> {
    let rest = || there.iter().filter(|(name, _)| !given.contains(name)).map(|(_, at)| *at);
    let edited = children.iter().filter(|name| given.contains(name)).count() as i64;
    let mut next = match edit {
        ChainEdit::Prepend => rest().min().unwrap_or(0) - edited,
        ChainEdit::Extend => rest().max().unwrap_or(0) + 1,
        _ => 0,
    };
    let mut position = |name: &String| match there.get(name) {
        Some(kept) if matches!(edit, ChainEdit::Remove | ChainEdit::Pop) => *kept,
        Some(kept) if edit != ChainEdit::Redefine && !given.contains(name) => *kept,
        _ => {
            next += 1;
            next - 1
        }
    };
    children.into_iter().map(|name| (name.clone(), position(&name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected positions are from a repository that the real Butler edited.
    #[test]
    fn positions_are_the_butlers() {
        let there = |all: &[(&str, i64)]| all.iter().map(|(n, p)| ((*n).to_owned(), *p)).collect::<BTreeMap<_, _>>();
        let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let placed = |edit, before: &[(&str, i64)], given: &str, after: &str| -> Vec<i64> {
            place(edit, &there(before), &names(given), names(after)).into_iter().map(|(_, at)| at).collect()
        };
        let abcd = [("a", 0), ("b", 1), ("c", 2), ("d", 3)];
        assert_eq!(placed(ChainEdit::Redefine, &abcd, "ba", "ba"), [0, 1]);
        assert_eq!(placed(ChainEdit::Remove, &abcd, "b", "acd"), [0, 2, 3]);
        assert_eq!(placed(ChainEdit::Pop, &abcd, "1", "acd"), [0, 2, 3]);
        assert_eq!(placed(ChainEdit::Prepend, &[("a", 0), ("c", 2), ("d", 3)], "da", "dac"), [0, 1, 2]);
        assert_eq!(placed(ChainEdit::Extend, &[("d", 0), ("a", 1), ("c", 2)], "bc", "dabc"), [0, 1, 2, 3]);
        assert_eq!(placed(ChainEdit::Prepend, &[], "ab", "ab"), [-2, -1]);
        assert_eq!(placed(ChainEdit::Extend, &[], "ab", "ab"), [1, 2]);
    }
}
