//! Registration of a dataset type and creation of its tables.

use crate::error::Result;
use crate::model::dataset::DatasetType;
use crate::registry::dataset_types::{self, Registered};
use crate::repo::Repo;
use crate::repo::changeset::report::{ReportRow, Status};
use crate::repo::changeset::retry::RetryPolicy;

/// Registers a dataset type.
#[derive(Debug)]
pub(crate) struct CreateDatasetType(pub DatasetType);

impl CreateDatasetType {
    pub(in crate::repo::changeset) fn describe(&self) -> ReportRow {
        ReportRow::new("dataset_type", Status::Inserted, &self.0.name, 1)
    }

    /// Registers the type, with retries, and adds what was created to `registered`. Returns true if the type is new.
    pub(in crate::repo::changeset) async fn apply(
        &self,
        repo: &Repo,
        registered: &mut Vec<Registered>,
    ) -> Result<bool> {
        let mut policy = RetryPolicy::default();
        let mut made = Registered::new(&self.0.name);
        let done = loop {
            match dataset_types::register(&repo.registry, &self.0, &mut made).await {
                Err(error) if policy.should_retry(&error).await => {}
                done => break done,
            }
        };
        registered.push(made);
        done
    }
}
