//! Finds the location of an error in its statement, for errors that were raised without one.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::visit_relations;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::engine::sql::tokens::{is_blank, location};
use crate::error::{Error, SourceLocation};

/// The words, names and string literals of a statement, with their locations.
pub(super) struct Locator {
    tokens: Vec<NamedToken>,
    start: Option<SourceLocation>,
}

/// A word, name or string literal.
struct NamedToken {
    text: String,
    is_literal: bool,
    location: SourceLocation,
}

impl Locator {
    /// Collects the tokens of a statement.
    pub(super) fn new(tokens: &[TokenWithSpan]) -> Self {
        let text = |token: &Token| match token {
            Token::SingleQuotedString(text) => Some((text.clone(), true)),
            Token::Word(word) => Some((word.value.clone(), false)),
            _ => None,
        };
        let start = tokens.iter().find(|t| !is_blank(&t.token)).map(|t| location(t.span.start));
        let tokens = tokens.iter().filter_map(|t| {
            let (text, is_literal) = text(&t.token)?;
            Some(NamedToken { text, is_literal, location: location(t.span.start) })
        });
        Self { tokens: tokens.collect(), start }
    }

    /// Adds a location to an error that has none: of its subject if it has one, else of a name that its message quotes
    /// or of the keyword or function that its message begins with, else of the statement.
    pub(super) fn locate(&self, error: Error) -> Error {
        if error.location().is_some() {
            return error;
        }
        let found = match error.subject() {
            Some(subject) => self.find(subject),
            None => self.find_in(error.message()),
        };
        let location = found.or(self.start);
        error.with_location(location)
    }

    /// Returns the location of what a message names.
    fn find_in(&self, message: &str) -> Option<SourceLocation> {
        let message = message.split("; did you mean").next().unwrap_or_default();
        let quoted = message.split('\'').skip(1).step_by(2);
        let first = message.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let is_keyword = first.len() > 1 && first == first.to_uppercase();
        let is_function = message.strip_prefix(first).is_some_and(|rest| rest.starts_with('('));
        let first = Some(first).filter(|_| is_keyword || is_function);
        quoted.chain(first).find_map(|name| self.find(name))
    }

    /// Returns the location of a name or literal; a message may name a file by its absolute path.
    fn find(&self, name: &str) -> Option<SourceLocation> {
        let exact = self.tokens.iter().find(|token| token.text == name);
        let same = || self.tokens.iter().find(|token| token.text.eq_ignore_ascii_case(name));
        let is_path = |token: &&NamedToken| token.is_literal && name.ends_with(&format!("/{}", token.text));
        let path = || self.tokens.iter().find(is_path);
        let found = exact.or_else(same).or_else(path).filter(|_| !name.is_empty());
        found.map(|token| token.location)
    }
}

/// Adds the location of the table that an error is about.
pub(super) fn locate(error: Error, statement: &Statement) -> Error {
    let Statement::Statement(ast) = statement else { return error };
    let is_meant = |name: &str| match error.subject() {
        Some(subject) => subject == name,
        None => error.message().contains(&format!("'{name}'")),
    };
    let mut location = None;
    let _ = visit_relations(ast, |name| {
        let last = name.0.last().and_then(|part| part.as_ident());
        match last.filter(|ident| is_meant(&ident.value)) {
            Some(ident) if ident.span.start.line > 0 => {
                location = Some(SourceLocation { line: ident.span.start.line, column: ident.span.start.column });
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    });
    error.with_location(location)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::tokens::tokenize;

    #[test]
    fn errors_are_located_by_what_they_name() {
        let at = |sql: &str, error: Error| {
            let located = Locator::new(&tokenize(sql).unwrap()).locate(error).location().unwrap();
            usize::try_from(located.column).unwrap()
        };
        let chain = "CALL chain('a', ['tagg'])";
        assert_eq!(at(chain, Error::not_found("collection", "tagg", ["tag"])), 18);
        assert_eq!(at("SELECT TOP 5 * FROM x", Error::invalid("TOP is not supported")), 8);
        assert_eq!(at("SELECT a, box('x') FROM t", Error::invalid("box(ra, dec) does not take (text)")), 11);
        assert_eq!(at("SELECT * FROM 'x.csv'", Error::invalid("file '/folder/x.csv' is damaged")), 15);
        assert_eq!(
            at("CALL import('x', skip => ['detector'])", Error::not_found("dimension", "detectr", ["detector"])),
            1
        );
        assert_eq!(at(" SELECT 1", Error::invalid("the disk is full")), 2);
    }
}
