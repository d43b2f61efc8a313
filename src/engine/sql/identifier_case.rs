//! Refuses unquoted names of dataset types that, folded to lower case, are a dimension: `skyMap` and `skymap`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Query, Statement as Ast, Visit, Visitor};

use crate::engine::catalog::repository::Snapshot;
use crate::engine::sql::tokens::location;
use crate::error::{Error, Result};

/// Checks the tables that a statement reads.
///
/// # Errors
/// `Kind::Invalid` for such a name.
pub(crate) fn check(statement: &Statement, known: &Snapshot) -> Result<()> {
    match statement {
        Statement::Statement(ast) => match ast.as_ref() {
            Ast::Query(query) => check_names(query, known),
            _ => Ok(()),
        },
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => check_names(query, known),
            CopyToSource::Relation(name) => check_names(name, known),
        },
        _ => Ok(()),
    }
}

/// Checks the tables that a part of a statement reads.
///
/// # Errors
/// `Kind::Invalid` for such a name.
pub(crate) fn check_names(part: &impl Visit, known: &Snapshot) -> Result<()> {
    match part.visit(&mut Names { known, own: HashSet::new() }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Names<'a> {
    known: &'a Snapshot,
    /// Names that WITH defines.
    own: HashSet<String>,
}

impl Visitor for Names<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let named =
            query.with.iter().flat_map(|with| &with.cte_tables).map(|table| table.alias.name.value.to_lowercase());
        self.own.extend(named);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Error> {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return ControlFlow::Continue(()) };
        let (written, read) = (&ident.value, ident.value.to_lowercase());
        let is_type = *written != read && self.known.types.iter().any(|t| t.dataset_type.name == *written);
        let is_dimension = self.known.repo.registry.universe.element(&read).is_ok();
        if ident.quote_style.is_some() || !is_type || !is_dimension || self.own.contains(&read) {
            return ControlFlow::Continue(());
        }
        let message = format!("{written} without quotes is dimension '{read}'; the dataset type is \"{written}\"");
        ControlFlow::Break(Error::invalid(message).with_location(Some(location(ident.span.start))))
    }
}
