//! Table functions that read files and folders.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::{FunctionDef, OpenTable, TableReader};
use crate::error::{Error, Result};
use crate::format::fits_table::{fits_table_schema, parse_fits_table};
use crate::format::tables::{ecsv_schema, lines_schema, parse_ecsv, parse_lines};
use crate::registry::db::rows::record_batch;
use crate::repo::calibration_exports::{ExportSummary, find};
use crate::store::entry::Entry;
use crate::store::{FileType, Location};

/// The maximum size of a table file in bytes.
const LIMIT: u64 = 1 << 30;

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::read(
            "read_ecsv",
            "Reads an ECSV table as written by astropy.",
            Arc::new(File { parse: |_, bytes| parse_ecsv(bytes), columns: FileColumns::Head(ecsv_schema) }),
        )
        .arg("file", ArgType::Text, "the path or URL of the file")
        .example("SELECT filename, htm7 FROM read_ecsv('DATA/the_monster_20240904.ecsv')"),
        FunctionDef::read(
            "read_fits",
            "Reads the first binary table of a FITS file.",
            Arc::new(File { parse: |_, bytes| parse_fits_table(bytes), columns: FileColumns::Head(fits_table_schema) }),
        )
        .arg("file", ArgType::Text, "the path or URL of the file")
        .notes("Array columns are lists; bit, complex and variable-length array columns are not supported.")
        .example("SELECT * FROM read_fits('DATA/the_monster_20240904.fits')"),
        FunctionDef::read("read_csv", "Reads a CSV file.", Arc::new(File { parse: csv, columns: FileColumns::Rows }))
            .arg("file", ArgType::Text, "the path or URL of the file")
            .option(
                "header",
                ArgType::Bool,
                "whether the first line has the column names; if false, they are column_1, column_2, …; default true",
            )
            .option("delimiter", ArgType::Text, "the delimiter, one character; default a comma")
            .notes("Files with the extension csv, tsv, json, jsonl, ndjson, parquet, arrow, ecsv or fits can be used as tables: `FROM 'x.csv'`.")
            .example("SELECT * FROM read_csv('DATA/dp1_good_visits.txt', header => false)"),
        FunctionDef::read(
            "read_text",
            "Reads the non-empty lines of a text file as column `line`.",
            Arc::new(File { parse: |_, bytes| parse_lines(bytes), columns: FileColumns::Fixed(lines_schema) }),
        )
        .arg("file", ArgType::Text, "the path or URL of the file")
        .example("SELECT CAST(line AS BIGINT) AS visit FROM read_text('DATA/dp1_good_visits.txt')"),
        FunctionDef::read("list", "Lists the files and folders in a local folder or on a WebDAV server.", Arc::new(List))
            .arg("uri", ArgType::Text, "the path or URL of the folder")
            .option("checksums", ArgType::Bool, "request checksums from a dCache door, which is slower; default false")
            .notes("Columns: `name`, `size` (bytes), `modified` (UTC), `is_directory`, `checksum`.")
            .example("SELECT name, size FROM list('DATA/raw/LSSTComCam') WHERE NOT is_directory"),
        FunctionDef::read(
            "calibration_exports",
            "Lists the export files of calibrations below a folder, with their tickets and contents.",
            Arc::new(Exports),
        )
        .arg("folder", ArgType::Text, "the folder, searched recursively for `export.yaml`")
        .notes("One row for each file and ticket; columns: `file`, `ticket`, `collections`, `dataset_types`, `datasets`.")
        .example("SELECT file FROM calibration_exports('DATA/calibs') WHERE ticket = 'DM-48520'"),
    ]
}

/// Reads the entries of a folder.
struct List;

#[async_trait]
impl TableReader for List {
    async fn open(&self, _args: &Args) -> Result<OpenTable> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let columns = [
            ("name", DataType::Utf8),
            ("size", DataType::Int64),
            ("modified", time),
            ("is_directory", DataType::Boolean),
            ("checksum", DataType::Utf8),
        ];
        Ok(OpenTable::Columns(nullable(columns)))
    }

    async fn rows(&self, args: &Args) -> Result<RecordBatch> {
        let entries = Location::parse(&args.required("uri")?)?.entries(args.bool("checksums", false)).await?;
        let name = |e: &Entry| e.path.rsplit('/').next().unwrap_or_default().to_owned();
        let modified = entries.iter().map(|e| e.modified.map(|time| time.timestamp_micros()));
        record_batch([
            ("name", Arc::new(entries.iter().map(|e| Some(name(e))).collect::<StringArray>()) as ArrayRef),
            (
                "size",
                Arc::new(entries.iter().map(|e| e.size.and_then(|s| i64::try_from(s).ok())).collect::<Int64Array>()),
            ),
            ("modified", Arc::new(modified.collect::<TimestampMicrosecondArray>())),
            ("is_directory", Arc::new(entries.iter().map(|e| Some(e.is_directory)).collect::<BooleanArray>())),
            ("checksum", Arc::new(entries.iter().map(|e| e.checksums.as_deref()).collect::<StringArray>())),
        ])
    }
}

/// Reads summaries of the export files below a folder.
struct Exports;

#[async_trait]
impl TableReader for Exports {
    async fn open(&self, _args: &Args) -> Result<OpenTable> {
        let list = || DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        let columns = [
            ("file", DataType::Utf8),
            ("ticket", DataType::Utf8),
            ("collections", list()),
            ("dataset_types", list()),
            ("datasets", DataType::Int64),
        ];
        Ok(OpenTable::Columns(nullable(columns)))
    }

    async fn rows(&self, args: &Args) -> Result<RecordBatch> {
        let found = find(&args.required("folder")?).await?;
        let list = |names: fn(&ExportSummary) -> &BTreeSet<String>| {
            let mut builder = ListBuilder::new(StringBuilder::new());
            for one in &found {
                builder.append_value(names(one).iter().map(Some));
            }
            Arc::new(builder.finish()) as ArrayRef
        };
        record_batch([
            ("file", Arc::new(found.iter().map(|f| Some(&*f.file)).collect::<StringArray>()) as ArrayRef),
            ("ticket", Arc::new(found.iter().map(|f| f.ticket.as_deref()).collect::<StringArray>())),
            ("collections", list(|f| &f.collections)),
            ("dataset_types", list(|f| &f.dataset_types)),
            ("datasets", Arc::new(found.iter().map(|f| f.datasets).collect::<Int64Array>())),
        ])
    }
}

/// Columns that may be NULL.
fn nullable<const N: usize>(columns: [(&str, DataType); N]) -> SchemaRef {
    Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(name, kind, true)).to_vec()))
}

/// What determines the columns of a file.
enum FileColumns {
    /// The format.
    Fixed(fn() -> SchemaRef),
    /// The first bytes of the file; `None` if more bytes are needed.
    Head(fn(&[u8]) -> Result<Option<SchemaRef>>),
    /// All rows.
    Rows,
}

/// Reads a file of up to [`LIMIT`] bytes.
struct File {
    parse: fn(&Args, &[u8]) -> Result<RecordBatch>,
    columns: FileColumns,
}

/// Number of bytes that are read first to find the columns of a file.
const HEAD: u64 = 64 << 10;

#[async_trait]
impl TableReader for File {
    async fn open(&self, args: &Args) -> Result<OpenTable> {
        let name = args.required("file")?;
        let file = Location::parse(&name)?;
        // A pipe can be read once, and some servers do not list what they serve.
        let is_file = matches!(file.stat().await, Ok(FileType::File(size)) if size <= LIMIT);
        let columns = match self.columns {
            FileColumns::Fixed(columns) if is_file => return Ok(OpenTable::Columns(columns())),
            FileColumns::Head(columns) if is_file => columns,
            _ => return Ok(OpenTable::Rows(self.rows(args).await?)),
        };
        let mut length = HEAD;
        loop {
            let (head, is_complete) = file.read_head(length.min(LIMIT)).await?;
            match columns(&head).map_err(|e| e.context(format_args!("file '{name}'")))? {
                Some(schema) => return Ok(OpenTable::Columns(schema)),
                None if is_complete => return Ok(OpenTable::Rows(self.rows(args).await?)),
                None => length *= 8,
            }
        }
    }

    async fn rows(&self, args: &Args) -> Result<RecordBatch> {
        let name = args.required("file")?;
        let bytes = Location::parse(&name)?.read(LIMIT).await?;
        (self.parse)(args, &bytes).map_err(|e| e.context(format_args!("file '{name}'")))
    }
}

fn csv(args: &Args, bytes: &[u8]) -> Result<RecordBatch> {
    let delimiter = args.text("delimiter").unwrap_or_else(|| ",".to_owned());
    let [delimiter] = delimiter.as_bytes() else {
        return Err(Error::invalid(format!("argument 'delimiter' takes one character, not '{delimiter}'")));
    };
    let format = Format::default().with_header(args.bool("header", true)).with_delimiter(*delimiter);
    let (schema, _) = format.infer_schema(bytes, None)?;
    let schema = Arc::new(schema);
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_format(format).build(bytes)?;
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(datafusion::arrow::compute::concat_batches(&schema, &batches)?)
}
