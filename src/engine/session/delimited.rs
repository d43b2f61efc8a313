//! Delimited text (CSV) in the format of psql and DuckDB: an empty field is NULL, `""` is the empty string.
//!
//! DataFusion's writer does not distinguish the two. Therefore this module quotes strings, and the writer does not
//! quote.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{ArrowNativeType, DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{ExprSchema, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Delimiters that do not occur in numbers and times.
const DELIMITERS: [&str; 4] = [",", ";", "\t", "|"];

/// Options that select other quotes.
const QUOTES: [&str; 4] = ["quote", "escape", "double_quote", "quote_style"];

/// Whether a delimiter, a quote or the end of a line occurs. Has no early exit, so that it compiles to vector code.
fn has_special(text: &[u8], delimiter: char) -> bool {
    let is_special = |byte: u8| (char::from(byte) == delimiter) | matches!(byte, b'"' | b'\n' | b'\r');
    text.iter().fold(false, |found, &byte| found | is_special(byte))
}

/// Quotes a string if necessary; `null` is the text of NULL.
fn quoted<'a>(text: &'a str, delimiter: char, null: &str) -> Cow<'a, str> {
    if text.is_empty() || text == null || has_special(text.as_bytes(), delimiter) {
        return Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")));
    }
    Cow::Borrowed(text)
}

/// Quotes the strings of a column. A column without special characters is returned as it is.
fn quoted_column(texts: &StringArray, delimiter: char, null: &str) -> StringArray {
    let bytes = &texts.values()[texts.offsets()[0].as_usize()..texts.offsets()[texts.len()].as_usize()];
    let is_plain = |text: Option<&str>| text.is_none_or(|text| !text.is_empty() && text != null);
    if !has_special(bytes, delimiter) && texts.iter().all(is_plain) {
        return texts.clone();
    }
    texts.iter().map(|text| text.map(|text| quoted(text, delimiter, null))).collect()
}

/// Formats a column: strings and lists are quoted, bytes become hexadecimal digits, other types are not changed.
///
/// # Errors
/// Values that cannot be formatted as text.
fn column(values: &ArrayRef, delimiter: char, null: &str) -> Result<ArrayRef, ArrowError> {
    Ok(match values.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let texts = cast(values, &DataType::Utf8)?;
            Arc::new(quoted_column(texts.as_string(), delimiter, null))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let bytes = cast(values, &DataType::Binary)?;
            Arc::new(bytes.as_binary::<i32>().iter().map(|bytes| bytes.map(hex)).collect::<StringArray>())
        }
        kind if kind.is_nested() => {
            let options = FormatOptions::default();
            let cells = ArrayFormatter::try_new(values, &options)?;
            let text = |i| (!values.is_null(i)).then(|| cells.value(i).to_string());
            let texts = (0..values.len()).map(text).collect();
            Arc::new(quoted_column(&texts, delimiter, null))
        }
        _ => Arc::clone(values),
    })
}

/// Formats a batch for a writer that does not quote; `schema` is from [`schema`].
///
/// # Errors
/// Values that cannot be formatted as text.
pub(crate) fn batch(batch: &RecordBatch, schema: &SchemaRef, delimiter: char) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|values| column(values, delimiter, ""));
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>, _>>()?)
}

/// The schema of formatted batches, with quoted column names.
pub(crate) fn schema(schema: &Schema, delimiter: char) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let kind = if is_text(field.data_type()) { DataType::Utf8 } else { field.data_type().clone() };
        Field::new(quoted(field.name(), delimiter, ""), kind, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Whether values of a type are formatted as strings.
fn is_text(kind: &DataType) -> bool {
    use DataType as T;
    let texts = matches!(kind, T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Dictionary(..));
    let bytes = matches!(kind, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    texts || bytes || kind.is_nested()
}

/// Adds the quoting of strings to a COPY with format csv, unless its options configure quotes.
///
/// # Errors
/// Internal errors of DataFusion.
pub(crate) fn quote(copy: &mut CopyTo) -> Result<()> {
    let option = |name: &str| copy.options.iter().find(|(key, _)| key.trim_start_matches("format.") == name);
    let delimiter = option("delimiter").map_or(",", |(_, value)| value.as_str());
    let is_other = QUOTES.into_iter().any(|name| option(name).is_some()) || !DELIMITERS.contains(&delimiter);
    if copy.file_type.get_ext().trim_start_matches('.') != "csv" || is_other {
        return Ok(());
    }
    let delimiter = delimiter.chars().next().unwrap_or(',');
    let null = option("null_value").map_or_else(String::new, |(_, value)| value.clone());
    let function =
        Arc::new(ScalarUDF::from(Quoted { delimiter, null, signature: Signature::any(1, Volatility::Immutable) }));
    let columns = copy.input.schema().columns().into_iter().map(|column| {
        let name = column.name.clone();
        let kind = copy.input.schema().field_from_column(&column)?.data_type().clone();
        let value = Expr::Column(column);
        if copy.partition_by.contains(&name) {
            return Ok(value);
        }
        let value = if is_text(&kind) { function.call(vec![value]) } else { value };
        Ok(value.alias(quoted(&name, delimiter, "")))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let input = LogicalPlanBuilder::new_from_arc(Arc::clone(&copy.input)).project(columns)?.build()?;
    copy.input = Arc::new(input);
    copy.options.insert("format.quote_style".to_owned(), "Never".to_owned());
    Ok(())
}

/// The function that formats a column.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Quoted {
    delimiter: char,
    null: String,
    signature: Signature,
}

impl ScalarUDFImpl for Quoted {
    fn name(&self) -> &'static str {
        "quoted"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values] = args.args.as_slice() else { return exec_err!("quoted takes one argument") };
        let values = values.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(column(&values, self.delimiter, &self.null)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_the_empty_text_differ() {
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![None, Some(""), Some("a,b"), Some("\"x\""), Some("N"), Some("b")]));
        let written = |null: &str| {
            let quoted = column(&texts, ',', null).unwrap();
            quoted.as_string::<i32>().iter().map(|text| text.unwrap_or(null).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(written(""), ["", "\"\"", "\"a,b\"", "\"\"\"x\"\"\"", "N", "b"]);
        let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a,b"), None, Some("c"), Some("d")]));
        assert_eq!(column(&plain.slice(1, 3), ',', "").unwrap().as_ref(), plain.slice(1, 3).as_ref());
        assert_eq!(written("N"), ["N", "\"\"", "\"a,b\"", "\"\"\"x\"\"\"", "\"N\"", "b"]);
    }

    #[test]
    fn a_column_of_bytes_is_hexadecimal() {
        let bytes: ArrayRef = Arc::new(datafusion::arrow::array::BinaryArray::from(vec![&b"\x01\xff"[..]]));
        assert_eq!(column(&bytes, ',', "").unwrap().as_string::<i32>().value(0), "01ff");
    }
}
