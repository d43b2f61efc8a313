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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[tokio::test]
    async fn folders_of_every_name_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a%20b", "é", "x[1]~{y}", "plain"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("f.fits"), "x").unwrap();
        }
        let top = Location::parse(dir.path().to_str().unwrap()).unwrap();
        for name in top.list().await.unwrap().folders {
            let below = top.child(&name).list().await.unwrap();
            assert_eq!(below.files, [("f.fits".to_owned(), 1)], "{name}");
            assert_eq!(&top.child(&name).child("f.fits").read(9).await.unwrap()[..], b"x");
        }
    }

    #[tokio::test]
    async fn one_odd_entry_does_not_spoil_a_folder() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("f.fits"), "x").unwrap();
        std::fs::create_dir(at("below")).unwrap();
        for (target, name) in [(".", "loop"), ("gone", "dangling"), ("self", "self"), ("f.fits", "link.fits")] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.fits")), "x").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let location = Location::parse(dir.path().to_str().unwrap()).unwrap();
        let folder = location.list().await.unwrap();
        assert_eq!(folder.files, [("f.fits".to_owned(), 1), ("link.fits".to_owned(), 1)]);
        assert_eq!((folder.folders, folder.links), (vec!["below".to_owned()], vec!["loop".to_owned()]));
        let others: Vec<_> = folder.others.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(others, ["caf\u{fffd}.fits", "dangling", "pipe", "self"]);
        assert!(location.child("pipe").stat().await.unwrap_err().message().contains("neither a file nor a folder"));
        let error = location.child("nothing").list().await.unwrap_err();
        assert!(error.kind() == Kind::NotFound && error.message().contains("nothing' does not exist"), "{error}");
        let walked: Vec<_> = walk(location, 4).map(|(location, _)| location.name()).collect().await;
        assert_eq!(walked[1..], ["below"]);
    }
}
