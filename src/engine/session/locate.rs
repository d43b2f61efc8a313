//! Finds the location of an error in its statement, for errors that were raised without one.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::engine::sql::tokens::{is_blank, location};
use crate::error::{Error, SourceLocation};

/// The words, names and string literals of a statement, with their locations.
pub(super) struct Locator {
    tokens: Vec<(String, SourceLocation)>,
    start: Option<SourceLocation>,
}

impl Locator {
    /// Collects the tokens of a statement.
    pub(super) fn new(tokens: &[TokenWithSpan]) -> Self {
        let text = |token: &Token| match token {
            Token::SingleQuotedString(text) => Some(text.clone()),
            Token::Word(word) => Some(word.value.clone()),
            _ => None,
        };
        let start = tokens.iter().find(|t| !is_blank(&t.token)).map(|t| location(t.span.start));
        let tokens = tokens.iter().filter_map(|t| Some((text(&t.token)?, location(t.span.start))));
        Self { tokens: tokens.collect(), start }
    }

    /// Adds a location to an error that has none: of its subject, of a name that its message quotes, of the keyword or
    /// function that its message begins with, or of the statement.
    pub(super) fn locate(&self, error: Error) -> Error {
        if error.location().is_some() {
            return error;
        }
        let quoted = error.message().split('\'').skip(1).step_by(2);
        let first = error.message().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let keyword = Some(first).filter(|word| word.len() > 1 && *word == word.to_uppercase());
        let function = error.message().strip_prefix(first).filter(|rest| rest.starts_with('(')).map(|_| first);
        let named = error.subject().into_iter().chain(quoted).chain(keyword).chain(function);
        let location = named.filter(|name| !name.is_empty()).find_map(|name| self.find(name)).or(self.start);
        error.with_location(location)
    }

    /// Returns the location of a name or literal; a file may be named by its absolute path.
    fn find(&self, name: &str) -> Option<SourceLocation> {
        let exact = self.tokens.iter().find(|(text, _)| text == name);
        let same = || self.tokens.iter().find(|(text, _)| text.eq_ignore_ascii_case(name));
        let path = || self.tokens.iter().find(|(text, _)| name.ends_with(&format!("/{text}")));
        exact.or_else(same).or_else(path).map(|(_, location)| *location)
    }
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
        assert_eq!(at(" SELECT 1", Error::invalid("the disk is full")), 2);
    }
}
