//! Benchmarks of single floors: reading indexes, export files and regions, planning and running an ingest, and scanning
//! a registry (in SQLite, and in PostgreSQL if `BUTLERSQL_TEST_POSTGRES` names a server).

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use butlersql::Session;
use butlersql::Silent;
use butlersql::internal::export_yaml::Export;
use butlersql::internal::index::parse_index;
use butlersql::internal::sphere::region::Region;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::arrow::array::AsArray;
use tokio::runtime::Runtime;

const EXPOSURES: u64 = 1000;

/// Creates a repository without raws.
fn empty(runtime: &Runtime, home: &Path, name: &str, seed: &str) -> Session {
    let repo = home.join(name).display().to_string();
    let seed_file = home.join(format!("{name}.yaml"));
    fs::write(&seed_file, seed).expect("a seed file");
    let session = Session::with(&repo, true, Arc::new(Silent)).expect("a session");
    let create = format!("CALL create_repository(seed_config => '{}')", seed_file.display());
    for call in [&create, "CALL register_instrument('LSSTComCam')"] {
        runtime.block_on(session.sql(call)).expect("done");
    }
    session
}

/// Creates a repository with the raws and visits of a sample.
fn repository(runtime: &Runtime, home: &Path, name: &str, seed: &str) -> Session {
    let session = empty(runtime, home, name, seed);
    for call in [&ingest(home), "CALL define_visits('LSSTComCam')"] {
        runtime.block_on(session.sql(call)).expect("done");
    }
    session
}

/// Returns the call that ingests the raws of the sample.
fn ingest(home: &Path) -> String {
    format!("CALL ingest_raws('{}/data/raw/LSSTComCam', transfer => 'direct', fail_fast => true)", home.display())
}

fn floors(criterion: &mut Criterion) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let data = home.path().join("data");
    let sample = Command::new(env!("CARGO_BIN_EXE_butlersql"))
        .args(["sample", &data.display().to_string(), "--exposures", &EXPOSURES.to_string()])
        .output();
    assert!(sample.is_ok_and(|s| s.status.success()), "the sample cannot be written");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let session = repository(&runtime, home.path(), "sqlite", "{}\n");
    let rows = |sql: &str| runtime.block_on(session.sql(sql)).expect("rows");

    let night = fs::read_dir(data.join("raw/LSSTComCam")).expect("nights").next().expect("a night").expect("a night");
    let folder = fs::read_dir(night.path()).expect("exposures").next().expect("an exposure").expect("an exposure");
    let index = fs::read(folder.path().join("_index.json")).expect("an index");
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Bytes(index.len() as u64));
    group.bench_function("_index.json", |b| b.iter(|| parse_index(black_box(&index)).expect("an index")));

    let exported = home.path().join("out");
    rows(&format!("CALL export('{}', collections => 'LSSTComCam/raw/all')", exported.display()));
    let export = fs::read(exported.join("export.yaml")).expect("an export");
    group.throughput(Throughput::Bytes(export.len() as u64)).sample_size(20);
    group.bench_function("export.yaml", |b| {
        b.iter(|| {
            let mut reader = Export::new(std::io::Cursor::new(export.clone()));
            while reader.next_item().expect("an item").is_some() {}
        });
    });

    let regions = rows("SELECT region FROM visit WHERE region IS NOT NULL LIMIT 1000");
    let regions: Vec<&[u8]> = regions.iter().flat_map(|b| b.column(0).as_binary::<i32>().iter().flatten()).collect();
    assert!(!regions.is_empty(), "visits have regions");
    group.throughput(Throughput::Elements(regions.len() as u64));
    group.bench_function("htm7 envelopes of visits", |b| {
        b.iter(|| {
            let all = regions.iter().map(|bytes| Region::decode(bytes).expect("a region").envelope(7).len());
            black_box(all.sum::<usize>())
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(10).throughput(Throughput::Elements(EXPOSURES));
    let call = ingest(home.path());
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        empty(&runtime, home.path(), &format!("fresh{next}"), "{}\n")
    };
    let planned = fresh();
    let explain = format!("EXPLAIN {call}");
    group.bench_function("plan", |b| b.iter(|| runtime.block_on(planned.sql(&explain)).expect("a plan")));
    group.bench_function("into a new repository", |b| {
        let done = |session: Session| runtime.block_on(session.sql(&call)).expect("ingested");
        b.iter_batched(&mut fresh, done, BatchSize::PerIteration);
    });
    group.bench_function("again, nothing new", |b| {
        b.iter(|| runtime.block_on(session.sql(&call)).expect("ingested"));
    });
    group.finish();

    let mut group = criterion.benchmark_group("scan");
    let count = |session: &Session| {
        let batches = runtime.block_on(session.sql("SELECT * FROM raw")).expect("rows");
        batches.iter().map(|b| b.num_rows() as u64).sum::<u64>()
    };
    group.throughput(Throughput::Elements(count(&session))).sample_size(20);
    group.bench_function("all raws, SQLite", |b| b.iter(|| count(&session)));
    if let Ok(server) = std::env::var("BUTLERSQL_TEST_POSTGRES") {
        let name = format!("floors_{}", std::process::id());
        for (database, sql) in
            [("postgres", format!("CREATE DATABASE {name}")), (&*name, "CREATE EXTENSION btree_gist".to_owned())]
        {
            let made = Command::new("psql").args(["-q", "-d", &format!("{server}/{database}"), "-c", &sql]).status();
            assert!(made.is_ok_and(|status| status.success()), "{sql}");
        }
        let seed = format!("registry: {{db: '{server}/{name}'}}\n");
        let session = repository(&runtime, home.path(), "postgres", &seed);
        group.bench_function("all raws, PostgreSQL", |b| b.iter(|| count(&session)));
    }
    group.finish();
}

criterion_group!(benches, floors);
criterion_main!(benches);
