//! Definitions of procedures and functions: name, arguments, descriptions, an example. Planning, completion, `\df` and
//! the generated reference use them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::ScalarUDF;

use crate::engine::functions::args::{ArgDef, ArgType, Args};
use crate::error::{Error, Result};
use crate::model::collection::Collections;
use crate::registry::dataset_types::TypeRecord;
use crate::repo::Operation;
use crate::repo::RepositoryHandle;
use crate::universe::Universe;

/// The argument of search functions that names an attached repository.
pub(crate) const REPOSITORY: &str = "repository";

/// The implementation of a function that reads a table outside the repository.
#[async_trait]
pub(crate) trait TableReader: Send + Sync {
    /// Returns the columns of the table, and its rows only if they determine the columns.
    ///
    /// # Errors
    /// `Kind::NotFound` for a missing file, `Kind::Invalid` for a file of another format, and read errors.
    async fn open(&self, args: &Args) -> Result<OpenTable>;

    /// Reads the rows, with the columns of [`Self::open`].
    ///
    /// # Errors
    /// `Kind::NotFound` for a missing file or folder, `Kind::Invalid` for a file of another format, and read errors.
    async fn rows(&self, args: &Args) -> Result<RecordBatch>;
}

/// What a reader knows before its table is scanned.
#[derive(Debug)]
pub(crate) enum OpenTable {
    /// The columns; the rows are read when the table is scanned.
    Columns(SchemaRef),
    /// All rows.
    Rows(RecordBatch),
}

/// What a search function needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SearchContext<'a> {
    /// The repository.
    pub handle: &'a Arc<RepositoryHandle>,
    /// The registered dataset types.
    pub types: &'a [TypeRecord],
}

/// What a function that expands to a query needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryContext<'a> {
    /// The universe of the repository.
    pub universe: &'a Universe,
    /// The registered dataset types.
    pub types: &'a [TypeRecord],
    /// All collections, if the function has an argument `collections`.
    pub collections: &'a Collections,
    /// The subquery of the call.
    pub rows: Option<&'a str>,
}

/// Expands a call to a query.
pub(crate) type QueryText = fn(&Args, &QueryContext<'_>) -> Result<String>;

/// Creates the table of a search function.
pub(crate) type SearchTable = fn(&Args, &SearchContext<'_>) -> Result<Arc<dyn TableProvider>>;

/// The kind of a function, with its implementation.
#[derive(Clone)]
pub(crate) enum FunctionKind {
    /// A procedure: creates an operation that changes the repository.
    Operation(fn(&Args) -> Result<Arc<dyn Operation>>),
    /// A table function that searches the repository; the registry is read when the table is scanned.
    Search(SearchTable),
    /// A table function that asks a server, when the table is scanned.
    Table(fn(&Args) -> Result<Arc<dyn TableProvider>>),
    /// A table function that expands to a query over the tables of the repository.
    Query(QueryText),
    /// A table function that reads files or folders.
    Read(Arc<dyn TableReader>),
    /// A scalar function.
    Scalar(ScalarUDF),
}

impl std::fmt::Debug for FunctionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Operation(_) => "Operation",
            Self::Search(_) => "Search",
            Self::Table(_) => "Table",
            Self::Query(_) => "Query",
            Self::Read(_) => "Read",
            Self::Scalar(_) => "Scalar",
        })
    }
}

/// The definition of a procedure or function: what `\df`, `REFERENCE.md` and completion show of it.
///
/// ```
/// let chain = butlersql::functions::find("chain").expect("a procedure");
/// assert_eq!(chain.arguments[0].name, "parent");
/// assert!(chain.signature().starts_with("chain(parent, "));
/// ```
#[derive(Debug, Clone)]
pub struct FunctionDef {
    /// The name of the function.
    pub name: &'static str,
    /// A description in one sentence.
    pub description: &'static str,
    /// Further notes; may be empty.
    pub notes: &'static str,
    /// The arguments, in positional order.
    pub arguments: Vec<ArgDef>,
    /// An example statement.
    pub example: &'static str,
    /// The kind and implementation of the function.
    pub(crate) kind: FunctionKind,
}

impl FunctionDef {
    /// Defines a procedure.
    pub(crate) fn procedure(
        name: &'static str,
        description: &'static str,
        make: fn(&Args) -> Result<Arc<dyn Operation>>,
    ) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Operation(make) }
    }

    /// Defines a table function that searches the repository.
    pub(crate) fn search(name: &'static str, description: &'static str, table: SearchTable) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Search(table) }
    }

    /// Defines a table function that asks a server.
    pub(crate) fn table(
        name: &'static str,
        description: &'static str,
        table: fn(&Args) -> Result<Arc<dyn TableProvider>>,
    ) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Table(table) }
    }

    /// Defines a table function that expands to a query.
    pub(crate) fn query(name: &'static str, description: &'static str, text: QueryText) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Query(text) }
    }

    /// Defines a table function that reads files or folders.
    pub(crate) fn read(name: &'static str, description: &'static str, reader: Arc<dyn TableReader>) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Read(reader) }
    }

    /// Defines a scalar function.
    pub(crate) fn scalar(name: &'static str, description: &'static str, udf: ScalarUDF) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Scalar(udf) }
    }

    /// Adds the argument that names an attached repository to functions that read one.
    #[must_use]
    pub(crate) fn with_repository(self) -> Self {
        if !matches!(self.kind, FunctionKind::Search(_) | FunctionKind::Query(_)) {
            return self;
        }
        self.option(REPOSITORY, ArgType::Text, "the name of an attached repository; default the session's own")
    }

    /// Adds a required argument.
    #[must_use]
    pub(crate) fn arg(mut self, name: &'static str, arg_type: ArgType, description: &'static str) -> Self {
        self.arguments.push(ArgDef { name, arg_type, description, required: true });
        self
    }

    /// Adds an optional argument.
    #[must_use]
    pub(crate) fn option(mut self, name: &'static str, arg_type: ArgType, description: &'static str) -> Self {
        self.arguments.push(ArgDef { name, arg_type, description, required: false });
        self
    }

    /// Sets the notes.
    #[must_use]
    pub(crate) fn notes(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }

    /// Sets the example.
    #[must_use]
    pub(crate) fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// The argument with a name, or at a position (from 0).
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown name, `Kind::Invalid` for too many arguments.
    pub(crate) fn argument(&self, position: usize, name: Option<&str>) -> Result<&ArgDef> {
        match name {
            Some(name) => self.arguments.iter().find(|a| a.name == name).ok_or_else(|| {
                let names = self.arguments.iter().map(|a| a.name);
                Error::not_found(&format!("argument of {}", self.name), name, names)
            }),
            None => self.arguments.get(position).ok_or_else(|| {
                Error::invalid(format!("{} takes at most {} arguments", self.name, self.arguments.len()))
            }),
        }
    }

    /// Whether the function searches the repository, such as `find_first`.
    pub fn is_search(&self) -> bool {
        matches!(self.kind, FunctionKind::Search(_))
    }

    /// The signature, such as `name(first, second, [option])`.
    pub fn signature(&self) -> String {
        let show = |a: &ArgDef| if a.required { a.name.to_owned() } else { format!("[{}]", a.name) };
        format!("{}({})", self.name, self.arguments.iter().map(show).collect::<Vec<_>>().join(", "))
    }

    /// The argument that takes a subquery, if any.
    pub(crate) fn rows(&self) -> Option<&ArgDef> {
        self.arguments.iter().find(|a| matches!(a.arg_type, ArgType::Query(_)))
    }
}
