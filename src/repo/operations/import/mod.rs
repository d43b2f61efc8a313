//! `import`: imports an export file of another repository.

mod datasets;
mod migrate;
pub(super) mod plan;
mod records;

use async_trait::async_trait;

use self::plan::ImportPlan;
pub(crate) use self::records::OnDifference;
use crate::error::{Error, Result};
use crate::format::export_item::Item;
use crate::format::export_yaml::Export;
use crate::repo::changeset::{Operation, Plan, PlanContext};
use crate::store::transfer_mode::TransferMode;
use crate::store::{FileType, Location};

/// Imports an export file.
#[derive(Debug)]
pub(crate) struct Import {
    /// Folder that relative paths refer to.
    pub directory: String,
    /// Path of the export file: relative to the folder, else to the working directory.
    pub export_file: String,
    /// How files are transferred into the datastore.
    pub transfer: TransferMode,
    /// Dimension elements whose records are skipped.
    pub skip_dimensions: Vec<String>,
    /// True to record file sizes.
    pub track_file_attrs: bool,
    /// True to import datasets without their files.
    pub without_datastore: bool,
    /// What happens to existing dimension records that have other values.
    pub on_difference: OnDifference,
}

#[async_trait]
impl Operation for Import {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let repo = context.handle.repo().await?;
        for element in &self.skip_dimensions {
            repo.registry.universe.element(element)?;
        }
        let file = self.file().await?;
        let opened = file.open().await.map_err(|e| e.context("export file"))?;
        let mut draft = ImportPlan::new(self, &repo).await?;
        let input = format!("export file '{}'", file.display());
        context.progress.begin("import", None);
        let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
        let name = file.display();
        let reading = tokio::task::spawn_blocking(move || read(&name, opened, &sender));
        while let Some(items) = receiver.recv().await {
            let count = items.len() as u64;
            for item in items {
                draft.take(item, &input, Some(&file)).await?;
            }
            context.progress.tick(count, 0);
        }
        reading.await.map_err(|e| Error::bug(format!("reading an export file: {e}")))??;
        draft.check_ids(&file).await?;
        let mut set = draft.finish().await.map_err(|e| e.context(&input))?;
        set.set_input(input);
        Ok(set.into_plan())
    }
}

impl Import {
    /// Returns the location of the export file: in the folder if it exists, else in the working directory.
    async fn file(&self) -> Result<Location> {
        let given = Location::parse(&self.export_file)?;
        if self.export_file.contains("://") || self.export_file.starts_with('/') {
            return Ok(given);
        }
        let inside = Location::parse(&self.directory)?.child(&self.export_file);
        let elsewhere = inside.stat().await? == FileType::Missing && given.stat().await? != FileType::Missing;
        Ok(if elsewhere { given } else { inside })
    }
}

/// Number of items that are sent to the planner at once.
const PORTION: usize = 512;

/// Reads an export file until its end, or until the receiver is closed.
fn read(name: &str, file: std::fs::File, sender: &tokio::sync::mpsc::Sender<Vec<Item>>) -> Result<()> {
    let named = |e: Error| e.context(format_args!("export file '{name}'"));
    let mut export = Export::new(file);
    let mut portion = Vec::with_capacity(PORTION);
    while let Some(item) = export.next_item().map_err(named)? {
        portion.push(item);
        if portion.len() == PORTION && sender.blocking_send(std::mem::take(&mut portion)).is_err() {
            return Ok(());
        }
    }
    // The receiver may have been closed by an error.
    let _ = sender.blocking_send(portion);
    Ok(())
}
