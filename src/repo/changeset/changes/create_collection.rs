//! Creation of a collection.

use async_trait::async_trait;

use crate::error::Result;
use crate::model::collection::CollectionType;
use crate::registry::collections;
use crate::repo::changeset::change::{RowChange, WriteContext};
use crate::repo::changeset::report::{ReportRow, Status};

/// Creates a collection.
#[derive(Debug)]
pub(crate) struct CreateCollection {
    /// Collection name.
    pub name: String,
    /// Collection type.
    pub kind: CollectionType,
    /// Documentation.
    pub doc: Option<String>,
}

#[async_trait]
impl RowChange for CreateCollection {
    fn describe(&self) -> ReportRow {
        ReportRow::new("collection", Status::Inserted, format!("{} {}", self.kind, self.name), 1)
    }

    async fn apply(&self, context: &mut WriteContext<'_>) -> Result<u64> {
        collections::register(context.tx, &self.name, self.kind, self.doc.as_deref()).await.map(u64::from)
    }
}
