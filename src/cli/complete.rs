//! Completion, highlighting and validation of input lines in the shell.

use std::borrow::Cow;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::HistoryHinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Hinter};

use super::commands::COMMANDS;
use super::script::is_complete;
use crate::engine::functions;
use crate::engine::sql::tokens::tokenize;

/// Keywords offered as completions; only the most frequent, to keep the list short.
const KEYWORDS: [&str; 40] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "USING",
    "ON",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "LIKE",
    "BETWEEN",
    "AS",
    "DISTINCT",
    "UNION ALL",
    "EXCEPT",
    "INTERSECT",
    "WITH",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "COUNT",
    "CALL",
    "EXPLAIN",
    "COPY",
    "TO",
    "INSERT INTO",
    "ASSERT",
    "DESCRIBE",
];

/// The completer, highlighter and validator of the line editor.
#[derive(Helper, Hinter)]
pub(super) struct ShellHelper {
    /// Names of the tables in schema `public`.
    pub tables: Vec<String>,
    /// Names of the columns of these tables.
    pub columns: Vec<String>,
    /// Names of collections, offered within string literals.
    pub collections: Vec<String>,
    #[rustyline(Hinter)]
    hinter: HistoryHinter,
    files: FilenameCompleter,
}

impl ShellHelper {
    /// Creates a helper without names of a repository.
    pub(super) fn new() -> Self {
        let (tables, columns, collections) = Default::default();
        Self { tables, columns, collections, hinter: HistoryHinter::new(), files: FilenameCompleter::new() }
    }

    /// Returns the candidates for a word that begins after `before`.
    fn words(&self, before: &str) -> Vec<String> {
        if before.trim_start().is_empty() {
            let commands = COMMANDS.iter().map(|c| c.0.to_owned());
            return commands.chain(KEYWORDS.iter().map(|k| (*k).to_owned())).collect();
        }
        // The word before the dot is a table.
        if before.ends_with('.') {
            return self.columns.clone();
        }
        let named = open_call(before).and_then(functions::find);
        let arguments = named.iter().flat_map(|f| f.arguments.iter().map(|a| format!("{} => ", a.name)));
        let calls = functions::all().iter().map(|f| format!("{}(", f.name));
        let names = self.tables.iter().chain(&self.columns).cloned();
        arguments.chain(names).chain(calls).chain(KEYWORDS.iter().map(|k| (*k).to_owned())).collect()
    }
}

/// Returns the name before the innermost open parenthesis.
fn open_call(before: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in before.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' if depth == 0 => {
                let head = before[..at].trim_end();
                let start = head.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |i| i + 1);
                return Some(&head[start..]);
            }
            '(' => depth -= 1,
            ';' => return None,
            _ => {}
        }
    }
    None
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..pos];
        let pair = |text: String| Pair { display: text.clone(), replacement: text };
        if before.matches('\'').count() % 2 == 1 {
            let start = before.rfind('\'').map_or(0, |i| i + 1);
            let typed = &before[start..];
            let found: Vec<_> = self.collections.iter().filter(|c| c.starts_with(typed)).cloned().map(pair).collect();
            return if found.is_empty() { self.files.complete(line, pos, context) } else { Ok((start, found)) };
        }
        if before.starts_with("\\i ") {
            return self.files.complete(line, pos, context);
        }
        let start = before.rfind(|c: char| c.is_whitespace() || "(),=<>;.".contains(c)).map_or(0, |i| i + 1);
        let typed = before[start..].to_lowercase();
        let words = self.words(&before[..start]);
        let mut found: Vec<String> = words.into_iter().filter(|w| w.to_lowercase().starts_with(&typed)).collect();
        found.sort_unstable();
        found.dedup();
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

impl Highlighter for ShellHelper {
    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        let Ok(tokens) = tokenize(line) else { return Cow::Borrowed(line) };
        let coloured: String = tokens
            .iter()
            .map(|t| match &t.token {
                Token::Word(w) if w.keyword != Keyword::NoKeyword && w.quote_style.is_none() => {
                    format!("\x1b[1;34m{}\x1b[0m", t.token)
                }
                Token::SingleQuotedString(_) => format!("\x1b[32m{}\x1b[0m", t.token),
                Token::Number(..) => format!("\x1b[36m{}\x1b[0m", t.token),
                other => other.to_string(),
            })
            .collect();
        Cow::Owned(coloured)
    }

    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        true
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

/// Returns true for words that the shell accepts without a semicolon.
fn is_word(text: &str) -> bool {
    matches!(text.trim(), "exit" | "quit" | "help")
}

impl Validator for ShellHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let whole = text.trim().is_empty() || text.starts_with('\\') || is_word(text) || is_complete(text);
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_open_call_come_first() {
        assert_eq!(open_call("SELECT * FROM chain('x', (SELECT count(*)"), None.or(Some("")));
        assert_eq!(open_call("CALL ingest_raws('x', "), Some("ingest_raws"));
        let mut helper = ShellHelper::new();
        let words = helper.words("CALL ingest_raws('x', ");
        assert_eq!(words[0], "locations => ");
        helper.columns = vec!["exposure".to_owned()];
        assert_eq!(helper.words("SELECT e."), ["exposure"]);
    }
}
