//! Sizes and adler32 checksums, with which dCache and Rucio verify files.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::body::{Body, LocalFile};
use crate::error::{Error, Result};

/// Maximum number of bytes that are read at once.
const BUFFER: usize = 1 << 18;

/// Returns the size in bytes and the adler32 checksum of bytes.
pub(crate) fn digest(bytes: &Bytes) -> (u64, u32) {
    (bytes.len() as u64, simd_adler32::adler32(&&bytes[..]))
}

/// Returns the size in bytes and the adler32 checksum of a local file.
///
/// # Errors
/// File system errors.
pub(crate) async fn digest_of_file(path: LocalFile) -> Result<(u64, u32)> {
    Ok(blocking(move || digest_now((*path).as_ref())).await??)
}

/// Returns the sizes in bytes and the adler32 checksums of local files, by one task of the thread pool.
///
/// # Errors
/// File system errors, with the path.
pub(super) async fn digests_of_files(paths: Vec<String>) -> Result<Vec<(u64, u32)>> {
    let one =
        |path: &String| digest_now(path.as_ref()).map_err(|e| Error::from(e).context(format_args!("reading '{path}'")));
    blocking(move || paths.iter().map(one).collect()).await?
}

async fn blocking<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(task).await.map_err(|e| Error::bug(format!("reading a file: {e}")))
}

fn digest_now(path: &Path) -> std::io::Result<(u64, u32)> {
    let mut file = std::fs::File::open(path)?;
    // Most files of a campaign are small; a large buffer costs more than reading them.
    let length = usize::try_from(file.metadata()?.len()).map_or(BUFFER, |length| length.clamp(1, BUFFER));
    let (mut size, mut sum, mut buffer) = (0, simd_adler32::Adler32::new(), vec![0; length]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, sum.finish())),
            n => {
                size += n as u64;
                sum.write(&buffer[..n]);
            }
        }
    }
}

/// Returns the adler32 checksum of a body.
///
/// # Errors
/// File system errors.
pub(super) async fn adler32_of(body: &Body) -> Result<u32> {
    match body {
        Body::Bytes(bytes) => Ok(digest(bytes).1),
        Body::File(path, _) => Ok(digest_of_file(Arc::clone(path)).await?.1),
    }
}
