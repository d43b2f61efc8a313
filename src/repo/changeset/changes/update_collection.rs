//! Name and documentation of a collection.

use async_trait::async_trait;

use crate::error::Result;
use crate::registry::collections;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Changes the documentation of a collection.
#[derive(Debug)]
pub(crate) struct SetDoc {
    /// Collection name.
    pub name: String,
    /// Documentation; `None` for none.
    pub doc: Option<String>,
}

/// Changes the name of a collection, which stays in its chains.
#[derive(Debug)]
pub(crate) struct RenameCollection {
    /// Collection name.
    pub name: String,
    /// New name.
    pub to: String,
}

#[async_trait]
impl RowChange for SetDoc {
    fn describe(&self) -> ReportRow {
        ReportRow::new("collection", Status::Updated, &self.name, 1)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        collections::set_doc(context.tx, &self.name, self.doc.as_deref()).await
    }
}

#[async_trait]
impl RowChange for RenameCollection {
    fn describe(&self) -> ReportRow {
        ReportRow::new("collection", Status::Updated, format!("{} to {}", self.name, self.to), 1)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        collections::rename(context.tx, &self.name, &self.to).await
    }
}
