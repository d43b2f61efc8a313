//! Why a part of a query is not left to the database.

use std::fmt;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, Operator};

/// The reason why a part of a query is not pushed down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotPushed {
    /// A column that the database does not have.
    Column(Column),
    /// An expression that may have other semantics in the database.
    Expr(Box<Expr>),
    /// A comparison that may have other semantics in the database.
    Comparison(Box<(Expr, Operator, Expr)>),
    /// An order that differs in the database.
    Order(Box<Expr>),
    /// A comparison of values of two types.
    TwoTypes,
    /// A column that has another type in the database; its name.
    OtherType(String),
    /// A join whose rows are usually more data than its tables.
    CompleteTables,
    /// A limit of the database, in words.
    DatabaseLimit(&'static str),
    /// A sort without a limit.
    SortOfAllRows,
    /// A node that is not translated, as it is displayed.
    Node(String),
    /// A table of another source; its name.
    OtherTable(String),
    /// A grouping by an expression.
    GroupBy(Box<Expr>),
    /// A computed limit.
    Limit(Box<Expr>),
    /// A join that treats NULLs as equal.
    NullEqualJoin,
    /// A join of tables of two registries.
    TwoRegistries,
    /// A join of this type.
    Join(JoinType),
    /// A join without a unique key; its conditions.
    NoUniqueKey(String),
    /// A semi join with conditions other than equality.
    SemiJoin,
}

impl NotPushed {
    /// The reason for an expression.
    pub(super) fn expr(expr: &Expr) -> Self {
        Self::Expr(Box::new(expr.clone()))
    }

    /// The reason for a plan node.
    pub(crate) fn node(plan: &LogicalPlan) -> Self {
        Self::Node(plan.display().to_string())
    }
}

impl fmt::Display for NotPushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::DatabaseLimit(limit) = self {
            return f.write_str(limit);
        }
        f.write_str("not pushed down: ")?;
        match self {
            Self::DatabaseLimit(limit) => f.write_str(limit),
            Self::Column(column) => write!(f, "{column} is not a column of the registry"),
            Self::Expr(expr) => write!(f, "{expr}"),
            Self::Comparison(comparison) => write!(f, "{} {} {}", comparison.0, comparison.1, comparison.2),
            Self::Order(expr) => write!(f, "order of {expr}"),
            Self::TwoTypes => f.write_str("comparison of two types"),
            Self::OtherType(name) => write!(f, "{name} has another type in the database"),
            Self::CompleteTables => f.write_str("join of complete tables"),
            Self::SortOfAllRows => f.write_str("sort without LIMIT"),
            Self::Node(node) => f.write_str(node),
            Self::OtherTable(name) => write!(f, "{name} is not a table of the registry"),
            Self::GroupBy(expr) => write!(f, "GROUP BY {expr}"),
            Self::Limit(limit) => write!(f, "LIMIT {limit}"),
            Self::NullEqualJoin => f.write_str("join treats NULLs as equal"),
            Self::TwoRegistries => f.write_str("join of tables of two registries"),
            Self::Join(kind) => write!(f, "{kind} join"),
            Self::NoUniqueKey(conditions) => write!(f, "join without a unique key in {conditions}"),
            Self::SemiJoin => f.write_str("semi join with conditions other than equality"),
        }
    }
}
