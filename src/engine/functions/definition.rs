//! Functions as values: name, arguments, sentences, an example. Planning, completion, `\df` and the generated
//! reference all read these.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::ScalarUDF;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result};
use crate::repo::Operation;
use crate::universe::Universe;

/// What an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgType {
    /// A text.
    Text,
    /// A list of texts; a single text is a list of one.
    TextList,
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// A number, of each row.
    Number,
    /// A region in `sphgeom`'s encoding, of each row.
    Region,
    /// A time without zone, of each row.
    Time,
    /// A subquery, with what its columns are.
    Query(&'static str),
}

impl ArgType {
    /// Its word in reference and messages.
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
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub arg_type: ArgType,
    /// One sentence.
    pub description: &'static str,
    /// Whether it must be given.
    pub required: bool,
}

/// Where a function that reads finds its rows.
#[async_trait]
pub trait TableReader: Send + Sync {
    /// The rows as a table.
    ///
    /// # Errors
    /// What is asked for is not there, or is no table.
    async fn table(&self, args: &Args) -> Result<Arc<dyn TableProvider>>;
}

/// What a function does once its arguments are known.
#[derive(Clone)]
pub enum FunctionKind {
    /// Changes the repository.
    Operation(fn(&Args) -> Result<Arc<dyn Operation>>),
    /// Searches the repository; planned by the engine's search.
    Search,
    /// Stands for a query over the tables of a universe.
    Query(fn(&Args, &Universe) -> Result<String>),
    /// Yields the rows of something outside the repository.
    Read(Arc<dyn TableReader>),
    /// Computes a value for each row.
    Scalar(ScalarUDF),
}

impl std::fmt::Debug for FunctionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Operation(_) => "Verb",
            Self::Search => "Search",
            Self::Query(_) => "Query",
            Self::Read(_) => "Read",
            Self::Scalar(_) => "Scalar",
        })
    }
}

/// A function of the SQL face.
#[derive(Debug, Clone)]
pub struct FunctionDef {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// More about it, or nothing.
    pub notes: &'static str,
    /// Its arguments, in positional order.
    pub arguments: Vec<ArgDef>,
    /// A statement that uses it.
    pub example: &'static str,
    /// What it does.
    pub kind: FunctionKind,
}

impl FunctionDef {
    /// A function that changes the repository.
    pub fn procedure(
        name: &'static str,
        description: &'static str,
        make: fn(&Args) -> Result<Arc<dyn Operation>>,
    ) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Operation(make) }
    }

    /// A function that searches the repository.
    pub fn search(name: &'static str, description: &'static str) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Search }
    }

    /// A function that stands for a query.
    pub fn query(name: &'static str, description: &'static str, text: fn(&Args, &Universe) -> Result<String>) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Query(text) }
    }

    /// A function that reads something outside the repository.
    pub fn read(name: &'static str, description: &'static str, reader: Arc<dyn TableReader>) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Read(reader) }
    }

    /// A function of each row.
    pub fn scalar(name: &'static str, description: &'static str, udf: ScalarUDF) -> Self {
        Self { name, description, notes: "", arguments: Vec::new(), example: "", kind: FunctionKind::Scalar(udf) }
    }

    /// With an argument that must be given.
    #[must_use]
    pub fn arg(mut self, name: &'static str, arg_type: ArgType, description: &'static str) -> Self {
        self.arguments.push(ArgDef { name, arg_type, description, required: true });
        self
    }

    /// With an argument that may be left out.
    #[must_use]
    pub fn option(mut self, name: &'static str, arg_type: ArgType, description: &'static str) -> Self {
        self.arguments.push(ArgDef { name, arg_type, description, required: false });
        self
    }

    /// With more about it.
    #[must_use]
    pub fn notes(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }

    /// With an example.
    #[must_use]
    pub fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// The argument at a position or of a name.
    ///
    /// # Errors
    /// Too many, or an unknown name with the nearest one.
    pub fn argument(&self, position: usize, name: Option<&str>) -> Result<&ArgDef> {
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

    /// `name(first, second, option => …)`.
    pub fn signature(&self) -> String {
        let show = |a: &ArgDef| if a.required { a.name.to_owned() } else { format!("[{}]", a.name) };
        format!("{}({})", self.name, self.arguments.iter().map(show).collect::<Vec<_>>().join(", "))
    }

    /// Its argument that takes rows, if any.
    pub fn rows(&self) -> Option<&ArgDef> {
        self.arguments.iter().find(|a| matches!(a.arg_type, ArgType::Query(_)))
    }
}

/// A value given for an argument.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Texts(Vec<String>),
    Bool(bool),
    Int(i64),
}

/// The values given to a function, checked against its arguments.
#[derive(Debug, Clone, Default)]
pub struct Args {
    values: BTreeMap<&'static str, Value>,
    rows: bool,
}

impl Args {
    /// Takes a constant for an argument; NULL counts as left out.
    ///
    /// # Errors
    /// A value of another type, or an argument given twice.
    pub fn set(&mut self, function: &FunctionDef, argument: &ArgDef, value: &ScalarValue) -> Result<()> {
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

    /// Notes that the rows argument was given.
    ///
    /// # Errors
    /// It was given twice.
    pub fn set_rows(&mut self, function: &FunctionDef, argument: &ArgDef) -> Result<()> {
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

    /// Checks that all arguments that must be given are.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_complete(&self, function: &FunctionDef) -> Result<()> {
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

    /// Whether the rows argument was given.
    pub fn has_rows(&self) -> bool {
        self.rows
    }

    /// A text that was given.
    pub fn text(&self, name: &str) -> Option<String> {
        self.list(name)?.into_iter().next()
    }

    /// A text that must have been given.
    ///
    /// # Errors
    /// It was not: a broken invariant, as arguments are checked before.
    pub fn required(&self, name: &str) -> Result<String> {
        self.text(name).ok_or_else(|| Error::bug(format!("argument '{name}' was not checked")))
    }

    /// A list that was given.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        match self.values.get(name)? {
            Value::Texts(texts) => Some(texts.clone()),
            _ => None,
        }
    }

    /// A truth value, or its default.
    pub fn bool(&self, name: &str, default: bool) -> bool {
        match self.values.get(name) {
            Some(Value::Bool(value)) => *value,
            _ => default,
        }
    }

    /// A whole number, or its default.
    pub fn int(&self, name: &str, default: i64) -> i64 {
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
