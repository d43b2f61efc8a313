//! The files of datasets, with the metadata that Rucio keeps of them.

use std::collections::HashMap;

use crate::error::{Error, Kind, Result};
use crate::model::zip_member;
use crate::registry::dataset_queries::columns;
use crate::registry::{optional_string_values, string_values};
use crate::repo::Repo;
use crate::repo::changeset::changes::SelectedDatasets;
use crate::repo::selection::dimension_records;
use crate::repo::sidecars::{RecordIndex, json_value};
use crate::rucio::registration::FileMeta;
use crate::store::Location;

/// The kind of a file that is not a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A zip archive of datasets.
    Zip,
    /// An export file with dimension records.
    Dimensions,
}

impl FileKind {
    /// Parses `zip_file` or `dim_file`.
    ///
    /// # Errors
    /// `Kind::Invalid` for another word.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match name {
            "zip_file" => Ok(Self::Zip),
            "dim_file" => Ok(Self::Dimensions),
            other => Err(Error::invalid(format!("kind is zip_file or dim_file, not '{other}'"))),
        }
    }

    /// Returns the metadata of such a file.
    pub(super) fn meta(self) -> FileMeta {
        let word = if self == Self::Zip { "zip_file" } else { "dim_file" };
        FileMeta { rubin_butler: word.to_owned(), rubin_sidecar: String::new() }
    }
}

/// A file before its checksum is known.
pub(super) struct Candidate {
    /// File.
    pub location: Location,
    /// Metadata.
    pub meta: FileMeta,
}

/// What files are registered as.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileRules {
    /// The kind of file of a dataset.
    pub kind: &'static str,
    /// True to take members of zip archives: the archive is registered.
    pub takes_zips: bool,
}

/// The files of datasets.
#[derive(Default)]
pub(super) struct DatasetFiles {
    /// Each file once.
    pub candidates: Vec<Candidate>,
    /// The position of its file for each dataset, in the order of the rows.
    pub of_row: Vec<usize>,
}

/// Returns the files of datasets with their sidecars.
///
/// # Errors
/// `Kind::NotFound` for a dataset without a file or dimension records, `Kind::Unsupported` for a file with several
/// datasets; database errors.
pub(super) async fn files_of(repo: &Repo, selected: &[SelectedDatasets], rules: FileRules) -> Result<DatasetFiles> {
    let records = dimension_records(repo, selected, false).await?;
    let index = RecordIndex::new(&repo.registry.universe, &records)?;
    let root = Location::parse(&repo.datastore_root())?;
    let mut files = DatasetFiles::default();
    let mut owners: HashMap<String, (usize, String)> = HashMap::new();
    for one in selected {
        let kinds = columns(&one.record);
        let writer = index.writer(&one.record)?;
        for batch in one.rows.batches()? {
            let batch = batch?;
            let last = batch.num_columns() - 3;
            let (ids, runs) = (string_values(&batch, 0), string_values(&batch, last));
            let paths = optional_string_values(&batch, last + 1);
            for (row, path) in paths.into_iter().enumerate() {
                let id = &ids[row];
                let path = path.ok_or_else(|| Error::new(Kind::NotFound, format!("dataset {id} has no file")))?;
                let (path, member) = zip_member::split(&path);
                let location = root.of_record(path)?;
                let is_zip = member.is_some();
                if is_zip && !rules.takes_zips {
                    let message = format!(
                        "dataset {id} is a member of the zip archive '{}': rucio_register_files registers archives",
                        location.display()
                    );
                    return Err(Error::new(Kind::Unsupported, message));
                }
                match owners.get(&location.display()) {
                    Some((at, _)) if is_zip => {
                        files.of_row.push(*at);
                        continue;
                    }
                    Some((_, other)) => {
                        let message = format!(
                            "file '{}' holds several datasets, such as {other} and {id}; Rucio keeps one dataset for a \
                             file",
                            location.display()
                        );
                        return Err(Error::new(Kind::Unsupported, message));
                    }
                    None => drop(owners.insert(location.display(), (files.candidates.len(), id.clone()))),
                }
                let meta = if is_zip {
                    FileKind::Zip.meta()
                } else {
                    let cells = kinds[1..last].iter().zip(&batch.columns()[1..last]);
                    let values: Vec<_> = cells.map(|(column, array)| json_value(column, array, row)).collect();
                    let sidecar = writer.sidecar(id, &runs[row], values)?;
                    FileMeta { rubin_butler: rules.kind.to_owned(), rubin_sidecar: sidecar }
                };
                files.of_row.push(files.candidates.len());
                files.candidates.push(Candidate { location, meta });
            }
        }
    }
    Ok(files)
}
