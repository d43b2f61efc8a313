//! `chain`: collections that search others in order.

use async_trait::async_trait;

use super::hand::{Change, Hand, Outcome};
use super::records::all;
use super::{Access, Verb};
use crate::error::{Error, Kind, Result};
use crate::model::collection::{ChainEdit, CollectionType};
use crate::registry::collections::{load, positions};
use crate::registry::conn::Batches;
use crate::registry::texts;

/// Edits a chain, made when absent.
#[derive(Debug)]
pub struct Chain {
    /// The chain.
    pub parent: String,
    /// Its children, or for `pop` their positions; none when they come as rows.
    pub children: Option<Vec<String>>,
    /// How the children change it.
    pub edit: ChainEdit,
    /// Its documentation.
    pub doc: Option<String>,
    /// Whether chains among the children are replaced by what they search.
    pub flatten: bool,
}

#[async_trait]
impl Verb for Chain {
    async fn run(&self, access: &Access, rows: Option<Batches>, hand: &mut Hand<'_>) -> Result<()> {
        let repo = access.repo().await?;
        let known = load(&repo.registry).await?;
        let mut given = match &self.children {
            Some(children) => children.clone(),
            None => texts(&all(rows).await?, 0),
        };
        if self.flatten {
            if matches!(self.edit, ChainEdit::Remove | ChainEdit::Pop) {
                return Err(Error::invalid("flatten goes with the modes redefine, prepend and extend only"));
            }
            given = known.flatten(&given)?.into_iter().map(|c| c.name.clone()).collect();
        }
        let children = known.edit_chain(&self.parent, &given, self.edit)?;
        let there = known.find(&self.parent);
        if there.is_some_and(|c| c.children == children) {
            hand.note("chain", Outcome::Existing, &self.parent, 1);
            return Ok(());
        }
        if children.len() > 1 << 14 {
            return Err(Error::new(Kind::Invalid, format!("chain '{}' would have too many children", self.parent)));
        }
        let mut plan = Vec::new();
        if there.is_none() {
            plan.push(Change::Collection(self.parent.clone(), CollectionType::Chained, self.doc.clone()));
        }
        let kept = if there.is_some() { positions(&repo.registry.conn, &self.parent).await? } else { Vec::new() };
        let first = first_position(self.edit, &kept, given.len(), children.len());
        plan.push(Change::Chain(self.parent.clone(), children, first));
        hand.apply(plan).await
    }
}

/// Where the children begin: an edit at one end leaves the positions at the other, as the Butler does.
fn first_position(edit: ChainEdit, there: &[i64], given: usize, children: usize) -> i64 {
    match (edit, there.first(), there.last()) {
        (ChainEdit::Prepend, Some(first), _) => first - given as i64,
        (ChainEdit::Prepend, None, _) => -(given as i64),
        (ChainEdit::Extend, _, Some(last)) => last + given as i64 + 1 - children as i64,
        (ChainEdit::Extend, _, None) => 1,
        _ => 0,
    }
}
