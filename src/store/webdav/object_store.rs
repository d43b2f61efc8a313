//! A WebDAV server as an `ObjectStore`, through which DataFusion reads and writes files.

use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result, UploadPart, coalesce_ranges,
};
use tempfile::NamedTempFile;

use super::Client;
use super::write::IN_MEMORY;
use crate::error::Kind;
use crate::store::body::Body;
use crate::store::entry::{Entry, require_size};
use crate::store::temporary;

const STORE: &str = "WebDAV";
/// Number of folders that are listed concurrently.
const WALKERS: usize = 8;

/// The object store of a WebDAV endpoint.
#[derive(Debug, Clone)]
pub struct WebDavStore(pub Arc<Client>);

impl fmt::Display for WebDavStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

/// Returns the path on the server.
fn absolute(location: &Path) -> String {
    format!("/{location}")
}

/// Converts an error to an object store error; [`crate::error`] converts it back.
fn to_object_store_error(path: &str, error: crate::error::Error) -> Error {
    let (path, kind) = (path.to_owned(), error.kind());
    match kind {
        Kind::NotFound => Error::NotFound { path, source: error.into() },
        Kind::Exists => Error::AlreadyExists { path, source: error.into() },
        _ => Error::Generic { store: STORE, source: error.into() },
    }
}

fn meta(entry: &Entry) -> Result<ObjectMeta> {
    Ok(ObjectMeta {
        location: Path::parse(entry.path.trim_start_matches('/'))?,
        last_modified: entry.modified.unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
        size: require_size(entry).map_err(|e| to_object_store_error(&entry.path, e))?,
        e_tag: None,
        version: None,
    })
}

/// Returns true if a listed file is complete; a file without a size is still being written.
fn is_whole(entry: &Entry) -> bool {
    if entry.size.is_none() {
        tracing::warn!("'{}' is still being written and is passed over", entry.path);
    }
    entry.size.is_some()
}

impl WebDavStore {
    /// Lists a folder; a missing folder has no entries.
    async fn entries(&self, path: &str) -> Result<Vec<Entry>> {
        match self.0.list(path).await {
            // A file has no entries either.
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Invalid) => Ok(Vec::new()),
            listed => listed.map_err(|e| to_object_store_error(path, e)),
        }
    }

    async fn write(&self, location: &Path, body: Body, replace: bool) -> Result<PutResult> {
        let path = absolute(location);
        self.0.write(&path, body, replace).await.map_err(|e| to_object_store_error(&path, e))?;
        Ok(PutResult { e_tag: None, version: None })
    }
}

#[async_trait]
impl ObjectStore for WebDavStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let replace = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => {
                let operation = "put of an update".to_owned();
                return Err(Error::NotImplemented { operation, implementer: STORE.to_owned() });
            }
        };
        self.write(location, Body::Bytes(payload.into()), replace).await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let file = temporary::scratch().map_err(|e| to_object_store_error(location.as_ref(), e.into()))?;
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), file: Some(file), size: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = absolute(location);
        let named = |e| to_object_store_error(&path, e);
        let missing = || crate::error::Error::new(Kind::NotFound, format!("'{}' does not exist", self.0.uri(&path)));
        let found = self.0.stat(&path).await.map_err(named)?.filter(|entry| !entry.is_directory);
        let meta = meta(&found.ok_or_else(|| named(missing()))?)?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|e| Error::Generic { store: STORE, source: e.into() })?,
            None => 0..meta.size,
        };
        let require_size = range == (0..meta.size);
        let payload = if options.head {
            GetResultPayload::Stream(stream::empty().boxed())
        } else if require_size && meta.size > IN_MEMORY {
            let (file, _) = self.0.fetch(&path).await.map_err(named)?;
            let handle = file.reopen().map_err(|e| named(e.into()))?;
            GetResultPayload::File(handle, file.path().to_owned())
        } else if require_size {
            let bytes = self.0.read(&path, IN_MEMORY).await.map_err(named)?;
            GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed())
        } else {
            let (client, end) = (Arc::clone(&self.0), range.end);
            let starts = (range.start..range.end).step_by(usize::try_from(IN_MEMORY).unwrap_or(usize::MAX));
            let parts = stream::iter(starts).then(move |start| {
                let (client, path) = (Arc::clone(&client), path.clone());
                async move {
                    let part = start..end.min(start + IN_MEMORY);
                    client.read_range(&path, part).await.map_err(|e| to_object_store_error(&path, e))
                }
            });
            GetResultPayload::Stream(parts.boxed())
        };
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = absolute(location);
        let read =
            |range| self.0.read_range(&path, range).map(|read| read.map_err(|e| to_object_store_error(&path, e)));
        coalesce_ranges(ranges, read, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let client = Arc::clone(&self.0);
        let removed = locations.map(move |location| {
            let client = Arc::clone(&client);
            async move {
                let location = location?;
                let path = absolute(&location);
                client.remove(&path).await.map_err(|e| to_object_store_error(&path, e))?;
                Ok(location)
            }
        });
        removed.buffered(WALKERS).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let top = prefix.map_or("/".to_owned(), absolute);
        let (store, waiting, running) = (self.clone(), vec![top], FuturesUnordered::new());
        let walk = stream::try_unfold((store, waiting, running), |(store, mut waiting, mut running)| async move {
            while running.len() < WALKERS
                && let Some(folder) = waiting.pop()
            {
                let store = store.clone();
                running.push(async move { store.entries(&folder).await }.boxed());
            }
            let Some(entries) = running.next().await else { return Ok(None) };
            let (folders, files): (Vec<Entry>, Vec<Entry>) = entries?.into_iter().partition(|e| e.is_directory);
            waiting.extend(folders.into_iter().map(|folder| folder.path));
            let files: Vec<_> = files.iter().filter(|entry| is_whole(entry)).map(meta).collect();
            Ok::<_, Error>(Some((stream::iter(files), (store, waiting, running))))
        });
        walk.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let entries = self.entries(&prefix.map_or("/".to_owned(), absolute)).await?;
        let (folders, files): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.is_directory);
        let common_prefixes = folders.iter().map(|folder| Path::parse(&folder.path)).collect::<Result<_, _>>()?;
        let objects = files.iter().filter(|entry| is_whole(entry)).map(meta).collect::<Result<_>>()?;
        Ok(ListResult { common_prefixes, objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, to) = (absolute(from), absolute(to));
        let copied = self.0.copy(&from, &to, options.mode == CopyMode::Overwrite).await;
        copied.map_err(|e| to_object_store_error(if e.kind() == Kind::Exists { &to } else { &from }, e))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (from, to) = (absolute(from), absolute(to));
        let renamed = self.0.rename(&from, &to, options.target_mode == RenameTargetMode::Overwrite).await;
        renamed.map_err(|e| to_object_store_error(if e.kind() == Kind::Exists { &to } else { &from }, e))
    }
}

/// A multipart upload: parts are collected in a local file, which is sent when complete.
#[derive(Debug)]
struct Upload {
    store: WebDavStore,
    location: Path,
    file: Option<NamedTempFile>,
    size: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let written = match &mut self.file {
            Some(file) => data.iter().try_for_each(|bytes| file.write_all(bytes)),
            None => Err(std::io::Error::other("the upload has ended")),
        };
        self.size += data.content_length() as u64;
        let path = absolute(&self.location);
        async move { written.map_err(|e| to_object_store_error(&path, e.into())) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let path = absolute(&self.location);
        let file = self
            .file
            .take()
            .ok_or_else(|| to_object_store_error(&path, crate::error::Error::bug("the upload has ended")))?;
        self.store.write(&self.location, Body::File(Arc::new(file.into_temp_path()), self.size), true).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.file = None;
        Ok(())
    }
}
