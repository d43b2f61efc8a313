//! The messages of DataFusion that this program recognizes. DataFusion has no variants for them; the tests pin the texts
//! to the version that `Cargo.lock` names.

/// Names in messages that only plans of DataFusion and of this crate have.
const INTERNALS: [&str; 13] = [
    "__correlated_sq",
    "__scalar_sq",
    "__listed_",
    "__value_",
    "__domain_",
    "__key_",
    "__rank_",
    "__subquery_",
    "OuterReferenceColumn",
    "outer_ref(",
    "InSubquery",
    "Physical plan does not support logical expression",
    "Correlated scalar subquery can only be used in",
];

/// A message of DataFusion, by its meaning.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// A function of this crate rejects the types of its arguments; its message.
    WrongArguments(&'a str),
    /// A field of a value that is not a struct; the type of the value. Also `table.column` if `table` is not in FROM.
    NoFields(&'a str),
    /// A string literal that is not a time.
    NotATime(&'a str),
    /// A string literal, and the type that it cannot be converted to.
    NotOfType(&'a str, &'a str),
    /// Two columns of a result have this name.
    SameName(&'a str),
    /// A function, by its name, does not take values of this type.
    WrongTypes(&'a str),
    /// A column of `*` that GROUP BY does not have.
    NotGrouped(&'a str),
    /// A plan that the optimizer rejects.
    Unplannable,
    /// A result that does not fit in 64 bits; the operation.
    Overflow(&'a str),
    /// Syntax that the planner does not know; the name of the node.
    UnknownSyntax(&'a str),
    /// A table that does not exist.
    NoTable(&'a str),
    /// A function that does not exist.
    NoFunction(&'a str),
    /// A writer that stopped before its file was complete.
    IncompleteWrite,
    /// A pattern that is not a regular expression; the reason.
    NotAPattern(&'a str),
    /// A name that only a plan has.
    Internal,
    /// Any other message, which is shown as it is.
    Other(&'a str),
}

impl<'a> Text<'a> {
    /// Recognizes a message.
    pub(crate) fn of(text: &'a str) -> Self {
        if INTERNALS.iter().any(|word| text.contains(word)) {
            return Self::Internal;
        }
        let mut lines = text.lines();
        let message = lines.next().unwrap_or_default();
        if message == "regex parse error:" {
            // The last line describes the error.
            return Self::NotAPattern(lines.next_back().unwrap_or_default().trim_start_matches("error: "));
        }
        Self::of_line(message).unwrap_or_else(|| Self::Other(message.trim_end_matches('.')))
    }

    fn of_line(message: &'a str) -> Option<Self> {
        let named = |before: &str, after: &str| Some(message.split_once(before)?.1.split_once(after)?.0);
        if let Some((_, own)) = message.split_once("coercion failed with: Error during planning: ") {
            let own = own.split(" No function matches").next().unwrap_or(own);
            return Some(Self::WrongArguments(own.trim_end_matches('.')));
        }
        if let Some(rest) = message.strip_prefix("Cannot access field at argument 1: type ") {
            return Some(Self::NoFields(rest.split(" is not ").next().unwrap_or(rest)));
        }
        if let Some((time, why)) =
            message.split_once("Error parsing timestamp from '").and_then(|m| m.1.split_once('\''))
            && why.starts_with(": ")
            && !why.contains("timezone")
        {
            return Some(Self::NotATime(time));
        }
        if let Some((value, kind)) = message.split_once("Cannot cast string '").and_then(|m| m.1.split_once('\'')) {
            let kind = kind.trim_start_matches(" to value of ").trim_end_matches(" type");
            return Some(Self::NotOfType(value, kind));
        }
        if let Some(named) = named("require unique expression names but the expression \"", "\" at position") {
            return Some(Self::SameName(named.rsplit(" AS ").next().unwrap_or(named)));
        }
        if let Some(function) = named("Function '", "' failed to match any signature") {
            return Some(Self::WrongTypes(function));
        }
        if let Some(column) = named("While expanding wildcard, column \"", "\" must appear in the GROUP BY") {
            return Some(Self::NotGrouped(column));
        }
        if let Some((_, operation)) = message.split_once("Overflow happened on: ") {
            return Some(Self::Overflow(operation));
        }
        if let Some((_, node)) = message.split_once("Unsupported ast node ") {
            let node = node.trim_start_matches("in sqltorel: ");
            return Some(Self::UnknownSyntax(node.split(['(', ' ', '{']).next().unwrap_or_default()));
        }
        if let Some(table) = message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) {
            return Some(Self::NoTable(table));
        }
        if let Some(function) = message.strip_prefix("Invalid function '").and_then(|rest| rest.split_once('\'')) {
            return Some(Self::NoFunction(function.0));
        }
        if message.starts_with("Plan: [") {
            return Some(Self::Unplannable);
        }
        message.starts_with("Error encountered while finalizing writes").then_some(Self::IncompleteWrite)
    }

    /// Rephrases the message in terms of the user's statement.
    pub(super) fn rephrased(&self) -> String {
        match self {
            Self::NoFields(kind) => {
                format!("no such column in the FROM clause (type {kind} does not have fields)")
            }
            Self::NotATime(time) => {
                format!("'{time}' is not a valid time; write '2024-10-24' or '2024-10-24 19:00:00'")
            }
            Self::NotOfType(value, kind) => format!("invalid value '{value}' for type {kind}"),
            Self::SameName(name) => format!("two columns have the name '{name}'; rename one with AS"),
            Self::WrongTypes(function) => format!("{function} does not take values of this type"),
            Self::NotGrouped(column) => {
                format!("column '{column}' is neither in GROUP BY nor within an aggregate function")
            }
            Self::Unplannable => "this statement cannot be planned; split it into several statements".to_owned(),
            Self::Overflow(operation) => format!("out of range for a 64-bit integer: {operation}"),
            Self::UnknownSyntax(node) => format!("an expression of the kind {node} is not supported"),
            Self::NoTable(table) => format!("table '{table}' not found"),
            Self::NoFunction(function) => format!("no function named '{function}'"),
            Self::IncompleteWrite => "a file could not be written completely".to_owned(),
            Self::NotAPattern(reason) => format!("invalid regular expression: {reason}"),
            Self::Internal => super::NO_SUBQUERY.to_owned(),
            Self::WrongArguments(message) | Self::Other(message) => (*message).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::common::{Result, plan_err};
    use datafusion::logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    };
    use datafusion::prelude::SessionContext;

    use super::*;

    /// A function that takes no argument types.
    #[derive(Debug, PartialEq, Eq, Hash)]
    struct Picky(Signature);

    impl ScalarUDFImpl for Picky {
        fn name(&self) -> &'static str {
            "picky"
        }

        fn signature(&self) -> &Signature {
            &self.0
        }

        fn return_type(&self, _: &[DataType]) -> Result<DataType> {
            Ok(DataType::Null)
        }

        fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
            plan_err!("picky takes nothing.")
        }

        fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
            plan_err!("never called")
        }
    }

    const NINES: &str = "90000000000000000000000000000000000000 + 90000000000000000000000000000000000000";

    #[tokio::test]
    async fn datafusion_words_its_errors_as_expected() {
        let context = SessionContext::new();
        context.register_udf(ScalarUDF::from(Picky(Signature::user_defined(Volatility::Immutable))));
        context.sql("CREATE TABLE t AS VALUES (1, 2)").await.unwrap().collect().await.unwrap();
        for (sql, expected) in [
            ("SELECT picky(1)", Text::WrongArguments("picky takes nothing")),
            ("SELECT t.column1.x FROM t", Text::NoFields("Int64")),
            ("SELECT CAST('tomorrow' AS TIMESTAMP)", Text::NotATime("tomorrow")),
            ("SELECT CAST('one' AS BIGINT)", Text::NotOfType("one", "Int64")),
            ("SELECT column1 AS a, column2 AS a FROM t", Text::SameName("a")),
            ("SELECT sum('x')", Text::WrongTypes("sum")),
            ("SELECT * FROM t GROUP BY column1", Text::NotGrouped("t.column2")),
            (
                "SELECT d + d FROM (SELECT CAST('9000000000000000000000000000' AS DECIMAL(38, 10)) AS d)",
                Text::Overflow(NINES),
            ),
            ("SELECT column1 COLLATE \"C\" FROM t", Text::UnknownSyntax("Collate")),
            ("SELECT * FROM nowhere", Text::NoTable("datafusion.public.nowhere")),
            ("SELECT nothing(1)", Text::NoFunction("nothing")),
            ("SELECT regexp_like('a' || column1, '(') FROM t", Text::NotAPattern("unclosed group")),
            ("SELECT (SELECT column1 FROM t AS u WHERE u.column2 > t.column2 LIMIT 1) FROM t", Text::Internal),
        ] {
            let done = match context.sql(sql).await {
                Ok(frame) => frame.collect().await.map(drop),
                Err(error) => Err(error),
            };
            let error = done.expect_err(sql);
            assert_eq!(Text::of(&error.find_root().message()), expected, "{sql}");
        }
    }
}
