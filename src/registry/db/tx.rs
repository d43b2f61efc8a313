//! Writing to the database of a registry: a transaction, into which Arrow goes.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};

use crate::error::{Error, Kind, Result};
use crate::registry::db::dialect::Dialect;
use crate::registry::db::insert::Insert;
use crate::registry::db::postgres::{decoded, encode};
use crate::registry::db::sqlite;
use crate::registry::schema::{ReadColumn, TableDef, arrow_schema};

/// From how many rows on an insert is first tried as if all of them were new.
const LIKELY_NEW: usize = 64;

/// Up to how many values an insert is one statement with literals. COPY costs 40 ms more where the last packet of its
/// data waits for an answer to the one before.
const LITERALS: usize = 2048;

/// A write transaction; rolled back when dropped before [`Tx::commit`].
pub enum Tx {
    /// Begun with `BEGIN IMMEDIATE`, as the Butler does.
    Sqlite(Transaction<'static, Sqlite>),
    /// At the server's default level, READ COMMITTED.
    Postgres(Transaction<'static, Postgres>, Option<String>),
}

/// What an insert does with a row whose key is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Fail.
    Fail,
    /// Keep the row with the same primary key; another conflict fails.
    Keep,
    /// Keep whatever conflicts, in any unique key.
    KeepAny,
    /// Replace all other columns.
    Replace,
}

impl Tx {
    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(..) => Dialect::Postgres,
        }
    }

    /// The schema that was configured, if any.
    pub fn schema(&self) -> Option<&str> {
        match self {
            Self::Postgres(_, schema) => schema.as_deref(),
            Self::Sqlite(_) => None,
        }
    }

    /// A table's name as statements must write it.
    pub fn table(&self, name: &str) -> String {
        self.dialect().qualified(self.schema(), name)
    }

    /// Runs a statement; returns how many rows it changed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(&mut self, sql: String) -> Result<u64> {
        tracing::debug!(sql, "execute");
        let sql = AssertSqlSafe(sql);
        Ok(match self {
            Self::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx, _) => sqlx::raw_sql(sql).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs a query inside the transaction, as one batch.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rows(&mut self, sql: String, columns: &[ReadColumn]) -> Result<RecordBatch> {
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

    /// Inserts the rows of a batch; columns it lacks get NULL, or the next number. Returns how many rows were
    /// inserted or replaced.
    ///
    /// # Errors
    /// What the database says, or a column the table does not have.
    pub async fn insert(&mut self, table: &TableDef, batch: &RecordBatch, conflict: OnConflict) -> Result<u64> {
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

    /// Few values as literals; more by COPY: straight into the table where no row can be in the way, or none is likely
    /// to be, else through a staging table.
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

    /// Makes the transaction's work last.
    ///
    /// # Errors
    /// What the database says.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx, _) => tx.commit().await?,
        }
        Ok(())
    }
}
