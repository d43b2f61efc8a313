//! Reads text files as tables: ECSV and plain lines.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;

use crate::error::{Error, Result};

/// The YAML header of an ECSV file.
#[derive(Deserialize)]
struct Header {
    datatype: Vec<HeaderColumn>,
    #[serde(default = "blank")]
    delimiter: char,
    #[serde(default)]
    meta: serde_yaml::Value,
}

#[derive(Deserialize)]
struct HeaderColumn {
    name: String,
    datatype: String,
    #[serde(default)]
    unit: Option<String>,
}

/// The metadata key of a field that holds its unit.
pub const UNIT: &str = "unit";

/// The `meta` section of an ECSV header.
pub type Meta = serde_json::Map<String, serde_json::Value>;

fn blank() -> char {
    ' '
}

/// Reads an ECSV table (enhanced CSV of astropy, version 1): `#` lines with a YAML header, a line of names, rows.
///
/// # Errors
/// Text that is not an ECSV table, with its line.
pub fn parse_ecsv(bytes: &[u8]) -> Result<RecordBatch> {
    parse_ecsv_with_meta(bytes).map(|(rows, _)| rows)
}

/// Reads an ECSV table together with the `meta` section of its header, in file order.
///
/// # Errors
/// Text that is not an ECSV table, with its line.
pub fn parse_ecsv_with_meta(bytes: &[u8]) -> Result<(RecordBatch, Meta)> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::invalid("the text is not UTF-8"))?;
    let (header, lines, rest) = ecsv_header(text)?;
    let schema = header.schema()?;
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_header(true).with_delimiter(header.delimiter()?);
    let reader = reader.build(Cursor::new(rest))?;
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| shift(&e.to_string(), lines))?;
    Ok((concat_batches(&schema, &batches)?, plain(header.meta)))
}

/// Returns the columns of an ECSV table, from the first bytes of its file; `None` if the bytes end before the line of
/// names ends.
///
/// # Errors
/// As for [`parse_ecsv`].
pub fn ecsv_schema(head: &[u8]) -> Result<Option<SchemaRef>> {
    let complete = head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&head[..complete]).map_err(|_| Error::invalid("the text is not UTF-8"))?;
    if text.lines().all(|line| line.starts_with('#')) {
        return Ok(None);
    }
    ecsv_header(text)?.0.schema().map(Some)
}

/// Parses the header and checks the line of names. Returns the header, its number of lines, and the text from the names
/// on.
fn ecsv_header(text: &str) -> Result<(Header, usize, &str)> {
    let mut header = String::new();
    let mut lines = 0;
    let mut rest = text;
    while let Some(line) = rest.strip_prefix('#') {
        let (line, after) = line.split_once('\n').unwrap_or((line, ""));
        header.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end_matches('\r'));
        header.push('\n');
        lines += 1;
        rest = after;
    }
    let Some(header) = header.strip_prefix("%ECSV ").and_then(|h| h.split_once('\n')).map(|(_, yaml)| yaml) else {
        return Err(Error::invalid("line 1: an ECSV file begins with '# %ECSV'"));
    };
    let header: Header = serde_yaml::from_str(header)
        .map_err(|e| Error::invalid(format!("the ECSV header does not describe the columns: {e}")))?;
    let names: Vec<&str> = header.datatype.iter().map(|c| c.name.as_str()).collect();
    let first = rest.lines().next().unwrap_or_default();
    let mut line =
        csv::ReaderBuilder::new().has_headers(false).delimiter(header.delimiter()?).from_reader(first.as_bytes());
    let given = line.records().next().and_then(std::result::Result::ok).unwrap_or_default();
    if given != names {
        let message =
            format!("line {}: the column names are '{first}', but the header lists {}", lines + 1, names.join(", "));
        return Err(Error::invalid(message));
    }
    Ok((header, lines, rest))
}

impl Header {
    fn delimiter(&self) -> Result<u8> {
        u8::try_from(self.delimiter).map_err(|_| Error::invalid("the delimiter must be one character"))
    }

    /// Returns the columns, with their units.
    fn schema(&self) -> Result<SchemaRef> {
        let fields = self.datatype.iter().map(|c| {
            let field = Field::new(&c.name, arrow_type(&c.datatype)?, true);
            let unit = c.unit.iter().map(|unit| (UNIT.to_owned(), unit.clone()));
            Ok(field.with_metadata(unit.collect()))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }
}

/// Converts header metadata to a map; an ordered mapping (`!!omap`) is a list of mappings with one key each.
fn plain(meta: serde_yaml::Value) -> Meta {
    let mut all = Meta::new();
    match meta {
        serde_yaml::Value::Tagged(tagged) => return plain(tagged.value),
        serde_yaml::Value::Sequence(parts) => parts.into_iter().for_each(|part| all.extend(plain(part))),
        serde_yaml::Value::Mapping(pairs) => {
            for (key, value) in pairs {
                if let (Some(key), Ok(value)) = (key.as_str(), serde_json::to_value(&value)) {
                    all.insert(key.to_owned(), value);
                }
            }
        }
        _ => {}
    }
    all
}

fn arrow_type(name: &str) -> Result<DataType> {
    Ok(match name {
        "bool" => DataType::Boolean,
        "int8" | "int16" | "int32" | "int64" => DataType::Int64,
        "uint8" | "uint16" | "uint32" => DataType::Int64,
        "uint64" => DataType::UInt64,
        "float16" | "float32" => DataType::Float32,
        "float64" | "float128" => DataType::Float64,
        "string" => DataType::Utf8,
        other => {
            let names = ["bool", "int64", "float64", "string"];
            return Err(Error::not_found("ECSV datatype", other, names));
        }
    })
}

/// Converts an error of the CSV reader, and counts its line from the start of the file.
fn shift(message: &str, lines: usize) -> Error {
    let message = message.trim_start_matches("Parser error: ").trim_start_matches("Csv error: ");
    let Some((before, after)) = message.split_once("line ") else { return Error::invalid(message) };
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<usize>() {
        Ok(line) => Error::invalid(format!("{before}line {}{}", line + lines + 1, &after[digits.len()..])),
        Err(_) => Error::invalid(message),
    }
}

/// Returns the columns of [`parse_lines`].
pub fn lines_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, true)]))
}

/// Reads the lines of a text into the column `line`; empty lines are skipped.
///
/// # Errors
/// Text that is not UTF-8.
pub fn parse_lines(bytes: &[u8]) -> Result<RecordBatch> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::invalid("the text is not UTF-8"))?;
    let lines: StringArray = text.lines().filter(|line| !line.trim().is_empty()).map(Some).collect();
    Ok(RecordBatch::try_new(lines_schema(), vec![Arc::new(lines)])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: filename, datatype: string, description: 'x: y'}\n# - {name: htm7, datatype: int64}\n# schema: astropy-2.0\nfilename htm7\n\"a b.fits\" 131072\nb.fits \"\"\n";

    #[test]
    fn ecsv_is_read_by_its_header() {
        let rows = parse_ecsv(TABLE.as_bytes()).unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&[rows]).unwrap().to_string();
        assert!(shown.contains("| a b.fits | 131072 |") && shown.contains("| b.fits   |        |"), "{shown}");
        let quoted = TABLE.replace("name: htm7", "name: 'my \"col\"'").replace(" htm7\n", " \"my \"\"col\"\"\"\n");
        assert_eq!(parse_ecsv(quoted.as_bytes()).unwrap().schema().field(1).name(), "my \"col\"");
    }

    #[test]
    fn malformed_ecsv_is_an_error() {
        for (from, to, message) in [
            ("%ECSV", "ECSV", "line 1: an ECSV file begins with '# %ECSV'"),
            ("int64", "int65", "no ECSV datatype named 'int65'"),
            ("filename htm7", "filename htm8", "line 7: the column names are 'filename htm8'"),
            ("filename htm7", "\"file name\" htm7", "line 7: the column names are '\"file name\" htm7'"),
            ("131072", "x", "line 8"),
            ("datatype:", "datatyp:", "does not describe the columns"),
        ] {
            let error = parse_ecsv(TABLE.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.message().contains(message), "{from}: {error}");
        }
        assert_eq!(parse_lines(b"1\n\n2\r\n").unwrap().num_rows(), 2);
    }
}
