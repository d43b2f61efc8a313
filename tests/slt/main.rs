//! SQL behaviour: every file of `tests/slt` is a test over SQLite and one over PostgreSQL, on the same small repository,
//! with parts of queries left to the database and without. `cargo test --test slt sky` runs `sky.slt`.

// The tests of `it` use more of it.
#[allow(dead_code)]
#[path = "../it/world/mod.rs"]
mod world;

use std::path::Path;
use std::process::ExitCode;

use async_trait::async_trait;
use butlersql::{Session, Silent};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::world::{Db, Home, server, without_internals};

struct Database(Session);

#[async_trait]
impl AsyncDB for Database {
    type Error = butlersql::Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Self::Error> {
        let batches = self.0.sql(sql).await.inspect_err(|error| without_internals(error.message()))?;
        let types = batches.first().map_or(0, |b| b.num_columns());
        let mut rows = Vec::new();
        let options = FormatOptions::default().with_null("NULL");
        for batch in &batches {
            let cells: Vec<_> =
                batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<_, _>>()?;
            for row in 0..batch.num_rows() {
                rows.push(cells.iter().map(|c| c.value(row).to_string()).collect());
            }
        }
        if types == 0 {
            return Ok(DBOutput::StatementComplete(0));
        }
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; types], rows })
    }

    async fn shutdown(&mut self) {}
}

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let entries = std::fs::read_dir(folder).expect("tests/slt").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "slt")).collect();
    files.sort();
    let has_postgres = server("BUTLERSQL_TEST_POSTGRES", "postgres").is_some();
    let trials = files.into_iter().flat_map(|file| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let other = file.clone();
        let sqlite = Trial::test(format!("{name}::sqlite"), move || run(&file, Db::Sqlite));
        let postgres = Trial::test(format!("{name}::postgres"), move || run(&other, Db::PostgresNamespace));
        [sqlite, postgres.with_ignored_flag(!has_postgres)]
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Runs a file twice: with parts of queries left to the database, and without.
fn run(file: &Path, db: Db) -> Result<(), Failed> {
    let home = Home::new(db).ok_or("the server is not there")?;
    let data = home.sample(&["--exposures", "24", "--nights", "2", "--seed", "5"]);
    home.with_camera();
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)")).ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for pushdown in [true, false] {
        let repo = home.repo();
        let mut runner = Runner::new(|| {
            let repo = repo.clone();
            async move {
                let session = Session::with(&repo, true, std::sync::Arc::new(Silent))?;
                session.sql(&format!("SET butler.pushdown = {pushdown}")).await?;
                Ok(Database(session))
            }
        });
        runner.add_label(if db == Db::Sqlite { "sqlite" } else { "postgres" });
        if std::env::var_os("UPDATE").is_some() && db == Db::Sqlite && pushdown {
            let (validator, normalizer) = (sqllogictest::default_validator, sqllogictest::default_normalizer);
            let columns = sqllogictest::default_column_validator;
            runtime.block_on(runner.update_test_file(file, " ", validator, normalizer, columns))?;
            continue;
        }
        let ran = runtime.block_on(runner.run_file_async(file));
        ran.map_err(|e| format!("pushdown {pushdown}: {}", e.display(false)))?;
    }
    Ok(())
}
