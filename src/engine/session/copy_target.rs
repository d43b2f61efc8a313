//! The target of COPY: outside the repository, and replaced atomically when all rows are written.

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
use crate::error::datafusion_text::Text;
use crate::error::{Error, Kind, Result};
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::store::{Location, local_path, temporary};

/// The partition value for NULL, as in Hive and DuckDB.
pub(crate) const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Checks each COPY of a plan.
///
/// # Errors
/// `Kind::Invalid` for a target inside the repository, a target that cannot be replaced, and duplicate column names;
/// `Kind::Unsupported` for unsupported options.
pub(crate) async fn check(plan: &LogicalPlan, handle: &RepositoryHandle, options: &ConfigOptions) -> Result<()> {
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
            return Err(Error::new(Kind::Unsupported, "keep_partition_by_columns is not supported"));
        }
        if copy.partition_by.len() == copy.input.schema().fields().len() {
            return Err(Error::invalid("at least one column must not be in PARTITIONED BY"));
        }
        if url.contains(['*', '?', '[']) {
            return Err(Error::invalid(format!(
                "'{url}' is a pattern; the name of a target must not contain *, ? or ["
            )));
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
                    format!("folder '{url}' is not empty: it contains '{first}'; remove it or choose another folder")
                }
            };
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

/// Whether a folder entry is a staged file of a process that has ended; COPY removes it.
fn is_left(entry: &std::fs::DirEntry) -> bool {
    let changed = || entry.metadata().and_then(|found| found.modified()).ok();
    entry.file_name().to_str().is_some_and(|name| temporary::is_left(name, changed))
}

/// Refuses a target inside the repository.
///
/// # Errors
/// `Kind::Invalid` for a URL inside the repository.
pub(crate) async fn check_outside(url: &str, handle: &RepositoryHandle) -> Result<()> {
    let target = ListingTableUrl::parse(url)?;
    match handle.repo().await {
        Ok(repo) if is_inside(&repo, target.as_str()) => {
            Err(Error::invalid(format!("cannot write to '{url}': it is inside the repository")))
        }
        _ => Ok(()),
    }
}

/// Refuses duplicate column names, for formats that require unique names.
///
/// # Errors
/// `Kind::Invalid` for the first duplicate name.
pub(crate) fn check_names(schema: &Schema) -> Result<()> {
    let mut seen = HashSet::new();
    match schema.fields().iter().find(|field| !seen.insert(field.name())) {
        Some(twice) => {
            Err(Error::invalid(format!("two columns have the name '{0}'; rename one with AS", twice.name())))
        }
        None => Ok(()),
    }
}

/// The target of a COPY; a local file or folder is replaced when all rows are written.
pub(crate) struct CopyTarget {
    url: String,
    staged: Option<StagedOutput>,
}

/// The staged output of a COPY, in a hidden folder next to the target, or inside it if the target is an empty folder.
struct StagedOutput {
    /// The path of the target.
    final_path: PathBuf,
    /// The path that DataFusion writes.
    staged_path: PathBuf,
    /// The hidden folder of `staged_path`; writers may create further files in it.
    folder: PathBuf,
    all: StagedOutputs,
}

/// The hidden folders of the running COPY statements of a session.
#[derive(Debug, Clone, Default)]
pub struct StagedOutputs(Arc<Mutex<Vec<StagedFolder>>>);

/// A hidden folder, and the parent folders created for it, innermost first.
#[derive(Debug)]
struct StagedFolder {
    folder: PathBuf,
    created: Vec<PathBuf>,
    is_cancelled: bool,
}

impl StagedOutputs {
    /// Cancels all running COPY statements and removes their staged output. What a writer creates afterwards is removed
    /// when its statement ends.
    pub fn remove_all(&self) {
        // The lock is held: a COPY that commits at the same time waits, or is waited for.
        for staged in self.lock().iter_mut() {
            staged.is_cancelled = true;
            staged.remove();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StagedFolder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StagedFolder {
    fn remove(&self) {
        // A file with the name of the folder prevents a running writer from creating further files.
        let gone = self.folder.with_extension("gone.tmp");
        if std::fs::rename(&self.folder, &gone).is_ok() {
            let _ = File::create_new(&self.folder);
            let _ = std::fs::remove_dir_all(gone);
            let _ = std::fs::remove_file(&self.folder);
        }
        // Folders that are not empty, as after success, remain.
        self.created.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    }
}

impl CopyTarget {
    /// The target of a COPY plan, which is changed to write staged output. Missing parent folders are created. `None`
    /// for other plans.
    ///
    /// # Errors
    /// A target that cannot be created.
    pub(crate) fn of(plan: &mut LogicalPlan, all: &StagedOutputs) -> Result<Option<Self>> {
        let copy = match plan {
            LogicalPlan::Copy(copy) => copy,
            LogicalPlan::Analyze(analyze) => return Self::of(Arc::make_mut(&mut analyze.input), all),
            _ => return Ok(None),
        };
        name_nulls(copy)?;
        delimited::quote(copy)?;
        let mut target = Self { url: copy.output_url.clone(), staged: None };
        let Some(final_path) = local(&target.url)?.map(|path| real(&path)) else { return Ok(Some(target)) };
        let is_file = copy.partition_by.is_empty() && !target.url.ends_with('/') && !final_path.is_dir();
        if final_path.is_symlink() {
            return Err(Error::invalid(format!("'{}' is a symbolic link to a missing file", target.url)));
        }
        if !is_file && final_path.is_file() {
            return Err(target.io_error(&ErrorKind::NotADirectory.into()));
        }
        // The parent of an existing empty folder may not be writable.
        let Some(folder) = (if final_path.is_dir() { Some(final_path.as_path()) } else { final_path.parent() }) else {
            return Ok(Some(target));
        };
        if folder.exists() && !folder.is_dir() {
            return Err(target.io_error(&ErrorKind::NotADirectory.into()));
        }
        let created: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        temporary::sweep(folder);
        let staging = std::fs::create_dir_all(folder).and_then(|()| temporary::create_folder(folder));
        // DataFusion's error would not have the reason.
        let folder = staging.map_err(|e| target.io_error(&e))?.keep();
        all.lock().push(StagedFolder { folder: folder.clone(), created, is_cancelled: false });
        // Without a file name extension, DataFusion would write a folder.
        let staged_path = folder.join("copy.whole");
        let made = if is_file { File::create_new(&staged_path).map(drop) } else { std::fs::create_dir(&staged_path) };
        let all = all.clone();
        target.staged = Some(StagedOutput { final_path, staged_path: staged_path.clone(), folder, all });
        made.map_err(|e| target.io_error(&e))?;
        let Some(url) = staged_path.to_str().filter(|url| !url.contains(['*', '?', '['])) else {
            let message = format!(
                "'{}' cannot be written: a parent directory's name contains *, ? or [, or is not UTF-8",
                target.url
            );
            return Err(Error::invalid(message));
        };
        copy.output_url = if is_file { url.to_owned() } else { format!("{url}/") };
        Ok(Some(target))
    }

    /// Wraps the result stream of COPY: the target is replaced before the first batch is returned.
    pub(crate) fn commit_after(self, mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let once = async move {
            let answer = rows.next().await?.map_err(|e| self.named(e));
            Some(answer.and_then(|batch| match &self.staged {
                Some(staged) => self.commit(staged).map(|()| batch).map_err(DataFusionError::from),
                None => Ok(batch),
            }))
        };
        let rows = futures::stream::once(once).filter_map(std::future::ready);
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// Replaces the target, unless the statement is cancelled.
    fn commit(&self, staged: &StagedOutput) -> Result<()> {
        // The lock is held until the target is complete.
        let all = staged.all.lock();
        if all.iter().any(|other| other.folder == staged.folder && other.is_cancelled) {
            return Err(Error::new(Kind::Interrupted, "interrupted"));
        }
        staged.commit().map_err(|e| self.io_error(&e))
    }

    /// Adds the target to an error that has neither the file name nor the reason.
    fn named(&self, error: DataFusionError) -> DataFusionError {
        match error.find_root() {
            DataFusionError::Internal(text) if Text::of(text) == Text::IncompleteWrite => {
                let message = format!("incomplete write to '{}'", self.url);
                Error::new(Kind::Failed, message).with_source(error).into()
            }
            _ => error,
        }
    }

    /// Converts an I/O error to an error with the target instead of the staged file.
    fn io_error(&self, error: &std::io::Error) -> Error {
        Error::from(std::io::Error::from(error.kind())).context(format_args!("'{}' cannot be written", self.url))
    }
}

impl StagedOutput {
    /// Moves the staged output to the target.
    fn commit(&self) -> std::io::Result<()> {
        if !self.final_path.is_dir() {
            let permissions = self.staged_path.metadata()?.permissions();
            if let Some(old) =
                self.final_path.metadata().map(|old| old.permissions()).ok().filter(|old| *old != permissions)
            {
                std::fs::set_permissions(&self.staged_path, old)?;
            }
            return std::fs::rename(&self.staged_path, &self.final_path);
        }
        // Another process may have written to the folder.
        let others = std::fs::read_dir(&self.final_path)?.flatten().any(|entry| entry.path() != self.folder);
        if others || !self.folder.starts_with(&self.final_path) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        for entry in std::fs::read_dir(&self.staged_path)? {
            let entry = entry?;
            std::fs::rename(entry.path(), self.final_path.join(entry.file_name()))?;
        }
        Ok(())
    }
}

impl Drop for CopyTarget {
    fn drop(&mut self) {
        let Some(StagedOutput { folder, all, .. }) = &self.staged else { return };
        // The lock is held until the end: `StagedOutputs::remove_all` waits for it.
        all.lock().extract_if(.., |staged| staged.folder == *folder).for_each(|staged| staged.remove());
    }
}

/// Writes rows with a NULL partition value to the folder [`HIVE_NULL`]; DataFusion would use 0, false or ''.
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

/// The local path of a target; `None` for remote targets.
fn local(url: &str) -> Result<Option<PathBuf>> {
    Ok(local_path(ListingTableUrl::parse(url)?.as_str()))
}

/// Whether a URL is inside the repository: below its root or its datastore root, or its database file.
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

/// The absolute path, with symbolic links of its existing part resolved.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.ancestors().find_map(|known| {
        let rest = path.strip_prefix(known).ok()?;
        let known = known.canonicalize().ok()?;
        // Joining an empty path would append a slash.
        Some(if rest.as_os_str().is_empty() { known } else { known.join(rest) })
    });
    real.unwrap_or(path)
}
