//! PostgreSQL's binary COPY format to and from Arrow. No I/O.
//!
//! A stream is a 19-byte header with an optional extension, followed by rows: a 16-bit number of fields, then for each
//! field a 32-bit length (−1 for NULL) and its bytes, all big-endian. A number of fields of −1 ends the stream.

use arrow::array::RecordBatch;
use bytes::{Buf, BytesMut};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use crate::error::{Error, Kind, Result};
use crate::model::time;
use crate::registry::db::rows::{BATCH, BatchBuilder, ColumnBuilder, Value, bind_columns, encode_bytes};
use crate::registry::schema::{ColumnType, ReadColumn, TableDef};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Microseconds from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH: i64 = 946_684_800_000_000;

/// Decodes the pieces of a COPY stream into batches.
pub(super) fn decoded<'a>(
    pieces: BoxStream<'a, sqlx::Result<bytes::Bytes>>,
    columns: Vec<ReadColumn>,
) -> BoxStream<'a, Result<RecordBatch>> {
    let state = (pieces, Some(Decoder::new(&columns)));
    futures::stream::try_unfold(state, |(mut pieces, decoder)| async move {
        let Some(mut decoder) = decoder else { return Ok(None) };
        match pieces.next().await {
            Some(piece) => {
                let full = decoder.feed(&piece.map_err(Error::from)?)?;
                Ok::<_, Error>(Some((full, (pieces, Some(decoder)))))
            }
            None => Ok(Some((decoder.finish()?.into_iter().collect(), (pieces, None)))),
        }
    })
    .map_ok(|batches: Vec<RecordBatch>| futures::stream::iter(batches.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

/// Decodes a COPY stream that arrives in pieces.
pub(super) struct Decoder {
    gather: BatchBuilder,
    rest: BytesMut,
    begun: bool,
}

impl Decoder {
    /// Creates a decoder for these columns.
    pub(super) fn new(columns: &[ReadColumn]) -> Self {
        Self { gather: BatchBuilder::new(columns), rest: BytesMut::new(), begun: false }
    }

    /// Decodes the next piece and returns the batches that are full.
    ///
    /// # Errors
    /// A stream that does not match the columns.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<RecordBatch>> {
        self.rest.extend_from_slice(piece);
        let mut full = Vec::new();
        if !self.begun && !self.header()? {
            return Ok(full);
        }
        while self.row()? {
            if self.gather.rows() == BATCH {
                full.push(self.gather.take()?);
            }
        }
        Ok(full)
    }

    /// Returns the remaining rows after the last piece.
    ///
    /// # Errors
    /// A NULL in a column that is not nullable.
    pub(super) fn finish(mut self) -> Result<Option<RecordBatch>> {
        if self.gather.rows() > 0 { self.gather.take().map(Some) } else { Ok(None) }
    }

    fn header(&mut self) -> Result<bool> {
        if self.rest.len() < 19 {
            return Ok(false);
        }
        if &self.rest[..11] != SIGNATURE {
            return Err(broken("does not begin with the COPY signature"));
        }
        let extension = (&self.rest[15..19]).get_u32() as usize;
        if self.rest.len() < 19 + extension {
            return Ok(false);
        }
        self.rest.advance(19 + extension);
        self.begun = true;
        Ok(true)
    }

    /// Decodes one row if it is complete.
    fn row(&mut self) -> Result<bool> {
        let Some(width) = whole_row(&self.rest) else { return Ok(false) };
        let mut row = self.rest.split_to(width);
        if row.get_i16() < 0 {
            return Ok(false);
        }
        for cell in self.gather.columns() {
            match row.get_i32() {
                length if length < 0 => cell.null(),
                length => {
                    let field = row.split_to(length as usize);
                    decode(cell, &field)?;
                }
            }
        }
        self.gather.end_row();
        Ok(true)
    }
}

/// Returns the length of the first row in bytes, if it is complete.
fn whole_row(bytes: &[u8]) -> Option<usize> {
    let fields = bytes.get(..2)?.get_i16();
    let mut at = 2;
    for _ in 0..fields {
        let length = bytes.get(at..at + 4)?.get_i32();
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (at <= bytes.len()).then_some(at)
}

trait Peek {
    fn get_i16(self) -> i16;
    fn get_i32(self) -> i32;
}

impl Peek for &[u8] {
    fn get_i16(mut self) -> i16 {
        Buf::get_i16(&mut self)
    }
    fn get_i32(mut self) -> i32 {
        Buf::get_i32(&mut self)
    }
}

fn decode(cell: &mut ColumnBuilder, field: &[u8]) -> Result<()> {
    match (cell.kind(), field) {
        (ColumnType::Text(_) | ColumnType::Bytes, text) => cell.text(text)?,
        (ColumnType::Uuid, id) => {
            cell.uuid(uuid::Uuid::from_slice(id).map_err(|_| broken("has an id of the wrong length"))?)
        }
        (ColumnType::Bool, [value]) => cell.int(i64::from(*value)),
        (ColumnType::Float, bytes) => match bytes.len() {
            8 => cell.float(f64::from_be_bytes(array(bytes)?)),
            4 => cell.float(f64::from(f32::from_be_bytes(array(bytes)?))),
            _ => return Err(broken("has a float of the wrong length")),
        },
        (ColumnType::UtcTime, bytes) => cell.int(time::utc_to_tai((i64::from_be_bytes(array(bytes)?) + EPOCH) * 1000)),
        (_, bytes) => match bytes.len() {
            8 => cell.int(i64::from_be_bytes(array(bytes)?)),
            4 => cell.int(i64::from(i32::from_be_bytes(array(bytes)?))),
            2 => cell.int(i64::from(i16::from_be_bytes(array(bytes)?))),
            _ => return Err(broken("has an integer of the wrong length")),
        },
    }
    Ok(())
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| broken("has a field of the wrong length"))
}

fn broken(how: &str) -> Error {
    Error::new(Kind::Failed, format!("the server's COPY stream {how}"))
}

/// Encodes a batch as a complete COPY stream, for the columns of a table that the batch has.
///
/// # Errors
/// A column that the table does not have, or a malformed UUID.
pub(super) fn encode(table: &TableDef, batch: &RecordBatch) -> Result<Vec<u8>> {
    let given = bind_columns(table, batch)?;
    let mut out = Vec::with_capacity(64 * batch.num_rows() * given.len().max(1) / 4);
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 8]);
    let fields = i16::try_from(given.len()).map_err(|_| Error::bug("a table has too many columns"))?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(&fields.to_be_bytes());
        for give in &given {
            encode_value(&mut out, give.column.kind, give.values.at(row))?;
        }
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    Ok(out)
}

fn encode_value(out: &mut Vec<u8>, kind: ColumnType, value: Value<'_>) -> Result<()> {
    match (kind, value) {
        (_, Value::Null) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        (ColumnType::Uuid, Value::Text(text)) => {
            let id = uuid::Uuid::try_parse(text).map_err(|_| Error::invalid(format!("'{text}' is not a UUID")))?;
            field(out, id.as_bytes());
        }
        (_, Value::Text(text)) => field(out, text.as_bytes()),
        (_, Value::Bytes(bytes)) => field(out, encode_bytes(bytes).as_bytes()),
        (_, Value::Bool(value)) => field(out, &[u8::from(value)]),
        (_, Value::Float(value)) => field(out, &value.to_be_bytes()),
        (ColumnType::Small, Value::Int(value)) => {
            let value = i16::try_from(value).map_err(|_| Error::invalid(format!("{value} does not fit in 16 bits")))?;
            field(out, &value.to_be_bytes());
        }
        (ColumnType::UtcTime, Value::Int(tai)) => field(out, &(time::tai_to_utc(tai) / 1000 - EPOCH).to_be_bytes()),
        (_, Value::Int(value)) => field(out, &value.to_be_bytes()),
        (_, Value::Span(begin, end)) => field(out, &range(begin, end)),
    }
    Ok(())
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Encodes an `int8range`: flags, then the finite bounds.
fn range(begin: i64, end: i64) -> Vec<u8> {
    const EMPTY: u8 = 0x01;
    const INCLUDES_LOWER: u8 = 0x02;
    const NO_LOWER: u8 = 0x08;
    const NO_UPPER: u8 = 0x10;
    if begin >= end {
        return vec![EMPTY];
    }
    let (open_begin, open_end) = (begin == 0, end == time::MAX);
    let lower = if open_begin { NO_LOWER } else { INCLUDES_LOWER };
    let mut out = vec![lower | if open_end { NO_UPPER } else { 0 }];
    if !open_begin {
        field(&mut out, &begin.to_be_bytes());
    }
    if !open_end {
        field(&mut out, &end.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::registry::schema::butler_tables::file_records;

    #[test]
    fn streams_come_back_however_they_are_cut() {
        let table = file_records("file_datastore_records");
        let batch = RecordBatch::try_from_iter([
            ("path", Arc::new(StringArray::from(vec!["a", "b"])) as Arc<dyn arrow::array::Array>),
            ("file_size", Arc::new(Int64Array::from(vec![Some(7), None]))),
        ])
        .unwrap();
        let stream = encode(&table, &batch).unwrap();
        let columns: Vec<_> =
            table.read_columns().into_iter().filter(|c| batch.column_by_name(&c.name).is_some()).collect();
        for piece in [1, 7, 1000] {
            let mut decoder = Decoder::new(&columns);
            for part in stream.chunks(piece) {
                assert!(decoder.feed(part).unwrap().is_empty());
            }
            let back = decoder.finish().unwrap().unwrap();
            assert_eq!(back.columns(), batch.columns());
        }
    }

    #[test]
    fn ranges_keep_unbounded_ends_unbounded() {
        assert_eq!(range(time::MAX, 0), [1]);
        assert_eq!(range(0, time::MAX), [0x18]);
        assert_eq!(range(5, time::MAX)[0], 0x12);
        assert_eq!(range(5, 9).len(), 1 + 2 * 12);
    }
}
