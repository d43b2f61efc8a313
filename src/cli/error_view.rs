//! Errors as people see them: the sentence, the place, the line with a caret.

use std::io::{IsTerminal, Write};

use crate::error::Error;

/// The text an error is about.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// A file name, `-c`, or `standard input`.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
}

/// Prints an error to standard error.
pub fn print(error: &Error, source: Option<Source<'_>>) {
    if is_closed(error) {
        return;
    }
    let mut text = view(error, source);
    if std::io::stderr().is_terminal() {
        text = format!("\x1b[1;31merror\x1b[0m{}", text.trim_start_matches("error"));
    }
    // With standard error closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether nobody reads the output any more (`| head`): no error to speak of.
fn is_closed(error: &Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = inner.source();
    }
    error.said().contains("Broken pipe")
}

/// An error as text.
pub fn view(error: &Error, source: Option<Source<'_>>) -> String {
    let said = format!("error: {}", error.said());
    let (Some(source), Some(place)) = (source, error.place()) else {
        return match source {
            Some(source) => format!("{said}\n --> {}", source.name),
            None => said,
        };
    };
    let place_said = format!("{said}\n --> {}:{}:{}", source.name, place.line, place.column);
    let index = usize::try_from(place.line).unwrap_or(0).saturating_sub(1);
    let Some(line) = source.text.lines().nth(index) else { return place_said };
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let before = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
    let indent: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!("{place_said}\n {margin} |\n {number} | {line}\n {margin} | {indent}^")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    #[test]
    fn points_at_the_place() {
        let error = Error::invalid("no table named 'rw'").at(Some(Place { line: 2, column: 6 }));
        let source = Source { name: "a.sql", text: "SELECT *\nFROM rw" };
        let want = "error: no table named 'rw'\n --> a.sql:2:6\n   |\n 2 | FROM rw\n   |      ^";
        assert_eq!(view(&error, Some(source)), want);
        assert_eq!(view(&error, None), "error: no table named 'rw'");
    }
}
