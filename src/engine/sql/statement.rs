//! Parses statements: SQL that DataFusion plans, and the extensions `CALL`, `ASSERT` and `EXPLAIN` of procedures.

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{CopyToSource, DFParserBuilder, ResetStatement, Statement};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, SetExpr, Statement as Ast,
    TableFactor,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::engine::functions;
use crate::engine::functions::definition::FunctionKind;
use crate::engine::session::settings;
use crate::engine::sql::copy_options;
use crate::engine::sql::distinct;
use crate::engine::sql::lists;
use crate::engine::sql::rewrite::{desugar_query, normalize, rows_from_file};
use crate::engine::sql::tokens::{DIALECT, location, location_of, simple_name};
use crate::error::{Error, Kind, Result, SourceLocation, hint};

/// A parsed statement, by how the session executes it.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A statement that DataFusion plans and executes.
    Query(Statement),
    /// EXPLAIN of a statement.
    Explain(Statement),
    /// ASSERT of a condition.
    Assert(Box<Assertion>),
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
    let mut parser =
        DFParserBuilder::new(distinct::rewrite_tokens(lists::rewrite_tokens(copy_options::normalize_copy(tokens)?)))
            .with_dialect(&DIALECT)
            .build()?;
    let statement = parser.parse_statement().map_err(|e| syntax(&e))?;
    let next = parser.parser.peek_token();
    if !matches!(next.token, Token::EOF | Token::SemiColon) {
        let message = format!("the statement should end before '{}'", next.token);
        return Err(Error::invalid(message).with_location(Some(location(next.span.start))));
    }
    classify(statement)
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
            return Err(Error::invalid(format!("no setting named '{written}'; there is butler.pushdown")));
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
    Error::new(Kind::Unsupported, format!("{word} is not supported; procedures change a repository: {instead}"))
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
    let mut statements = DFParserBuilder::new("SELECT * FROM x").with_dialect(&DIALECT).build()?.parse_statements()?;
    let template = statements.pop_front().ok_or_else(|| Error::bug("the template of CALL did not parse"))?;
    let Statement::Statement(mut ast) = template else { return Err(Error::bug("the template of CALL is not a query")) };
    if let Ast::Query(query) = ast.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        let (lateral, with_ordinality, alias) = (false, false, None);
        select.from[0].relation = TableFactor::Function { lateral, name: call.name, args, with_ordinality, alias };
    }
    Ok(Statement::Statement(ast))
}

/// Keywords at the start of statements, for the hint of a syntax error.
const STARTS: [&str; 12] =
    ["SELECT", "CALL", "WITH", "EXPLAIN", "COPY", "INSERT", "ASSERT", "DESCRIBE", "SHOW", "CREATE", "DROP", "SET"];

/// Converts a syntax error to its message and location.
fn syntax(error: &DataFusionError) -> Error {
    let DataFusionError::SQL(inner, _) = error.find_root() else {
        return Error::invalid(error.find_root().message().into_owned());
    };
    let text = inner.to_string();
    let text = text.trim_start_matches("sql parser error: ");
    let Some((message, location)) = text.rsplit_once(" at Line: ") else { return Error::invalid(text) };
    let word = message.strip_prefix("Expected: an SQL statement, found: ");
    let message = &match word {
        Some(word) => format!("no statement begins with '{word}'{}", hint(word, STARTS)),
        None => message.to_owned(),
    };
    let numbers: Vec<u64> = location.split(", Column: ").filter_map(|n| n.trim().parse().ok()).collect();
    match numbers.as_slice() {
        [line, column] => Error::invalid(message).with_location(Some(SourceLocation { line: *line, column: *column })),
        _ => Error::invalid(text),
    }
}
