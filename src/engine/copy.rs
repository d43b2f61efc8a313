//! What COPY must not do: write into the repository, which only verbs change, or columns that a file holds once, or half
//! a file in the place of a whole one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use datafusion::arrow::datatypes::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::error::{Error, Result};
use crate::repo::{Access, Repo};
use crate::store::{Place, local_path};

/// Looks at each COPY of a plan.
///
/// # Errors
/// Such a COPY.
pub async fn check(plan: &LogicalPlan, access: &Access) -> Result<()> {
    let mut copies = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::Copy(copy) = node {
            copies.push(copy.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    for copy in copies {
        if ["json", "parquet"].contains(&copy.file_type.get_ext().trim_start_matches('.')) {
            check_names(copy.input.schema().inner())?;
        }
        let target = ListingTableUrl::parse(&copy.output_url)?;
        let Ok(repo) = access.repo().await else { continue };
        if is_inside(&repo, target.as_str()) {
            return Err(Error::invalid(format!("'{}' lies in the repository, which verbs change", copy.output_url)));
        }
    }
    Ok(())
}

/// Refuses columns of one name, where a file has room for one of them.
///
/// # Errors
/// The name that comes twice.
pub fn check_names(schema: &Schema) -> Result<()> {
    let mut seen = HashSet::new();
    match schema.fields().iter().find(|field| !seen.insert(field.name())) {
        Some(twice) => Err(Error::invalid(format!("two columns have the name '{0}'; AS gives another", twice.name()))),
        None => Ok(()),
    }
}

/// A COPY to one local file: what it writes takes that place when it is whole.
pub struct Beside {
    partial: PathBuf,
    target: PathBuf,
}

impl Beside {
    /// Lets a plan that copies to one local file write beside it.
    pub fn plan(plan: &mut LogicalPlan) -> Option<Self> {
        let LogicalPlan::Copy(copy) = plan else { return None };
        let target = real(&local_path(&copy.output_url)?);
        let is_file = target.is_file() || !target.exists();
        let is_single = copy.partition_by.is_empty() && !copy.output_url.ends_with('/') && target.extension().is_some();
        let name = target.file_name()?.to_str()?;
        let partial = target.with_file_name(format!(".{}-{name}", std::process::id()));
        let url = partial.to_str()?.to_owned();
        if !is_file || !is_single || url.contains(['*', '?', '[']) {
            return None;
        }
        copy.output_url = url;
        Some(Self { partial, target })
    }

    /// The rows that COPY answers with, of which the first comes when all is written.
    pub fn placed(self, mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let once = async move {
            let answer = rows.next().await?;
            Some(answer.and_then(|batch| match self.partial.exists() {
                true => std::fs::rename(&self.partial, &self.target).map(|()| batch).map_err(Into::into),
                false => Ok(batch),
            }))
        };
        let rows = futures::stream::once(once).filter_map(std::future::ready);
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It is not there any more if all went well.
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// Whether a URL is of a file of the repository: below its root or its datastore, or its database.
fn is_inside(repo: &Repo, url: &str) -> bool {
    let roots = [repo.root.clone(), repo.datastore_root()];
    if let Some(path) = local_path(url) {
        let path = real(&path);
        let mut own: Vec<PathBuf> = roots.iter().filter_map(|root| local_path(root)).collect();
        own.extend(repo.registry.conn.file());
        return own.iter().any(|own| path.starts_with(real(own)));
    }
    let Ok(target) = Place::parse(url) else { return false };
    let mut folders = roots.iter().filter_map(|root| Place::parse(root).ok());
    folders.any(|folder| target == folder || target.below(&folder).is_some())
}

/// A path without symbolic links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.ancestors().find_map(|known| {
        let rest = path.strip_prefix(known).ok()?;
        let known = known.canonicalize().ok()?;
        // Nothing joined would be a slash at its end.
        Some(if rest.as_os_str().is_empty() { known } else { known.join(rest) })
    });
    real.unwrap_or(path)
}
