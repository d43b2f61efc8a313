//! Where a search looks: collections in their order.

use crate::error::Result;
use crate::model::collection::{CollectionType, Collections};
use crate::registry::collections::load;
use crate::registry::dataset_queries::SearchCollection;
use crate::repo::Repo;

/// The collections these names and globs search, in order.
///
/// # Errors
/// An exact name that does not exist, or what the database says.
pub async fn ranks(repo: &Repo, collections: &[String]) -> Result<Vec<SearchCollection>> {
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

/// The collections of the registry.
///
/// # Errors
/// What the database says.
pub async fn collections(repo: &Repo) -> Result<Collections> {
    load(&repo.registry).await
}
