//! SQL behaviour: every file of `tests/slt` runs over SQLite and over PostgreSQL, on the same small repository, with
//! parts of queries left to the database and without.

use std::path::Path;

use async_trait::async_trait;
use butlersql::engine::session::Session;
use butlersql::progress::Silent;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::world::{Db, Home, without_internals};

struct Database(Session);

#[async_trait]
impl AsyncDB for Database {
    type Error = butlersql::error::Error;
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

fn run_all(db: Db) {
    let Some(home) = Home::new(db) else { return };
    let data = home.sample(&["--exposures", "24", "--nights", "2", "--seed", "5"]);
    home.with_camera();
    home.sql(&format!("CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct', fail_fast => true)")).ok();
    let mut files: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt"))
        .expect("tests/slt")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "slt"))
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for (file, pushdown) in files.iter().flat_map(|file| [(file, true), (file, false)]) {
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
            runtime
                .block_on(runner.update_test_file(
                    file,
                    " ",
                    sqllogictest::default_validator,
                    sqllogictest::default_normalizer,
                    sqllogictest::default_column_validator,
                ))
                .expect("the file can be completed");
            continue;
        }
        runtime
            .block_on(runner.run_file_async(file))
            .unwrap_or_else(|e| panic!("{db:?}, pushdown {pushdown}: {}", e.display(false)));
    }
}

#[test]
fn on_sqlite() {
    run_all(Db::Sqlite);
}

#[test]
fn on_postgres() {
    run_all(Db::PostgresNamespace);
}
