//! Files as tables (`FROM 'x.csv'`): how a file is read is told by the end of its name.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProviderList, DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::Result;
use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

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

/// The end of a file's name, after the last point.
pub fn end(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, end)| end)
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
        let config = ListingTableConfig::new(url).with_listing_options(listing.with_file_extension(format!(".{end}")));
        let config = config.infer_partitions_from_path(&state).await?.infer_schema(&state).await?;
        Ok(Some(Arc::new(ListingTable::try_new(config)?)))
    }
}

/// Whether a JSON file is one array, not a value a line.
async fn is_array(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<bool> {
    if file.size == 0 {
        return Ok(false);
    }
    let head = store.get_range(&file.location, 0..HEAD.min(file.size)).await?;
    Ok(head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}
