//! Writes query results to standard output in the chosen format.

use std::io::{BufWriter, Stdout, Write};
use std::sync::Arc;

use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::{QuoteStyle, WriterBuilder};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::{ArrayWriter, LineDelimitedWriter, WriterBuilder as JsonBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use unicode_width::UnicodeWidthStr;

use super::table;
use super::visible::visible;
use crate::engine::session::copy_target::check_names;
use crate::engine::session::delimited;
use crate::error::{Error, Result};

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text table with a header line.
    Table,
    /// Comma-separated values with a header line.
    Csv,
    /// Tab-separated values with a header line.
    Tsv,
    /// One JSON array of objects.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// One Parquet file.
    Parquet,
    /// One Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Returns true if the output can hold one result only.
    fn is_single(self) -> bool {
        matches!(self, Self::Json | Self::Parquet | Self::Arrow)
    }
}

type Out = BufWriter<Stdout>;

/// Writes the results of all statements of a run.
#[derive(Debug)]
pub(super) struct Output {
    /// The output format.
    pub format: Format,
    /// Whether a table shows each row as a block of lines (`\x`).
    pub expanded: bool,
    answers: usize,
}

/// The writer of one result.
pub(super) enum Sink {
    /// Buffers rows, because column widths depend on all of them.
    Table(Box<TableBuffer>),
    /// The writer, the schema of the written columns and the delimiter.
    Csv(Box<datafusion::arrow::csv::Writer<Out>>, SchemaRef, char),
    Json(Box<ArrayWriter<Out>>),
    Jsonl(Box<LineDelimitedWriter<Out>>),
    Parquet(Box<ArrowWriter<Out>>),
    Arrow(Box<StreamWriter<Out>>),
}

/// Rows that are printed as one table; a large result is printed in portions, each with its own column widths.
#[derive(Debug)]
pub(super) struct TableBuffer {
    schema: SchemaRef,
    expanded: bool,
    batches: Vec<RecordBatch>,
    /// Number of buffered rows.
    held: usize,
    /// Number of rows printed before.
    shown: usize,
}

/// The buffer is printed when it has this number of rows.
const PORTION: usize = 20_000;

impl TableBuffer {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.held += batch.num_rows();
        self.batches.push(batch.clone());
        if self.held >= PORTION { self.show() } else { Ok(()) }
    }

    fn show(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.batches);
        match self.expanded {
            true => blocks(&batches, &self.schema, self.shown)?,
            false => {
                let mut out = BufWriter::new(std::io::stdout());
                table::draw(&mut out, &self.schema, &batches, &options())?;
                out.flush()?;
            }
        }
        self.shown += std::mem::take(&mut self.held);
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if self.held > 0 || self.shown == 0 {
            self.show()?;
        }
        if !self.expanded {
            writeln!(std::io::stdout(), "({} row{})", self.shown, if self.shown == 1 { "" } else { "s" })?;
        }
        Ok(())
    }
}

impl Output {
    /// Creates an output without results.
    pub(super) fn new(format: Format) -> Self {
        Self { format, expanded: false, answers: 0 }
    }

    /// Starts a result.
    ///
    /// # Errors
    /// A second result in a format that holds one only, or column names the format does not allow.
    pub(super) fn begin(&mut self, schema: &SchemaRef) -> Result<Sink> {
        self.answers += 1;
        if self.answers > 1 && self.format.is_single() {
            let message = format!(
                "format {:?} supports only one result; use one query, or format csv, tsv or jsonl",
                self.format
            );
            return Err(Error::invalid(message.to_lowercase()));
        }
        let out = BufWriter::with_capacity(1 << 16, std::io::stdout());
        if matches!(self.format, Format::Json | Format::Jsonl | Format::Parquet) {
            check_names(schema)?;
        }
        Ok(match self.format {
            Format::Table => Sink::Table(Box::new(TableBuffer {
                schema: Arc::clone(schema),
                expanded: self.expanded,
                batches: Vec::new(),
                held: 0,
                shown: 0,
            })),
            Format::Csv | Format::Tsv => {
                let delimiter = if self.format == Format::Csv { ',' } else { '\t' };
                let schema = delimited::schema(schema, delimiter);
                // `delimited::batch` has already added the quotes.
                let builder = WriterBuilder::new().with_header(true).with_quote_style(QuoteStyle::Never);
                let mut writer = builder.with_delimiter(delimiter as u8).build(out);
                writer.write(&RecordBatch::new_empty(Arc::clone(&schema)))?;
                Sink::Csv(Box::new(writer), schema, delimiter)
            }
            Format::Json => Sink::Json(Box::new(json().build(out))),
            Format::Jsonl => Sink::Jsonl(Box::new(json().build(out))),
            Format::Parquet => Sink::Parquet(Box::new(
                ArrowWriter::try_new(out, Arc::clone(schema), None).map_err(|e| Error::invalid(e.to_string()))?,
            )),
            Format::Arrow => Sink::Arrow(Box::new(StreamWriter::try_new(out, schema)?)),
        })
    }
}

/// JSON in which every object has all columns, also NULL columns.
fn json() -> JsonBuilder {
    JsonBuilder::new().with_explicit_nulls(true)
}

impl Sink {
    /// Writes a batch of rows.
    ///
    /// # Errors
    /// A value that the format cannot represent, or a closed output.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Table(gathered) => gathered.push(batch)?,
            Self::Csv(writer, schema, delimiter) => writer.write(&delimited::batch(batch, schema, *delimiter)?)?,
            Self::Json(writer) => writer.write(batch)?,
            Self::Jsonl(writer) => writer.write(batch)?,
            Self::Parquet(writer) => writer.write(batch).map_err(|e| Error::invalid(e.to_string()))?,
            Self::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Ends the result and flushes the output.
    ///
    /// # Errors
    /// A closed output.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::Table(gathered) => gathered.finish(),
            Self::Csv(writer, ..) => Ok(writer.into_inner().flush()?),
            Self::Json(mut writer) => {
                writer.finish()?;
                let mut out = writer.into_inner();
                writeln!(out)?;
                Ok(out.flush()?)
            }
            Self::Jsonl(mut writer) => {
                writer.finish()?;
                Ok(writer.into_inner().flush()?)
            }
            Self::Parquet(writer) => {
                let mut out = writer.into_inner().map_err(|e| Error::invalid(e.to_string()))?;
                Ok(out.flush()?)
            }
            Self::Arrow(mut writer) => {
                writer.finish()?;
                Ok(writer.into_inner()?.flush()?)
            }
        }
    }
}

fn options() -> FormatOptions<'static> {
    FormatOptions::default().with_null("").with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.f")).with_types_info(false)
}

/// Prints each row as a block: a line with its number, then one line per column.
fn blocks(batches: &[RecordBatch], schema: &SchemaRef, shown: usize) -> Result<()> {
    let mut names: Vec<String> = schema.fields().iter().map(|field| visible(field.name()).into_owned()).collect();
    let width = names.iter().map(|name| name.width()).max().unwrap_or(0);
    names.iter_mut().for_each(|name| name.push_str(&" ".repeat(width - name.width())));
    let mut out = BufWriter::new(std::io::stdout());
    let mut number = shown;
    let options = options();
    for batch in batches {
        let cells: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options))
            .collect::<std::result::Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            number += 1;
            writeln!(out, "-[ row {number} ]-")?;
            for (name, cell) in names.iter().zip(&cells) {
                writeln!(out, "{name} | {}", visible(&cell.value(row).try_to_string()?))?;
            }
        }
    }
    Ok(out.flush()?)
}
