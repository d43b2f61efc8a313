//! Object stores for DataFusion; those of servers are created on demand from the URL.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use url::Url;

use crate::store::schemes;

/// DataFusion's object stores, and those of this crate's schemes.
#[derive(Debug, Default)]
pub(crate) struct ButlerObjectStoreRegistry(DefaultObjectStoreRegistry);

impl ObjectStoreRegistry for ButlerObjectStoreRegistry {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.0.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match schemes::open(url) {
            Some(store) => Ok(store?.object_store()),
            None => self.0.get_store(url),
        }
    }
}
