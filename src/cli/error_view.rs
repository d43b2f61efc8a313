//! Errors for the terminal: the message, the location, the line of the script with a caret.

use std::io::{IsTerminal, Write};

use super::visible::{shortened, visible};
use crate::error::Error;

/// The maximum numbers of characters shown of a message and of a script line.
const MESSAGE: usize = 2000;
const LINE: usize = 160;

/// The script that contains the location of an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// A file name, `-c`, `shell` or `standard input`.
    pub name: &'a str,
    /// The text of the script.
    pub text: &'a str,
}

/// Prints an error to standard error.
pub(super) fn print(error: &Error, source: Option<Source<'_>>) {
    if is_closed(error) {
        return;
    }
    let mut text = view(error, source);
    if std::io::stderr().is_terminal() {
        text = format!("\x1b[1;31merror\x1b[0m{}", text.trim_start_matches("error"));
    }
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Returns true if the reader of the output has closed it (as `| head` does); this is not reported.
fn is_closed(error: &Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = inner.source();
    }
    error.message().contains("Broken pipe")
}

/// Formats an error: the message, the location with its line if known, and the details of a database.
pub(super) fn view(error: &Error, source: Option<Source<'_>>) -> String {
    let mut text = located(error, source);
    for (name, detail) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(detail) = detail {
            text.push_str(&format!("\n = {name}: {}", visible(&shortened(detail, MESSAGE))));
        }
    }
    text
}

/// Formats the message and the location.
fn located(error: &Error, source: Option<Source<'_>>) -> String {
    let message = format!("error: {}", visible(&shortened(error.message(), MESSAGE)));
    let (Some(source), Some(location)) = (source, error.location()) else {
        return match source {
            Some(source) => format!("{message}\n --> {}", source.name),
            None => message,
        };
    };
    let message_at = format!("{message}\n --> {}:{}:{}", source.name, location.line, location.column);
    let index = usize::try_from(location.line).unwrap_or(0).saturating_sub(1);
    let Some(line) = source.text.lines().nth(index) else { return message_at };
    let number = location.line.to_string();
    let margin = " ".repeat(number.len());
    let before = usize::try_from(location.column).unwrap_or(1).saturating_sub(1);
    let (line, indent) = window(line, before);
    format!("{message_at}\n {margin} |\n {number} | {}\n {margin} | {indent}^", visible(&line))
}

/// Cuts a line to a window around a character index; returns it with the indentation of the caret.
fn window(line: &str, before: usize) -> (String, String) {
    let first = if line.chars().count() > LINE { before.saturating_sub(LINE / 2) } else { 0 };
    let shown: String = line.chars().skip(first).take(LINE).collect();
    let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
    let blanks = line.chars().skip(first).take(before - first).map(blank);
    let (head, tail) = (first > 0, line.chars().count() > first + LINE);
    let dots = |cut: bool| if cut { "…" } else { "" };
    (format!("{}{shown}{}", dots(head), dots(tail)), if head { " " } else { "" }.chars().chain(blanks).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SourceLocation;

    #[test]
    fn points_at_the_place() {
        let error = Error::invalid("no table named 'rw'").with_location(Some(SourceLocation { line: 2, column: 6 }));
        let source = Source { name: "a.sql", text: "SELECT *\nFROM rw" };
        let want = "error: no table named 'rw'\n --> a.sql:2:6\n   |\n 2 | FROM rw\n   |      ^";
        assert_eq!(view(&error, Some(source)), want);
        assert_eq!(view(&error, None), "error: no table named 'rw'");
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let error = Error::invalid("x".repeat(9_999)).with_location(Some(SourceLocation { line: 1, column: 5_001 }));
        let text = format!("{}here{}", "a".repeat(5_000), "b".repeat(5_000));
        let view = view(&error, Some(Source { name: "-c", text: &text }));
        assert!(view.len() < 3_000, "{}", view.len());
        let lines: Vec<_> = view.lines().rev().take(2).collect();
        let column = |line: &str, c: char| line.chars().position(|at| at == c);
        assert_eq!(column(lines[1], 'h'), column(lines[0], '^'));
    }

    #[test]
    fn messages_hold_no_escapes() {
        assert_eq!(view(&Error::invalid("no '\u{1b}]0;x\u{7}'"), None), "error: no '\\x1B]0;x\\x07'");
    }
}
