//! Where COPY writes: never into the repository, which only verbs change, and never half a file in the place of a whole
//! one.

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::engine::session::delimited;
use crate::error::{Error, Kind, Result};
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::store::{Location, local_path, temporary};

/// The value of the folder for rows without one, as in Hive and DuckDB.
pub const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Looks at each COPY of a plan.
///
/// # Errors
/// One that writes into the repository, or what is no file, or columns that a file holds once.
pub async fn check(plan: &LogicalPlan, handle: &RepositoryHandle, options: &ConfigOptions) -> Result<()> {
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
        let url = &copy.output_url;
        let keeps = || copy.options.get("execution.keep_partition_by_columns").is_some_and(|value| value != "false");
        if !copy.partition_by.is_empty() && (options.execution.keep_partition_by_columns || keeps()) {
            return Err(Error::new(Kind::Unsupported, "keep_partition_by_columns is not understood"));
        }
        if copy.partition_by.len() == copy.input.schema().fields().len() {
            return Err(Error::invalid("one column at least must be in the files, not in PARTITIONED BY"));
        }
        if url.contains(['*', '?', '[']) {
            return Err(Error::invalid(format!("'{url}' is a pattern; the name of what is written has no *, ? or [")));
        }
        check_outside(url, handle).await?;
        if let Some(folder) = local(url)?.as_deref().and_then(Path::parent) {
            temporary::sweep(folder);
        }
        if let Some(path) = local(url)?.filter(|path| path.exists() && !path.is_file()) {
            let first = |entries: std::fs::ReadDir| entries.flatten().find(|entry| !is_left(entry));
            let message = match std::fs::read_dir(&path).map(first) {
                Err(_) => format!("'{url}' is neither a file nor a folder that can be read"),
                Ok(None) => continue,
                Ok(Some(first)) => {
                    let first = first.file_name().display().to_string();
                    format!(
                        "folder '{url}' holds '{first}'; COPY would add to what is there: remove it, or name another"
                    )
                }
            };
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

/// Whether an entry of a folder was left by a process that has ended; COPY removes it.
fn is_left(entry: &std::fs::DirEntry) -> bool {
    let changed = || entry.metadata().and_then(|found| found.modified()).ok();
    entry.file_name().to_str().is_some_and(|name| temporary::is_left(name, changed))
}

/// Refuses to write into the repository.
///
/// # Errors
/// A URL within it.
pub async fn check_outside(url: &str, handle: &RepositoryHandle) -> Result<()> {
    let target = ListingTableUrl::parse(url)?;
    match handle.repo().await {
        Ok(repo) if is_inside(&repo, target.as_str()) => {
            Err(Error::invalid(format!("'{url}' lies in the repository, which verbs change")))
        }
        _ => Ok(()),
    }
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

/// What a COPY writes: a local file or folder takes its place when it is whole.
pub struct CopyTarget {
    url: String,
    beside: Option<StagedOutput>,
}

/// What is written beside its place, or in the empty folder that is its place.
struct StagedOutput {
    place: PathBuf,
    /// Where it is written.
    whole: PathBuf,
    /// The folder around it, for its writers may leave more.
    partial: PathBuf,
}

/// Folders that are written in, each with those that were made for it, innermost first.
static STAGED: Mutex<Vec<(PathBuf, Vec<PathBuf>)>> = Mutex::new(Vec::new());

/// Removes all that is not whole, before the program ends: a COPY that was interrupted may still compute.
pub fn remove_staged() {
    // None other ends the program meanwhile.
    let mut staged = staged();
    staged.drain(..).for_each(remove);
}

fn staged() -> MutexGuard<'static, Vec<(PathBuf, Vec<PathBuf>)>> {
    STAGED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove((partial, made): (PathBuf, Vec<PathBuf>)) {
    // A writer that still computes finds a file in its place, in which it can make none.
    let gone = partial.with_extension("gone.tmp");
    if std::fs::rename(&partial, &gone).is_ok() {
        let _ = File::create_new(&partial);
        let _ = std::fs::remove_dir_all(gone);
        let _ = std::fs::remove_file(partial);
    }
    // If all went well, they are not empty.
    made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
}

impl CopyTarget {
    /// The target of a plan that copies, which is changed to write beside its place. Folders that are not there are
    /// made.
    ///
    /// # Errors
    /// A place where nothing can be made.
    pub fn of(plan: &mut LogicalPlan) -> Result<Option<Self>> {
        let copy = match plan {
            LogicalPlan::Copy(copy) => copy,
            LogicalPlan::Analyze(analyze) => return Self::of(Arc::make_mut(&mut analyze.input)),
            _ => return Ok(None),
        };
        name_nulls(copy)?;
        delimited::quote(copy)?;
        let mut target = Self { url: copy.output_url.clone(), beside: None };
        let Some(place) = local(&target.url)?.map(|path| real(&path)) else { return Ok(Some(target)) };
        let is_file = copy.partition_by.is_empty() && !target.url.ends_with('/') && !place.is_dir();
        if place.is_symlink() {
            return Err(Error::invalid(format!("'{}' is a link to what is not there", target.url)));
        }
        if !is_file && place.is_file() {
            return Err(target.io_error(&ErrorKind::NotADirectory.into()));
        }
        // Of an empty folder that is there nothing is known of the folder around it.
        let Some(folder) = (if place.is_dir() { Some(place.as_path()) } else { place.parent() }) else {
            return Ok(Some(target));
        };
        if folder.exists() && !folder.is_dir() {
            return Err(target.io_error(&ErrorKind::NotADirectory.into()));
        }
        let made: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        temporary::sweep(folder);
        let partial = std::fs::create_dir_all(folder).and_then(|()| temporary::create_folder(folder));
        // DataFusion would not tell why it cannot.
        let partial = partial.map_err(|e| target.io_error(&e))?.keep();
        staged().push((partial.clone(), made));
        // To a name without an end DataFusion would write a folder.
        let whole = partial.join("copy.whole");
        let made = if is_file { File::create_new(&whole).map(drop) } else { std::fs::create_dir(&whole) };
        target.beside = Some(StagedOutput { place, whole: whole.clone(), partial });
        made.map_err(|e| target.io_error(&e))?;
        let Some(url) = whole.to_str().filter(|url| !url.contains(['*', '?', '['])) else {
            let message =
                format!("'{}' cannot be written: a folder around it has *, ? or [ in its name, or no text", target.url);
            return Err(Error::invalid(message));
        };
        copy.output_url = if is_file { url.to_owned() } else { format!("{url}/") };
        Ok(Some(target))
    }

    /// The rows that COPY answers with, of which the first comes when all is written.
    pub fn commit_after(self, mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let once = async move {
            let answer = rows.next().await?.map_err(|e| self.named(e));
            Some(answer.and_then(|batch| match &self.beside {
                Some(beside) => beside.commit().map(|()| batch).map_err(|e| self.io_error(&e).into()),
                None => Ok(batch),
            }))
        };
        let rows = futures::stream::once(once).filter_map(std::future::ready);
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// DataFusion tells neither what could not be written nor why.
    fn named(&self, error: DataFusionError) -> DataFusionError {
        match error.find_root() {
            DataFusionError::Internal(message) if message.starts_with("Error encountered while finalizing writes") => {
                let message = format!("'{}' could not be written to its end", self.url);
                Error::new(Kind::Failed, message).with_source(error).into()
            }
            _ => error,
        }
    }

    /// Without the names of hidden files.
    fn io_error(&self, error: &std::io::Error) -> Error {
        Error::from(std::io::Error::from(error.kind())).context(format_args!("'{}' cannot be written", self.url))
    }
}

impl StagedOutput {
    fn commit(&self) -> std::io::Result<()> {
        if !self.place.is_dir() {
            let permissions = self.whole.metadata()?.permissions();
            if let Some(old) = self.place.metadata().map(|old| old.permissions()).ok().filter(|old| *old != permissions)
            {
                std::fs::set_permissions(&self.whole, old)?;
            }
            return std::fs::rename(&self.whole, &self.place);
        }
        // Another may have written there meanwhile.
        let others = std::fs::read_dir(&self.place)?.flatten().any(|entry| entry.path() != self.partial);
        if others || !self.partial.starts_with(&self.place) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        for entry in std::fs::read_dir(&self.whole)? {
            let entry = entry?;
            std::fs::rename(entry.path(), self.place.join(entry.file_name()))?;
        }
        Ok(())
    }
}

impl Drop for CopyTarget {
    fn drop(&mut self) {
        let Some(StagedOutput { partial, .. }) = &self.beside else { return };
        // Held to the end, for `remove_staged` waits.
        let mut staged = staged();
        staged.extract_if(.., |staged| staged.0 == *partial).for_each(remove);
    }
}

/// Gives NULL a folder of its own, by the name that Hive and DuckDB know; DataFusion would take it for 0, false or ''.
fn name_nulls(copy: &mut CopyTo) -> Result<()> {
    if copy.partition_by.is_empty() {
        return Ok(());
    }
    let named = copy.input.schema().iter().map(|(table, field)| {
        let column = Expr::Column(Column::new(table.cloned(), field.name()));
        match copy.partition_by.contains(field.name()) {
            true => coalesce(vec![cast(column, DataType::Utf8), lit(HIVE_NULL)]).alias(field.name()),
            false => column,
        }
    });
    copy.input = Arc::new(LogicalPlanBuilder::from(copy.input.as_ref().clone()).project(named)?.build()?);
    Ok(())
}

/// The path that DataFusion takes a target for, if it is local.
fn local(url: &str) -> Result<Option<PathBuf>> {
    Ok(local_path(ListingTableUrl::parse(url)?.as_str()))
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
    let Ok(target) = Location::parse(url) else { return false };
    let mut folders = roots.iter().filter_map(|root| Location::parse(root).ok());
    folders.any(|folder| target == folder || target.strip_prefix(&folder).is_some())
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
