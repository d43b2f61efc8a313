//! Parses statements: SQL that DataFusion plans, and the extensions `CALL`, `ASSERT` and `EXPLAIN` of procedures.

use datafusion::common::format::ExplainStatementOptions;
use datafusion::sql::parser::{CopyToSource, DFParser, DFParserBuilder, ExplainStatement, ResetStatement, Statement};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, SetExpr, Statement as Ast,
    TableFactor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::engine::functions;
use crate::engine::functions::definition::FunctionKind;
use crate::engine::session::settings;
use crate::engine::sql::attach::{self, Attachment};
use crate::engine::sql::copy;
use crate::engine::sql::copy_options;
use crate::engine::sql::distinct;
use crate::engine::sql::lists;
use crate::engine::sql::rewrite::{desugar_query, normalize, rows_from_file};
use crate::engine::sql::select_all::select_all;
use crate::engine::sql::syntax_error::syntax_error;
use crate::engine::sql::tokens::{DIALECT, location, location_of, simple_name};
use crate::error::{Error, Kind, Result};

/// A parsed statement, by how the session executes it.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A statement that DataFusion plans and executes.
    Query(Statement),
    /// EXPLAIN of a statement.
    Explain(Statement),
    /// ASSERT of a condition.
    Assert(Box<Assertion>),
    /// ATTACH or DETACH of a repository.
    Attachment(Attachment),
}

/// The condition and message of an ASSERT statement.
#[derive(Debug)]
pub(crate) struct Assertion {
    /// The condition.
    pub condition: Expr,
    /// The operands, if the condition is a comparison.
    pub sides: Option<(Expr, Expr)>,
    /// The message if the condition is false.
    pub message: Option<Expr>,
}

/// Parses one statement.
///
/// # Errors
/// `Kind::Invalid` for syntax errors, `Kind::Unsupported` for refused statements; with the location.
pub(crate) fn parse(tokens: Vec<TokenWithSpan>) -> Result<Parsed> {
    let tokens = distinct::rewrite_tokens(lists::rewrite_tokens(tokens));
    let mut parser = DFParserBuilder::new(tokens).with_dialect(&DIALECT).build()?;
    let attachment = attach::parse(&mut parser)?;
    let statement = if attachment.is_none() { Some(statement(&mut parser)?) } else { None };
    let next = parser.parser.peek_token();
    if !matches!(next.token, Token::EOF | Token::SemiColon) {
        let message = format!("unexpected '{}' after the end of the statement", next.token);
        return Err(Error::invalid(message).with_location(Some(location(next.span.start))));
    }
    match (attachment, statement) {
        (Some(attachment), _) => Ok(Parsed::Attachment(attachment)),
        (None, Some(statement)) => classify(statement),
        (None, None) => Err(Error::bug("a statement that is none")),
    }
}

/// Parses COPY here, also in EXPLAIN, and leaves other statements to DataFusion.
fn statement(parser: &mut DFParser<'_>) -> Result<Statement> {
    if parser.parser.parse_keyword(Keyword::COPY) {
        return Ok(Statement::CopyTo(copy::parse(&mut parser.parser)?));
    }
    if parser.parser.parse_keyword(Keyword::EXPLAIN) {
        let options = explain_options(parser)?;
        return Ok(Statement::Explain(ExplainStatement { options, statement: Box::new(statement(parser)?) }));
    }
    parser.parse_statement().map_err(syntax_error)
}

/// Parses the options of EXPLAIN: keywords, or a list in parentheses.
fn explain_options(parser: &mut DFParser<'_>) -> Result<ExplainStatementOptions> {
    let [open, first] = [0, 1].map(|n| parser.parser.peek_nth_token(n).token);
    let is_query = match &first {
        Token::Word(word) => {
            matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE | Keyword::FROM)
        }
        other => *other == Token::LParen,
    };
    if open == Token::LParen && !is_query {
        let options = parser.parser.parse_utility_options().map_err(syntax_error)?;
        return ExplainStatementOptions::from_utility_options(&options).map_err(syntax_error);
    }
    let analyze = parser.parser.parse_keyword(Keyword::ANALYZE);
    let verbose = parser.parser.parse_keyword(Keyword::VERBOSE);
    let format = parser.parse_explain_format().map_err(syntax_error)?;
    let format = format.map(|name| name.parse()).transpose().map_err(syntax_error)?;
    Ok(ExplainStatementOptions { analyze, verbose, format, ..Default::default() })
}

fn classify(mut statement: Statement) -> Result<Parsed> {
    match &mut statement {
        Statement::Statement(ast) => {
            if let Ast::Query(query) = ast.as_mut() {
                desugar_query(query)?;
            }
            normalize(ast.as_mut())?;
        }
        Statement::CopyTo(to) => {
            if let CopyToSource::Query(query) = &mut to.source {
                desugar_query(query)?;
                normalize(query.as_mut())?;
            }
            copy_options::resolve_format(to)?;
        }
        _ => {}
    }
    match statement {
        Statement::Statement(ast) => match *ast {
            Ast::Call(call) => Ok(Parsed::Query(select_from(call)?)),
            Ast::Assert { condition, message } => {
                let sides = match &condition {
                    Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                        Some((left.as_ref().clone(), right.as_ref().clone()))
                    }
                    _ => None,
                };
                Ok(Parsed::Assert(Box::new(Assertion { condition, sides, message })))
            }
            unsupported @ (Ast::Delete(_) | Ast::Update(_) | Ast::Truncate(_) | Ast::Merge(_)) => {
                Err(refuse(&unsupported))
            }
            Ast::StartTransaction { .. } | Ast::Commit { .. } | Ast::Rollback { .. } => Err(Error::new(
                Kind::Unsupported,
                "transactions over several statements are not supported: each procedure commits its own changes",
            )),
            other => Ok(Parsed::Query(Statement::Statement(Box::new(other)))),
        },
        Statement::Explain(explain) if !explain.options.analyze => match classify(*explain.statement)? {
            Parsed::Query(inner) => Ok(Parsed::Explain(inner)),
            _ => Err(Error::invalid("only queries and procedures can be explained")),
        },
        Statement::Explain(mut explain) => match classify(*explain.statement)? {
            Parsed::Query(inner) => {
                explain.statement = Box::new(inner);
                Ok(Parsed::Query(Statement::Explain(explain)))
            }
            _ => Err(Error::invalid("only queries and procedures can be explained")),
        },
        Statement::Reset(ResetStatement::Variable(name)) => Ok(Parsed::Query(reset(name)?)),
        other => Ok(Parsed::Query(other)),
    }
}

/// Rewrites `RESET butler.…` to SET with the default; DataFusion resets only its own settings.
fn reset(name: ObjectName) -> Result<Statement> {
    let written = name.to_string().to_lowercase();
    let Some(default) = settings::default(&written) else {
        if written.starts_with("butler.") {
            return Err(Error::invalid(format!("no setting named '{written}'; available: butler.pushdown")));
        }
        return Ok(Statement::Reset(ResetStatement::Variable(name)));
    };
    let text = format!("SET {written} = '{default}'");
    let statement = DFParserBuilder::new(text.as_str()).with_dialect(&DIALECT).build()?.parse_statements()?.pop_front();
    statement.ok_or_else(|| Error::bug("SET did not parse"))
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn refuse(statement: &Ast) -> Error {
    let (word, instead) = match statement {
        Ast::Delete(_) => ("DELETE", "disassociate, remove_collection"),
        Ast::Update(_) => ("UPDATE", "insert_dimension_records with replace => true"),
        Ast::Truncate(_) => ("TRUNCATE", "remove_collection"),
        _ => ("MERGE", "insert_dimension_records, associate"),
    };
    Error::new(Kind::Unsupported, format!("{word} is not supported; use a procedure: {instead}"))
}

/// Rewrites `CALL f(…)` to `SELECT * FROM f(…)`.
fn select_from(call: datafusion::sql::sqlparser::ast::Function) -> Result<Statement> {
    let args = match call.args {
        FunctionArguments::List(list) => list.args,
        FunctionArguments::Subquery(query) => {
            vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(query)))]
        }
        FunctionArguments::None => Vec::new(),
    };
    let location = location_of(&call.name);
    let name = simple_name(&call.name).unwrap_or_default();
    let mut args = args;
    rows_from_file(&call.name, &mut args);
    if functions::find(&name).is_none() {
        let verbs = functions::all().iter().filter(|f| !matches!(f.kind, FunctionKind::Scalar(_))).map(|f| f.name);
        return Err(Error::not_found("function", &call.name.to_string(), verbs).with_location(location));
    }
    let mut query = select_all(call.name.clone())?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let (lateral, with_ordinality, alias) = (false, false, None);
        select.from[0].relation = TableFactor::Function { lateral, name: call.name, args, with_ordinality, alias };
    }
    Ok(Statement::Statement(Box::new(Ast::Query(query))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::tokens::tokenize;

    fn parsed(sql: &str) -> Result<Parsed> {
        parse(tokenize(sql)?)
    }

    fn text(sql: &str) -> String {
        match parsed(sql).expect(sql) {
            Parsed::Query(statement) => statement.to_string(),
            Parsed::Explain(statement) => format!("explained: {statement}"),
            Parsed::Assert(assertion) => format!("asserted: {}", assertion.condition),
            Parsed::Attachment(attachment) => format!("{attachment:?}"),
        }
    }

    #[test]
    fn statements_are_queries_explanations_and_assertions() {
        assert_eq!(text("CALL chain('a', ['b'])"), "SELECT * FROM chain('a', ['b'])");
        assert_eq!(text("EXPLAIN CALL chain('a', ['b'])"), "explained: SELECT * FROM chain('a', ['b'])");
        assert_eq!(text("EXPLAIN ANALYZE FROM t"), "EXPLAIN ANALYZE SELECT * FROM t");
        assert_eq!(text("EXPLAIN (ANALYZE) FROM t"), "EXPLAIN ANALYZE SELECT * FROM t");
        assert_eq!(text("EXPLAIN (SELECT a) UNION (SELECT b)"), "explained: (SELECT a) UNION (SELECT b)");
        assert_eq!(text("ASSERT 1 < 2"), "asserted: 1 < 2");
        assert_eq!(text("RESET butler.pushdown"), "SET butler.pushdown = 'true'");
        assert_eq!(text("SELECT a IS DISTINCT FROM b AND c FROM t AS x (a, b, c)").matches("DISTINCT").count(), 2);
        assert!(matches!(parsed("EXPLAIN ANALYZE COPY t TO 'f.csv'"), Ok(Parsed::Query(Statement::Explain(_)))));
        assert!(matches!(parsed("EXPLAIN VERBOSE COPY t TO 'f.csv'"), Ok(Parsed::Explain(Statement::CopyTo(_)))));
    }

    #[test]
    fn an_assertion_knows_the_sides_of_its_comparison() {
        let sides = |sql: &str| match parsed(sql).expect(sql) {
            Parsed::Assert(assertion) => assertion.sides.map(|(one, other)| format!("{one} | {other}")),
            _ => None,
        };
        assert_eq!(sides("ASSERT (SELECT n FROM t) = 5"), Some("(SELECT n FROM t) | 5".to_owned()));
        assert_eq!(sides("ASSERT EXISTS (SELECT 1)"), None);
    }

    #[test]
    fn refused_statements_name_what_to_use() {
        for (sql, message) in [
            ("DELETE FROM exposure", "DELETE is not supported; use a procedure: disassociate"),
            ("UPDATE exposure SET a = 1", "insert_dimension_records with replace => true"),
            ("BEGIN", "each procedure commits its own changes"),
            ("EXPLAIN ASSERT 1 = 1", "only queries and procedures can be explained"),
            ("RESET butler.pushdwn", "available: butler.pushdown"),
            ("CALL chian('a', ['b'])", "did you mean 'chain'?"),
            ("SELCT 1", "no statement begins with 'SELCT'; did you mean 'SELECT'?"),
            ("SELECT 1 SELECT 2", "unexpected 'SELECT' after the end"),
            ("SELECT (1", "Expected: ), found: EOF"),
        ] {
            let error = parsed(sql).expect_err(sql);
            assert!(error.message().contains(message), "{sql}: {error}");
        }
    }
}
