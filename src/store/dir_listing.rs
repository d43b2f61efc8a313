//! The entries of a folder, with any kind of entry and any name.

/// The entries of one folder, without the contents of its subfolders.
#[derive(Debug, Default)]
pub(crate) struct DirListing {
    /// Names of files, with their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Names of folders.
    pub folders: Vec<String>,
    /// Names of symbolic links to folders. Like the Butler, [`super::walk`] does not follow them: they may form a
    /// cycle.
    pub links: Vec<String>,
    /// Names of entries that are neither readable files nor folders, with the reason: dangling links, names that are
    /// not UTF-8, pipes.
    pub others: Vec<(String, &'static str)>,
}

impl DirListing {
    /// Sorts the entries by name.
    pub(super) fn sort(&mut self) {
        self.files.sort();
        self.folders.sort();
        self.links.sort();
        self.others.sort();
    }
}
