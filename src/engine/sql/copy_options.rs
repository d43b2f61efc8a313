//! The syntax of COPY: formats and options, including the forms of psql and DuckDB.

use datafusion::common::config::{ConfigFileType, TableOptions};
use datafusion::sql::parser::CopyToStatement;
use datafusion::sql::sqlparser::ast::Value;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::engine::sql::file_name::{FORMATS, extension};
use crate::engine::sql::tokens::{is_blank, location, tokenize};
use crate::error::{Error, Kind, Result};

/// Option names of other databases, and the names in DataFusion.
const OPTIONS: [(&str, &str); 6] = [
    ("header", "has_header"),
    ("delim", "delimiter"),
    ("sep", "delimiter"),
    ("null", "null_value"),
    ("nullstr", "null_value"),
    ("codec", "compression"),
];

/// File name extensions of compressed files.
const COMPRESSED_SUFFIXES: [&str; 5] = [".gz", ".zst", ".bz2", ".xz", ".zip"];

/// Rewrites a COPY with options in parentheses, `TO 'file' (FORMAT csv, HEADER false)`, to DataFusion's syntax:
/// `TO 'file' STORED AS csv OPTIONS (header 'false')`. Other statements are not changed.
///
/// # Errors
/// `Kind::Invalid` for COPY TO STDOUT, and for options that are not names and values in parentheses.
pub(crate) fn normalize_copy(mut tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let message: Vec<usize> = (0..tokens.len()).filter(|i| !is_blank(&tokens[*i].token)).collect();
    let is = |i: Option<&usize>, wanted: &str| i.and_then(|i| word(&tokens[*i].token)).as_deref() == Some(wanted);
    let mut depth = 0;
    let mut outside = message.iter().enumerate().filter(|(_, i)| {
        depth += nesting(&tokens[**i].token);
        depth == 0
    });
    // EXPLAIN may have keywords before COPY.
    let copies =
        is(message.first(), "copy") || is(message.first(), "explain") && outside.any(|(_, i)| is(Some(i), "copy"));
    if !copies {
        return Ok(tokens);
    }
    let Some((to, _)) = outside.find(|(_, i)| is(Some(i), "to")) else { return Ok(tokens) };
    let [target, after @ ..] = &message[to + 1..] else { return Ok(tokens) };
    if is(Some(target), "stdout") {
        let message = "COPY TO STDOUT is not supported; run the query with --format csv";
        return Err(Error::invalid(message).with_location(Some(location(tokens[*target].span.start))));
    }
    if let [joined, more, ..] = after
        && tokens[*joined].token == Token::StringConcat
        && let (Token::SingleQuotedString(first), Token::SingleQuotedString(second)) =
            (&tokens[*target].token, &tokens[*more].token)
    {
        let token = Token::SingleQuotedString(format!("{first}{second}"));
        let span = tokens[*target].span;
        tokens.splice(*target..=*more, [TokenWithSpan { token, span }]);
        return normalize_copy(tokens);
    }
    let first = after.first().copied().unwrap_or_default();
    let open = after.get(usize::from(is(after.first(), "with")));
    let Some(open) = open.copied().filter(|i| tokens[*i].token == Token::LParen) else { return Ok(tokens) };
    let span = tokens[open].span;
    let mut depth = 0;
    let ends = |token: &Token| {
        depth += nesting(token);
        depth == 0
    };
    let close = tokens[open..].iter().map(|t| &t.token).position(ends).ok_or_else(|| no_option(span))? + open;
    let mut depth = 0;
    let parts = |t: &TokenWithSpan| {
        depth += nesting(&t.token);
        depth == 0 && t.token == Token::Comma
    };
    let (mut clauses, mut options) = (String::new(), Vec::new());
    for written in tokens[open + 1..close].split(parts) {
        let (name, value) = option(written).ok_or_else(|| no_option(span))?;
        match name.as_str() {
            "format" => clauses.push_str(&format!("STORED AS {value} ")),
            "partition_by" => clauses.push_str(&format!("PARTITIONED BY ({value}) ")),
            _ => options.push(format!("{name} '{}'", value.replace('\'', "''"))),
        }
    }
    if !options.is_empty() {
        clauses.push_str(&format!("OPTIONS ({})", options.join(", ")));
    }
    let respelled = tokenize(&clauses)?.into_iter().map(|t| TokenWithSpan { span, ..t });
    tokens.splice(first..=close, respelled);
    Ok(tokens)
}

fn no_option(span: Span) -> Error {
    Error::invalid("COPY takes options as names and values: (FORMAT csv, HEADER false)")
        .with_location(Some(location(span.start)))
}

/// Parses the name and value of an option. A name without a value means true; a list of values is in parentheses.
fn option(written: &[TokenWithSpan]) -> Option<(String, String)> {
    let parts: Vec<_> = written.iter().map(|t| &t.token).filter(|token| !is_blank(token)).collect();
    let (name, value) = parts.split_first()?;
    let value = match value {
        [] => "true".to_owned(),
        [value] => bare(value),
        [Token::LParen, values @ .., Token::RParen] => values.iter().map(|value| value.to_string()).collect(),
        _ => return None,
    };
    Some((word(name)?, value))
}

fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    }
}

/// A value without quotes; `on` and `off` become `true` and `false`.
fn bare(token: &Token) -> String {
    match token {
        // DuckDB's notation of a tab.
        Token::SingleQuotedString(text) if text == "\\t" => "\t".to_owned(),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
        other => match word(other).as_deref() {
            Some("on") => "true".to_owned(),
            Some("off") => "false".to_owned(),
            _ => other.to_string(),
        },
    }
}

fn nesting(token: &Token) -> i32 {
    match token {
        Token::LParen => 1,
        Token::RParen => -1,
        _ => 0,
    }
}

/// Sets the format of a COPY, if necessary from the file name extension, and converts option names to DataFusion's.
///
/// # Errors
/// `Kind::NotFound` for an unknown format or option, `Kind::Invalid` if the format cannot be inferred, and
/// `Kind::Unsupported` for compressed files.
pub(crate) fn resolve_format(copy: &mut CopyToStatement) -> Result<()> {
    let words = || FORMATS.map(|format| format.0);
    let wanted = match &copy.stored_as {
        Some(word) => word.to_lowercase(),
        None => extension(copy.target.trim_end_matches('/')),
    };
    let Some((word, format)) = FORMATS.iter().find(|format| format.0 == wanted) else {
        return Err(match &copy.stored_as {
            Some(_) => Error::not_found("format", &wanted, words()),
            None => Error::invalid(format!(
                "cannot infer a format from '{}'; use one of {} or (FORMAT csv)",
                copy.target,
                words().map(|word| format!(".{word}")).join(", ")
            )),
        });
    };
    copy.stored_as = Some((*format).to_owned());
    if let Some(packed) = COMPRESSED_SUFFIXES.into_iter().find(|packed| copy.target.to_lowercase().ends_with(packed)) {
        let message =
            format!("'{}' would not be compressed: COPY does not write files with extension {packed}", copy.target);
        return Err(Error::new(Kind::Unsupported, message));
    }
    let known = known_options(format);
    for (name, _) in &mut copy.options {
        let written = name.to_lowercase();
        written.clone_into(name);
        if let Some(known) = OPTIONS.iter().find(|option| option.0 == *name) {
            known.1.clone_into(name);
        }
        let named = name.strip_prefix("format.").unwrap_or(name);
        if !known.is_empty() && !named.contains(['.', ':']) && !known.iter().any(|option| option == named) {
            return Err(Error::not_found("option", &written, known.iter().map(String::as_str)));
        }
    }
    for column in &mut copy.partitioned_by {
        *column = match column.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => column.to_lowercase(),
        };
    }
    if *word == "tsv" {
        // If an option occurs twice, the last one applies.
        copy.options.insert(0, ("format.delimiter".to_owned(), Value::SingleQuotedString("\t".to_owned())));
    }
    Ok(())
}

/// DataFusion's options of a format.
fn known_options(format: &str) -> Vec<String> {
    let mut options = TableOptions::new();
    options.set_config_format(match format {
        "csv" => ConfigFileType::CSV,
        "json" => ConfigFileType::JSON,
        "parquet" => ConfigFileType::PARQUET,
        _ => return Vec::new(),
    });
    options.entries().iter().filter_map(|entry| Some(entry.key.strip_prefix("format.")?.to_owned())).collect()
}
