//! Sizes and adler32 checksums, with which dCache and Rucio verify files.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::body::{Body, LocalFile};
use crate::error::{Error, Result};

/// Returns the size in bytes and the adler32 checksum of bytes.
pub(crate) fn digest(bytes: &Bytes) -> (u64, u32) {
    (bytes.len() as u64, simd_adler32::adler32(&&bytes[..]))
}

/// Returns the size in bytes and the adler32 checksum of a local file.
///
/// # Errors
/// File system errors.
pub(crate) async fn digest_of_file(path: LocalFile) -> Result<(u64, u32)> {
    let sum = move || -> std::io::Result<(u64, u32)> {
        let mut file = std::fs::File::open((*path).as_ref())?;
        let (mut size, mut sum, mut buffer) = (0, simd_adler32::Adler32::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((size, sum.finish())),
                n => {
                    size += n as u64;
                    sum.write(&buffer[..n]);
                }
            }
        }
    };
    Ok(tokio::task::spawn_blocking(sum).await.map_err(|e| Error::bug(format!("reading a file: {e}")))??)
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
