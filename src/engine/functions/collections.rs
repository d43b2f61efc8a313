//! Collections, and chains that search others.

use std::sync::Arc;

use crate::engine::arguments::{Function, Takes};
use crate::error::Error;
use crate::model::collection::{ChainEdit, CollectionType};
use crate::repo::{Chain, RegisterCollection, RemoveCollection};

pub fn functions() -> Vec<Function> {
    vec![
        Function::verb("register_collection", "Makes a collection.", |given| {
            Ok(Arc::new(RegisterCollection {
                name: given.need("collection")?,
                kind: CollectionType::from_name(given.text("type").as_deref().unwrap_or("TAGGED"))?,
                doc: given.text("doc"),
            }))
        })
        .arg("collection", Takes::Text, "its name")
        .option("type", Takes::Text, "RUN, TAGGED, CHAINED or CALIBRATION; default TAGGED")
        .option("doc", Takes::Text, "what it is for")
        .example("CALL register_collection('u/me/picked', 'TAGGED')"),
        Function::verb("remove_collection", "Removes collections that are no RUN; datasets stay.", |given| {
            Ok(Arc::new(RemoveCollection { name: given.need("collection")? }))
        })
        .arg("collection", Takes::Text, "a name or a glob; a RUN matched by a glob is passed over")
        .example("CALL remove_collection('u/me/picked')"),
        Function::verb("chain", "Makes a CHAINED collection search these children, in this order.", |given| {
            if given.has_rows() && given.list("children").is_some() {
                return Err(Error::invalid("chain takes its children as a list or as rows, not both"));
            }
            Ok(Arc::new(Chain {
                parent: given.need("parent")?,
                children: if given.has_rows() { None } else { Some(given.list("children").unwrap_or_default()) },
                edit: ChainEdit::from_name(given.text("mode").as_deref().unwrap_or("redefine"))?,
                doc: given.text("doc"),
                flatten: given.bool("flatten", false),
            }))
        })
        .arg("parent", Takes::Text, "the chain; made when absent")
        .option("children", Takes::TextList, "collections, first searched first; for mode pop, positions from 0")
        .option("mode", Takes::Text, "redefine, prepend, extend, remove or pop; default redefine")
        .option("doc", Takes::Text, "what it is for, when it is made")
        .option("flatten", Takes::Bool, "put what chains search in their place; default false")
        .option("rows", Takes::Rows("name"), "the children as a subquery, instead of a list")
        .example("CALL chain('refcats', ['refcats/DM-46370/the_monster_20240904'])"),
    ]
}
