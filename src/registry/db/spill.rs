//! A row buffer that is kept in memory while it is small, and in a temporary file when it grows.

use std::fs::File;
use std::io::BufWriter;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::registry::db::Batches;

/// Maximum number of bytes in memory.
const LIMIT: usize = 8 << 20;

/// A buffer of rows; all batches have the same schema.
#[derive(Default)]
pub(crate) struct SpillBuffer {
    batches: Vec<RecordBatch>,
    bytes: usize,
    spilled: Option<StreamWriter<BufWriter<File>>>,
    rows: usize,
}

impl std::fmt::Debug for SpillBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpillBuffer").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl From<RecordBatch> for SpillBuffer {
    fn from(batch: RecordBatch) -> Self {
        Self { rows: batch.num_rows(), batches: vec![batch], ..Self::default() }
    }
}

impl SpillBuffer {
    /// Appends rows.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        if self.bytes > LIMIT && self.spilled.is_none() {
            let file = tempfile::tempfile().map_err(|e| Error::from(e).context("temporary file"))?;
            let mut writer = StreamWriter::try_new_buffered(file, &batch.schema())?;
            self.batches.drain(..).try_for_each(|batch| writer.write(&batch))?;
            self.spilled = Some(writer);
        }
        match &mut self.spilled {
            Some(writer) => writer.write(&batch)?,
            None => self.batches.push(batch),
        }
        Ok(())
    }

    /// Collects all rows of a stream.
    ///
    /// # Errors
    /// Errors of the stream; the temporary file cannot be written.
    pub(crate) async fn collect(mut stream: Batches) -> Result<Self> {
        let mut rows = Self::default();
        while let Some(batch) = stream.try_next().await? {
            // An empty batch is kept if it is the first, for its schema.
            if batch.num_rows() > 0 || rows.batches.is_empty() {
                rows.push(batch)?;
            }
        }
        Ok(rows)
    }

    /// Returns all rows as a stream.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub(crate) fn stream(&self) -> Result<Batches> {
        Ok(futures::stream::iter(self.batches()?).boxed())
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Returns true if the buffer has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns all rows, batch by batch; can be called repeatedly.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub(crate) fn batches(&self) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        let Some(writer) = &self.spilled else { return Ok(Box::new(self.batches.clone().into_iter().map(Ok))) };
        let read = || {
            let written = writer.get_ref();
            let file = written.get_ref().try_clone()?;
            Ok::<_, std::io::Error>((file, written.buffer().to_vec()))
        };
        let (file, rest) = read().map_err(|e| Error::from(e).context("temporary file"))?;
        let reader = StreamReader::try_new(SpillReader { file, at: 0, rest: std::io::Cursor::new(rest) }, None)?;
        Ok(Box::new(reader.map(|batch| Ok(batch?))))
    }

    /// Returns all rows in chunks of at least `together` rows, the last one excepted.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub(crate) fn chunks(&self, together: usize) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send> {
        let mut batches = self.batches()?;
        let mut portion = move || {
            let (mut some, mut rows) = (Vec::new(), 0);
            while rows < together
                && let Some(batch) = batches.next().transpose()?
            {
                rows += batch.num_rows();
                some.push(batch);
            }
            some.first().map(|first| Ok(concat_batches(&first.schema(), &some)?)).transpose()
        };
        Ok(std::iter::from_fn(move || portion().transpose()))
    }
}

/// Reads the written part of a file and then the unwritten buffer. Does not move the position of the file.
struct SpillReader {
    file: File,
    at: u64,
    rest: std::io::Cursor<Vec<u8>>,
}

impl std::io::Read for SpillReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        if read == 0 { self.rest.read(buffer) } else { Ok(read) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::db::rows::{constant_text, record_batch};

    #[test]
    fn rows_come_back_from_memory_and_from_the_file() {
        let mut rows = SpillBuffer::default();
        for size in [1, 100_000, 7, 60_000] {
            rows.push(
                record_batch([("a", constant_text("some text of some length, so that it spills", size))]).unwrap(),
            )
            .unwrap();
        }
        assert!(rows.spilled.is_some() && !rows.is_empty());
        for _ in 0..2 {
            let sizes: Vec<usize> = rows.batches().unwrap().map(|b| b.unwrap().num_rows()).collect();
            assert_eq!((sizes, rows.len()), (vec![1, 100_000, 7, 60_000], 160_008));
        }
    }
}
