//! Tokens of the Butler's query expressions.

use crate::error::Result;

/// A token, and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The kind of the token.
    pub kind: TokenKind,
    /// The text as written; without quotes for text and times, without the colon for binds.
    pub text: String,
    /// The offset of the first character, in characters from 0.
    pub at: usize,
}

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A time such as `T'2024-11-03'`.
    Time,
    /// A text in quotes, without any escape.
    Text,
    /// A range such as `1..5:2`, with its begin, end and stride.
    Range(i64, i64, i64),
    /// A number.
    Number,
    /// Two or three names with dots between them.
    Qualified,
    /// A name.
    Name,
    /// A name with a colon in front.
    Bind,
    /// An operator, parenthesis or comma.
    Symbol,
    /// One of the words `IN`, `OR`, `AND`, `NOT`, `OVERLAPS`; the text is in upper case.
    Keyword,
    /// The end of the text.
    End,
}

const KEYWORDS: [&str; 5] = ["IN", "OR", "AND", "NOT", "OVERLAPS"];
const SYMBOLS: [&str; 14] = ["!=", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];

/// Splits an expression into tokens; the last one is [`TokenKind::End`].
///
/// # Errors
/// `Kind::Invalid` for a character that starts no token, as in the Butler.
pub(super) fn lex(text: &str) -> Result<Vec<Token>> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if matches!(chars[at], ' ' | '\t' | '\n') {
            at += 1;
            continue;
        }
        let Some((token, end)) = token(&chars, at) else {
            let message = format!("InvalidQueryError: unexpected character '{}'", chars[at]);
            return Err(super::error_at(message, text, at));
        };
        tokens.push(token);
        at = end;
    }
    tokens.push(Token { kind: TokenKind::End, text: String::new(), at: chars.len() });
    Ok(tokens)
}

/// The token at an offset, and the offset after it.
fn token(chars: &[char], at: usize) -> Option<(Token, usize)> {
    let first = chars[at];
    let made = |kind, from: usize, to: usize, end: usize| {
        Some((Token { kind, text: chars[from..to].iter().collect(), at }, end))
    };
    if matches!(first, 'T' | 't') && chars.get(at + 1) == Some(&'\'') {
        let close = quote(chars, at + 2)?;
        return made(TokenKind::Time, at + 2, close, close + 1);
    }
    if first == '\'' {
        let close = quote(chars, at + 1)?;
        return made(TokenKind::Text, at + 1, close, close + 1);
    }
    if let Some((kind, end)) = range(chars, at) {
        return made(kind, at, end, end);
    }
    if first.is_ascii_digit() || first == '.' {
        let end = number(chars, at)?;
        return made(TokenKind::Number, at, end, end);
    }
    if is_letter(first) {
        let (mut end, mut names) = (name(chars, at), 1);
        while names < 3 && chars.get(end) == Some(&'.') && chars.get(end + 1).is_some_and(|c| is_letter(*c)) {
            end = name(chars, end + 1);
            names += 1;
        }
        let text: String = chars[at..end].iter().collect();
        if names == 1
            && let Some(keyword) = KEYWORDS.into_iter().find(|keyword| text.eq_ignore_ascii_case(keyword))
        {
            return Some((Token { kind: TokenKind::Keyword, text: keyword.to_owned(), at }, end));
        }
        return made(if names == 1 { TokenKind::Name } else { TokenKind::Qualified }, at, end, end);
    }
    if first == ':' && chars.get(at + 1).is_some_and(|c| is_letter(*c)) {
        let end = name(chars, at + 1);
        return made(TokenKind::Bind, at + 1, end, end);
    }
    let symbol =
        SYMBOLS.into_iter().find(|symbol| symbol.chars().eq(chars[at..].iter().copied().take(symbol.len())))?;
    made(TokenKind::Symbol, at, at + symbol.len(), at + symbol.len())
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// The offset of the closing quote, on the same line.
fn quote(chars: &[char], from: usize) -> Option<usize> {
    let end = chars[from..].iter().position(|c| matches!(c, '\'' | '\n'))? + from;
    (chars[end] == '\'').then_some(end)
}

/// The offset after a name.
fn name(chars: &[char], from: usize) -> usize {
    from + chars[from..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').count()
}

/// The offset after digits; `None` if there are none.
fn digits(chars: &[char], from: usize) -> Option<usize> {
    let many = chars.get(from..)?.iter().take_while(|c| c.is_ascii_digit()).count();
    (many > 0).then_some(from + many)
}

/// The offset after blanks.
fn blanks(chars: &[char], from: usize) -> usize {
    from + chars[from..].iter().take_while(|c| matches!(c, ' ' | '\t')).count()
}

/// The offset after an integer that may be negative.
fn integer(chars: &[char], from: usize) -> Option<usize> {
    digits(chars, from + usize::from(chars.get(from) == Some(&'-')))
}

fn number(chars: &[char], at: usize) -> Option<usize> {
    let mut end = match digits(chars, at) {
        Some(end) if chars.get(end) == Some(&'.') => digits(chars, end + 1).unwrap_or(end + 1),
        Some(end) => end,
        None => digits(chars, at + 1)?,
    };
    if matches!(chars.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(chars.get(end + 1), Some('+' | '-')));
        end = digits(chars, end + 1 + sign).unwrap_or(end);
    }
    Some(end)
}

/// A range at an offset, and the offset after it.
fn range(chars: &[char], at: usize) -> Option<(TokenKind, usize)> {
    let value = |from: usize, to: usize| chars[from..to].iter().collect::<String>().parse::<i64>().ok();
    let begin_end = integer(chars, at)?;
    let dots = blanks(chars, begin_end);
    if chars.get(dots..dots + 2)? != ['.', '.'] {
        return None;
    }
    let end_start = blanks(chars, dots + 2);
    let end = integer(chars, end_start)?;
    let (mut stride, mut after) = (1, end);
    let colon = blanks(chars, end);
    if chars.get(colon) == Some(&':') {
        let start = blanks(chars, colon + 1);
        if let Some(stop) = digits(chars, start).filter(|_| chars[start] != '0') {
            (stride, after) = (value(start, stop)?, stop);
        }
    }
    Some((TokenKind::Range(value(at, begin_end)?, value(end_start, end)?, stride), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_the_butler() {
        let shown = |text: &str| {
            let tokens = lex(text).unwrap();
            tokens.iter().map(|t| t.text.as_str()).collect::<Vec<_>>().join(" ").trim_end().to_owned()
        };
        assert_eq!(shown("seq_num=1and x.y.z>=.5e-3"), "seq_num = 1 AND x.y.z >= .5e-3");
        assert_eq!(shown("t'a b' 'it' -- :n"), "a b it - - n");
        assert_eq!(lex("-2 .. 1 : 3").unwrap()[0].kind, TokenKind::Range(-2, 1, 3));
        assert_eq!(lex("1..5:0").unwrap_err().message(), "InvalidQueryError: unexpected character ':' (position 5)");
        for wrong in ["\"x\"", "`x`", "#1", "a; b", "a ! b", "é", "'a\nb'", "a..b", "a.b.c.d"] {
            assert!(lex(wrong).is_err(), "{wrong}");
        }
    }
}
