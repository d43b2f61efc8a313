//! Makes text from data safe for a terminal, so that it cannot control the screen.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes control characters as psql does (`\x1B`); newlines and tabs are kept.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        // Writing to a string does not fail.
        let _ = match c {
            '\r' => write!(shown, "\\r"),
            c if hidden(c) && c.is_ascii() => write!(shown, "\\x{:02X}", u32::from(c)),
            c if hidden(c) => write!(shown, "\\u{:04X}", u32::from(c)),
            c => write!(shown, "{c}"),
        };
    }
    Cow::Owned(shown)
}

/// Cuts out the middle of a text that is longer than `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= most {
        return Cow::Borrowed(text);
    }
    let (head, tail) = (most * 2 / 3, most / 3);
    let first: String = text.chars().take(head).collect();
    let last: String = text.chars().skip(length - tail).collect();
    Cow::Owned(format!("{first} … {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(visible("a\u{1b}[2J\u{7}\r\n\t\u{7f}\u{9b}é"), "a\\x1B[2J\\x07\\r\n\t\\x7F\\u009Bé");
        assert_eq!(visible("plain"), "plain");
    }

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(shortened("abcdefghij", 6), "abcd … ij");
        assert_eq!(shortened("abcdef", 6), "abcdef");
    }
}
