//! Collections that a search visits.

use crate::error::Result;
use crate::model::collection::{CollectionType, Collections};
use crate::registry::collections::load;
use crate::registry::dataset_queries::SearchCollection;
use crate::repo::Repo;

/// Returns the collections that names and globs refer to, in search order.
///
/// # Errors
/// `Kind::NotFound` for a name that does not exist; database errors.
pub(crate) async fn ranks(repo: &Repo, collections: &[String]) -> Result<Vec<SearchCollection>> {
    let all = load(&repo.registry).await?;
    let found = all.flatten(collections)?.into_iter().enumerate();
    Ok(found
        .map(|(rank, c)| SearchCollection {
            rank,
            name: c.name.clone(),
            calibration: c.kind == CollectionType::Calibration,
        })
        .collect())
}

/// Returns all collections of the registry.
///
/// # Errors
/// Database errors.
pub(crate) async fn collections(repo: &Repo) -> Result<Collections> {
    load(&repo.registry).await
}
