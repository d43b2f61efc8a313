//! Reads binary tables of FITS files (FITS standard 4.0, section 7.3).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::fits::{BLOCK, CARD};
use super::tables::UNIT;
use crate::error::{Error, Kind, Result};

/// The keywords of one header, with their values as text.
#[derive(Debug, Default)]
struct Cards(HashMap<String, String>);

/// A column: its position in a row and the format of its cells.
struct Column {
    name: String,
    unit: Option<String>,
    form: u8,
    repeat: usize,
    start: usize,
    null: Option<i64>,
    zero: f64,
    scale: f64,
}

/// Reads the first binary table of a FITS file. Scalars become BOOLEAN, BIGINT, FLOAT, DOUBLE or text; cells of several
/// numbers become lists; units become metadata of the fields.
///
/// # Errors
/// Bytes that are not a FITS file or do not contain a binary table; columns of bits, of complex numbers or of variable
/// length, by name.
pub fn parse_fits_table(bytes: &[u8]) -> Result<RecordBatch> {
    if !bytes.starts_with(b"SIMPLE  =") {
        return Err(Error::invalid("a FITS file begins with the keyword SIMPLE"));
    }
    match find_table(bytes)? {
        Some((cards, start)) => table(&cards, bytes.get(start..).unwrap_or_default()),
        None => Err(Error::new(Kind::NotFound, "the FITS file does not contain a binary table")),
    }
}

/// Returns the columns of the first binary table, from the first bytes of a FITS file; `None` if the bytes end before
/// the header of the table ends.
///
/// # Errors
/// As for [`parse_fits_table`].
pub fn fits_table_schema(head: &[u8]) -> Result<Option<SchemaRef>> {
    if !head.starts_with(b"SIMPLE  =") {
        return Err(Error::invalid("a FITS file begins with the keyword SIMPLE"));
    }
    // A header without its end is not an error of the file.
    let Some((cards, _)) = find_table(head).ok().flatten() else { return Ok(None) };
    let (columns, _) = columns(&cards)?;
    let fields = columns.iter().map(|column| Ok(column.field(&column.array(&[], 1)?)));
    Ok(Some(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?))))
}

/// Returns the header of the first binary table, and the offset of its data.
fn find_table(bytes: &[u8]) -> Result<Option<(Cards, usize)>> {
    let mut at = 0;
    while at < bytes.len() {
        let (cards, start) = Cards::read(bytes, at)?;
        if cards.text("XTENSION").as_deref() == Some("BINTABLE") {
            return Ok(Some((cards, start)));
        }
        let size = cards.data_size()?.div_ceil(BLOCK).checked_mul(BLOCK);
        at = size
            .and_then(|size| start.checked_add(size))
            .ok_or_else(|| Error::invalid("a FITS header gives an invalid size"))?;
    }
    Ok(None)
}

impl Cards {
    /// Reads the header at an offset; returns it with the offset of its data.
    fn read(bytes: &[u8], at: usize) -> Result<(Self, usize)> {
        let mut cards = HashMap::new();
        for (number, card) in bytes[at..].chunks_exact(CARD).enumerate() {
            let card = String::from_utf8_lossy(card);
            let keyword = card.get(..8).unwrap_or_default().trim_end();
            if keyword == "END" {
                return Ok((Self(cards), at + ((number + 1) * CARD).next_multiple_of(BLOCK)));
            }
            if let Some(value) = card.get(8..).and_then(|rest| rest.strip_prefix("= ")) {
                cards.insert(keyword.to_owned(), value.trim().to_owned());
            }
        }
        Err(Error::invalid("a FITS header has no END"))
    }

    /// Returns the string value of a keyword, without quotes.
    fn text(&self, keyword: &str) -> Option<String> {
        let inside = self.0.get(keyword)?.strip_prefix('\'')?.replace("''", "\0");
        Some(inside.split('\'').next().unwrap_or_default().trim_end().replace('\0', "'"))
    }

    fn number<T: std::str::FromStr>(&self, keyword: &str) -> Result<Option<T>> {
        let Some(value) = self.0.get(keyword) else { return Ok(None) };
        let value = value.split('/').next().unwrap_or_default().trim();
        let number = value.replace(['d', 'D'], "E").parse();
        number.map(Some).map_err(|_| Error::invalid(format!("keyword {keyword} must be a number, not '{value}'")))
    }

    fn count(&self, keyword: &str) -> Result<usize> {
        Ok(self.number(keyword)?.unwrap_or(0))
    }

    /// Returns the size in bytes of the data after the header.
    fn data_size(&self) -> Result<usize> {
        let axes = self.count("NAXIS")?;
        let mut cells: usize = usize::from(axes > 0);
        for axis in 1..=axes.min(999) {
            cells = cells.saturating_mul(self.count(&format!("NAXIS{axis}"))?);
        }
        let bytes = self.number::<i64>("BITPIX")?.unwrap_or(8).unsigned_abs() as usize / 8;
        Ok(cells.saturating_add(self.count("PCOUNT")?).saturating_mul(bytes))
    }

    fn column(&self, number: usize, start: usize) -> Result<Column> {
        let key = |word: &str| format!("{word}{number}");
        let name = self.text(&key("TTYPE")).unwrap_or_else(|| format!("col{number}"));
        let message = self.text(&key("TFORM")).unwrap_or_default();
        let digits = message.len() - message.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let form = message.as_bytes().get(digits).copied().unwrap_or(b'?');
        let repeat = if digits == 0 { Some(1) } else { message[..digits].parse().ok() };
        let (Some(repeat), true) = (repeat, b"LBIJKEDA".contains(&form)) else {
            let message = format!("column '{name}' has cells of form '{message}', which is not supported");
            return Err(Error::new(Kind::Unsupported, message));
        };
        let (null, unit) = (self.number(&key("TNULL"))?, self.text(&key("TUNIT")));
        let zero = self.number(&key("TZERO"))?.unwrap_or(0.0);
        let scale = self.number(&key("TSCAL"))?.unwrap_or(1.0);
        Ok(Column { name, unit, form, repeat, start, null, zero, scale })
    }
}

/// Returns the columns of a binary table, and the size of a row in bytes.
fn columns(cards: &Cards) -> Result<(Vec<Column>, usize)> {
    let width = cards.count("NAXIS1")?;
    let (mut columns, mut end) = (Vec::new(), 0);
    for number in 1..=cards.count("TFIELDS")?.min(999) {
        let column = cards.column(number, end)?;
        end = column.repeat.checked_mul(column.size()).and_then(|bytes| end.checked_add(bytes)).unwrap_or(usize::MAX);
        if end > width {
            let message = format!("column '{}' reaches beyond the {width} bytes of a row", column.name);
            return Err(Error::invalid(message));
        }
        columns.push(column);
    }
    if columns.is_empty() || width == 0 {
        return Err(Error::invalid("the binary table has no columns"));
    }
    Ok((columns, width))
}

fn table(cards: &Cards, data: &[u8]) -> Result<RecordBatch> {
    let (width, rows) = (cards.count("NAXIS1")?, cards.count("NAXIS2")?);
    let size = width.checked_mul(rows).filter(|size| *size <= data.len());
    let Some(size) = size else {
        return Err(Error::invalid(format!("the file ends within its table of {rows} rows of {width} bytes")));
    };
    let (columns, width) = columns(cards)?;
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for column in &columns {
        let array = column.array(&data[..size], width)?;
        fields.push(column.field(&array));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

impl Column {
    /// Returns the size in bytes of one number or character.
    fn size(&self) -> usize {
        match self.form {
            b'L' | b'B' | b'A' => 1,
            b'I' => 2,
            b'J' | b'E' => 4,
            _ => 8,
        }
    }

    /// Returns the field of the column, with its unit.
    fn field(&self, array: &ArrayRef) -> Field {
        let unit = self.unit.iter().map(|unit| (UNIT.to_owned(), unit.clone()));
        Field::new(&self.name, array.data_type().clone(), true).with_metadata(unit.collect())
    }

    fn array(&self, data: &[u8], width: usize) -> Result<ArrayRef> {
        let cells = data.chunks_exact(width).map(|row| &row[self.start..self.start + self.repeat * self.size()]);
        if self.form == b'A' {
            // A string ends at its first zero byte; trailing blanks are removed.
            let text = |cell: &[u8]| {
                let cell = cell.split(|byte| *byte == 0).next().unwrap_or_default();
                String::from_utf8_lossy(cell).trim_end().to_owned()
            };
            // As in astropy, an empty string is NULL.
            let texts = cells.map(|cell| Some(text(cell)).filter(|text| !text.is_empty()));
            return Ok(Arc::new(texts.collect::<StringArray>()));
        }
        let parts = cells.flat_map(|cell| cell.chunks_exact(self.size()));
        let flat = self.numbers(parts);
        if self.repeat == 1 {
            return Ok(flat);
        }
        let length = i32::try_from(self.repeat).map_err(|_| Error::invalid("a cell has too many numbers"))?;
        let rows = data.len() / width;
        let item = Arc::new(Field::new("item", flat.data_type().clone(), true));
        if length == 0 {
            return Ok(arrow::array::new_null_array(&DataType::Null, rows));
        }
        Ok(Arc::new(FixedSizeListArray::try_new(item, length, flat, None)?))
    }

    /// Returns the numbers of all cells, with TZERO and TSCAL applied; the convention for unsigned integers is exact.
    fn numbers<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
        let plain = self.scale == 1.0 && self.zero == 0.0;
        let truth = |byte: u8| match byte {
            b'T' => Some(true),
            b'F' => Some(false),
            _ => None,
        };
        let whole = |part: &[u8]| Some(integer(part)).filter(|value| self.null != Some(*value));
        let fraction = |value: f64| self.zero + self.scale * value;
        match self.form {
            b'L' => Arc::new(parts.map(|p| truth(p[0])).collect::<BooleanArray>()),
            b'E' if plain => Arc::new(parts.map(|p| Some(float(p) as f32)).collect::<Float32Array>()),
            b'E' | b'D' => Arc::new(parts.map(|p| Some(fraction(float(p)))).collect::<Float64Array>()),
            b'K' if self.scale == 1.0 && self.zero == 2f64.powi(63) => {
                Arc::new(parts.map(|p| whole(p).map(|value| value as u64 ^ (1 << 63))).collect::<UInt64Array>())
            }
            b'K' if plain => Arc::new(parts.map(whole).collect::<Int64Array>()),
            b'B' | b'I' | b'J' if self.scale == 1.0 && self.zero.fract() == 0.0 && self.zero.abs() < 2f64.powi(53) => {
                Arc::new(parts.map(|p| whole(p).map(|value| value + self.zero as i64)).collect::<Int64Array>())
            }
            _ => Arc::new(parts.map(|p| whole(p).map(|value| fraction(value as f64))).collect::<Float64Array>()),
        }
    }
}

fn integer(part: &[u8]) -> i64 {
    match *part {
        [a] => i64::from(a),
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        _ => part.try_into().map_or(0, i64::from_be_bytes),
    }
}

fn float(part: &[u8]) -> f64 {
    match *part {
        [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
        _ => part.try_into().map_or(f64::NAN, f64::from_be_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fits;
    use super::*;

    /// A table of a number and a string column, from the writer of this crate.
    fn file() -> Vec<u8> {
        let columns = [
            fits::Column {
                name: "htm7",
                form: "J".to_owned(),
                more: vec![("TNULL", 7.into()), ("TUNIT", "pix".into())],
            },
            fits::Column { name: "filename", form: "6A".to_owned(), more: Vec::new() },
        ];
        let mut file = fits::Header::primary(8, true).with(&[]);
        file.extend(fits::Header::table(&columns, 10, 2, 0).with(b"\0\x02\0\0a.fits\0\0\0\x07b c\0\0\0"));
        file
    }

    #[test]
    fn numbers_and_texts_are_read() {
        let rows = parse_fits_table(&file()).unwrap();
        assert_eq!(rows.schema().field(0).metadata()[UNIT], "pix");
        let shown = arrow::util::pretty::pretty_format_batches(&[rows]).unwrap().to_string();
        assert!(shown.contains("| 131072 | a.fits   |") && shown.contains("|        | b c      |"), "{shown}");
    }

    #[test]
    fn files_without_a_table_are_errors() {
        let file = file();
        let message = |bytes: &[u8]| parse_fits_table(bytes).unwrap_err().message().to_owned();
        assert!(message(b"x").contains("SIMPLE"));
        assert!(message(&file[..BLOCK]).contains("does not contain a binary table"));
        assert!(message(&file[..BLOCK + 800]).contains("no END"));
        assert!(message(&file[..2 * BLOCK + 9]).contains("ends within its table of 2 rows of 10 bytes"));
        let other = |from: &str, to: &str| {
            let text: Vec<u8> = file.clone();
            let at = text.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            let mut text = text;
            text[at..at + to.len()].copy_from_slice(to.as_bytes());
            message(&text)
        };
        assert!(other("'6A      '", "'9A      '").contains("column 'filename' reaches beyond"));
        assert!(other("'J       '", "'1PB(3)  '").contains("column 'htm7' has cells of form '1PB(3)'"));
    }
}
