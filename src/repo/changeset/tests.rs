//! The applier, with operations whose changes fail on purpose, on a repository on SQLite.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use tempfile::TempDir;

use super::applier;
use super::change::{RowChange, WriteContext};
use super::changes::{CreateCollection, CreateDatasetType, RemoveSources, TransferFiles};
use super::report::{ReportRow, Status};
use super::{ChangeSet, Operation, Plan, PlanContext};
use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::progress::Silent;
use crate::registry::{collections, dataset_types};
use crate::repo::RepositoryHandle;
use crate::repo::operations::CreateRepository;
use crate::store::Location;
use crate::store::transfer::{Transfer, TransferSource};
use crate::store::transfer_mode::TransferMode;

/// An operation whose change sets a function makes, by the number of the run.
struct Scripted<F> {
    plan: F,
    runs: AtomicU32,
}

impl<F> std::fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl<F: Fn(u32) -> Vec<ChangeSet<'static>> + Send + Sync> Operation for Scripted<F> {
    async fn plan<'a>(&'a self, _: PlanContext<'a>) -> Result<Plan<'a>> {
        let sets = (self.plan)(self.runs.fetch_add(1, Ordering::Relaxed));
        Ok(futures::stream::iter(sets.into_iter().map(Ok)).boxed())
    }
}

fn scripted<F: Fn(u32) -> Vec<ChangeSet<'static>>>(plan: F) -> Scripted<F> {
    Scripted { plan, runs: AtomicU32::new(0) }
}

/// A change that fails with each of these kinds, the last one first, and then succeeds.
#[derive(Debug)]
struct Failing(Arc<Mutex<Vec<Kind>>>);

impl Failing {
    fn new(kinds: &[Kind]) -> Self {
        Self(Arc::new(Mutex::new(kinds.to_vec())))
    }
}

#[async_trait]
impl RowChange for Failing {
    fn describe(&self) -> ReportRow {
        ReportRow::new("failing", Status::Inserted, "", 1)
    }

    async fn apply(&self, _: &mut WriteContext<'_>) -> Result<u64> {
        match self.0.lock().expect("a lock").pop() {
            Some(kind) => Err(Error::new(kind, "on purpose")),
            None => Ok(1),
        }
    }
}

/// A new repository and a file next to it.
struct World {
    folder: TempDir,
    handle: RepositoryHandle,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("source.fits"), "bytes").expect("a file");
        let handle = RepositoryHandle::new(&folder.path().join("repo").display().to_string(), true);
        let world = Self { folder, handle };
        let create = CreateRepository { seed_config: None, dimension_config: None, keep: false };
        world.run(&create, false).await.expect("a repository");
        world
    }

    async fn run(&self, operation: &dyn Operation, is_dry: bool) -> Result<Vec<ReportRow>> {
        applier::run(operation, &self.handle, None, is_dry, Arc::new(Silent)).await
    }

    fn transfer(&self, mode: TransferMode) -> Transfer {
        let at = |name: &str| Location::parse(&self.folder.path().join(name).display().to_string()).expect("a path");
        Transfer { from: TransferSource::File(at("source.fits")), to: at("repo/run/target.fits"), mode }
    }

    fn exists(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    async fn has_collection(&self, name: &str) -> bool {
        let repo = self.handle.repo().await.expect("a repository");
        collections::load(&repo.registry).await.expect("collections").get(name).is_ok()
    }

    async fn has_type(&self, name: &str) -> bool {
        let repo = self.handle.repo().await.expect("a repository");
        let types = dataset_types::load(&repo.registry).await.expect("dataset types");
        types.iter().any(|record| record.dataset_type.name == name)
    }
}

fn run_collection(name: &str) -> CreateCollection {
    CreateCollection { name: name.to_owned(), kind: CollectionType::Run, doc: None }
}

fn dataset_type(name: &str) -> CreateDatasetType {
    CreateDatasetType(DatasetType {
        name: name.to_owned(),
        dimensions: vec!["instrument".to_owned(), "detector".to_owned()],
        storage_class: "Exposure".to_owned(),
        is_calibration: true,
    })
}

fn set(changes: impl FnOnce(&mut ChangeSet<'static>)) -> ChangeSet<'static> {
    let mut set = ChangeSet::default();
    changes(&mut set);
    set
}

#[tokio::test]
async fn a_failed_transaction_leaves_neither_rows_nor_files_nor_types() {
    let world = World::new().await;
    let transfer = world.transfer(TransferMode::Move);
    let operation = scripted(|_| {
        vec![set(|set| {
            set.push(dataset_type("bias"));
            set.push(TransferFiles { transfers: vec![transfer.clone()] });
            set.push(run_collection("run"));
            set.push(Failing::new(&[Kind::Invalid]));
        })]
    });
    let error = world.run(&operation, false).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Invalid, "on purpose"));
    assert!(!world.exists("repo/run/target.fits") && world.exists("source.fits"));
    assert!(!world.has_collection("run").await && !world.has_type("bias").await);
}

#[tokio::test]
async fn after_a_lost_connection_files_stay_because_rows_may_name_them() {
    let world = World::new().await;
    let transfer = world.transfer(TransferMode::Copy);
    let operation = scripted(|_| {
        vec![set(|set| {
            set.push(TransferFiles { transfers: vec![transfer.clone()] });
            set.push(Failing::new(&[Kind::Unreachable]));
        })]
    });
    assert_eq!(world.run(&operation, false).await.unwrap_err().kind(), Kind::Unreachable);
    assert!(world.exists("repo/run/target.fits"));
}

#[tokio::test]
async fn sources_are_removed_after_the_rows_are_written() {
    let world = World::new().await;
    let transfer = world.transfer(TransferMode::Move);
    let moved = scripted(|_| {
        vec![set(|set| {
            set.push(TransferFiles { transfers: vec![transfer.clone()] });
            set.push(run_collection("run"));
        })]
    });
    let report = world.run(&moved, false).await.unwrap();
    assert_eq!(
        report.iter().map(|row| (row.kind.as_str(), row.count)).collect::<Vec<_>>(),
        [("file", 1), ("collection", 1)]
    );
    assert!(world.exists("repo/run/target.fits") && !world.exists("source.fits"));
    let again = scripted(|_| vec![set(|set| set.push(RemoveSources { moves: vec![transfer.clone()] }))]);
    assert!(world.run(&again, false).await.unwrap().is_empty(), "the source is gone");
}

#[tokio::test]
async fn a_dry_run_reports_and_changes_nothing() {
    let world = World::new().await;
    let transfer = world.transfer(TransferMode::Move);
    let operation = scripted(|_| {
        vec![set(|set| {
            set.push(dataset_type("bias"));
            set.push(TransferFiles { transfers: vec![transfer.clone()] });
            set.push(run_collection("run"));
            set.record("visit", Status::Unchanged, "", 3);
        })]
    });
    let planned = world.run(&operation, true).await.unwrap();
    assert!(!world.exists("repo/run") && world.exists("source.fits"));
    assert!(!world.has_collection("run").await && !world.has_type("bias").await);
    assert_eq!(planned, world.run(&operation, false).await.unwrap(), "the run does what the dry run reports");
    assert!(world.exists("repo/run/target.fits"));
}

#[tokio::test]
async fn a_locked_database_is_tried_again_and_a_stale_plan_made_again() {
    let world = World::new().await;
    let busy = scripted(|_| vec![set(|set| set.push(Failing::new(&[Kind::Busy, Kind::Busy])))]);
    assert_eq!(world.run(&busy, false).await.unwrap(), [ReportRow::new("failing", Status::Inserted, "", 1)]);
    assert_eq!(busy.runs.load(Ordering::Relaxed), 1);
    let stale = scripted(|run| {
        let kinds = if run < 2 { vec![Kind::Stale] } else { Vec::new() };
        vec![set(|set| set.push(Failing::new(&kinds)))]
    });
    assert_eq!(world.run(&stale, false).await.unwrap().len(), 1);
    assert_eq!(stale.runs.load(Ordering::Relaxed), 3);
    let always = scripted(|_| vec![set(|set| set.push(Failing::new(&[Kind::Stale])))]);
    assert_eq!(world.run(&always, false).await.unwrap_err().kind(), Kind::Stale);
    assert_eq!(always.runs.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_plan_is_not_made_again_after_a_part_of_it_is_applied() {
    let world = World::new().await;
    let operation = scripted(|run| {
        let name = format!("run{run}");
        vec![set(|set| set.push(run_collection(&name))), set(|set| set.push(Failing::new(&[Kind::Stale])))]
    });
    assert_eq!(world.run(&operation, false).await.unwrap_err().kind(), Kind::Stale);
    assert_eq!(operation.runs.load(Ordering::Relaxed), 1);
    assert!(world.has_collection("run0").await);
}

#[tokio::test]
async fn a_handler_decides_whether_the_plan_goes_on() {
    let world = World::new().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let operation = scripted(|_| {
        let seen = Arc::clone(&seen);
        let failing = set(|set| {
            set.push(Failing::new(&[Kind::Invalid]));
            set.set_input("input.yaml".to_owned());
        });
        let failing = failing.on_failure(move |error| {
            seen.lock().expect("a lock").push(error.message().to_owned());
            Ok(())
        });
        vec![failing, set(|set| set.push(run_collection("next")))]
    });
    world.run(&operation, false).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["input.yaml: on purpose"]);
    assert!(world.has_collection("next").await);
}
