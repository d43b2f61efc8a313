//! Procedures for collections and chains.

use std::sync::Arc;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::error::Error;
use crate::model::collection::{ChainEdit, CollectionType};
use crate::repo::RegisterCollection;
use crate::repo::{Chain, CopyCollection};
use crate::repo::{Rename, SetCollectionDoc};

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::procedure("register_collection", "Registers a collection.", |args| {
            Ok(Arc::new(RegisterCollection {
                name: args.required("collection")?,
                kind: CollectionType::from_name(args.text("type").as_deref().unwrap_or("TAGGED"))?,
                doc: args.text("doc"),
            }))
        })
        .arg("collection", ArgType::Text, "the name of the collection")
        .option("type", ArgType::Text, "RUN, TAGGED, CHAINED or CALIBRATION; default TAGGED")
        .option("doc", ArgType::Text, "documentation of the collection")
        .example("CALL register_collection('u/me/picked', 'TAGGED')"),
        FunctionDef::procedure("rename_collection", "Renames a collection; it stays in its chains.", |args| {
            let (name, to) = (args.required("collection")?, args.required("new_name")?);
            Ok(Arc::new(Rename { name, to, force: args.bool("force", false) }))
        })
        .arg("collection", ArgType::Text, "the name of the collection")
        .arg("new_name", ArgType::Text, "the new name")
        .option("force", ArgType::Bool, "rename a RUN collection with datasets; default false")
        .notes(
            "The files of a RUN collection stay where they are. A new run of the old name would write to the same paths.",
        )
        .example("CALL rename_collection('u/me/picked', 'u/me/selected')"),
        FunctionDef::procedure("copy_collection", "Copies the members of a collection to another one.", |args| {
            Ok(Arc::new(CopyCollection { from: args.required("collection")?, to: args.required("new_name")? }))
        })
        .arg("collection", ArgType::Text, "the TAGGED, CALIBRATION or CHAINED collection")
        .arg("new_name", ArgType::Text, "the other collection; created with the same type if it does not exist")
        .notes("Tags and validity ranges are added to those of the other collection; the children of a chain replace its children.")
        .example("CALL copy_collection('u/me/selected', 'u/me/selected/2024-11-01')"),
        FunctionDef::procedure("set_doc", "Sets the documentation of a collection.", |args| {
            Ok(Arc::new(SetCollectionDoc { name: args.required("collection")?, doc: args.text("doc") }))
        })
        .arg("collection", ArgType::Text, "the name of the collection")
        .option("doc", ArgType::Text, "the documentation; default none")
        .example("CALL set_doc('u/me/selected', 'raws for the first look')"),
        FunctionDef::procedure("chain", "Sets or edits the children of a CHAINED collection.", |args| {
            if args.has_rows() && args.list("children").is_some() {
                return Err(Error::invalid("chain takes its children as a list or as rows, not both"));
            }
            Ok(Arc::new(Chain {
                parent: args.required("parent")?,
                children: if args.has_rows() { None } else { Some(args.list("children").unwrap_or_default()) },
                edit: ChainEdit::from_name(args.text("mode").as_deref().unwrap_or("redefine"))?,
                doc: args.text("doc"),
                flatten: args.bool("flatten", false),
            }))
        })
        .arg("parent", ArgType::Text, "the chain; created if it does not exist")
        .option("children", ArgType::TextList, "collections in search order; for mode pop, positions from 0")
        .option("mode", ArgType::Text, "redefine, prepend, extend, remove or pop; default redefine")
        .option("doc", ArgType::Text, "documentation of the chain, if it is created")
        .option("flatten", ArgType::Bool, "replace child chains by their children; default false")
        .option("rows", ArgType::Query("name"), "the children as a subquery, instead of a list")
        .example("CALL chain('refcats', ['refcats/DM-46370/the_monster_20240904'])"),
    ]
}
