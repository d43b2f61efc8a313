//! Text tables with borders.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::UnicodeWidthStr;

use super::visible::visible;
use crate::error::Result;

/// The lines of one cell.
type Cell = Vec<String>;

/// Writes a table with a header line; each column is as wide as its widest line.
///
/// # Errors
/// A value that cannot be formatted, or a closed output.
pub(super) fn draw(
    out: &mut impl Write,
    schema: &Schema,
    batches: &[RecordBatch],
    options: &FormatOptions<'_>,
) -> Result<()> {
    let head: Vec<Cell> = schema.fields().iter().map(|field| lines(field.name())).collect();
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, options));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| Ok(lines(&column.value(row).try_to_string()?)));
            rows.push(cells.collect::<Result<Vec<Cell>>>()?);
        }
    }
    let mut widths = vec![0; head.len()];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.iter().map(|line| line.width()).fold(*width, usize::max);
        }
    }
    let border: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
    writeln!(out, "{border}+")?;
    draw_row(out, &head, &widths)?;
    writeln!(out, "{border}+")?;
    rows.iter().try_for_each(|row| draw_row(out, row, &widths))?;
    Ok(writeln!(out, "{border}+")?)
}

fn lines(text: &str) -> Cell {
    visible(text).split('\n').map(|line| line.replace('\t', "    ")).collect()
}

fn draw_row(out: &mut impl Write, row: &[Cell], widths: &[usize]) -> Result<()> {
    for i in 0..row.iter().map(Vec::len).max().unwrap_or(1) {
        for (cell, width) in row.iter().zip(widths) {
            let line = cell.get(i).map_or("", String::as_str);
            write!(out, "| {line}{} ", " ".repeat(width - line.width()))?;
        }
        writeln!(out, "|")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    fn drawn(values: Vec<Option<&str>>) -> String {
        let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(values))]).unwrap();
        let mut out = Vec::new();
        draw(&mut out, &schema, &[batch], &FormatOptions::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn draws_lines_and_wide_characters() {
        let want = "+------+\n| name |\n+------+\n| 星   |\n| a    |\n| bc   |\n|      |\n+------+\n";
        assert_eq!(drawn(vec![Some("星"), Some("a\nbc"), None]), want);
        assert_eq!(drawn(vec![]), "+------+\n| name |\n+------+\n+------+\n");
    }

    #[test]
    fn cells_have_any_width() {
        assert!(drawn(vec![Some(&"a ".repeat(100_000)), Some("b")]).len() > 800_000);
    }

    #[test]
    fn escapes_are_seen() {
        assert!(drawn(vec![Some("\u{1b}[2J")]).contains("| \\x1B[2J |"));
    }
}
