//! `export`: writes datasets to an export file, with all records that another repository needs to import them.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::collections;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::WriteExport;
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::selection::{collections_of, dimension_records, select_datasets};
use crate::store::Location;
use crate::store::transfer_mode::TransferMode;

/// Exports datasets.
#[derive(Debug)]
pub(crate) struct Export {
    /// Folder of the export file and of transferred files; created if it does not exist.
    pub directory: String,
    /// Name of the export file.
    pub export_file: String,
    /// Collections to export with all their datasets; chains are exported with the collections they search.
    pub collections: Vec<String>,
    /// How files are transferred into the folder; `None` keeps them in place, and the export file has their datastore
    /// paths.
    pub transfer: Option<TransferMode>,
}

#[async_trait]
impl Operation for Export {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        repo.registry.check_files()?;
        let known = collections::load(&repo.registry).await?;
        let ids = match context.rows {
            Some(rows) => read_texts(Some(rows), "dataset_id").await?,
            None => Vec::new(),
        };
        let datasets = select_datasets(&repo, &ids, &self.collections).await?;
        let collections = collections_of(&known, &datasets, &self.collections)?;
        let records = dimension_records(&repo, &datasets, false).await?;
        let (directory, export_file) = (Location::parse(&self.directory)?, self.export_file.clone());
        let transfer = self.transfer;
        let change = WriteExport { repo, directory, export_file, transfer, datasets, collections, records };
        let mut set = ChangeSet::default();
        set.push(Change::Standalone(Box::new(change)));
        Ok(set.into_plan())
    }
}
