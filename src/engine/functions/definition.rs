//! Definitions of procedures and functions: name, arguments, descriptions, an example. Planning, completion, `\df` and
//! the generated reference use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::ScalarUDF;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result};
use crate::registry::dataset_types::TypeRecord;
use crate::repo::Operation;
use crate::repo::RepositoryHandle;
use crate::universe::Universe;

/// The type of an argument.
///
/// ```
/// let certify = butlersql::functions::find("certify").expect("a procedure");
/// let types: Vec<_> = certify.arguments.iter().map(|argument| argument.arg_type.name()).collect();
/// assert!(types.contains(&"text"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgType {
    /// A string.
    Text,
    /// A list of strings; a single string is a list of one.
    TextList,
    /// A boolean.
    Bool,
    /// An integer.
    Int,
    /// A number for each row.
    Number,
    /// A region in the encoding of `sphgeom`, for each row.
    Region,
    /// A timestamp without time zone in nanoseconds, for each row.
    Time,
    /// A subquery; the text describes its columns.
    Query(&'static str),
}

impl ArgType {
    /// The name of the type in the reference and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::TextList => "list of text",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::Number => "number",
            Self::Region => "region",
            Self::Time => "time",
            Self::Query(_) => "rows",
        }
    }
}

/// One argument of a function.
#[derive(Debug, Clone)]
pub struct ArgDef {
    /// The name of the argument.
    pub name: &'static str,
    /// The type of the argument.
    pub arg_type: ArgType,
    /// A description of the argument, in one line.
    pub description: &'static str,
    /// Whether a call must set the argument.
    pub required: bool,
}

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

/// Creates the table of a search function.
pub(crate) type SearchTable = fn(&Args, &SearchContext<'_>) -> Result<Arc<dyn TableProvider>>;

/// The kind of a function, with its implementation.
#[derive(Clone)]
pub(crate) enum FunctionKind {
    /// A procedure: creates an operation that changes the repository.
    Operation(fn(&Args) -> Result<Arc<dyn Operation>>),
    /// A table function that searches the repository; the registry is read when the table is scanned.
    Search(SearchTable),
    /// A table function that expands to a query over the tables of a universe.
    Query(fn(&Args, &Universe) -> Result<String>),
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

    /// Defines a table function that expands to a query.
    pub(crate) fn query(
        name: &'static str,
        description: &'static str,
        text: fn(&Args, &Universe) -> Result<String>,
    ) -> Self {
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

/// The value of an argument.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Texts(Vec<String>),
    Bool(bool),
    Int(i64),
}

/// The argument values of a call, checked against the definition.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Args {
    values: BTreeMap<&'static str, Value>,
    rows: bool,
}

impl Args {
    /// Sets an argument to a constant; NULL is ignored.
    ///
    /// # Errors
    /// `Kind::Invalid` for a value of another type, and for an argument that is already set.
    pub(crate) fn set(&mut self, function: &FunctionDef, argument: &ArgDef, value: &ScalarValue) -> Result<()> {
        if value.is_null() {
            return Ok(());
        }
        let wrong = || {
            let (name, word) = (argument.name, argument.arg_type.name());
            Error::invalid(format!("argument '{name}' of {} takes a {word}, not {value}", function.name))
        };
        let value = match argument.arg_type {
            ArgType::Text => Value::Texts(vec![value.try_as_str().flatten().ok_or_else(wrong)?.to_owned()]),
            ArgType::TextList => Value::Texts(texts(value).ok_or_else(wrong)?),
            ArgType::Bool => match value {
                ScalarValue::Boolean(Some(yes)) => Value::Bool(*yes),
                _ => return Err(wrong()),
            },
            ArgType::Int => match value.cast_to(&datafusion::arrow::datatypes::DataType::Int64) {
                Ok(ScalarValue::Int64(Some(n))) if value.data_type().is_integer() => Value::Int(n),
                _ => return Err(wrong()),
            },
            ArgType::Query(_) | ArgType::Time | ArgType::Number | ArgType::Region => return Err(wrong()),
        };
        self.check_unset(function, argument)?;
        self.values.insert(argument.name, value);
        Ok(())
    }

    /// Marks the rows argument as set.
    ///
    /// # Errors
    /// `Kind::Invalid` if it is already set.
    pub(crate) fn set_rows(&mut self, function: &FunctionDef, argument: &ArgDef) -> Result<()> {
        self.check_unset(function, argument)?;
        self.rows = true;
        Ok(())
    }

    fn check_unset(&self, function: &FunctionDef, argument: &ArgDef) -> Result<()> {
        let rows = matches!(argument.arg_type, ArgType::Query(_)) && self.rows;
        if rows || self.values.contains_key(argument.name) {
            let message = format!("argument '{}' of {} is given twice", argument.name, function.name);
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    /// Checks that all required arguments are set.
    ///
    /// # Errors
    /// `Kind::Invalid` for the first missing argument.
    pub(crate) fn check_complete(&self, function: &FunctionDef) -> Result<()> {
        let args = |a: &ArgDef| match a.arg_type {
            ArgType::Query(_) => self.rows,
            _ => self.values.contains_key(a.name),
        };
        match function.arguments.iter().find(|a| a.required && !args(a)) {
            Some(missing) => Err(Error::invalid(format!(
                "{} needs its argument '{}': {}",
                function.name, missing.name, missing.description
            ))),
            None => Ok(()),
        }
    }

    /// Whether the rows argument is set.
    pub(crate) fn has_rows(&self) -> bool {
        self.rows
    }

    /// The value of a string argument; `None` if it is not set.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.list(name)?.into_iter().next()
    }

    /// The value of a required string argument.
    ///
    /// # Errors
    /// `Kind::Bug` if it is not set; [`Self::check_complete`] runs before.
    pub(crate) fn required(&self, name: &str) -> Result<String> {
        self.text(name).ok_or_else(|| Error::bug(format!("argument '{name}' was not checked")))
    }

    /// The value of a list argument; `None` if it is not set.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        match self.values.get(name)? {
            Value::Texts(texts) => Some(texts.clone()),
            _ => None,
        }
    }

    /// The value of a boolean argument, or `default`.
    pub(crate) fn bool(&self, name: &str, default: bool) -> bool {
        match self.values.get(name) {
            Some(Value::Bool(value)) => *value,
            _ => default,
        }
    }

    /// The value of an integer argument, or `default`.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        match self.values.get(name) {
            Some(Value::Int(value)) => *value,
            _ => default,
        }
    }
}

fn texts(value: &ScalarValue) -> Option<Vec<String>> {
    if let Some(text) = value.try_as_str() {
        return Some(vec![text?.to_owned()]);
    }
    let items = match value {
        ScalarValue::List(list) => list.value(0),
        ScalarValue::LargeList(list) => list.value(0),
        ScalarValue::FixedSizeList(list) => list.value(0),
        _ => return None,
    };
    (0..items.len()).map(|i| ScalarValue::try_from_array(&items, i).ok()?.try_as_str()?.map(str::to_owned)).collect()
}
