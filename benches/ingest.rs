//! Ingest of a sample into a new repository, beside planning it only.

use std::process::Command;
use std::sync::Arc;

use butlersql::engine::session::Session;
use butlersql::progress::Silent;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const EXPOSURES: u64 = 1000;

fn ingest(criterion: &mut Criterion) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let data = home.path().join("data");
    let sample = Command::new(env!("CARGO_BIN_EXE_butlersql"))
        .args(["sample", &data.display().to_string(), "--exposures", &EXPOSURES.to_string()])
        .output();
    assert!(sample.is_ok_and(|s| s.status.success()), "the sample cannot be written");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let repository = |name: u64| {
        let session = Session::with(&home.path().join(name.to_string()).display().to_string(), true, Arc::new(Silent))
            .expect("a session");
        runtime.block_on(async {
            session.sql("CALL create_repository()").await.expect("created");
            session.sql("CALL register_instrument('LSSTComCam')").await.expect("registered");
        });
        session
    };
    let call =
        format!("CALL ingest_raws('{}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)", data.display());
    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(10).throughput(Throughput::Elements(EXPOSURES));
    let mut next = 0;
    group.bench_function("new repository", |bencher| {
        bencher.iter_batched(
            || {
                next += 1;
                repository(next)
            },
            |session| runtime.block_on(session.sql(&call)).expect("ingested"),
            BatchSize::PerIteration,
        );
    });
    let again = repository(0);
    runtime.block_on(again.sql(&call)).expect("ingested");
    group.bench_function("again, nothing new", |bencher| {
        bencher.iter(|| runtime.block_on(again.sql(&call)).expect("ingested"));
    });
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
