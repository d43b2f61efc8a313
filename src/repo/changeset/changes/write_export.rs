//! The export file, and the files that are transferred with it.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::format::export_writer::{Scalar, Writer};
use crate::model::collection::{Collection, CollectionType};
use crate::model::time::{self, Timespan};
use crate::model::zip_member;
use crate::registry::dataset_queries::{collection_members, columns};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::db::spill::SpillBuffer;
use crate::registry::schema::{ColumnType, ReadColumn, TableDef};
use crate::registry::{optional_string_values, string_values, timestamp_values};
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::changeset::change::{Applied, StandaloneChange};
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::store::transfer::{Transfer, TransferSource, rollback, transfer_all};
use crate::store::transfer_mode::TransferMode;
use crate::store::{Location, archive, path_template, temporary};

/// Writes an export file, and transfers the files of its datasets.
#[derive(Debug)]
pub(crate) struct WriteExport {
    /// Repository that is exported.
    pub repo: Arc<Repo>,
    /// Folder of the export file and of transferred files; created if it does not exist.
    pub directory: Location,
    /// Name of the export file.
    pub export_file: String,
    /// How files are transferred into the folder; `None` keeps them in place, and the export file has their datastore
    /// paths.
    pub transfer: Option<TransferMode>,
    /// Datasets by type.
    pub datasets: Vec<SelectedDatasets>,
    /// Collections, chains after their children.
    pub collections: Vec<Collection>,
    /// Records by element, in the order of the universe.
    pub records: Vec<(TableDef, RecordBatch)>,
}

/// Datasets of one type: `dataset_id`, the dimensions, `run`, `path`, `formatter`, sorted by run and data ID.
#[derive(Debug)]
pub(crate) struct SelectedDatasets {
    /// Dataset type.
    pub record: TypeRecord,
    /// Rows.
    pub rows: SpillBuffer,
}

type ExportWriter = Writer<BufWriter<std::fs::File>>;

#[async_trait]
impl StandaloneChange for WriteExport {
    fn describe(&self) -> Vec<ReportRow> {
        let row = |kind: &str, name: &str, count: usize| ReportRow::new(kind, Status::Exported, name, count as u64);
        let datasets = self.datasets.iter().map(|one| row("dataset", &one.record.dataset_type.name, one.rows.len()));
        let collections = std::iter::once(row("collection", "", self.collections.len()));
        let records = self.records.iter().map(|(table, rows)| row(&table.name, "", rows.num_rows()));
        datasets.chain(collections).chain(records).collect()
    }

    fn is_done(&self) -> bool {
        false
    }

    async fn apply(&self, _handle: &RepositoryHandle) -> Result<Applied> {
        let folder = self.directory.local()?;
        let named = |e: std::io::Error| Error::from(e).context(format_args!("folder '{}'", folder.display()));
        std::fs::create_dir_all(&folder).map_err(named)?;
        let _ = self.directory.sweep().await;
        let staged = temporary::create(&folder).map_err(named)?;
        let universe = &self.repo.registry.universe;
        let file = BufWriter::new(staged.reopen().map_err(named)?);
        let mut writer = Writer::begin(file, &universe.namespace, universe.version)?;
        self.write_records(&mut writer)?;
        for Collection { name, kind, doc, children, .. } in &self.collections {
            writer.collection(name, *kind, doc.as_deref(), children)?;
        }
        let files = self.write_datasets(&mut writer).await?;
        self.write_associations(&mut writer).await?;
        writer.finish()?;
        let mut made = Vec::new();
        let done = async {
            transfer_all(&files.transfers, &mut made).await?;
            for (archive, members) in files.members {
                made.extend(archive::extract(&Location::parse(&archive)?, members).await?);
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = done.await {
            rollback(&made).await;
            return Err(error);
        }
        staged.as_file().sync_all().map_err(named)?;
        staged.persist(folder.join(&self.export_file)).map_err(|e| named(e.error))?;
        temporary::sync_folder(&folder).map_err(named)?;
        Ok(Applied::AsDescribed)
    }
}

impl WriteExport {
    fn write_records(&self, writer: &mut ExportWriter) -> Result<()> {
        for (table, found) in &self.records {
            writer.dimension(&table.name)?;
            let columns = table.read_columns();
            for row in 0..found.num_rows() {
                let mut fields = Vec::with_capacity(columns.len());
                for (column, array) in columns.iter().zip(found.columns()) {
                    let value = scalar(column, array, row);
                    match (column.name.as_str(), &value) {
                        ("timespan_begin", Scalar::Null) => fields.push(("timespan", Scalar::Null)),
                        ("timespan_end", Scalar::Null) => {}
                        // An unbounded end is written as null.
                        ("timespan_begin", Scalar::Time(0)) => fields.push(("datetime_begin", Scalar::Null)),
                        ("timespan_end", Scalar::Time(time::MAX)) => fields.push(("datetime_end", Scalar::Null)),
                        ("timespan_begin", _) => fields.push(("datetime_begin", value)),
                        ("timespan_end", _) => fields.push(("datetime_end", value)),
                        (name, _) => fields.push((name, value)),
                    }
                }
                writer.record(&fields)?;
            }
        }
        Ok(())
    }

    /// Writes the datasets by type and run. Returns the files to put into the folder.
    async fn write_datasets(&self, writer: &mut ExportWriter) -> Result<FolderFiles> {
        let registry = &self.repo.registry;
        let mut files = FolderFiles::default();
        for SelectedDatasets { record, rows } in &self.datasets {
            let dataset_type = &record.dataset_type;
            let group = registry.universe.group(&dataset_type.dimensions)?;
            let all = registry.universe.elements().iter().map(|e| &e.name);
            let all: Vec<String> =
                all.filter(|n| group.required.contains(n) || group.implied.contains(n)).cloned().collect();
            let mut run = None;
            for batch in rows.batches()? {
                let batch = batch?;
                let exported = self.exported_files(record, &batch).await?;
                let last = batch.num_columns() - 3;
                let (ids, runs) = (string_values(&batch, 0), string_values(&batch, last));
                let kinds: Vec<ReadColumn> = columns(record)[1..last].to_vec();
                for (row, ExportedFile { path, formatter, transfer, member }) in exported.into_iter().enumerate() {
                    files.transfers.extend(transfer);
                    if let Some((archive, member, to)) = member {
                        files.members.entry(archive.uri()).or_default().push((member, to));
                    }
                    if run.as_ref() != Some(&runs[row]) {
                        writer.datasets(dataset_type, &all, &runs[row])?;
                        run = Some(runs[row].clone());
                    }
                    let values = kinds.iter().zip(batch.columns()[1..].iter());
                    let data_id: Vec<_> = values.map(|(c, a)| (c.name.as_str(), scalar(c, a, row))).collect();
                    writer.dataset(&ids[row], &data_id, &path, &formatter)?;
                }
            }
        }
        Ok(files)
    }

    /// Returns the file of each dataset, as the export file names it.
    async fn exported_files(&self, record: &TypeRecord, batch: &RecordBatch) -> Result<Vec<ExportedFile>> {
        let root = Location::parse(&self.repo.datastore_root())?;
        let last = batch.num_columns() - 3;
        let (paths, formatters) = (optional_string_values(batch, last + 1), optional_string_values(batch, last + 2));
        // Files outside the datastore are named by the file template.
        let in_folder = self.transfer.is_some_and(|mode| mode != TransferMode::Direct);
        let is_renamed = |path: &String| path.contains("://") || zip_member::archive(path).is_some();
        let templated = if in_folder && paths.iter().flatten().any(is_renamed) {
            template_paths(&self.repo, record, batch, &string_values(batch, last)).await?
        } else {
            Vec::new()
        };
        let mut files = Vec::with_capacity(batch.num_rows());
        for (row, stored) in paths.into_iter().zip(formatters).enumerate() {
            let (Some(path), Some(formatter)) = stored else {
                let (id, name) = (&string_values(&batch.slice(row, 1), 0)[0], &record.dataset_type.name);
                let message = format!("dataset {id} of type '{name}' is not stored: it has no file");
                return Err(Error::new(Kind::NotFound, message));
            };
            let (file, member) = zip_member::split(&path);
            let location = root.of_record(file)?;
            let mut exported = ExportedFile { path: path.clone(), formatter, transfer: None, member: None };
            match (self.transfer, member) {
                (None, _) => {}
                (Some(TransferMode::Direct), None) => exported.path = location.uri(),
                (Some(TransferMode::Direct), Some(member)) => exported.path = zip_member::join(&location.uri(), member),
                // The members of an archive become files of their own.
                (Some(_), Some(member)) => {
                    exported.path = format!("{}{}", templated[row], path_template::extension(member));
                    let to = self.directory.child(&exported.path);
                    exported.member = Some((location, member.to_owned(), to));
                }
                (Some(mode), None) => {
                    if file.contains("://") {
                        exported.path = format!("{}{}", templated[row], path_template::extension(file));
                    }
                    let to = self.directory.child(&exported.path);
                    exported.transfer = Some(Transfer { from: TransferSource::File(location), to, mode });
                }
            }
            files.push(exported);
        }
        Ok(files)
    }

    async fn write_associations(&self, writer: &mut ExportWriter) -> Result<()> {
        for collection in &self.collections {
            let calibration = collection.kind == CollectionType::Calibration;
            if !calibration && collection.kind != CollectionType::Tagged {
                continue;
            }
            let ranges = self.validity_ranges(collection, calibration).await?;
            if ranges.is_empty() {
                continue;
            }
            writer.associations(&collection.name, collection.kind)?;
            for ((begin, end), ids) in &ranges {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                if calibration {
                    writer.certified(Timespan { begin: *begin, end: *end }, &ids)?;
                } else {
                    ids.into_iter().try_for_each(|id| writer.tagged(id))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the ids of the exported types in a collection, by validity range (TAI nanoseconds).
    async fn validity_ranges(
        &self,
        collection: &Collection,
        calibration: bool,
    ) -> Result<BTreeMap<(i64, i64), Vec<String>>> {
        let registry = &self.repo.registry;
        let mut ranges: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
        for SelectedDatasets { record, .. } in &self.datasets {
            let rows = collection_members(registry, record, &collection.name, calibration).await?;
            let column = |name: &str| rows.schema_ref().index_of(name).ok().map(|at| timestamp_values(&rows, at));
            let unbounded = || vec![None; rows.num_rows()];
            let begins = column("timespan_begin").unwrap_or_else(unbounded);
            let ends = column("timespan_end").unwrap_or_else(unbounded);
            for (id, (begin, end)) in string_values(&rows, 0).into_iter().zip(begins.into_iter().zip(ends)) {
                ranges.entry((begin.unwrap_or(0), end.unwrap_or(time::MAX))).or_default().push(id);
            }
        }
        Ok(ranges)
    }
}

/// The file of an exported dataset.
struct ExportedFile {
    path: String,
    formatter: String,
    transfer: Option<Transfer>,
    /// The archive, the member and its target, if the file is a member of an archive.
    member: Option<(Location, String, Location)>,
}

/// What is put into the folder of an export.
#[derive(Default)]
struct FolderFiles {
    transfers: Vec<Transfer>,
    /// Members of archives with their targets, by the URI of the archive.
    members: BTreeMap<String, Vec<(String, Location)>>,
}

/// Returns the datastore paths of datasets without extension; rows of the same run are adjacent.
async fn template_paths(repo: &Repo, record: &TypeRecord, rows: &RecordBatch, runs: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(runs.len());
    for part in runs.chunk_by(|a, b| a == b) {
        let rows = rows.slice(all.len(), part.len());
        all.extend(paths(repo, &record.dataset_type, &part[0], &rows, &PendingRecords::new()).await?);
    }
    Ok(all)
}

/// Returns a value as a scalar of the export file.
fn scalar(column: &ReadColumn, array: &ArrayRef, row: usize) -> Scalar {
    if array.is_null(row) {
        return Scalar::Null;
    }
    match column.kind() {
        ColumnType::Text(_) | ColumnType::Uuid => Scalar::Text(array.as_string::<i32>().value(row).to_owned()),
        ColumnType::Int | ColumnType::Small => Scalar::Int(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float => Scalar::Float(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::Bool => Scalar::Bool(array.as_boolean().value(row)),
        ColumnType::Bytes if column.name == "region" => Scalar::Region(array.as_binary::<i32>().value(row).to_vec()),
        ColumnType::Bytes => Scalar::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        ColumnType::Time | ColumnType::UtcTime | ColumnType::Span => {
            Scalar::Time(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
    }
}
