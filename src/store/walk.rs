//! Walking folders.

use futures::stream::{self, BoxStream, StreamExt};
use tokio_util::task::AbortOnDropHandle;

use super::{Folder, Place};
use crate::error::Result;

/// A folder and all below it, depth first in name order; some of those to come are listed ahead.
pub fn walk(top: Place, ahead: usize) -> BoxStream<'static, (Place, Result<Folder>)> {
    let begun = |place: Place| Listing { place, listed: None };
    stream::unfold(vec![begun(top)], move |mut waiting| async move {
        for listing in waiting.iter_mut().rev().take(ahead).filter(|listing| listing.listed.is_none()) {
            let place = listing.place.clone();
            listing.listed = Some(AbortOnDropHandle::new(tokio::spawn(async move { place.list().await })));
        }
        let Listing { place, listed } = waiting.pop()?;
        let folder = match listed?.await {
            Ok(folder) => folder,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        };
        if let Ok(folder) = &folder {
            waiting.extend(folder.folders.iter().rev().map(|name| begun(place.child(name))));
        }
        Some(((place, folder), waiting))
    })
    .boxed()
}

/// A folder that is being listed, or will be.
struct Listing {
    place: Place,
    listed: Option<AbortOnDropHandle<Result<Folder>>>,
}
