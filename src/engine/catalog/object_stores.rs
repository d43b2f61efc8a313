//! Object stores for DataFusion; WebDAV stores are created on demand from the URL.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use url::Url;

use crate::store::WEBDAV_SCHEMES;
use crate::store::webdav::{Client, WebDavStore};

/// DataFusion's object stores, and WebDAV servers.
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
        match WEBDAV_SCHEMES.contains(&url.scheme()) {
            true => Ok(Arc::new(WebDavStore(Client::of(url)?))),
            false => self.0.get_store(url),
        }
    }
}
