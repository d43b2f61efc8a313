//! Parses COPY in the form of psql and DuckDB, `TO 'file' (FORMAT csv, HEADER false)`, and in that of DataFusion,
//! `TO 'file' STORED AS csv OPTIONS (has_header false)`.

use datafusion::sql::parser::{CopyToSource, CopyToStatement};
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, SelectItem, SetExpr, Value};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser};
use datafusion::sql::sqlparser::tokenizer::{Span, Token};

use crate::engine::sql::select_all::select_all;
use crate::engine::sql::syntax_error::syntax_error;
use crate::engine::sql::tokens::location;
use crate::error::{Error, Result};

/// Parses a COPY statement after its first keyword.
///
/// # Errors
/// `Kind::Invalid` for syntax errors, COPY FROM, and targets that are not files; with the location.
pub(crate) fn parse(parser: &mut Parser<'_>) -> Result<CopyToStatement> {
    let source = source(parser)?;
    if parser.peek_keyword(Keyword::FROM) {
        let message = "COPY FROM is not supported; a file is a table: SELECT * FROM 'file.parquet'";
        return Err(refuse(parser, message));
    }
    parser.expect_keyword(Keyword::TO).map_err(syntax_error)?;
    let target = target(parser)?;
    let mut copy = CopyToStatement { source, target, partitioned_by: vec![], stored_as: None, options: vec![] };
    loop {
        let at = parser.peek_token().span;
        if parser.parse_keywords(&[Keyword::STORED, Keyword::AS]) {
            set_format(&mut copy, value(parser, at)?, at)?;
        } else if parser.parse_keywords(&[Keyword::PARTITIONED, Keyword::BY]) {
            copy.partitioned_by = columns(parser, at)?;
        } else if parser.parse_one_of_keywords(&[Keyword::WITH, Keyword::OPTIONS]).is_some()
            || parser.peek_token() == Token::LParen
        {
            options(parser, &mut copy)?;
        } else {
            return Ok(copy);
        }
    }
}

/// The query or table, optionally with a list of columns.
fn source(parser: &mut Parser<'_>) -> Result<CopyToSource> {
    if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query().map_err(syntax_error)?;
        parser.expect_token(&Token::RParen).map_err(syntax_error)?;
        return Ok(CopyToSource::Query(query));
    }
    let table: ObjectName = parser.parse_object_name(true).map_err(syntax_error)?;
    let columns = parser.parse_parenthesized_column_list(IsOptional::Optional, false).map_err(syntax_error)?;
    if columns.is_empty() {
        return Ok(CopyToSource::Relation(table));
    }
    let mut query = select_all(table)?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = columns.into_iter().map(|c| SelectItem::UnnamedExpr(Expr::Identifier(c))).collect();
    }
    Ok(CopyToSource::Query(query))
}

/// The file name: string literals, also joined by `||`.
fn target(parser: &mut Parser<'_>) -> Result<String> {
    let mut name = String::new();
    loop {
        let next = parser.peek_token();
        match next.token {
            Token::SingleQuotedString(part) | Token::EscapedStringLiteral(part) => name.push_str(&part),
            Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("stdout") => {
                return Err(refuse(parser, "COPY TO STDOUT is not supported; run the query with --format csv"));
            }
            Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("program") => {
                return Err(refuse(parser, "COPY TO PROGRAM is not supported; COPY writes to files"));
            }
            other => {
                let message = format!("COPY writes to a file name in single quotes, not to {other}");
                return Err(refuse(parser, &message));
            }
        }
        parser.advance_token();
        if !parser.consume_token(&Token::StringConcat) {
            return Ok(name);
        }
    }
}

/// Parses options in parentheses. An option without a value is true.
fn options(parser: &mut Parser<'_>, copy: &mut CopyToStatement) -> Result<()> {
    let open = parser.peek_token().span;
    expect(parser, &Token::LParen, open)?;
    loop {
        let at = parser.peek_token().span;
        let name = option_name(parser, open)?;
        match name.as_str() {
            "format" => set_format(copy, value(parser, open)?, at)?,
            "partition_by" => copy.partitioned_by = columns(parser, open)?,
            _ if matches!(parser.peek_token().token, Token::Comma | Token::RParen) => {
                copy.options.push((name, Value::SingleQuotedString("true".to_owned())));
            }
            _ => copy.options.push((name, Value::SingleQuotedString(value(parser, open)?))),
        }
        if !parser.consume_token(&Token::Comma) {
            return expect(parser, &Token::RParen, open);
        }
    }
}

/// Parses an option name in lower case: a word, words with periods, or a string.
fn option_name(parser: &mut Parser<'_>, open: Span) -> Result<String> {
    let mut name = match parser.next_token().token {
        Token::Word(word) => word.value,
        Token::SingleQuotedString(text) => text,
        _ => return Err(no_option(open)),
    };
    while parser.consume_token(&Token::Period) {
        let Token::Word(part) = parser.next_token().token else { return Err(no_option(open)) };
        name = format!("{name}.{}", part.value);
    }
    Ok(name.to_lowercase())
}

/// Parses a value to its text without quotes; `on` and `off` become `true` and `false`.
fn value(parser: &mut Parser<'_>, open: Span) -> Result<String> {
    Ok(match parser.next_token().token {
        // DuckDB's notation of a tab.
        Token::SingleQuotedString(text) if text == "\\t" => "\t".to_owned(),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("on") => "true".to_owned(),
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("off") => "false".to_owned(),
        Token::Word(word) if parser.consume_token(&Token::LParen) => {
            let Token::Number(level, _) = parser.next_token().token else { return Err(no_option(open)) };
            expect(parser, &Token::RParen, open)?;
            format!("{}({level})", word.value)
        }
        Token::Word(word) => word.value,
        Token::Number(number, _) => number,
        Token::Minus => match parser.next_token().token {
            Token::Number(number, _) => format!("-{number}"),
            _ => return Err(no_option(open)),
        },
        _ => return Err(no_option(open)),
    })
}

/// Parses one column, or several in parentheses. Names without quotes are in lower case.
fn columns(parser: &mut Parser<'_>, open: Span) -> Result<Vec<String>> {
    let column = |parser: &mut Parser<'_>| match parser.next_token().token {
        Token::Word(word) => Ok(unquoted(Ident { value: word.value, quote_style: word.quote_style, span: open })),
        Token::SingleQuotedString(text) => Ok(text),
        _ => Err(no_option(open)),
    };
    if !parser.consume_token(&Token::LParen) {
        return Ok(vec![column(parser)?]);
    }
    let mut columns = vec![column(parser)?];
    while parser.consume_token(&Token::Comma) {
        columns.push(column(parser)?);
    }
    expect(parser, &Token::RParen, open)?;
    Ok(columns)
}

fn unquoted(name: Ident) -> String {
    if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() }
}

fn set_format(copy: &mut CopyToStatement, format: String, at: Span) -> Result<()> {
    match copy.stored_as.replace(format) {
        Some(_) => Err(Error::invalid("COPY takes one format").with_location(Some(location(at.start)))),
        None => Ok(()),
    }
}

fn expect(parser: &mut Parser<'_>, token: &Token, open: Span) -> Result<()> {
    if parser.consume_token(token) { Ok(()) } else { Err(no_option(open)) }
}

fn no_option(open: Span) -> Error {
    Error::invalid("COPY takes options as names and values: (FORMAT csv, HEADER false)")
        .with_location(Some(location(open.start)))
}

fn refuse(parser: &Parser<'_>, message: &str) -> Error {
    Error::invalid(message).with_location(Some(location(parser.peek_token().span.start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::tokens::{DIALECT, tokenize};

    fn parsed(sql: &str) -> Result<CopyToStatement> {
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokenize(sql)?);
        parser.expect_keyword(Keyword::COPY).map_err(syntax_error)?;
        let copy = parse(&mut parser)?;
        assert_eq!(parser.peek_token().token, Token::EOF, "{sql}");
        Ok(copy)
    }

    fn options_of(sql: &str) -> Vec<(String, String)> {
        let text = |value: Value| value.into_string().expect("a string");
        parsed(sql).unwrap().options.into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    #[test]
    fn the_forms_of_psql_duckdb_and_datafusion_are_one_statement() {
        let psql = parsed("COPY t TO 'f' WITH (FORMAT csv, HEADER false, PARTITION_BY (a, \"B\"))").unwrap();
        let duckdb = parsed("COPY t TO 'f' (format 'csv', header off, partition_by (A, \"B\"))").unwrap();
        let datafusion = parsed("COPY t TO 'f' STORED AS csv PARTITIONED BY (a, \"B\") OPTIONS ('header' 'false')");
        assert_eq!(psql, duckdb);
        assert_eq!(psql, datafusion.unwrap());
        assert_eq!(psql.partitioned_by, ["a", "B"]);
        assert_eq!(psql.stored_as.as_deref(), Some("csv"));
    }

    #[test]
    fn values_are_words_numbers_and_strings() {
        let sql = "COPY t TO 'f' (HEADER, a.b on, c -1.5, d '\\t', e zstd(3), f 'It''s', NULL '')";
        let expected = [
            ("header", "true"),
            ("a.b", "true"),
            ("c", "-1.5"),
            ("d", "\t"),
            ("e", "zstd(3)"),
            ("f", "It's"),
            ("null", ""),
        ];
        assert_eq!(options_of(sql), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn sources_are_tables_columns_and_queries() {
        let source = |sql: &str| match parsed(sql).unwrap().source {
            CopyToSource::Query(query) => query.to_string(),
            CopyToSource::Relation(table) => table.to_string(),
        };
        assert_eq!(source("COPY a.b TO 'f'"), "a.b");
        assert_eq!(source("COPY t (a, \"B\") TO 'f'"), "SELECT a, \"B\" FROM t");
        assert_eq!(source("COPY (SELECT 1) TO 'f'"), "SELECT 1");
        assert_eq!(parsed("COPY t TO 'a' || '/' || 'b'").unwrap().target, "a/b");
    }

    #[test]
    fn errors_name_the_place_in_the_statement() {
        for (sql, column, message) in [
            ("COPY t TO STDOUT", 11, "COPY TO STDOUT is not supported"),
            ("COPY t TO PROGRAM 'x'", 11, "COPY TO PROGRAM is not supported"),
            ("COPY t FROM 'x.csv'", 8, "COPY FROM is not supported"),
            ("COPY t TO x.csv", 11, "a file name in single quotes, not to x"),
            ("COPY t TO 'a' || b", 18, "a file name in single quotes, not to b"),
            ("COPY t 'x'", 8, "Expected: TO"),
            ("COPY t TO 'x' (FORMAT csv", 15, "names and values"),
            ("COPY t TO 'x' (FORMAT a b)", 15, "names and values"),
            ("COPY t TO 'x' (FORMAT)", 15, "names and values"),
            ("COPY t TO 'x' ()", 15, "names and values"),
            ("COPY t TO 'x' (HEADER,)", 15, "names and values"),
            ("COPY t TO 'x' (FORMAT csv, FORMAT json)", 28, "one format"),
            ("COPY (SELECT 1 TO 'x'", 19, "Expected: )"),
        ] {
            let error = parsed(sql).unwrap_err();
            assert!(error.message().contains(message), "{sql}: {error}");
            assert_eq!(error.location().map(|at| at.column), Some(column), "{sql}");
        }
    }
}
