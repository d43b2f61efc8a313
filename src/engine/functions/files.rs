//! Table functions that read files and folders.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Format;
use datafusion::catalog::{MemTable, TableProvider};

use crate::engine::functions::definition::{ArgType, Args, FunctionDef, TableReader};
use crate::error::{Error, Result};
use crate::format::fits_table::parse_fits_table;
use crate::format::tables::{parse_ecsv, parse_lines};
use crate::registry::db::rows::record_batch;
use crate::repo::calibration_exports::{ExportSummary, find};
use crate::store::Location;
use crate::store::webdav::Entry;

/// The maximum size of a table file in bytes.
const LIMIT: u64 = 1 << 30;

pub fn functions() -> Vec<FunctionDef> {
    vec![
        FunctionDef::read(
            "read_ecsv",
            "Reads an ECSV table as written by astropy.",
            Arc::new(File(|_, bytes| parse_ecsv(bytes))),
        )
        .arg("file", ArgType::Text, "the path or URL of the file")
        .example("SELECT filename, htm7 FROM read_ecsv('DATA/the_monster_20240904.ecsv')"),
        FunctionDef::read(
            "read_fits",
            "Reads the first binary table of a FITS file.",
            Arc::new(File(|_, bytes| parse_fits_table(bytes))),
        )
        .arg("file", ArgType::Text, "the path or URL of the file")
        .notes("Array columns are lists; bit, complex and variable-length array columns are not supported.")
        .example("SELECT * FROM read_fits('DATA/the_monster_20240904.fits')"),
        FunctionDef::read("read_csv", "Reads a CSV file.", Arc::new(File(csv)))
            .arg("file", ArgType::Text, "the path or URL of the file")
            .option(
                "header",
                ArgType::Bool,
                "whether the first line has the column names; default true; otherwise column_1, column_2, …",
            )
            .option("delimiter", ArgType::Text, "the delimiter, one character; default a comma")
            .notes("Files with the extension `.csv`, `.ecsv`, `.fits`, `.parquet` or `.json` can be used directly: `FROM 'x.csv'`.")
            .example("SELECT * FROM read_csv('DATA/dp1_good_visits.txt', header => false)"),
        FunctionDef::read(
            "read_text",
            "Reads the non-empty lines of a text file as column `line`.",
            Arc::new(File(|_, bytes| parse_lines(bytes))),
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
    async fn table(&self, args: &Args) -> Result<Arc<dyn TableProvider>> {
        let entries = Location::parse(&args.required("uri")?)?.entries(args.bool("checksums", false)).await?;
        let name = |e: &Entry| e.path.rsplit('/').next().unwrap_or_default().to_owned();
        let modified = entries.iter().map(|e| e.modified.map(|time| time.timestamp_micros()));
        let rows = record_batch([
            ("name", Arc::new(entries.iter().map(|e| Some(name(e))).collect::<StringArray>()) as ArrayRef),
            (
                "size",
                Arc::new(entries.iter().map(|e| e.size.and_then(|s| i64::try_from(s).ok())).collect::<Int64Array>()),
            ),
            ("modified", Arc::new(modified.collect::<TimestampMicrosecondArray>())),
            ("is_directory", Arc::new(entries.iter().map(|e| Some(e.is_directory)).collect::<BooleanArray>())),
            ("checksum", Arc::new(entries.iter().map(|e| e.checksums.as_deref()).collect::<StringArray>())),
        ])?;
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
    }
}

/// Reads summaries of the export files below a folder.
struct Exports;

#[async_trait]
impl TableReader for Exports {
    async fn table(&self, args: &Args) -> Result<Arc<dyn TableProvider>> {
        let found = find(&args.required("folder")?).await?;
        let list = |names: fn(&ExportSummary) -> &BTreeSet<String>| {
            let mut builder = ListBuilder::new(StringBuilder::new());
            for one in &found {
                builder.append_value(names(one).iter().map(Some));
            }
            Arc::new(builder.finish()) as ArrayRef
        };
        let rows = record_batch([
            ("file", Arc::new(found.iter().map(|f| Some(&*f.file)).collect::<StringArray>()) as ArrayRef),
            ("ticket", Arc::new(found.iter().map(|f| f.ticket.as_deref()).collect::<StringArray>())),
            ("collections", list(|f| &f.collections)),
            ("dataset_types", list(|f| &f.dataset_types)),
            ("datasets", Arc::new(found.iter().map(|f| f.datasets).collect::<Int64Array>())),
        ])?;
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
    }
}

/// Reads a file of up to [`LIMIT`] bytes with a parser.
struct File(fn(&Args, &[u8]) -> Result<RecordBatch>);

#[async_trait]
impl TableReader for File {
    async fn table(&self, args: &Args) -> Result<Arc<dyn TableProvider>> {
        let name = args.required("file")?;
        let named = |e: Error| e.context(format_args!("file '{name}'"));
        let bytes = Location::parse(&name)?.read(LIMIT).await?;
        let rows = (self.0)(args, &bytes).map_err(named)?;
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
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
