//! The stores by URI scheme. A further scheme is a folder with its store and a line here.

use std::sync::Arc;

use url::Url;

use super::file_store::FileStore;
use super::webdav;
use crate::error::Result;

type Open = fn(&Url) -> Result<Arc<dyn FileStore>>;

const SCHEMES: [(&str, Open); 2] = [("davs", webdav::open), ("dav", webdav::open)];

/// Returns true if files of a URI scheme have a store here.
pub(crate) fn is_known(scheme: &str) -> bool {
    SCHEMES.iter().any(|(known, _)| *known == scheme)
}

/// Opens the store of a URI; `None` for a scheme that has no store here.
pub(crate) fn open(uri: &Url) -> Option<Result<Arc<dyn FileStore>>> {
    let (_, open) = SCHEMES.iter().find(|(scheme, _)| *scheme == uri.scheme())?;
    Some(open(uri))
}
