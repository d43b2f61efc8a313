//! Write transactions on the database of a registry, which insert Arrow record batches.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};

use crate::error::{Error, Kind, Result};
use crate::registry::db::dialect::Dialect;
use crate::registry::db::insert::{Insert, OnConflict};
use crate::registry::db::postgres::{decoded, encode};
use crate::registry::db::sqlite;
use crate::registry::schema::{ReadColumn, TableDef, arrow_schema};

/// Minimum number of rows for which an insert is first tried as if all rows were new.
const LIKELY_NEW: usize = 64;

/// Maximum number of values for which an insert is one statement with literals. COPY is 40 ms slower when its last
/// packet waits for the acknowledgement of the previous one.
const LITERALS: usize = 2048;

/// A write transaction; rolled back when dropped before [`Tx::commit`].
pub(crate) enum Tx {
    /// An SQLite transaction, begun with `BEGIN IMMEDIATE` as in the Butler.
    Sqlite(Transaction<'static, Sqlite>),
    /// A PostgreSQL transaction at the default level, READ COMMITTED, and the configured schema.
    Postgres(Transaction<'static, Postgres>, Option<String>),
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}

impl Tx {
    /// Returns the SQL dialect of the database.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(..) => Dialect::Postgres,
        }
    }

    /// Returns the configured schema, if any.
    pub(crate) fn schema(&self) -> Option<&str> {
        match self {
            Self::Postgres(_, schema) => schema.as_deref(),
            Self::Sqlite(_) => None,
        }
    }

    /// Returns a table name, qualified and quoted for use in statements.
    pub(crate) fn table(&self, name: &str) -> String {
        self.dialect().qualified(self.schema(), name)
    }

    /// Runs a statement. Returns the number of rows it changed.
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn execute(&mut self, sql: String) -> Result<u64> {
        tracing::debug!(sql, "execute");
        let sql = AssertSqlSafe(sql);
        Ok(match self {
            Self::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx, _) => sqlx::raw_sql(sql).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs a query inside the transaction and returns one batch.
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn rows(&mut self, sql: String, columns: &[ReadColumn]) -> Result<RecordBatch> {
        let schema = arrow_schema(columns);
        let mut batches = Vec::new();
        match self {
            Self::Sqlite(tx) => {
                let mut handle = tx.lock_handle().await?;
                sqlite::read(&mut handle, &sql, columns, &mut |batch| {
                    batches.push(batch);
                    true
                })?;
            }
            Self::Postgres(tx, _) => {
                let sql = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
                batches = decoded(tx.copy_out_raw(&sql).await?, columns.to_vec()).try_collect().await?;
            }
        }
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Inserts the rows of a batch. Columns that it lacks get NULL, or the next number. Returns the number of rows
    /// inserted or replaced.
    ///
    /// # Errors
    /// `Kind::NotFound` for a column that the table does not have; database errors.
    pub(crate) async fn insert(&mut self, table: &TableDef, batch: &RecordBatch, conflict: OnConflict) -> Result<u64> {
        if batch.num_rows() == 0 {
            return Ok(0);
        }
        let insert = Insert::new(self.dialect(), self.schema(), table, batch, conflict);
        match self {
            Self::Sqlite(tx) => {
                let sql = insert.sqlite();
                let mut handle = tx.lock_handle().await?;
                sqlite::insert(&mut handle, &sql, table, batch)
            }
            Self::Postgres(..) => self.insert_postgres(&insert, table, batch).await,
        }
    }

    /// Inserts few values as literals and more by COPY: directly into the table if conflicts are impossible or
    /// unlikely, otherwise through a staging table.
    async fn insert_postgres(&mut self, insert: &Insert, table: &TableDef, batch: &RecordBatch) -> Result<u64> {
        if batch.num_rows() * batch.num_columns() <= LITERALS
            && let Some(sql) = insert.values(table, batch)?
        {
            return self.execute(sql).await;
        }
        let stream = encode(table, batch)?;
        if insert.number.is_none() && insert.tail.is_empty() {
            return self.copy(&insert.copy(true), stream).await;
        }
        if insert.number.is_none() && batch.num_rows() >= LIKELY_NEW {
            self.execute("SAVEPOINT straight".to_owned()).await?;
            match self.copy(&insert.copy(true), stream.clone()).await {
                Ok(copied) => {
                    self.execute("RELEASE SAVEPOINT straight".to_owned()).await?;
                    return Ok(copied);
                }
                Err(error) if error.kind() == Kind::Conflict => {
                    self.execute("ROLLBACK TO SAVEPOINT straight".to_owned()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.execute(format!("{}; {}", insert.drop_staging(), insert.make_staging())).await?;
        self.copy(&insert.copy(false), stream).await?;
        let changed = self.execute(insert.insert_staged()).await?;
        self.execute(insert.drop_staging()).await?;
        Ok(changed)
    }

    async fn copy(&mut self, sql: &str, stream: Vec<u8>) -> Result<u64> {
        let Self::Postgres(tx, _) = self else { return Err(Error::bug("COPY outside PostgreSQL")) };
        let mut copy = tx.copy_in_raw(sql).await?;
        copy.send(stream).await?;
        Ok(copy.finish().await?)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx, _) => tx.commit().await?,
        }
        Ok(())
    }
}
