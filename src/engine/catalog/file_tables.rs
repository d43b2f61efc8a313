//! Files as tables (`FROM 'x.csv'`); the file name extension determines the format.

mod arrow;
mod csv;
mod json;
mod uuids;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::{CatalogProviderList, DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::listing::helpers::parse_partitions_for_path;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit};
use futures::TryStreamExt;
use object_store::ObjectMeta;

use crate::engine::catalog::repository::RepositoryCatalog;
use crate::engine::session::copy_target::HIVE_NULL;
use crate::engine::sql::file_name::{FORMATS, READERS, extension, is_file_name};
use crate::error::{Error, Kind};

/// Creates tables from file names and URLs.
#[derive(Debug)]
struct Files(Arc<RepositoryCatalog>);

/// Extends catalogs so that file names resolve to tables.
pub(crate) fn with_files(
    catalogs: Arc<dyn CatalogProviderList>,
    repository: &Arc<RepositoryCatalog>,
) -> Arc<dyn CatalogProviderList> {
    Arc::new(DynamicFileCatalog::new(catalogs, Arc::new(Files(Arc::clone(repository)))))
}

fn end_of(file: &ObjectMeta) -> String {
    extension(file.location.as_ref())
}

#[async_trait]
impl UrlTableFactory for Files {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        // Formats of `READERS` are planned as function calls.
        if READERS.iter().any(|reader| reader.0 == extension(name)) || !is_file_name(name) {
            return Ok(None);
        }
        let state = self.0.state()?;
        let url = ListingTableUrl::parse(name)?;
        let store = state.runtime_env().object_store(&url)?;
        let all: Vec<ObjectMeta> = match url.get_glob() {
            None if url.is_collection() => store.list(Some(url.prefix())).try_collect().await?,
            _ => url.list_all_files(&state, &store, "").await?.try_collect().await?,
        };
        // `RepositoryCatalog::unknown_table` reports a missing file; the name may also be that of a new table.
        if all.is_empty() {
            return Ok(None);
        }
        let format = |file: &ObjectMeta| FORMATS.iter().find(|format| format.0 == end_of(file));
        let first = all.iter().filter(|file| !is_hidden(&url, file)).find_map(|file| Some((file, format(file)?)));
        let Some((first, (end, format))) = first else {
            let known = FORMATS.map(|format| format.0).join(", ");
            let message = format!("'{name}' does not contain a file with a supported extension: {known}");
            return Err(Error::new(Kind::Unsupported, message).into());
        };
        let found = first.location.as_ref();
        let mut options = HashMap::new();
        if ["csv", "json"].contains(format) {
            // Types are inferred from all rows: otherwise later values of another type silently become NULL.
            options.insert("format.schema_infer_max_rec".to_owned(), usize::MAX.to_string());
        }
        if *end == "tsv" {
            options.insert("format.delimiter".to_owned(), "\t".to_owned());
        }
        let is_array = *format == "json" && json::is_array(&store, first).await?;
        if is_array {
            options.insert("format.newline_delimited".to_owned(), "false".to_owned());
        }
        let mut schema = None;
        let read: Vec<_> = all.iter().filter(|file| end_of(file) == *end).collect();
        match *format {
            "arrow" => {
                for file in &read {
                    arrow::check(&store, file).await?;
                }
            }
            "json" => {
                for file in &read {
                    json::check(&store, file, is_array).await?;
                }
            }
            "csv" => schema = csv::renamed(&store, &read, if *end == "tsv" { b'\t' } else { b',' }).await?,
            _ => {}
        }
        let factory = state.get_file_format_factory(format);
        let factory = factory.ok_or_else(|| Error::bug(format!("DataFusion does not know {format}")))?;
        let listing = ListingOptions::new(factory.create(&state, &options)?);
        let listing = listing.with_file_extension(&found[found.len() - end.len() - 1..]);
        let config = ListingTableConfig::new(url.clone()).with_listing_options(listing);
        let config = config.infer_partitions_from_path(&state).await?;
        let config = match schema {
            Some(schema) => config.with_schema(schema),
            None => config.infer_schema(&state).await?,
        };
        let files = Arc::new(ListingTable::try_new(config)?);
        let uuids = uuids::columns(&store, first, *format == "parquet", &files.schema()).await?;
        let parts = HivePartitions::of(url.clone(), files.options());
        if let Some((file, why)) = all.iter().find_map(|file| Some((file, parts.mismatch(file)?))) {
            let message = format!("'{}' {why} the others in '{name}'", file.location);
            return Err(Error::new(Kind::Unsupported, message).into());
        }
        if parts.names.is_empty() && uuids.is_empty() {
            return Ok(Some(files));
        }
        Ok(Some(Arc::new(parts.typed(name, files, &all, &uuids)?)))
    }
}

/// The Hive partitions of a table: files in folders `name=value`.
struct HivePartitions {
    url: ListingTableUrl,
    /// The suffix of the names of files that are read.
    end: String,
    names: Vec<String>,
}

impl HivePartitions {
    fn of(url: ListingTableUrl, options: &ListingOptions) -> Self {
        let names = options.table_partition_cols.iter().map(|(name, _)| name.clone()).collect();
        Self { url, end: options.file_extension.clone(), names }
    }

    /// The partition values of a file; `None` if the file is not read.
    fn values(&self, file: &ObjectMeta) -> Option<Vec<String>> {
        let is_read = file.location.as_ref().ends_with(&self.end) && self.url.contains(&file.location, true);
        let values = parse_partitions_for_path(&self.url, &file.location, self.names.iter().map(String::as_str))?;
        (is_read && values.len() == self.names.len()).then(|| values.into_iter().map(String::from).collect())
    }

    /// Why a file does not fit the table: it is hidden but would be read, or a table file that would not be read.
    fn mismatch(&self, file: &ObjectMeta) -> Option<&'static str> {
        let end = extension(file.location.as_ref());
        let is_table = FORMATS.iter().chain(&READERS).any(|format| format.0 == end);
        match (self.values(file).is_some(), is_hidden(&self.url, file)) {
            (true, true) => Some("is hidden, but would be read with"),
            (false, false) if is_table => Some("differs in folder or format, and would not be read with"),
            _ => None,
        }
    }

    /// A view of the files with typed partition columns, NULL for [`HIVE_NULL`], and UUIDs as strings.
    fn typed(
        &self,
        name: &str,
        files: Arc<ListingTable>,
        all: &[ObjectMeta],
        uuids: &BTreeSet<String>,
    ) -> Result<ViewTable> {
        let uuid_text = uuids::text();
        let schema = files.schema();
        let values: Vec<_> = all.iter().filter_map(|file| self.values(file)).collect();
        let columns = schema.fields().iter().map(|field| {
            let column = Expr::Column(Column::from_name(field.name()));
            if uuids.contains(field.name()) {
                return Ok(uuid_text.call(vec![column]).alias(field.name()));
            }
            let Some(i) = self.names.iter().position(|part| part == field.name()) else { return Ok(column) };
            let known = values.iter().map(|values| values[i].as_str()).filter(|value| *value != HIVE_NULL);
            let value = nullif(cast(column, DataType::Utf8), lit(HIVE_NULL));
            Ok(cast(value, type_of(&known.collect())?).alias(field.name()))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let scan = LogicalPlanBuilder::scan(TableReference::bare(name), provider_as_source(files), None)?;
        Ok(ViewTable::new(scan.project(columns)?.build()?, None))
    }
}

/// Whether the name of a file, or of a folder below the table's folder, begins with `.` or `_`.
fn is_hidden(url: &ListingTableUrl, file: &ObjectMeta) -> bool {
    // The name of a partition column may begin with an underscore.
    let hidden = |name: &str| name.starts_with('.') || name.starts_with('_') && !name.contains('=');
    url.is_collection() && url.strip_prefix(&file.location).is_some_and(|mut names| names.any(hidden))
}

/// The first type in which all values keep their text. Values without a digit, such as NaN, are not numbers.
fn type_of(values: &BTreeSet<&str>) -> Result<DataType> {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(values));
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let has_words = values.iter().any(|value| !value.contains(|c: char| c.is_ascii_digit()));
    let mut kinds = vec![DataType::Boolean, DataType::Date32, time];
    if !has_words {
        kinds.splice(..0, [DataType::Int64, DataType::Float64]);
    }
    for kind in kinds {
        let same = compute::cast(&compute::cast(&texts, &kind)?, &DataType::Utf8)?;
        if same.as_ref() == texts.as_ref() && !values.is_empty() {
            return Ok(kind);
        }
    }
    Ok(DataType::Utf8)
}
