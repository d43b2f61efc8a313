//! Arguments of procedures and functions: their definitions, and the values of a call.

use std::collections::BTreeMap;

use datafusion::scalar::ScalarValue;

use crate::engine::expression::Binds;
use crate::error::{Error, Result};

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
    /// Values by name, as a struct such as `{'day': 20241101}`.
    Binds,
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
            Self::Binds => "struct",
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

/// The value of an argument.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Texts(Vec<String>),
    Bool(bool),
    Int(i64),
    Binds(Binds),
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
    pub(crate) fn set(&mut self, function: &str, argument: &ArgDef, value: &ScalarValue) -> Result<()> {
        if value.is_null() {
            return Ok(());
        }
        let wrong = || {
            let (name, word) = (argument.name, argument.arg_type.name());
            Error::invalid(format!("argument '{name}' of {function} takes a {word}, not {value}"))
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
            ArgType::Binds => Value::Binds(Binds::of(value).ok_or_else(wrong)?),
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
    pub(crate) fn set_rows(&mut self, function: &str, argument: &ArgDef) -> Result<()> {
        self.check_unset(function, argument)?;
        self.rows = true;
        Ok(())
    }

    fn check_unset(&self, function: &str, argument: &ArgDef) -> Result<()> {
        let rows = matches!(argument.arg_type, ArgType::Query(_)) && self.rows;
        if rows || self.values.contains_key(argument.name) {
            let message = format!("argument '{}' of {} is given twice", argument.name, function);
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    /// Checks that all required arguments are set.
    ///
    /// # Errors
    /// `Kind::Invalid` for the first missing argument.
    pub(crate) fn check_complete(&self, function: &str, arguments: &[ArgDef]) -> Result<()> {
        let args = |a: &ArgDef| match a.arg_type {
            ArgType::Query(_) => self.rows,
            _ => self.values.contains_key(a.name),
        };
        match arguments.iter().find(|a| a.required && !args(a)) {
            Some(missing) => Err(Error::invalid(format!(
                "{function} needs its argument '{}': {}",
                missing.name, missing.description
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

    /// The values that an argument binds.
    pub(crate) fn binds(&self, name: &str) -> Binds {
        match self.values.get(name) {
            Some(Value::Binds(binds)) => binds.clone(),
            _ => Binds::default(),
        }
    }

    /// The value of a boolean argument, or `default`.
    pub(crate) fn bool(&self, name: &str, default: bool) -> bool {
        match self.values.get(name) {
            Some(Value::Bool(value)) => *value,
            _ => default,
        }
    }

    /// Whether an argument is set.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
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
