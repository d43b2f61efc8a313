//! Answers to standard output, in the format asked for.

use std::io::{BufWriter, Stdout, Write};
use std::sync::Arc;

use clap::ValueEnum;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::{ArrayWriter, LineDelimitedWriter, WriterBuilder as JsonBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::parquet::arrow::ArrowWriter;

use crate::engine::copy::target::check_names;
use crate::error::{Error, Result};

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Boxes with a line of names.
    Table,
    /// Comma-separated, with a line of names.
    Csv,
    /// Separated by tabs, with a line of names.
    Tsv,
    /// One JSON array of objects.
    Json,
    /// A JSON object a line.
    Jsonl,
    /// One Parquet file.
    Parquet,
    /// One Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Whether a second answer would spoil the first.
    fn is_single(self) -> bool {
        matches!(self, Self::Json | Self::Parquet | Self::Arrow)
    }
}

type Out = BufWriter<Stdout>;

/// Writes the answers of a run.
#[derive(Debug)]
pub struct Output {
    /// The format.
    pub format: Format,
    /// Whether each row is shown as a block of lines.
    pub expanded: bool,
    answers: usize,
}

/// One answer being written.
pub enum Sink {
    /// Gathered, for widths are known only at the end.
    Table(Box<Gathered>),
    Csv(Box<datafusion::arrow::csv::Writer<Out>>),
    Json(Box<ArrayWriter<Out>>),
    Jsonl(Box<LineDelimitedWriter<Out>>),
    Parquet(Box<ArrowWriter<Out>>),
    Arrow(Box<StreamWriter<Out>>),
}

/// Rows that are shown together; a large answer is shown a portion at a time, each with its own widths.
#[derive(Debug)]
pub struct Gathered {
    schema: SchemaRef,
    expanded: bool,
    batches: Vec<RecordBatch>,
    /// Rows gathered, and rows shown before.
    held: usize,
    shown: usize,
}

/// So many rows are shown together at least.
const PORTION: usize = 20_000;

impl Gathered {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.held += batch.num_rows();
        self.batches.push(batch.clone());
        if self.held >= PORTION { self.show() } else { Ok(()) }
    }

    fn show(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.batches);
        match self.expanded {
            true => blocks(&batches, &self.schema, self.shown)?,
            false => table(batches, &self.schema)?,
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
    /// In this format.
    pub fn new(format: Format) -> Self {
        Self { format, expanded: false, answers: 0 }
    }

    /// Starts an answer.
    ///
    /// # Errors
    /// A second answer where the format holds one.
    pub fn begin(&mut self, schema: &SchemaRef) -> Result<Sink> {
        self.answers += 1;
        if self.answers > 1 && self.format.is_single() {
            let said = format!("format {:?} holds one answer, and this is another", self.format);
            return Err(Error::invalid(said.to_lowercase()));
        }
        let out = BufWriter::with_capacity(1 << 16, std::io::stdout());
        let flat = flat_schema(schema);
        if matches!(self.format, Format::Json | Format::Jsonl | Format::Parquet) {
            check_names(schema)?;
        }
        Ok(match self.format {
            Format::Table => Sink::Table(Box::new(Gathered {
                schema: Arc::clone(schema),
                expanded: self.expanded,
                batches: Vec::new(),
                held: 0,
                shown: 0,
            })),
            Format::Csv | Format::Tsv => {
                let delimiter = if self.format == Format::Csv { b',' } else { b'\t' };
                let mut writer = WriterBuilder::new().with_header(true).with_delimiter(delimiter).build(out);
                writer.write(&RecordBatch::new_empty(flat))?;
                Sink::Csv(Box::new(writer))
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

/// JSON in which each object has all columns.
fn json() -> JsonBuilder {
    JsonBuilder::new().with_explicit_nulls(true)
}

impl Sink {
    /// Writes a batch.
    ///
    /// # Errors
    /// Values the format cannot hold, or a closed output.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Table(gathered) => gathered.push(batch)?,
            Self::Csv(writer) => writer.write(&flat(batch)?)?,
            Self::Json(writer) => writer.write(batch)?,
            Self::Jsonl(writer) => writer.write(batch)?,
            Self::Parquet(writer) => writer.write(batch).map_err(|e| Error::invalid(e.to_string()))?,
            Self::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// A closed output.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Table(gathered) => gathered.finish(),
            Self::Csv(writer) => Ok(writer.into_inner().flush()?),
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

fn table(mut batches: Vec<RecordBatch>, schema: &SchemaRef) -> Result<()> {
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(Arc::clone(schema)));
    }
    Ok(writeln!(std::io::stdout(), "{}", pretty_format_batches_with_options(&batches, &options())?)?)
}

/// Each row as a block: a line of its number, then a line a column.
fn blocks(batches: &[RecordBatch], schema: &SchemaRef, shown: usize) -> Result<()> {
    let width = schema.fields().iter().map(|f| f.name().chars().count()).max().unwrap_or(0);
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
            for (field, cell) in schema.fields().iter().zip(&cells) {
                writeln!(out, "{:<width$} | {}", field.name(), cell.value(row))?;
            }
        }
    }
    Ok(out.flush()?)
}

/// The schema with bytes as hexadecimal text and lists as text, for formats of plain text.
fn flat_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| match f.data_type() {
        t if is_flat(t) => f.as_ref().clone(),
        _ => Field::new(f.name(), DataType::Utf8, f.is_nullable()),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn is_flat(kind: &DataType) -> bool {
    !kind.is_nested() && !matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| -> Result<ArrayRef> {
        if is_flat(column.data_type()) {
            return Ok(Arc::clone(column));
        }
        if let Some(bytes) = column.as_binary_opt::<i32>() {
            let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
            return Ok(Arc::new(bytes.iter().map(|b| b.map(hex)).collect::<StringArray>()));
        }
        let options = options();
        let cells = ArrayFormatter::try_new(column, &options)?;
        Ok(Arc::new((0..column.len()).map(|i| Some(cells.value(i).to_string())).collect::<StringArray>()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(flat_schema(&batch.schema()), columns)?)
}
