//! Reading files from a server, entirely or in part.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;

use super::Client;
use super::failure::{Failure, Retry};
use super::send::{DavResponse, Request, redacted};
use crate::error::{Error, Kind, Result};
use crate::store::temporary;

/// The destination of received bytes.
enum Sink {
    Memory(BytesMut),
    File(tokio::fs::File),
}

impl Sink {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Memory(all) => all.extend_from_slice(bytes),
            Self::File(file) => file.write_all(bytes).await.map_err(|e| Failure::permanent(&e.into()))?,
        }
        Ok(())
    }
}

impl Client {
    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// `Kind::NotFound` when the file does not exist, `Kind::Invalid` when it is too large; server errors.
    pub async fn read(&self, path: &str, limit: u64) -> Result<Bytes> {
        let work = || async {
            match self.get(path, None, limit, Sink::Memory(BytesMut::new())).await? {
                Sink::Memory(bytes) => Ok(bytes.freeze()),
                Sink::File(_) => Err(Failure::permanent(&Error::bug("bytes went to a file"))),
            }
        };
        self.with_retry("reading", path, work).await
    }

    /// Reads exactly the requested byte range of a file.
    ///
    /// # Errors
    /// As for [`Client::read`], and a range that exceeds the file.
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let work = || async {
            match self.get(path, Some(&range), u64::MAX, Sink::Memory(BytesMut::new())).await? {
                Sink::Memory(bytes) => Ok(bytes.freeze()),
                Sink::File(_) => Err(Failure::permanent(&Error::bug("bytes went to a file"))),
            }
        };
        self.with_retry("reading", path, work).await
    }

    /// Downloads a file to a local temporary file, which is deleted when dropped. Returns its size in bytes too.
    ///
    /// # Errors
    /// As for [`Client::read`].
    pub async fn fetch(&self, path: &str) -> Result<(tempfile::NamedTempFile, u64)> {
        let work = || async {
            let permanent = |e: std::io::Error| Failure::permanent(&e.into());
            let named = temporary::scratch().map_err(permanent)?;
            let file = tokio::fs::File::from_std(named.reopen().map_err(permanent)?);
            match self.get(path, None, u64::MAX, Sink::File(file)).await? {
                Sink::File(mut file) => {
                    file.flush().await.map_err(permanent)?;
                    let size = named.as_file().metadata().map_err(permanent)?.len();
                    Ok((named, size))
                }
                Sink::Memory(_) => Err(Failure::permanent(&Error::bug("a file went to memory"))),
            }
        };
        self.with_retry("reading", path, work).await
    }

    async fn get(&self, path: &str, range: Option<&Range<u64>>, limit: u64, mut sink: Sink) -> Result<Sink, Failure> {
        let mut request = Request::new("GET", path).header("want-digest", "adler32");
        if let Some(range) = range {
            request = request.header("range", &format!("bytes={}-{}", range.start, range.end - 1));
        }
        let DavResponse { mut response, url, .. } = self.send_ok(&request).await?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (kind, digest, part) = (text("content-type"), text("digest"), text("content-range"));
        let html = path.ends_with(".html") || path.ends_with(".htm");
        if kind.is_some_and(|kind| kind.starts_with("text/html")) && !html {
            return Err(Failure::transient(format!("{} sent an HTML page instead of the file", redacted(&url))));
        }
        let announced = response.content_length();
        // The number of bytes to skip and the number to keep.
        let (mut skip, wanted) = match (range, response.status().as_u16()) {
            (None, 200) => (0, None),
            (Some(range), 206) => {
                let given = part.as_deref().and_then(|part| part.strip_prefix("bytes ")?.split('/').next());
                if given != Some(&*format!("{}-{}", range.start, range.end - 1)) {
                    let message = format!("bytes {}-{} were requested", range.start, range.end - 1);
                    return Err(Failure::transient(format!("{message}, but {} arrived", part.unwrap_or_default())));
                }
                (0, Some(range.end - range.start))
            }
            (Some(range), 200) => (range.start, Some(range.end - range.start)),
            (_, status) => return Err(Failure::transient(format!("GET returned {status}"))),
        };
        if announced.is_some_and(|size| size > limit) {
            let message = format!("it has {} bytes, more than the limit of {limit}", announced.unwrap_or(0));
            return Err(Failure::new(Kind::Invalid, Retry::Never, message));
        }
        let (mut adler, mut taken) = (simd_adler32::Adler32::new(), 0);
        let broken = |e: reqwest::Error| {
            let mut failure = self.transport_failure(&request, &url, &e);
            failure.retry = if failure.retry == Retry::Immediately { Retry::Later(None) } else { failure.retry };
            failure
        };
        while let Some(bytes) = response.chunk().await.map_err(broken)? {
            let passed = skip.min(bytes.len() as u64);
            skip -= passed;
            let mut bytes = bytes.slice(usize::try_from(passed).unwrap_or(0)..);
            if let Some(wanted) = wanted {
                bytes.truncate(usize::try_from(wanted - taken).unwrap_or(usize::MAX));
            }
            taken += bytes.len() as u64;
            if taken > limit {
                let message = format!("it is longer than the limit of {limit} bytes");
                return Err(Failure::new(Kind::Invalid, Retry::Never, message));
            }
            adler.write(&bytes);
            sink.write(&bytes).await?;
            if wanted == Some(taken) {
                break;
            }
        }
        if let Some(wanted) = wanted.or(announced).filter(|wanted| *wanted != taken) {
            return Err(Failure::transient(format!("{wanted} bytes were expected, but {taken} arrived")));
        }
        if range.is_none()
            && let Some(message) = adler32(digest.as_deref()).filter(|message| *message != adler.finish())
        {
            let message = format!("the received bytes have the checksum {:08x}, not {message:08x}", adler.finish());
            return Err(Failure::transient(message));
        }
        Ok(sink)
    }
}

/// Returns the adler32 checksum in a `Digest` header or a list of checksums, if present.
pub(super) fn adler32(text: Option<&str>) -> Option<u32> {
    let value = text?.split(',').find_map(|part| part.trim().strip_prefix("adler32="))?;
    u32::from_str_radix(value, 16).ok()
}
