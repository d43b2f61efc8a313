//! Formats and options of COPY, by the names of psql, DuckDB and DataFusion.

use datafusion::common::config::{ConfigFileType, TableOptions};
use datafusion::sql::parser::CopyToStatement;
use datafusion::sql::sqlparser::ast::Value;

use crate::engine::sql::file_name::{FORMATS, extension};
use crate::error::{Error, Kind, Result};

/// Option names of other databases, and the names in DataFusion.
const OPTIONS: [(&str, &str); 6] = [
    ("header", "has_header"),
    ("delim", "delimiter"),
    ("sep", "delimiter"),
    ("null", "null_value"),
    ("nullstr", "null_value"),
    ("codec", "compression"),
];

/// File name extensions of compressed files.
const COMPRESSED_SUFFIXES: [&str; 5] = [".gz", ".zst", ".bz2", ".xz", ".zip"];

/// Sets the format of a COPY, if necessary from the file name extension, and converts option names to DataFusion's.
///
/// # Errors
/// `Kind::NotFound` for an unknown format or option, `Kind::Invalid` if the format cannot be inferred, and
/// `Kind::Unsupported` for compressed files.
pub(crate) fn resolve_format(copy: &mut CopyToStatement) -> Result<()> {
    let words = || FORMATS.map(|format| format.0);
    let wanted = match &copy.stored_as {
        Some(word) => word.to_lowercase(),
        None => extension(copy.target.trim_end_matches('/')),
    };
    let Some((word, format)) = FORMATS.iter().find(|format| format.0 == wanted) else {
        return Err(match &copy.stored_as {
            Some(_) => Error::not_found("format", &wanted, words()),
            None => Error::invalid(format!(
                "cannot infer a format from '{}'; use one of {} or (FORMAT csv)",
                copy.target,
                words().map(|word| format!(".{word}")).join(", ")
            )),
        });
    };
    copy.stored_as = Some((*format).to_owned());
    if let Some(packed) = COMPRESSED_SUFFIXES.into_iter().find(|packed| copy.target.to_lowercase().ends_with(packed)) {
        let message =
            format!("'{}' would not be compressed: COPY does not write files with extension {packed}", copy.target);
        return Err(Error::new(Kind::Unsupported, message));
    }
    let known = known_options(format);
    for (name, _) in &mut copy.options {
        let written = name.clone();
        if let Some(known) = OPTIONS.iter().find(|option| option.0 == *name) {
            known.1.clone_into(name);
        }
        let named = name.strip_prefix("format.").unwrap_or(name);
        if !known.is_empty() && !named.contains(['.', ':']) && !known.iter().any(|option| option == named) {
            return Err(Error::not_found("option", &written, known.iter().map(String::as_str)));
        }
    }
    if *word == "tsv" {
        // If an option occurs twice, the last one applies.
        copy.options.insert(0, ("format.delimiter".to_owned(), Value::SingleQuotedString("\t".to_owned())));
    }
    Ok(())
}

/// DataFusion's options of a format.
fn known_options(format: &str) -> Vec<String> {
    let mut options = TableOptions::new();
    options.set_config_format(match format {
        "csv" => ConfigFileType::CSV,
        "json" => ConfigFileType::JSON,
        "parquet" => ConfigFileType::PARQUET,
        _ => return Vec::new(),
    });
    options.entries().iter().filter_map(|entry| Some(entry.key.strip_prefix("format.")?.to_owned())).collect()
}
