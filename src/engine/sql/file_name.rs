//! File names in place of table names.

/// File name extensions, and DataFusion's name of the format.
pub(crate) const FORMATS: [(&str, &str); 7] = [
    ("csv", "csv"),
    ("tsv", "csv"),
    ("json", "json"),
    ("jsonl", "json"),
    ("ndjson", "json"),
    ("parquet", "parquet"),
    ("arrow", "arrow"),
];

/// File name extensions that DataFusion does not read, and the functions that read them.
pub(crate) const READERS: [(&str, &str); 2] = [("ecsv", "read_ecsv"), ("fits", "read_fits")];

/// Whether a name may be a file name: it has a `/`, a `*` or a known extension.
pub(crate) fn is_file_name(name: &str) -> bool {
    name.contains(['/', '*']) || FORMATS.iter().chain(&READERS).any(|known| known.0 == extension(name))
}

/// The file name extension in lower case; empty if there is none.
pub(crate) fn extension(name: &str) -> String {
    name.rsplit_once('.').map_or_else(String::new, |(_, end)| end.to_lowercase())
}
