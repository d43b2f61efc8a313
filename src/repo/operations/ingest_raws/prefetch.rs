//! Reads files ahead.

use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::find::FileGroup;

/// Reads groups ahead while earlier groups are processed, up to a number of files.
pub(super) fn prefetch(
    groups: impl Stream<Item = FileGroup> + Send + 'static,
    files: u32,
) -> impl Stream<Item = FileGroup> {
    let room = Arc::new(Semaphore::new(files as usize));
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let reading = async move {
        let mut groups = std::pin::pin!(groups);
        while let Some(group) = groups.next().await {
            let own = u32::try_from(group.files.len()).unwrap_or(files).clamp(1, files);
            let Ok(taken) = Arc::clone(&room).acquire_many_owned(own).await else { return };
            if sender.send((group, taken)).is_err() {
                return;
            }
        }
    };
    let reading = AbortOnDropHandle::new(tokio::spawn(reading));
    stream::unfold((receiver, reading), |(mut receiver, reading)| async move {
        if let Some((group, _)) = receiver.recv().await {
            return Some((group, (receiver, reading)));
        }
        match reading.await {
            Ok(()) => None,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            // The runtime is shutting down, so the stream must not end as if it were complete.
            Err(_) => std::future::pending().await,
        }
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn groups(fails_at: Option<u64>) -> impl Stream<Item = FileGroup> + Send + 'static {
        stream::iter(0..100).map(move |folders| {
            assert!(Some(folders) != fails_at, "this folder is not read");
            FileGroup { folders, ..FileGroup::default() }
        })
    }

    #[tokio::test]
    async fn groups_read_ahead_keep_their_order() {
        let read: Vec<u64> = prefetch(groups(None), 3).map(|group| group.folders).collect().await;
        assert_eq!(read, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_panic_while_reading_ahead_is_not_the_end_of_all_groups() {
        let all = prefetch(groups(Some(7)), 3).collect::<Vec<_>>();
        assert!(std::panic::AssertUnwindSafe(all).catch_unwind().await.is_err());
    }
}
