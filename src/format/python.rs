//! The subset of Python used in configuration files: assignments, attribute paths, literals and arithmetic.

use crate::error::{Error, Result};

/// A value on the right of an assignment.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list or tuple of literals.
    List(Vec<Value>),
}

/// Splits a text into statements with their line numbers; removes comments, and newlines within brackets.
///
/// # Errors
/// An unterminated string or an unclosed bracket, with its line.
pub(super) fn statements(text: &str) -> Result<Vec<(usize, String)>> {
    let mut all = Vec::new();
    let mut open = String::new();
    let mut depth = 0_i32;
    let mut begin = 0;
    for (number, line) in (1..).zip(text.lines()) {
        if depth == 0 {
            begin = number;
        }
        let mut quote = None;
        for c in line.chars() {
            match (quote, c) {
                (Some(q), c) if c == q => quote = None,
                (Some(_), _) => {}
                (None, '#') => break,
                (None, '"' | '\'') => quote = Some(c),
                (None, '[' | '(') => depth += 1,
                (None, ']' | ')') => depth -= 1,
                _ => {}
            }
            open.push(c);
        }
        if quote.is_some() {
            return Err(Error::invalid(format!("line {number}: unterminated string")));
        }
        if depth <= 0 {
            depth = 0;
            let statement = std::mem::take(&mut open).trim().to_owned();
            if !statement.is_empty() {
                all.push((begin, statement));
            }
        }
    }
    if open.trim().is_empty() { Ok(all) } else { Err(Error::invalid(format!("line {begin}: unclosed bracket"))) }
}

/// Splits a path such as `config.skyMap["rings"].numRings` into its parts.
///
/// # Errors
/// Text that is not such a path.
pub(super) fn steps(path: &str) -> Result<Vec<String>> {
    let mut steps = Vec::new();
    let mut rest = path;
    let wrong = || Error::invalid(format!("'{path}' is not a field of a configuration"));
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let name = rest[..end].trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(wrong());
        }
        steps.push(name.to_owned());
        rest = &rest[end..];
        while let Some(key) = rest.strip_prefix('[') {
            let (key, after) = key.split_once(']').ok_or_else(wrong)?;
            let key = key.trim();
            let quoted = ['"', '\''].iter().find_map(|q| key.strip_prefix(*q)?.strip_suffix(*q));
            steps.push(quoted.ok_or_else(wrong)?.to_owned());
            rest = after.trim_start();
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.trim().is_empty() => return Ok(steps),
            None => return Err(wrong()),
        }
    }
}

/// Evaluates a literal or arithmetic on literals.
///
/// # Errors
/// An expression of another kind.
pub(super) fn parse_value(text: &str) -> Result<Value> {
    let wrong = || Error::invalid(format!("'{text}' is not a literal"));
    match text {
        "None" => return Ok(Value::None),
        "True" => return Ok(Value::Bool(true)),
        "False" => return Ok(Value::Bool(false)),
        _ => {}
    }
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return if inner.contains([quote, '\\']) { Err(wrong()) } else { Ok(Value::Text(inner.to_owned())) };
        }
    }
    let list = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let tuple = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).filter(|t| t.contains(','));
    if let Some(items) = list.or(tuple) {
        let items = split(items).into_iter().map(str::trim).filter(|item| !item.is_empty());
        return items.map(parse_value).collect::<Result<_>>().map(Value::List).map_err(|_| wrong());
    }
    let mut parser = Arithmetic { rest: text, depth: 0 };
    let value = parser.sum().filter(|_| parser.rest.trim().is_empty());
    value.ok_or_else(wrong)
}

/// Splits the items of a list at commas outside quotes and brackets.
fn split(items: &str) -> Vec<&str> {
    let (mut quote, mut depth) = (None, 0_i32);
    items
        .split(|c: char| {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '[' | '(') => depth += 1,
                (None, ']' | ')') => depth -= 1,
                (None, ',') => return depth == 0,
                _ => {}
            }
            false
        })
        .collect()
}

/// A parser of `+ - * /` and parentheses with the semantics of Python.
struct Arithmetic<'a> {
    rest: &'a str,
    depth: u32,
}

impl Arithmetic<'_> {
    fn take(&mut self, symbols: &[char]) -> Option<char> {
        self.rest = self.rest.trim_start();
        let symbol = self.rest.chars().next().filter(|c| symbols.contains(c))?;
        self.rest = &self.rest[symbol.len_utf8()..];
        Some(symbol)
    }

    fn sum(&mut self) -> Option<Value> {
        let mut left = self.product()?;
        while let Some(symbol) = self.take(&['+', '-']) {
            let right = self.product()?;
            left = combine(left, right, symbol)?;
        }
        Some(left)
    }

    fn product(&mut self) -> Option<Value> {
        let mut left = self.factor()?;
        while let Some(symbol) = self.take(&['*', '/']) {
            let right = self.factor()?;
            left = combine(left, right, symbol)?;
        }
        Some(left)
    }

    fn factor(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > 100 {
            return None;
        }
        if let Some(sign) = self.take(&['-', '+']) {
            let value = self.factor()?;
            return combine(Value::Int(0), value, sign);
        }
        if self.take(&['(']).is_some() {
            let value = self.sum()?;
            return self.take(&[')']).map(|_| value);
        }
        self.rest = self.rest.trim_start();
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            let exponent = end > 0 && matches!(bytes[end - 1], b'e' | b'E') && matches!(bytes[end], b'+' | b'-');
            if !(bytes[end].is_ascii_digit() || matches!(bytes[end], b'.' | b'e' | b'E') || exponent) {
                break;
            }
            end += 1;
        }
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        match number.parse::<i64>() {
            Ok(value) => Some(Value::Int(value)),
            Err(_) => number.parse().ok().map(Value::Float),
        }
    }
}

fn combine(left: Value, right: Value, symbol: char) -> Option<Value> {
    if let (Value::Int(a), Value::Int(b), '+' | '-' | '*') = (&left, &right, symbol) {
        return match symbol {
            '+' => a.checked_add(*b),
            '-' => a.checked_sub(*b),
            _ => a.checked_mul(*b),
        }
        .map(Value::Int);
    }
    let float = |value: Value| match value {
        Value::Int(value) => Some(value as f64),
        Value::Float(value) => Some(value),
        _ => None,
    };
    let (a, b) = (float(left)?, float(right)?);
    Some(Value::Float(match symbol {
        '+' => a + b,
        '-' => a - b,
        '*' => a * b,
        _ if b == 0.0 => return None,
        _ => a / b,
    }))
}
