//! Progress reports of long operations, independent of how they are displayed.

/// A display of long operations, such as a bar on a terminal or a log.
pub trait Progress: Send + Sync {
    /// Starts the display of an operation; `total` is the number of items, if known.
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressTask>;
}

/// A running operation; the display ends when it is dropped.
pub trait ProgressTask: Send + Sync {
    /// Adds to the numbers of items and bytes that are done.
    fn add(&self, items: u64, bytes: u64);

    /// Adds to the number of folders that have been listed.
    fn add_folders(&self, folders: u64);
}

/// A display that shows nothing.
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
