//! Reading zip archives: of a remote one, only the directory and the members that are needed.

use std::collections::HashMap;
use std::io::{Error as IoError, ErrorKind, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use tokio::runtime::Handle;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{FileType, Location, temporary};
use crate::error::{Error, Kind, Result};

/// Reads a member of at most `limit` bytes.
///
/// # Errors
/// `Kind::NotFound` for a missing archive or member, `Kind::Invalid` for a file that is not an archive or a member that
/// is too large; errors of the store.
pub(crate) async fn read_member(archive: &Location, member: &str, limit: u64) -> Result<Bytes> {
    let member = member.to_owned();
    with_archive(archive, move |zip| {
        let mut file = zip.by_name(&member).map_err(|e| wrong(&e, &member))?;
        if file.size() > limit {
            return Err(Error::invalid(format!("member '{member}' has more than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        // The size in the directory may be wrong.
        file.by_ref().take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Error::invalid(format!("member '{member}' has more than {limit} bytes")));
        }
        Ok(Bytes::from(bytes))
    })
    .await
}

/// Returns the members by name, with their sizes in bytes if the archive is local: of a remote one, only the directory is
/// read.
///
/// # Errors
/// As for [`read_member`].
pub(crate) async fn members(archive: &Location) -> Result<HashMap<String, Option<u64>>> {
    let is_local = archive.is_local();
    with_archive(archive, move |zip| {
        let mut sizes = HashMap::new();
        for name in zip.file_names() {
            sizes.insert(name.map_err(|e| wrong(&e, ""))?.into_owned(), None);
        }
        for at in 0..if is_local { zip.len() } else { 0 } {
            let member = zip.by_index_raw(at).map_err(|e| wrong(&e, ""))?;
            sizes.insert(member.name().map_err(|e| wrong(&e, ""))?.into_owned(), Some(member.size()));
        }
        Ok(sizes)
    })
    .await
}

/// Extracts members to local files that do not exist yet. Returns the files that were created.
///
/// # Errors
/// As for [`read_member`]; `Kind::Exists` if a file exists with another content.
pub(crate) async fn extract(archive: &Location, members: Vec<(String, Location)>) -> Result<Vec<Location>> {
    with_archive(archive, move |zip| {
        let mut made = Vec::new();
        for (member, to) in members {
            let mut file = zip.by_name(&member).map_err(|e| wrong(&e, &member))?;
            let path = to.local()?;
            let folder = path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(folder)?;
            let mut staged = temporary::create(folder)?;
            std::io::copy(&mut file, staged.as_file_mut())?;
            match staged.persist_noclobber(&path) {
                Ok(_) => made.push(to),
                Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {
                    if !super::local::same(e.file.path(), &path)? {
                        let message = format!("a different file exists at '{}'", to.display());
                        return Err(Error::new(Kind::Exists, message));
                    }
                }
                Err(e) => return Err(e.error.into()),
            }
        }
        Ok(made)
    })
    .await
}

/// Writes an archive: an index, which is compressed, and files, which are not. An existing archive is replaced.
///
/// # Errors
/// Errors of the file system or a server, with the name of the file.
pub(crate) async fn write(to: &Path, index_name: &str, index: String, files: Vec<(String, Location)>) -> Result<()> {
    let (to, index_name, runtime) = (to.to_owned(), index_name.to_owned(), Handle::current());
    let writing = tokio::task::spawn_blocking(move || {
        let folder = to.parent().unwrap_or(Path::new("/"));
        let mut staged = temporary::create(folder)?;
        let mut zip = ZipWriter::new(staged.as_file_mut());
        let options = SimpleFileOptions::default().unix_permissions(0o644).large_file(false);
        zip.start_file(index_name, options.compression_method(CompressionMethod::Deflated)).map_err(unwritten)?;
        zip.write_all(index.as_bytes())?;
        for (name, location) in files {
            let mut file = runtime.block_on(location.open())?;
            let is_large = file.metadata()?.len() >= u64::from(u32::MAX);
            let options = options.compression_method(CompressionMethod::Stored).large_file(is_large);
            zip.start_file(name, options).map_err(unwritten)?;
            std::io::copy(&mut file, &mut zip)
                .map_err(|e| Error::from(e).context(format_args!("file '{}'", location.display())))?;
        }
        zip.finish().map_err(unwritten)?;
        staged.as_file().sync_all()?;
        staged.persist(&to).map_err(|e| e.error)?;
        temporary::sync_folder(folder)?;
        Ok(())
    });
    writing.await.map_err(|e| Error::bug(format!("writing an archive: {e}")))?
}

fn unwritten(error: ZipError) -> Error {
    match error {
        ZipError::Io(e) => e.into(),
        other => Error::bug(format!("writing an archive: {other}")),
    }
}

/// Opens an archive on a thread that may block.
async fn with_archive<T: Send + 'static>(
    archive: &Location,
    work: impl FnOnce(&mut ZipArchive<Source>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let named = format!("archive '{}'", archive.display());
    let FileType::File(size) = archive.stat().await? else {
        return Err(Error::new(Kind::NotFound, format!("file '{}' does not exist", archive.display())));
    };
    let source = match archive.local() {
        Ok(path) => Source::Local(std::fs::File::open(path).map_err(|e| Error::from(e).context(&named))?),
        Err(_) => Source::Remote(RangeReader::new(archive.clone(), size)),
    };
    let reading = tokio::task::spawn_blocking(move || {
        let mut zip = ZipArchive::new(source).map_err(|e| wrong(&e, ""))?;
        work(&mut zip)
    });
    let done = reading.await.map_err(|e| Error::bug(format!("reading an archive: {e}")))?;
    done.map_err(|e| e.context(named))
}

fn wrong(error: &ZipError, member: &str) -> Error {
    match error {
        ZipError::FileNotFound => Error::new(Kind::NotFound, format!("member '{member}' does not exist")),
        ZipError::Io(e) if e.get_ref().is_some_and(|inner| inner.is::<Error>()) => e
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
            .map_or_else(|| Error::bug("no error"), Error::clone),
        other => Error::invalid(format!("it is not a zip archive that can be read: {other}")),
    }
}

/// The bytes of an archive.
enum Source {
    Local(std::fs::File),
    Remote(RangeReader),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        match self {
            Self::Local(file) => file.read(buffer),
            Self::Remote(file) => file.read(buffer),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        match self {
            Self::Local(file) => file.seek(to),
            Self::Remote(file) => file.seek(to),
        }
    }
}

/// Number of bytes of the first request, which has the directory of most archives.
const TAIL: u64 = 64 * 1024;
/// Largest number of bytes of a request.
const LARGEST: u64 = 8 * 1024 * 1024;

/// A file on a server, read by ranges: first its end, then growing parts.
struct RangeReader {
    location: Location,
    size: u64,
    position: u64,
    /// The last bytes of the file.
    tail: Option<(u64, Bytes)>,
    /// The part that was read last.
    part: Option<(u64, Bytes)>,
    next: u64,
    runtime: Handle,
}

impl RangeReader {
    fn new(location: Location, size: u64) -> Self {
        Self { location, size, position: 0, tail: None, part: None, next: TAIL, runtime: Handle::current() }
    }

    fn fetch(&self, from: u64, length: u64) -> IoResult<(u64, Bytes)> {
        let range = from..self.size.min(from + length);
        let bytes = self.runtime.block_on(self.location.read_range(range));
        Ok((from, bytes.map_err(|e| IoError::other(e.context("reading a part")))?))
    }
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        if self.tail.is_none() {
            self.tail = Some(self.fetch(self.size.saturating_sub(TAIL), TAIL)?);
        }
        let holds = |(start, bytes): &&(u64, Bytes)| (*start..*start + bytes.len() as u64).contains(&self.position);
        if self.tail.iter().chain(&self.part).find(holds).is_none() {
            let follows = self.part.as_ref().is_some_and(|(start, bytes)| start + bytes.len() as u64 == self.position);
            self.next = if follows { LARGEST.min(self.next * 4) } else { TAIL };
            self.part = Some(self.fetch(self.position, self.next)?);
        }
        let found = self.tail.iter().chain(&self.part).find(holds);
        let Some((start, bytes)) = found else {
            return Err(IoError::new(ErrorKind::UnexpectedEof, "the server sent fewer bytes than it announced"));
        };
        let at = usize::try_from(self.position - start).unwrap_or(usize::MAX);
        let count = buffer.len().min(bytes.len() - at);
        buffer[..count].copy_from_slice(&bytes[at..at + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for RangeReader {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| IoError::new(ErrorKind::InvalidInput, "a position before the start"))?;
        Ok(self.position)
    }
}
