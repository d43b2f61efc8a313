//! `ingest_files`: ingests files listed in a table as datasets of one type.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use async_trait::async_trait;
use futures::TryStreamExt;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::model::dataset::{IdMode, dataset_id};
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets::{self, ExistingDataset};
use crate::registry::db::rows::{record_batch, strict_cast};
use crate::registry::schema::arrow_type;
use crate::repo::Repo;
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::ingest::file_paths::PendingRecords;
use crate::repo::ingest::incoming::{IncomingDatasets, IncomingFile, IngestChanges, IngestOptions};
use crate::repo::operations::collections;
use crate::sphere::skypix::is_pixel;
use crate::store::Location;

/// Ingests files. The first column of the rows is the file, the others are the data ID.
#[derive(Debug)]
pub(crate) struct IngestFiles {
    /// Dataset type, which must exist.
    pub dataset_type: String,
    /// RUN collection, which is created if it does not exist.
    pub run: String,
    /// Folder that relative file names refer to; by default the working directory.
    pub prefix: Option<String>,
    /// Data ID values of all files, `dimension=value`; they take precedence over columns.
    pub data_id: Vec<String>,
    /// Formatter class; by default the formatter of the dataset type.
    pub formatter: Option<String>,
    /// How dataset ids are generated.
    pub ids: IdMode,
    /// Options of the ingest.
    pub options: IngestOptions,
}

#[async_trait]
impl Operation for IngestFiles {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        let record = dataset_types::get(&repo.registry, &self.dataset_type).await?;
        let formatter: Arc<str> = match &self.formatter {
            Some(name) => name.as_str().into(),
            None => repo.formatter(&record.dataset_type)?.into(),
        };
        let shared = self.shared(&repo)?;
        let mut set = ChangeSet::default();
        set.extend(collections::ensure_collection(&repo, &self.run, CollectionType::Run).await?);
        let mut given =
            context.rows.ok_or_else(|| Error::invalid("rows are required: give a subquery in parentheses"))?;
        let mut changes = IngestChanges::default();
        let mut seen: HashMap<String, String> = HashMap::new();
        context.progress.begin("ingest_files", None);
        while let Some(rows) = given.try_next().await? {
            if rows.num_rows() == 0 {
                continue;
            }
            context.progress.tick(rows.num_rows() as u64, 0);
            let files = self.files(&rows)?;
            let data_ids = self.data_ids(&record, &rows, &shared)?;
            let keys = datasets::keys(&record, &data_ids)?;
            for (key, file) in keys.iter().zip(&files) {
                if let Some(first) = seen.insert(key.clone(), file.display()) {
                    let message = format!("files '{first}' and '{}' have the same data ID", file.display());
                    return Err(Error::new(Kind::Conflict, message));
                }
            }
            let there = datasets::existing_datasets(&repo.registry, &record, &self.run, &data_ids).await?;
            let rows = self.with_ids(&record, &data_ids, &keys, &there)?;
            let files = files.into_iter();
            let files =
                files.map(|location| IncomingFile { location, formatter: Arc::clone(&formatter), recorded: None });
            let files = files.collect();
            let incoming =
                IncomingDatasets { dataset_type: &record.dataset_type, run: &self.run, rows, files, keys, there };
            incoming.plan(&repo, self.options, &PendingRecords::new(), &mut changes).await?;
        }
        set.record("dataset", Status::Unchanged, &self.dataset_type, changes.unchanged);
        set.extend(changes.into_changes(&self.dataset_type, &self.run));
        Ok(set.into_plan())
    }
}

impl IngestFiles {
    /// Parses the data ID values that all files share.
    fn shared(&self, repo: &Repo) -> Result<HashMap<String, String>> {
        let mut shared = HashMap::new();
        for part in &self.data_id {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                Error::invalid(format!("argument 'data_id' of ingest_files takes dimension=value, not '{part}'"))
            })?;
            repo.registry.universe.element(name)?;
            shared.insert(name.to_owned(), value.to_owned());
        }
        Ok(shared)
    }

    /// Returns the files, which the first column names.
    fn files(&self, rows: &RecordBatch) -> Result<Vec<Location>> {
        let names = cast(rows.column(0), &DataType::Utf8)?;
        let prefix = self.prefix.as_deref().map(Location::parse).transpose()?;
        let name = |name: Option<&str>| {
            let name = name.ok_or_else(|| Error::invalid("the first column, which names the files, has a NULL"))?;
            match &prefix {
                Some(prefix) if !name.contains("://") && !name.starts_with('/') => Ok(prefix.child(name)),
                _ => Location::parse(name),
            }
        };
        names.as_string::<i32>().iter().map(name).collect()
    }

    /// Returns the dimensions of the dataset type, from shared values and columns.
    fn data_ids(
        &self,
        record: &TypeRecord,
        rows: &RecordBatch,
        shared: &HashMap<String, String>,
    ) -> Result<RecordBatch> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for dimension in &record.dataset_type.dimensions {
            let kind = record.tags.column(dimension).map(|c| arrow_type(c.kind)).unwrap_or(DataType::Utf8);
            let array: ArrayRef = match (shared.get(dimension), rows.schema_ref().index_of(dimension)) {
                (Some(value), _) => {
                    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows.num_rows())))
                }
                (None, Ok(column)) if column > 0 => Arc::clone(rows.column(column)),
                _ => {
                    let message = format!(
                        "the files need a column '{dimension}' after the first one, or data_id => '{dimension}=…'"
                    );
                    return Err(Error::invalid(message));
                }
            };
            let array = strict_cast(&array, &kind).map_err(|e| e.context(format_args!("column '{dimension}'")))?;
            if array.null_count() > 0 {
                return Err(Error::invalid(format!("column '{dimension}' has a NULL")));
            }
            if let Some(values) = array.as_primitive_opt::<Int64Type>()
                && let Some(bad) = values.values().iter().find(|index| !is_pixel(dimension, **index))
            {
                return Err(Error::invalid(format!("{bad} is not a pixel of '{dimension}'")));
            }
            fields.push(Field::new(dimension, array.data_type().clone(), true));
            columns.push(array);
        }
        // The row count is explicit because a type may have no dimensions.
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    /// Adds `dataset_id` to data IDs; existing datasets keep their ids.
    fn with_ids(
        &self,
        record: &TypeRecord,
        data_ids: &RecordBatch,
        keys: &[String],
        there: &HashMap<String, ExistingDataset>,
    ) -> Result<RecordBatch> {
        let texts = data_ids.columns().iter().map(|c| cast(c, &DataType::Utf8)).collect::<Result<Vec<_>, _>>()?;
        let dimensions = &record.dataset_type.dimensions;
        let id = |row: usize| {
            let value = |array: &ArrayRef| array.as_string::<i32>().value(row).to_owned();
            let data_id: Vec<_> = dimensions.iter().map(String::as_str).zip(texts.iter().map(value)).collect();
            match self.ids {
                IdMode::Unique => there.get(&keys[row]).map_or_else(|| Uuid::new_v4().to_string(), |p| p.id.clone()),
                IdMode::DataIdType => dataset_id(&self.dataset_type, None, &data_id).to_string(),
                IdMode::DataIdTypeRun => dataset_id(&self.dataset_type, Some(&self.run), &data_id).to_string(),
            }
        };
        let ids: StringArray = (0..keys.len()).map(|row| Some(id(row))).collect();
        let rest = data_ids.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(data_ids.columns().to_vec());
        record_batch(std::iter::once(("dataset_id", Arc::new(ids) as ArrayRef)).chain(rest))
    }
}
