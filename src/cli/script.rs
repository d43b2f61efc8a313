//! Splits scripts into statements (tokens with their locations) and shell commands.
//!
//! Statements are split at tokens, not at lines; variables replace tokens, not text.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::engine::sql::tokens::{is_blank, tokenize};
use crate::error::{Error, Kind, Result, SourceLocation, hint};

/// An item of a script.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ScriptItem {
    /// The tokens of a statement without its semicolon.
    Statement(Vec<TokenWithSpan>),
    /// A command such as `\i file`, with its line number from 1.
    Command(String, u64),
}

/// Splits a script into items.
///
/// # Errors
/// Text that cannot be tokenized, with its location.
pub(super) fn split_script(text: &str) -> Result<Vec<ScriptItem>> {
    let mut all = Vec::new();
    let mut pending = String::new();
    let mut first = 1;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if line.starts_with('\\') && is_complete(&pending) {
            statements(&pending, first, &mut all)?;
            all.push(ScriptItem::Command(line.trim_end().to_owned(), number));
            if line.trim_end() == "\\q" {
                // The rest of the file need not be SQL.
                return Ok(all);
            }
            pending.clear();
            first = number + 1;
        } else {
            pending.push_str(line);
        }
    }
    statements(&pending, first, &mut all)?;
    Ok(all)
}

/// Returns true if a text ends outside a statement, so that a shell command may follow or Enter may run it.
pub(super) fn is_complete(text: &str) -> bool {
    let Ok(tokens) = tokenize(text) else { return false };
    tokens.iter().rev().find(|t| !is_blank(&t.token)).is_none_or(|t| t.token == Token::SemiColon)
}

fn statements(text: &str, first: u64, all: &mut Vec<ScriptItem>) -> Result<()> {
    let shift = |location: SourceLocation| SourceLocation { line: location.line + first - 1, ..location };
    let mut tokens = tokenize(text).map_err(|e| {
        let location = e.location().map(shift);
        Error::new(e.kind(), e.message()).with_location(location)
    })?;
    for token in &mut tokens {
        token.span.start.line += first - 1;
        token.span.end.line += first - 1;
    }
    for statement in tokens.split(|t| t.token == Token::SemiColon) {
        if statement.iter().any(|t| !is_blank(&t.token)) {
            all.push(ScriptItem::Statement(statement.to_vec()));
        }
    }
    Ok(())
}

/// Returns the location of the first token of a statement.
pub(super) fn first_location(tokens: &[TokenWithSpan]) -> Option<SourceLocation> {
    let first = tokens.iter().find(|t| !is_blank(&t.token))?;
    Some(SourceLocation { line: first.span.start.line, column: first.span.start.column })
}

/// Replaces `$NAME` by the value of the variable; positional parameters (`$1`) are kept.
///
/// # Errors
/// A variable that is not set, or a string literal that contains a variable; both with their location.
pub(super) fn substitute_variables(
    tokens: Vec<TokenWithSpan>,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<TokenWithSpan>> {
    let mut before = Token::EOF;
    tokens
        .into_iter()
        .map(|mut token| {
            let before =
                if is_blank(&token.token) { Token::EOF } else { std::mem::replace(&mut before, token.token.clone()) };
            if let Token::SingleQuotedString(text) = &token.token {
                check_quoted(text, variables).map_err(|e| {
                    let start = token.span.start;
                    e.with_location(Some(SourceLocation { line: start.line, column: start.column }))
                })?;
            }
            let Token::Placeholder(name) = &token.token else { return Ok(token) };
            let Some(name) = name.strip_prefix('$').filter(|n| !n.starts_with(|c: char| c.is_ascii_digit())) else {
                return Ok(token);
            };
            let Some(value) = variables.get(name) else {
                let near = hint(name, variables.keys().map(String::as_str));
                let message = format!("variable ${name} is not set: give it with -v {name}=…{near}");
                let start = token.span.start;
                return Err(Error::new(Kind::NotFound, message)
                    .with_location(Some(SourceLocation { line: start.line, column: start.column })));
            };
            token.token = match is_before_number(&before) && value.parse::<u64>().is_ok() {
                true => Token::Number(value.clone(), false),
                false => Token::SingleQuotedString(value.clone()),
            };
            Ok(token)
        })
        .collect()
}

/// Returns true for keywords that require a number, such as LIMIT.
fn is_before_number(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    let word = word.value.to_uppercase();
    ["LIMIT", "OFFSET", "FIRST", "NEXT"].contains(&word.as_str())
}

/// Refuses a string literal that contains a variable that is set, because variables are not replaced within quotes.
fn check_quoted(text: &str, variables: &BTreeMap<String, String>) -> Result<()> {
    for rest in text.split('$').skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if variables.contains_key(&name) {
            let message = format!("${name} is not replaced inside quotes: write ${name} alone, or ${name} || '…'");
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(item: &ScriptItem) -> String {
        match item {
            ScriptItem::Statement(tokens) => {
                tokens.iter().map(|t| t.token.to_string()).collect::<String>().trim().to_owned()
            }
            ScriptItem::Command(text, line) => format!("{line}:{text}"),
        }
    }

    #[test]
    fn splits_by_tokens() {
        let text = "SELECT ';' AS a; -- no; end\n\\echo hi\nSELECT\n\\ 1;\n/* ; */ SELECT 2";
        let shown: Vec<_> = split_script(text).map(|all| all.iter().map(shown).collect()).unwrap_or_default();
        assert_eq!(shown[..2], ["SELECT ';' AS a".to_owned(), "2:\\echo hi".to_owned()]);
        assert_eq!(shown.len(), 4);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let all = split_script("SELECT 1;\n\\echo x\nSELECT\n  $DATA;").unwrap();
        let ScriptItem::Statement(tokens) = all[2].clone() else { panic!("a statement") };
        let error = substitute_variables(tokens, &BTreeMap::from([("DATE".into(), "x".into())])).unwrap_err();
        assert_eq!(error.message(), "variable $DATA is not set: give it with -v DATA=…; did you mean 'DATE'?");
        assert_eq!(error.location(), Some(SourceLocation { line: 4, column: 3 }));
    }

    #[test]
    fn values_are_tokens() {
        let ScriptItem::Statement(tokens) = split_script("SELECT $X || 'b', $1").unwrap()[0].clone() else {
            panic!("a statement")
        };
        let bound = substitute_variables(tokens, &BTreeMap::from([("X".into(), "it's; --".into())])).unwrap();
        let tokens: Vec<_> = bound.iter().map(|t| &t.token).filter(|t| !is_blank(t)).collect();
        assert_eq!(tokens[1], &Token::SingleQuotedString("it's; --".into()));
        assert_eq!(tokens.last(), Some(&&Token::Placeholder("$1".into())));
        let ScriptItem::Statement(tokens) = split_script("SELECT $N LIMIT\n $N OFFSET $X").unwrap()[0].clone() else {
            panic!("a statement")
        };
        let bound = substitute_variables(tokens, &BTreeMap::from([("N".into(), "2".into()), ("X".into(), "x".into())]))
            .unwrap();
        let shown: Vec<_> = bound.iter().filter(|t| !is_blank(&t.token)).map(|t| t.token.to_string()).collect();
        assert_eq!(shown.join(" "), "SELECT '2' LIMIT 2 OFFSET 'x'");
    }

    #[test]
    fn variables_in_quotes_are_a_slip() {
        let ScriptItem::Statement(tokens) = split_script("SELECT '$X/raw', '$Y'").unwrap()[0].clone() else {
            panic!("a statement")
        };
        let error = substitute_variables(tokens, &BTreeMap::from([("X".into(), "x".into())])).unwrap_err();
        assert_eq!(error.message(), "$X is not replaced inside quotes: write $X alone, or $X || '…'");
        assert_eq!(error.location(), Some(SourceLocation { line: 1, column: 8 }));
    }

    proptest! {
        #[test]
        fn joined_pieces_split_again(parts in proptest::collection::vec("[a-z]{1,5}( '[^'\\\\]{0,5}')?", 0..6)) {
            let text = parts.iter().map(|p| format!("SELECT {p}")).collect::<Vec<_>>();
            let split = split_script(&text.join(";\n")).unwrap();
            prop_assert_eq!(split.iter().map(shown).collect::<Vec<_>>(), text);
        }
    }
}
