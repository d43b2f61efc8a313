//! The table of `check_rucio`.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use futures::StreamExt;

use super::columns::{TEXT, schema, texts};
use crate::engine::catalog::rucio_tables::{RucioRows, RucioTable, Wanted};
use crate::engine::functions::args::{ArgType, Args};
use crate::engine::functions::definition::{FunctionDef, SearchContext};
use crate::error::Result;
use crate::registry::db::Batches;
use crate::registry::db::rows::record_batch;
use crate::repo::RepositoryHandle;
use crate::repo::check_rucio::CheckRucio;
use crate::rucio::Client;
use crate::rucio::did::Did;
use crate::rucio::replicas::UriMapping;

pub(super) fn function() -> FunctionDef {
    FunctionDef::search(
        "check_rucio",
        "Compares the registry, a DID of Rucio, its replicas, and the files at their storage elements.",
        table,
    )
    .arg("did", ArgType::Text, "a data identifier, `scope:name`")
    .option("rse_expression", ArgType::Text, "selects the storage elements; default all")
    .option("collections", ArgType::TextList, "collections whose datasets should be in the DID; default none")
    .option("prefix", ArgType::Text, "replaces the start of the URIs, `from=to`")
    .option("files", ArgType::Bool, "list the folders of the files; default true")
    .notes(
        "One row for each disagreement; columns: `state`, `name`, `dataset_type`, `dataset_id`, `rse`, `uri`, `detail`. \
         The states are `not_registered` (a dataset of the collections is not in Rucio), `not_ingested` (a file of Rucio \
         is not in the registry), `other_dataset` (its path belongs to another dataset), `size_mismatch` (registry and \
         Rucio differ), `not_replicated` and `transferring` (no replica, or not yet), `lost` (Rucio calls a file \
         available that does not exist), `damaged` (it has another size) \
         and `not_checked` (its store is not supported here).",
    )
    .example("SELECT state, count(*) FROM check_rucio('raw:Dataset/LSSTComCam/raw/20241108', 'IN2P3_RAW_DISK') GROUP BY 1")
}

fn table(args: &Args, context: &SearchContext<'_>) -> Result<Arc<dyn TableProvider>> {
    let check = CheckRucio {
        did: Did::parse(&args.required("did")?)?,
        rse_expression: args.text("rse_expression"),
        collections: args.list("collections").unwrap_or_default(),
        prefix: args.text("prefix").map(|text| UriMapping::parse(&text)).transpose()?,
        files: args.bool("files", true),
    };
    Ok(Arc::new(RucioTable(Arc::new(Check { handle: Arc::clone(context.handle), check }))))
}

#[derive(Debug)]
struct Check {
    handle: Arc<RepositoryHandle>,
    check: CheckRucio,
}

#[async_trait]
impl RucioRows for Check {
    fn schema(&self) -> SchemaRef {
        schema(&["state", "name", "dataset_type", "dataset_id", "rse", "uri", "detail"].map(|name| (name, TEXT)))
    }

    async fn rows(&self, client: Arc<Client>, _: Wanted) -> Result<Batches> {
        let rows = self.check.check(&self.handle, client).await?;
        let batch = record_batch([
            ("state", texts(rows.iter().map(|row| row.state))),
            ("name", texts(rows.iter().map(|row| row.name.as_deref()))),
            ("dataset_type", texts(rows.iter().map(|row| row.dataset_type.as_deref()))),
            ("dataset_id", texts(rows.iter().map(|row| row.dataset_id.as_deref()))),
            ("rse", texts(rows.iter().map(|row| row.rse.as_deref()))),
            ("uri", texts(rows.iter().map(|row| row.uri.as_deref()))),
            ("detail", texts(rows.iter().map(|row| row.detail.as_deref()))),
        ]);
        Ok(futures::stream::iter([batch]).boxed())
    }
}
