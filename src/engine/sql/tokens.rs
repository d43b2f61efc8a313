//! Tokens of SQL text, and where they stand.

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Spanned};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{Error, Result, SourceLocation};

/// The SQL dialect of the tokenizer and the parser.
pub(crate) const DIALECT: GenericDialect = GenericDialect {};

/// Splits SQL text into tokens with their locations.
///
/// # Errors
/// `Kind::Invalid` for text that is not SQL, such as an unclosed quote.
pub(crate) fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>> {
    Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|e| {
        let location = SourceLocation { line: e.location.line, column: e.location.column };
        Error::invalid(e.message).with_location(Some(location))
    })
}

/// Converts a location of the tokenizer.
pub(in crate::engine) fn location(at: Location) -> SourceLocation {
    SourceLocation { line: at.line, column: at.column }
}

/// The location of a syntax node, if the parser recorded it.
pub(in crate::engine) fn location_of(what: &impl Spanned) -> Option<SourceLocation> {
    let start = what.span().start;
    (start.line > 0).then(|| location(start))
}

/// Whether a token is whitespace, a comment or the end of the input.
pub(crate) fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// The name in lower case, if it has one part.
pub(in crate::engine) fn simple_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident.value.to_lowercase()),
        _ => None,
    }
}
