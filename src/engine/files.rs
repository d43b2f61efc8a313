//! Files as tables (`FROM 'x.csv'`): how a file is read is told by the end of its name.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{CatalogProviderList, DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::common::Column;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use percent_encoding::percent_decode_str;

use super::copy::target::NULLS;
use super::relation::READERS;
use super::world::World;
use crate::error::{Error, Kind};

/// Ends of names, and the format by DataFusion's word.
pub const FORMATS: [(&str, &str); 7] = [
    ("csv", "csv"),
    ("tsv", "csv"),
    ("json", "json"),
    ("jsonl", "json"),
    ("ndjson", "json"),
    ("parquet", "parquet"),
    ("arrow", "arrow"),
];

/// So much of a JSON file is looked at to tell whether it is an array.
const HEAD: u64 = 1024;

/// Makes tables of files.
#[derive(Debug)]
struct Files(Arc<World>);

/// Catalogs in which the name of a file is a table too.
pub fn with_files(catalogs: Arc<dyn CatalogProviderList>, world: &Arc<World>) -> Arc<dyn CatalogProviderList> {
    Arc::new(DynamicFileCatalog::new(catalogs, Arc::new(Files(Arc::clone(world)))))
}

/// Whether a name can be meant for a file.
pub fn is_file_name(name: &str) -> bool {
    name.contains(['/', '*']) || FORMATS.iter().chain(&READERS).any(|known| known.0 == end(name))
}

/// The end of a file's name, after the last point, in small letters.
pub fn end(name: &str) -> String {
    name.rsplit_once('.').map_or_else(String::new, |(_, end)| end.to_lowercase())
}

#[async_trait]
impl UrlTableFactory for Files {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        // Functions of our own read the others.
        if READERS.iter().any(|reader| reader.0 == end(name)) || !is_file_name(name) {
            return Ok(None);
        }
        let state = self.0.state()?;
        let url = ListingTableUrl::parse(name)?;
        let store = state.runtime_env().object_store(&url)?;
        let first = url.list_all_files(&state, &store, "").await?.next().await.transpose()?;
        // `World::unknown_table` tells of a file that is not there; the name may be one that is being made.
        let Some(first) = first else { return Ok(None) };
        let found = first.location.as_ref();
        let Some((end, format)) = FORMATS.iter().find(|format| format.0 == end(found)) else {
            let known: Vec<_> = FORMATS.iter().chain(&READERS).map(|format| format.0).collect();
            let said = format!("no table is known in '{name}': names of table files end in {}", known.join(", "));
            return Err(Error::new(Kind::Unsupported, said).into());
        };
        let mut options = HashMap::new();
        if ["csv", "json"].contains(format) {
            // A column is what all its values are, not the first: else later ones become NULL without a word.
            options.insert("format.schema_infer_max_rec".to_owned(), usize::MAX.to_string());
        }
        if *end == "tsv" {
            options.insert("format.delimiter".to_owned(), "\t".to_owned());
        }
        if *format == "json" && is_array(&store, &first).await? {
            options.insert("format.newline_delimited".to_owned(), "false".to_owned());
        }
        let factory = state.get_file_format_factory(format);
        let factory = factory.ok_or_else(|| Error::bug(format!("DataFusion does not know {format}")))?;
        let listing = ListingOptions::new(factory.create(&state, &options)?);
        let config = ListingTableConfig::new(url)
            .with_listing_options(listing.with_file_extension(&found[found.len() - end.len() - 1..]));
        let config = config.infer_partitions_from_path(&state).await?.infer_schema(&state).await?;
        let files = Arc::new(ListingTable::try_new(config)?);
        let parts: Vec<_> = files.options().table_partition_cols.iter().map(|(name, _)| name.clone()).collect();
        if parts.is_empty() {
            return Ok(Some(files));
        }
        let found: Vec<ObjectMeta> =
            files.table_paths()[0].list_all_files(&state, &store, "").await?.try_collect().await?;
        Ok(Some(Arc::new(parted(files, &parts, &found)?)))
    }
}

/// Files in folders `name=value`, with these values as what all of them are, and without the value of NULL's folder.
fn parted(files: Arc<ListingTable>, parts: &[String], found: &[ObjectMeta]) -> Result<ViewTable> {
    let schema = files.schema();
    let columns = schema.fields().iter().map(|field| {
        let column = Expr::Column(Column::from_name(field.name()));
        if !parts.contains(field.name()) {
            return Ok(column);
        }
        let value = nullif(cast(column, DataType::Utf8), lit(NULLS));
        Ok(cast(value, type_of(&values(field.name(), found))?).alias(field.name()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let plan = LogicalPlanBuilder::scan("files", provider_as_source(files), None)?.project(columns)?.build()?;
    Ok(ViewTable::new(plan, None))
}

/// The values of folders `name=value`, but for NULL's.
fn values(name: &str, found: &[ObjectMeta]) -> BTreeSet<String> {
    let folders = found.iter().flat_map(|file| file.location.as_ref().split('/'));
    let values = folders.filter_map(|folder| folder.strip_prefix(name)?.strip_prefix('='));
    let values = values.map(|value| percent_decode_str(value).decode_utf8_lossy().into_owned());
    values.filter(|value| value != NULLS).collect()
}

/// The first type that says all values as they are written.
fn type_of(values: &BTreeSet<String>) -> Result<DataType> {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(values));
    for kind in [DataType::Int64, DataType::Float64, DataType::Boolean, DataType::Date32] {
        if compute::cast(&compute::cast(&texts, &kind)?, &DataType::Utf8)?.as_ref() == texts.as_ref()
            && !texts.is_empty()
        {
            return Ok(kind);
        }
    }
    Ok(DataType::Utf8)
}

/// Whether a JSON file is one array, not a value a line.
async fn is_array(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<bool> {
    if file.size == 0 {
        return Ok(false);
    }
    let head = store.get_range(&file.location, 0..HEAD.min(file.size)).await?;
    Ok(head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}
