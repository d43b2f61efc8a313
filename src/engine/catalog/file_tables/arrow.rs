//! Validates Arrow IPC files before they are read: arrow-rs trusts all lengths, and a wrong one ends the program.

use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::{Block, CompressionType, Message, RecordBatch, reader::read_footer_length};
use datafusion::arrow::ipc::{root_as_footer, root_as_message};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Result};

/// The magic string at both ends of the file format (the stream format has none).
const MAGIC: &[u8] = b"ARROW1";
/// Size of the trailer in bytes: the length of the footer (4), and [`MAGIC`] (6).
const END: u64 = 10;
/// Upper limit of the compression ratio that is accepted (Zstandard has the highest).
const PACKED: i64 = 1 << 16;

/// Validates all lengths in a file.
///
/// # Errors
/// `Kind::Invalid` for a truncated or corrupt file.
pub(super) async fn check(store: &dyn ObjectStore, file: &ObjectMeta) -> Result<()> {
    let head = store.get_range(&file.location, 0..file.size.min(8)).await?;
    let checked = match head.starts_with(MAGIC) {
        true => check_file(store, file).await,
        false => check_stream(store, file).await,
    };
    checked.map_err(|e| Error::invalid(format!("'{}' is not a valid Arrow file: {}", file.location, e.message())))
}

async fn check_file(store: &dyn ObjectStore, file: &ObjectMeta) -> Result<()> {
    let Some(body) = file.size.checked_sub(8 + END) else { return Err(wrong("it is too short")) };
    let end = store.get_range(&file.location, file.size - END..file.size).await?;
    let end: [u8; END as usize] = end.as_ref().try_into().map_err(|_| wrong("it is too short"))?;
    let length = read_footer_length(end).map_err(|e| wrong(&e.to_string()))? as u64;
    if length > body {
        return Err(wrong("its footer is longer than the file"));
    }
    let footer = store.get_range(&file.location, file.size - END - length..file.size - END).await?;
    let footer = root_as_footer(&footer).map_err(|e| wrong(&e.to_string()))?;
    if footer.schema().is_none() {
        return Err(wrong("it has no schema"));
    }
    let blocks: Vec<&Block> =
        footer.dictionaries().into_iter().flatten().chain(footer.recordBatches().into_iter().flatten()).collect();
    for block in blocks {
        let place = |at: i64| u64::try_from(at).ok().filter(|at| *at <= file.size);
        let [Some(start), Some(head), Some(body)] =
            [block.offset(), block.metaDataLength().into(), block.bodyLength()].map(place)
        else {
            return Err(wrong("one of its blocks is not within the file"));
        };
        if head < 8 || start + head + body > file.size {
            return Err(wrong("one of its blocks is not within the file"));
        }
        let bytes = store.get_range(&file.location, start..start + head).await?;
        let skipped = if bytes.starts_with(&[0xff; 4]) { 8 } else { 4 };
        let message = root_as_message(&bytes[skipped..]).map_err(|e| wrong(&e.to_string()))?;
        check_message(store, file, &message, start + head, block.bodyLength()).await?;
    }
    Ok(())
}

async fn check_stream(store: &dyn ObjectStore, file: &ObjectMeta) -> Result<()> {
    let mut at = 0;
    while at + 4 <= file.size {
        let start = store.get_range(&file.location, at..(at + 8).min(file.size)).await?;
        let marked = start.starts_with(&[0xff; 4]);
        let length = start.get(if marked { 4..8 } else { 0..4 }).and_then(|bytes| bytes.try_into().ok());
        let length = i32::from_le_bytes(length.ok_or_else(|| wrong("it ends within a message"))?);
        let length = u64::try_from(length).map_err(|_| wrong("the length of a message is negative"))?;
        at += if marked { 8 } else { 4 };
        if length == 0 {
            return Ok(());
        }
        if length > file.size - at {
            return Err(wrong("it ends within a message"));
        }
        let bytes = store.get_range(&file.location, at..at + length).await?;
        let message = root_as_message(&bytes).map_err(|e| wrong(&e.to_string()))?;
        at += length;
        let body = u64::try_from(message.bodyLength()).ok().filter(|body| *body <= file.size - at);
        let body = body.ok_or_else(|| wrong("it ends within a message"))?;
        check_message(store, file, &message, at, message.bodyLength()).await?;
        at += body;
    }
    Ok(())
}

/// Validates the lengths of a message whose body of `length` bytes begins at the file offset `start`.
async fn check_message(
    store: &dyn ObjectStore,
    file: &ObjectMeta,
    message: &Message<'_>,
    start: u64,
    length: i64,
) -> Result<()> {
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(()) };
    check_rows(&batch)?;
    let mut prefixes = Vec::new();
    for buffer in batch.buffers().into_iter().flatten() {
        let end = buffer.offset().checked_add(buffer.length());
        if buffer.offset() < 0 || buffer.length() < 0 || end.is_none_or(|end| end > length) {
            return Err(wrong("one of its buffers is not within its block"));
        }
        if batch.compression().is_some() && buffer.length() >= 8 {
            let at = start + buffer.offset().unsigned_abs();
            prefixes.push((at..at + 8, buffer.length()));
        }
    }
    let known = [CompressionType::LZ4_FRAME, CompressionType::ZSTD];
    if batch.compression().is_some_and(|packed| !known.contains(&packed.codec())) {
        return Err(wrong("its compression codec is not supported"));
    }
    let ranges: Vec<_> = prefixes.iter().map(|(range, _)| range.clone()).collect();
    let read = if ranges.is_empty() { Vec::new() } else { store.get_ranges(&file.location, &ranges).await? };
    for (bytes, (_, packed)) in read.iter().zip(&prefixes) {
        // -1 marks an uncompressed buffer.
        let unpacked = bytes.as_ref().try_into().map_or(-1, i64::from_le_bytes);
        if unpacked < -1 || unpacked > packed.saturating_mul(PACKED) {
            return Err(wrong("the uncompressed length of one of its buffers is not plausible"));
        }
    }
    Ok(())
}

/// Checks that the number of rows of a batch equals that of its first column, which is the first node.
fn check_rows(batch: &RecordBatch<'_>) -> Result<()> {
    let nodes = batch.nodes();
    let counts = nodes.into_iter().flatten().all(|node| (0..=node.length()).contains(&node.null_count()));
    let first = nodes.filter(|nodes| !nodes.is_empty()).map(|nodes| nodes.get(0).length());
    if batch.length() < 0 || !counts || first.is_some_and(|rows| rows != batch.length()) {
        return Err(wrong("its columns have different numbers of rows"));
    }
    Ok(())
}

fn wrong(message: &str) -> Error {
    Error::from(ArrowError::IpcError(message.to_owned()))
}
