//! Statements from tokens: what DataFusion plans itself, and what is ours: `CALL`, `ASSERT`, `EXPLAIN` of verbs,
//! functions in `FROM` with named arguments.

use std::sync::Arc;

use datafusion::common::{DFSchema, plan_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::{CopyToSource, CopyToStatement, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, SetExpr,
    Spanned, Statement as Ast, TableAlias, TableFactor, Value, Visit, VisitMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::arguments::{Does, Function, Given, Takes};
use super::catalog::World;
use super::rewrite::{UsingInWhere, plain};
use super::sky::PairsAsArguments;
use super::verb::{Face, constant, deed, plan};
use super::{functions, refused};
use crate::error::{Error, Kind, Place, Result as OwnResult, hint};

/// The dialect all SQL is read in.
pub const DIALECT: GenericDialect = GenericDialect {};

/// The tokens of a text, with their places.
///
/// # Errors
/// Text that is no SQL: an unclosed quote, most often.
pub fn tokenize(text: &str) -> OwnResult<Vec<TokenWithSpan>> {
    Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|e| {
        let place = Place { line: e.location.line, column: e.location.column };
        Error::invalid(e.message).at(Some(place))
    })
}

/// A statement, sorted by who handles it.
#[derive(Debug)]
pub enum Parsed {
    /// DataFusion plans and runs it.
    Query(Statement),
    /// What a statement would do.
    Explain(Statement),
    /// A condition that must hold: the condition, its two sides when it is a comparison, and what to say.
    Assert(Box<Assertion>),
}

/// A condition that must hold.
#[derive(Debug)]
pub struct Assertion {
    /// The condition.
    pub condition: Expr,
    /// The two sides of a comparison.
    pub sides: Option<(Expr, Expr)>,
    /// What to say when it does not hold.
    pub message: Option<Expr>,
}

/// Parses one statement.
///
/// # Errors
/// Text that is no statement, or one that is refused, at its place.
pub fn parse(tokens: Vec<TokenWithSpan>) -> OwnResult<Parsed> {
    let place = tokens.iter().find(|t| !is_blank(&t.token)).map(|t| at(t.span.start));
    let mut parser = DFParserBuilder::new(tokens).with_dialect(&DIALECT).build()?;
    let statement = parser.parse_statement().map_err(|e| syntax(&e))?;
    let next = parser.parser.peek_token();
    if !matches!(next.token, Token::EOF | Token::SemiColon) {
        let said = format!("the statement should end before '{}'", next.token);
        return Err(Error::invalid(said).at(Some(at(next.span.start))));
    }
    sort(statement).map_err(|e| e.at(place))
}

fn at(location: datafusion::sql::sqlparser::tokenizer::Location) -> Place {
    Place { line: location.line, column: location.column }
}

/// Where something stands, when that is known.
fn spot(what: &impl Spanned) -> Option<Place> {
    let start = what.span().start;
    (start.line > 0).then(|| at(start))
}

/// Whether a token says nothing.
pub fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

fn sort(mut statement: Statement) -> OwnResult<Parsed> {
    match &mut statement {
        Statement::Statement(ast) => {
            if let Ast::Query(query) = ast.as_mut() {
                plain(query)?;
            }
            understand(ast.as_mut())?;
        }
        Statement::CopyTo(CopyToStatement { source: CopyToSource::Query(query), .. }) => {
            plain(query)?;
            understand(query.as_mut())?;
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
            refused @ (Ast::Delete(_) | Ast::Update(_) | Ast::Truncate(_) | Ast::Merge(_)) => Err(refuse(&refused)),
            Ast::StartTransaction { .. } | Ast::Commit { .. } | Ast::Rollback { .. } => Err(Error::new(
                Kind::Unsupported,
                "there are no transactions over several statements: each verb applies its work by itself",
            )),
            other => Ok(Parsed::Query(Statement::Statement(Box::new(other)))),
        },
        Statement::Explain(explain) if !explain.options.analyze => match sort(*explain.statement)? {
            Parsed::Query(inner) => Ok(Parsed::Explain(inner)),
            _ => Err(Error::invalid("only queries and verbs can be explained")),
        },
        Statement::Explain(mut explain) => match sort(*explain.statement)? {
            Parsed::Query(inner) => {
                explain.statement = Box::new(inner);
                Ok(Parsed::Query(Statement::Explain(explain)))
            }
            _ => Err(Error::invalid("only queries and verbs can be explained")),
        },
        other => Ok(Parsed::Query(other)),
    }
}

/// Says what DataFusion does not understand in words that it does, and refuses what it would answer wrongly.
fn understand(what: &mut (impl Visit + VisitMut)) -> OwnResult<()> {
    let _ = VisitMut::visit(what, &mut PairsAsArguments);
    let _ = VisitMut::visit(what, &mut UsingInWhere);
    refused::check(what)
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
    Error::new(Kind::Unsupported, format!("{word} is not possible here; verbs change a repository: {instead}"))
}

/// `CALL f(…)` as `SELECT * FROM f(…)`.
fn select_from(call: datafusion::sql::sqlparser::ast::Function) -> OwnResult<Statement> {
    let args = match call.args {
        FunctionArguments::List(list) => list.args,
        FunctionArguments::Subquery(query) => {
            vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(query)))]
        }
        FunctionArguments::None => Vec::new(),
    };
    let place = spot(&call.name);
    let name = simple_name(&call.name).unwrap_or_default();
    if functions::find(&name).is_none() {
        let verbs = functions::all().iter().filter(|f| !matches!(f.does, Does::Scalar(_))).map(|f| f.name);
        return Err(Error::not_found("function", &call.name.to_string(), verbs).at(place));
    }
    let mut statements = DFParserBuilder::new("SELECT * FROM x").with_dialect(&DIALECT).build()?.parse_statements()?;
    let template = statements.pop_front().ok_or_else(|| Error::bug("the template of CALL did not parse"))?;
    let Statement::Statement(mut ast) = template else { return Err(Error::bug("the template of CALL is no query")) };
    if let Ast::Query(query) = ast.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        let (lateral, with_ordinality, alias) = (false, false, None);
        select.from[0].relation = TableFactor::Function { lateral, name: call.name, args, with_ordinality, alias };
    }
    Ok(Statement::Statement(ast))
}

pub(super) fn simple_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident.value.to_lowercase()),
        _ => None,
    }
}

/// The words statements begin with.
const STARTS: [&str; 12] =
    ["SELECT", "CALL", "WITH", "EXPLAIN", "COPY", "INSERT", "ASSERT", "DESCRIBE", "SHOW", "CREATE", "DROP", "SET"];

/// The sentence and place of a syntax error.
fn syntax(error: &DataFusionError) -> Error {
    let DataFusionError::SQL(inner, _) = error.find_root() else {
        return Error::invalid(error.find_root().message().into_owned());
    };
    let text = inner.to_string();
    let text = text.trim_start_matches("sql parser error: ");
    let Some((said, place)) = text.rsplit_once(" at Line: ") else { return Error::invalid(text) };
    let word = said.strip_prefix("Expected: an SQL statement, found: ");
    let said = &match word {
        Some(word) => format!("no statement begins with '{word}'{}", hint(word, STARTS)),
        None => said.to_owned(),
    };
    let numbers: Vec<u64> = place.split(", Column: ").filter_map(|n| n.trim().parse().ok()).collect();
    match numbers.as_slice() {
        [line, column] => Error::invalid(said).at(Some(Place { line: *line, column: *column })),
        _ => Error::invalid(text),
    }
}

/// Plans our functions in `FROM`, with positional and named arguments and subqueries as rows.
#[derive(Debug)]
pub struct Functions(pub Arc<World>);

impl RelationPlanner for Functions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (name, args, alias) = match relation {
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args, alias),
            other => match reader(&other) {
                Some(read) => read,
                None => return Ok(RelationPlanning::Original(Box::new(other))),
            },
        };
        let place = spot(&name);
        match simple_name(&name).and_then(|n| functions::find(&n)) {
            Some(function) => {
                let plan = self.plan(function, args, context).map_err(|e| Error::from(e).at(place))?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation { plan, alias })))
            }
            None => other(name, args, alias, place),
        }
    }
}

/// What a planner must know now, though it takes reading; planning itself cannot wait.
fn waited<T: Send>(work: impl Future<Output = OwnResult<T>> + Send) -> OwnResult<T> {
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        scope.spawn(move || runtime.block_on(work)).join().unwrap_or_else(|e| std::panic::resume_unwind(e))
    })
}

/// Ends of names of table files that DataFusion does not read, and the functions that do.
pub const READERS: [(&str, &str); 2] = [("ecsv", "read_ecsv"), ("fits", "read_fits")];

/// The function that reads a table file, where DataFusion does not, with its argument and alias.
fn reader(relation: &TableFactor) -> Option<(ObjectName, Vec<FunctionArg>, Option<TableAlias>)> {
    let TableFactor::Table { name, args: None, alias, .. } = relation else { return None };
    let [ObjectNamePart::Identifier(Ident { value, quote_style: Some('\''), span })] = name.0.as_slice() else {
        return None;
    };
    let (_, end) = value.rsplit_once('.')?;
    let (_, reader) = READERS.into_iter().find(|reader| reader.0 == end)?;
    let file = Expr::Value(Value::SingleQuotedString(value.clone()).into());
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(file))];
    Some((ObjectName::from(vec![Ident::with_span(*span, reader)]), args, alias.clone()))
}

/// The table in a file.
fn table_file(name: &str) -> TableFactor {
    TableFactor::Table {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('\'', name))]),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// A function that is not ours, if DataFusion has it.
fn other(
    name: ObjectName,
    args: Vec<FunctionArg>,
    alias: Option<TableAlias>,
    place: Option<Place>,
) -> Result<RelationPlanning> {
    let called = simple_name(&name).unwrap_or_else(|| name.to_string());
    let known = ["generate_series", "range", "unnest"];
    if known.contains(&called.as_str()) {
        let (lateral, with_ordinality) = (false, false);
        let relation = TableFactor::Function { lateral, name, args, with_ordinality, alias };
        return Ok(RelationPlanning::Original(Box::new(relation)));
    }
    let ours = functions::all().iter().filter(|f| !matches!(f.does, Does::Scalar(_))).map(|f| f.name);
    let near = hint(&called, ours.chain(known));
    Err(Error::new(Kind::NotFound, format!("no function named '{called}' yields rows{near}")).at(place).into())
}

impl Functions {
    fn plan(
        &self,
        function: &'static Function,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        if matches!(function.does, Does::Scalar(_)) {
            let said = format!("{0} computes a value, it yields no rows: SELECT {0}(…)", function.name);
            return Err(Error::invalid(said).into());
        }
        let mut given = Given::default();
        let mut input = None;
        let mut named = false;
        for (position, arg) in args.into_iter().enumerate() {
            let named_at = match &arg {
                FunctionArg::Named { name, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => {
                    Some(at(name.span.start))
                }
                _ => None,
            };
            let (name, expr) = match arg {
                FunctionArg::Named { name, arg, .. } => (Some(name.value), arg),
                FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (Some(name.value), arg),
                FunctionArg::ExprNamed { name, .. } => return Err(plan_datafusion_err!("{name} is no argument name")),
                FunctionArg::Unnamed(arg) => (None, arg),
            };
            if named && name.is_none() {
                let said = format!("in {}, arguments without a name come first", function.name);
                return Err(Error::invalid(said).into());
            }
            named |= name.is_some();
            let FunctionArgExpr::Expr(expr) = expr else {
                return Err(Error::invalid(format!("{} takes no *", function.name)).into());
            };
            let start = named_at.or_else(|| spot(&expr));
            let argument = self.argument(function, position, name.as_deref(), &expr).map_err(|e| e.at(start))?;
            match (argument.takes, expr) {
                (Takes::Rows(_), Expr::Subquery(subquery)) => {
                    given.set_rows(function, argument)?;
                    let derived = TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
                    input = Some(context.plan(derived)?);
                }
                (Takes::Rows(_), Expr::Value(value)) if value.value.clone().into_string().is_some() => {
                    given.set_rows(function, argument)?;
                    input = Some(context.plan(table_file(&value.value.into_string().unwrap_or_default()))?);
                }
                (Takes::Rows(columns), _) => {
                    let said = format!(
                        "argument '{}' of {} takes a subquery in parentheses that yields {columns}",
                        argument.name, function.name
                    );
                    return Err(Error::invalid(said).into());
                }
                (_, expr) => {
                    let value = context.sql_to_expr(expr, &DFSchema::empty()).and_then(constant);
                    let value = value.map_err(|e| Error::from(e).at(start))?;
                    given.set(function, argument, &value).map_err(|e| e.at(start))?;
                }
            }
        }
        given.check_complete(function)?;
        match &function.does {
            Does::Verb(_) => plan(deed(function, &given, &self.0.access, Face::Report)?, input),
            Does::Search => {
                let known = self.0.snapshot()?;
                let table = super::search::table(function.name, &given, &self.0.access, &known.types)?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(table), None)?.build()
            }
            Does::Query(text) => {
                let text = text(&given, &self.0.snapshot()?.repo.registry.universe)?;
                let view = waited(self.0.view(&text))?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(view), None)?.build()
            }
            Does::Read(reader) => {
                let table = waited(reader.table(&given))?;
                LogicalPlanBuilder::scan(function.name, provider_as_source(table), None)?.build()
            }
            Does::Scalar(_) => Err(Error::bug("a function of values yields rows").into()),
        }
    }

    /// The argument meant; a subquery without a name goes to the rows, wherever they are.
    fn argument<'a>(
        &self,
        function: &'a Function,
        position: usize,
        name: Option<&str>,
        expr: &Expr,
    ) -> OwnResult<&'a super::arguments::Argument> {
        match (name, expr, function.rows()) {
            (None, Expr::Subquery(_), Some(rows)) => {
                let at = function.argument(position, None);
                Ok(at.ok().filter(|a| matches!(a.takes, Takes::Rows(_))).unwrap_or(rows))
            }
            _ => function.argument(position, name),
        }
    }
}
