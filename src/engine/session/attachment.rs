//! ATTACH and DETACH: other repositories that a session reads.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;

use super::{Answer, Session, one};
use crate::engine::catalog::repositories::Member;
use crate::engine::catalog::repository::RepositoryCatalog;
use crate::engine::sql::attach::Attachment;
use crate::error::{Error, Kind, Result};
use crate::repo::RepositoryHandle;

impl Session {
    /// Attaches a repository, which is only read, or detaches it.
    pub(super) async fn change_attached(&self, attachment: Attachment) -> Result<Answer> {
        match attachment {
            Attachment::Attach { location, name } => self.attach(&location, &name).await?,
            Attachment::Detach { name } => {
                let member = self.repositories.detach(&name)?;
                self.repository.handle.detach(&name);
                member.repository.handle.close().await;
            }
        }
        Ok(one(RecordBatch::new_empty(Arc::new(Schema::empty()))))
    }

    async fn attach(&self, location: &str, name: &str) -> Result<()> {
        let handle = Arc::new(RepositoryHandle::new(location, false));
        let named = |e: Error| e.context(format_args!("ATTACH '{location}'"));
        handle.repo().await.map_err(named)?;
        let repository = Arc::new(RepositoryCatalog::new(Arc::clone(&handle), Some(name)));
        repository.refresh().await.map_err(named)?;
        let state = self.context.state_weak_ref();
        repository.set_session_state(move || state.upgrade().map(|s| s.read().clone()));
        self.repositories.attach(name, Member::new(repository)).map_err(|e| match e.kind() {
            Kind::Exists => e.with_subject(name),
            _ => e,
        })?;
        self.repository.handle.attach(name, handle);
        Ok(())
    }
}
