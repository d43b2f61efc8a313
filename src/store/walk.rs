//! Recursive folder listings.

use futures::stream::{self, BoxStream, StreamExt};
use tokio_util::task::AbortOnDropHandle;

use super::{DirListing, Location};
use crate::error::Result;

/// Walks a folder tree, depth first in name order. Up to `ahead` folders are listed concurrently.
pub(crate) fn walk(top: Location, ahead: usize) -> BoxStream<'static, (Location, Result<DirListing>)> {
    let begun = |location: Location| Listing { location, listed: None };
    stream::unfold(vec![begun(top)], move |mut waiting| async move {
        for listing in waiting.iter_mut().rev().take(ahead).filter(|listing| listing.listed.is_none()) {
            let location = listing.location.clone();
            listing.listed = Some(AbortOnDropHandle::new(tokio::spawn(async move { location.list().await })));
        }
        let Listing { location, listed } = waiting.pop()?;
        let folder = match listed?.await {
            Ok(folder) => folder,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        };
        if let Ok(folder) = &folder {
            waiting.extend(folder.folders.iter().rev().map(|name| begun(location.child(name))));
        }
        Some(((location, folder), waiting))
    })
    .boxed()
}

/// A folder whose listing is pending or not started.
struct Listing {
    location: Location,
    listed: Option<AbortOnDropHandle<Result<DirListing>>>,
}
