//! `export`: writes datasets to an export file, with all records that another repository needs to import them.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::collection::{Collection, CollectionType, Collections};
use crate::registry::collections;
use crate::registry::string_values;
use crate::repo::changeset::change::Change;
use crate::repo::changeset::changes::{SelectedDatasets, WriteExport};
use crate::repo::changeset::input_rows::read_texts;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::selection::{dimension_records, select_datasets};
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
        let collections = self.chosen(&known, &datasets)?;
        let records = dimension_records(&repo, &datasets).await?;
        let (directory, export_file) = (Location::parse(&self.directory)?, self.export_file.clone());
        let transfer = self.transfer;
        let change = WriteExport { repo, directory, export_file, transfer, datasets, collections, records };
        let mut set = ChangeSet::default();
        set.push(Change::Standalone(Box::new(change)));
        Ok(set.into_plan())
    }
}

impl Export {
    /// Returns the collections to export: the runs of the datasets and the requested collections, chains after their
    /// children.
    fn chosen(&self, known: &Collections, selected: &[SelectedDatasets]) -> Result<Vec<Collection>> {
        let mut names = BTreeSet::new();
        for one in selected {
            for batch in one.rows.batches()? {
                let batch = batch?;
                names.extend(string_values(&batch, batch.num_columns() - 3));
            }
        }
        let mut chains: Vec<&Collection> = Vec::new();
        for top in known.select(&self.collections)? {
            // A chain is written after its children: the depth-first order, reversed.
            for line in known.tree(top).iter().rev() {
                match line.collection.kind {
                    CollectionType::Chained if !chains.iter().any(|c| c.id == line.collection.id) => {
                        chains.push(line.collection);
                    }
                    CollectionType::Chained => {}
                    _ => drop(names.insert(line.collection.name.clone())),
                }
            }
        }
        let plain = names.iter().map(|name| known.get(name)).collect::<Result<Vec<_>>>()?;
        Ok(plain.into_iter().chain(chains).cloned().collect())
    }
}
