//! How far a long operation has come, told without knowing who listens.

/// Someone who is told about long operations: a bar on a terminal, a log, nobody.
pub trait Progress: Send + Sync {
    /// An operation begins; `total` is the number of items, when known.
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressTask>;
}

/// One running operation; it ends when dropped.
pub trait ProgressTask: Send + Sync {
    /// So many more items and bytes are done.
    fn add(&self, items: u64, bytes: u64);

    /// So many more folders were looked through.
    fn add_folders(&self, folders: u64);
}

/// Tells nobody.
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
