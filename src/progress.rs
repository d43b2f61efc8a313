//! Progress reports of long operations, independent of how they are displayed.

/// A display of long operations, such as a bar on a terminal or a log.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use butlersql::{Progress, ProgressTask};
///
/// /// Counts the items of all operations.
/// #[derive(Default)]
/// struct Counter(Arc<AtomicU64>);
///
/// impl Progress for Counter {
///     fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressTask> {
///         println!("{what}: {total:?} items");
///         Box::new(Counter(Arc::clone(&self.0)))
///     }
/// }
///
/// impl ProgressTask for Counter {
///     fn add(&self, items: u64, _bytes: u64) {
///         self.0.fetch_add(items, Ordering::Relaxed);
///     }
///
///     fn add_folders(&self, _folders: u64) {}
/// }
///
/// let session = butlersql::Session::with("repo", true, Arc::new(Counter::default()))?;
/// # Ok::<(), butlersql::Error>(())
/// ```
pub trait Progress: Send + Sync {
    /// Starts the display of an operation; `total` is the number of items, if known.
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressTask>;
}

/// A running operation; the display ends when it is dropped. See [`Progress`] for an example.
pub trait ProgressTask: Send + Sync {
    /// Adds to the numbers of items and bytes that are done.
    fn add(&self, items: u64, bytes: u64);

    /// Adds to the number of folders that have been listed.
    fn add_folders(&self, folders: u64);
}

/// A display that shows nothing.
///
/// ```
/// let session = butlersql::Session::with("repo", true, std::sync::Arc::new(butlersql::Silent))?;
/// # Ok::<(), butlersql::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) -> Box<dyn ProgressTask> {
        Box::new(Self)
    }
}

impl ProgressTask for Silent {
    fn add(&self, _items: u64, _bytes: u64) {}

    fn add_folders(&self, _folders: u64) {}
}
