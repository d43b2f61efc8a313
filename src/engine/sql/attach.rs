//! ATTACH and DETACH, and the names of tables in attached repositories.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, Statement as Ast, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;

use crate::engine::sql::syntax_error::syntax_error;
use crate::engine::sql::tokens;
use crate::engine::sql::visit::visit_statement;
use crate::error::{Error, Result};

/// ATTACH or DETACH of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// `ATTACH 'location' AS name`.
    Attach {
        /// The location, as for a session.
        location: String,
        /// The name of the catalog.
        name: String,
    },
    /// `DETACH name`.
    Detach {
        /// The name of the catalog.
        name: String,
    },
}

/// Parses ATTACH and DETACH; `None` for other statements.
///
/// # Errors
/// `Kind::Invalid` for a syntax error, with the location.
pub(crate) fn parse(parser: &mut DFParser<'_>) -> Result<Option<Attachment>> {
    let parser = &mut parser.parser;
    let is_attach = parser.parse_keyword(Keyword::ATTACH);
    if !is_attach && !parser.parse_keyword(Keyword::DETACH) {
        return Ok(None);
    }
    let _ = parser.parse_keyword(Keyword::DATABASE);
    let location = match is_attach {
        true => Some(parser.parse_literal_string().map_err(syntax_error)?),
        false => None,
    };
    if is_attach && !parser.parse_keyword(Keyword::AS) {
        let at = parser.peek_token().span.start;
        return Err(Error::invalid("ATTACH needs a name: ATTACH 'repository' AS name")
            .with_location(Some(tokens::location(at))));
    }
    let name = folded(&parser.parse_identifier().map_err(syntax_error)?);
    Ok(Some(match location {
        Some(location) => Attachment::Attach { location, name },
        None => Attachment::Detach { name },
    }))
}

/// The name that an identifier means: unquoted ones are folded to lower case.
pub(crate) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Completes the names of tables in attached repositories: `name.raw` becomes `name.public.raw`.
pub(crate) fn qualify(statement: &mut Statement, attached: &[String]) {
    if attached.is_empty() {
        return;
    }
    let mut qualifier = Qualifier(attached);
    let _ = visit_statement(statement, &mut qualifier);
    // The names of DROP are not relations of the syntax tree.
    if let Statement::Statement(ast) = statement
        && let Ast::Drop { names, .. } = ast.as_mut()
    {
        for name in names {
            let _ = qualifier.pre_visit_relation(name);
        }
    }
}

struct Qualifier<'a>(&'a [String]);

impl Qualifier<'_> {
    fn is_attached(&self, ident: &Ident) -> bool {
        self.0.contains(&folded(ident))
    }
}

impl VisitorMut for Qualifier<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        if let [ObjectNamePart::Identifier(catalog), ObjectNamePart::Identifier(_)] = name.0.as_slice()
            && self.is_attached(catalog)
        {
            name.0.insert(1, ObjectNamePart::Identifier(Ident::new("public")));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [catalog, _, _] = parts.as_slice()
            && self.is_attached(catalog)
        {
            parts.insert(1, Ident::new("public"));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::statement::{Parsed, parse};
    use crate::engine::sql::tokens::tokenize;

    #[test]
    fn attach_and_detach_name_a_catalog() {
        let parsed = |sql: &str| match parse(tokenize(sql)?)? {
            Parsed::Attachment(attachment) => Ok(attachment),
            other => panic!("{other:?}"),
        };
        let [location, name] = ["a/b", "old"].map(str::to_owned);
        assert_eq!(parsed("ATTACH 'a/b' AS Old;").unwrap(), Attachment::Attach { location, name: name.clone() });
        assert_eq!(parsed("DETACH DATABASE old").unwrap(), Attachment::Detach { name });
        let error: Error = parsed("ATTACH 'a/b'").unwrap_err();
        assert_eq!(error.message(), "ATTACH needs a name: ATTACH 'repository' AS name");
    }

    #[test]
    fn tables_of_attached_repositories_are_in_their_schema_public() {
        let qualified = |sql: &str| match parse(tokenize(sql).unwrap()).unwrap() {
            Parsed::Query(mut statement) => {
                qualify(&mut statement, &["old".to_owned()]);
                statement.to_string()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(qualified("SELECT OLD.raw.a FROM OLD.raw"), "SELECT OLD.public.raw.a FROM OLD.public.raw");
        let other = "SELECT new.raw.a FROM new.raw, old.registry.dataset, old";
        assert_eq!(qualified(other), other);
    }
}
