//! Database connections of a registry, and queries that return Arrow record batches.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use sqlx::{AssertSqlSafe, SqlitePool, Transaction};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinHandle;

use crate::error::{Error, Kind, Result};
use crate::registry::db::Batches;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::pool::Pool;
use crate::registry::db::postgres::decoded;
use crate::registry::db::spill::SpillBuffer;
use crate::registry::db::sqlite;
use crate::registry::db::tx::Tx;
use crate::registry::i64_values;
use crate::registry::schema::{ColumnType, ReadColumn, arrow_schema};
use crate::registry::string_values;

/// Number of SQLite virtual machine instructions between two checks that the receiver still exists.
const STEPS: i32 = 100_000;

/// Connections to the database of a registry.
#[derive(Debug, Clone)]
pub(crate) enum Conn {
    /// An SQLite file.
    Sqlite {
        /// Read connections.
        readers: SqlitePool,
        /// The single write connection. Its page cache stays valid because no other connection of the process writes.
        writer: SqlitePool,
    },
    /// A PostgreSQL server, and the configured schema ("namespace").
    Postgres(Pool, Option<String>),
}

/// Runs small queries, either on any connection or inside a transaction.
pub(crate) enum Executor<'a> {
    /// Uses any connection.
    Conn(&'a Conn),
    /// Uses a transaction and sees its changes.
    Tx(&'a mut Tx),
}

impl Executor<'_> {
    /// Returns the SQL dialect of the database.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Conn(conn) => conn.dialect(),
            Self::Tx(tx) => tx.dialect(),
        }
    }

    /// Returns the configured schema, if any.
    pub(crate) fn schema(&self) -> Option<&str> {
        match self {
            Self::Conn(conn) => conn.schema(),
            Self::Tx(tx) => tx.schema(),
        }
    }

    /// Returns a table name, qualified and quoted for use in statements.
    pub(crate) fn table(&self, name: &str) -> String {
        match self {
            Self::Conn(conn) => conn.table(name),
            Self::Tx(tx) => tx.table(name),
        }
    }

    /// Runs a query with a small result and returns one batch.
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn rows(&mut self, sql: String, columns: &[ReadColumn]) -> Result<RecordBatch> {
        match self {
            Self::Conn(conn) => conn.rows(sql, columns.to_vec()).await,
            Self::Tx(tx) => tx.rows(sql, columns).await,
        }
    }
}

impl Conn {
    /// Returns the SQL dialect of the database.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres(..) => Dialect::Postgres,
        }
    }

    /// Returns true if both values share the same connections.
    pub(crate) fn same_pool(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite { readers: own, .. }, Self::Sqlite { readers: other, .. }) => {
                std::sync::Arc::ptr_eq(&own.connect_options(), &other.connect_options())
            }
            (Self::Postgres(own, _), Self::Postgres(other, _)) => {
                std::sync::Arc::ptr_eq(&own.connections().connect_options(), &other.connections().connect_options())
            }
            _ => false,
        }
    }

    /// Returns the configured schema, if any.
    pub(crate) fn schema(&self) -> Option<&str> {
        match self {
            Self::Postgres(_, schema) => schema.as_deref(),
            Self::Sqlite { .. } => None,
        }
    }

    /// Returns the path of the SQLite file, or `None` for PostgreSQL.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite { readers, .. } => Some(readers.connect_options().get_filename().to_owned()),
            Self::Postgres(..) => None,
        }
    }

    /// Returns a table name, qualified and quoted for use in statements.
    pub(crate) fn table(&self, name: &str) -> String {
        self.dialect().qualified(self.schema(), name)
    }

    /// Runs a query. The batches have the declared columns in this order. Nothing runs before the first poll.
    pub(crate) fn query(&self, sql: String, columns: Vec<ReadColumn>) -> Batches {
        tracing::debug!(sql, "query");
        match self {
            Self::Sqlite { readers, .. } => query_sqlite(readers.clone(), sql, columns),
            Self::Postgres(pool, _) => query_postgres(pool.clone(), sql, columns),
        }
    }

    /// Runs a query with a small result and returns one batch.
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn rows(&self, sql: String, columns: Vec<ReadColumn>) -> Result<RecordBatch> {
        let schema = arrow_schema(&columns);
        let batches: Vec<_> = self.query(sql, columns).try_collect().await?;
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Estimates the number of rows of a table without counting them. The table name is as returned by [`Conn::table`].
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn estimated_rows(&self, table: &str) -> Result<Option<usize>> {
        let rows =
            self.rows(self.dialect().estimated_rows(table), vec![ReadColumn::plain("rows", ColumnType::Int)]).await?;
        Ok(i64_values(&rows, 0).first().and_then(|rows| usize::try_from(*rows).ok()))
    }

    /// Runs `ANALYZE` on the PostgreSQL tables that have grown more than tenfold since their last statistics. With
    /// stale statistics, foreign key checks and dataset searches may scan all rows of an instrument or run.
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn analyze_grown_tables(&self) -> Result<()> {
        let Self::Postgres(pool, schema) = self else { return Ok(()) };
        let schema = schema.as_ref().map_or_else(
            || "current_schema()::regnamespace".to_owned(),
            |name| format!("to_regnamespace({})", self.dialect().text(&self.dialect().quote(name))),
        );
        let sql = format!(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = {schema} \
             AND pg_relation_size(oid) > 10 * relpages::bigint * current_setting('block_size')::bigint"
        );
        let names = string_values(&self.rows(sql, vec![ReadColumn::plain("name", ColumnType::Text(None))]).await?, 0);
        if !names.is_empty() {
            let mut conn = pool.acquire().await?;
            sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {}", names.join(", ")))).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// Begins a write transaction.
    ///
    /// # Errors
    /// `Kind::Busy` when another statement holds the SQLite write connection for too long; other database errors.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(begin_sqlite(writer).await.map_err(|e| {
                let file = writer.connect_options().get_filename().display().to_string();
                let error = match e {
                    sqlx::Error::PoolTimedOut => Error::new(Kind::Busy, "another statement is still writing"),
                    other => other.into(),
                };
                error.context(format_args!("writing to the registry database '{file}'"))
            })?),
            Self::Postgres(pool, schema) => {
                Tx::Postgres(Transaction::begin(pool.acquire().await?, None).await?, schema.clone())
            }
        })
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.end_writing().await;
        match self {
            Self::Sqlite { readers, .. } => readers.close().await,
            Self::Postgres(pool, _) => pool.connections().close().await,
        }
    }

    /// Waits until no SQLite transaction is open; abandoned transactions are rolled back. No transaction can begin
    /// afterwards. A PostgreSQL server rolls back by itself.
    pub(crate) async fn end_writing(&self) {
        if let Self::Sqlite { writer, .. } = self {
            writer.close().await;
        }
    }
}

/// Begins a transaction on the write connection. When SQLite has rolled back a transaction by itself (the disk was
/// full), sqlx still counts it as open, so the connection is replaced.
async fn begin_sqlite(writer: &SqlitePool) -> sqlx::Result<Transaction<'static, sqlx::Sqlite>> {
    const BEGIN: &str = "BEGIN IMMEDIATE";
    match writer.begin_with(BEGIN).await {
        Err(sqlx::Error::InvalidSavePointStatement) => {
            drop(writer.acquire().await?.detach());
            writer.begin_with(BEGIN).await
        }
        begun => begun,
    }
}

/// Streams the batches of a task. A task that panics or is cancelled yields an error instead of a silent end.
fn sent(receiver: Receiver<Result<RecordBatch>>, task: JoinHandle<()>) -> impl Stream<Item = Result<RecordBatch>> {
    let batches = stream::unfold(receiver, |mut r| async { r.recv().await.map(|item| (item, r)) });
    let lost = async { task.await.err().map(|e| Err(Error::bug(format!("reading the registry failed: {e}")))) };
    batches.chain(stream::once(lost).filter_map(std::future::ready))
}

fn query_sqlite(pool: SqlitePool, sql: String, columns: Vec<ReadColumn>) -> Batches {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let start = async move {
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            let work = || -> Result<()> {
                let mut conn = runtime.block_on(pool.acquire())?;
                let mut handle = runtime.block_on(conn.lock_handle())?;
                // Ends a query without a receiver, even while it finds no rows.
                let listener = sender.downgrade();
                handle
                    .set_progress_handler(STEPS, move || listener.upgrade().is_some_and(|sender| !sender.is_closed()));
                let done =
                    sqlite::read(&mut handle, &sql, &columns, &mut |batch| sender.blocking_send(Ok(batch)).is_ok());
                handle.remove_progress_handler();
                done
            };
            if let Err(error) = work() {
                // A closed receiver is not an error.
                let _ = sender.blocking_send(Err(error));
            }
        });
        sent(receiver, task)
    };
    stream::once(start).flatten().boxed()
}

fn query_postgres(pool: Pool, sql: String, columns: Vec<ReadColumn>) -> Batches {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let start = async move {
        let task = tokio::spawn(async move {
            let mut conn = match pool.acquire().await {
                Ok(conn) => conn,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            let work = async {
                let pieces = conn.copy_out_raw(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)")).await?;
                deliver(decoded(pieces, columns), &pool, &sender).await
            };
            let done = tokio::select! {
                done = work => done,
                () = sender.closed() => Ok(Delivered::Unwanted),
            };
            match done {
                Ok(Delivered::All) => {}
                Ok(Delivered::Rest(rows)) => {
                    drop(conn);
                    send_rest(&rows, &sender).await;
                }
                // The receiver is gone: closing the connection makes the server stop.
                Ok(Delivered::Unwanted) => drop(conn.detach()),
                // The connection may hold the rest of the server's response, so it is not reused.
                Err(error) => {
                    drop(conn.detach());
                    drop(sender.send(Err(error)).await);
                }
            }
        });
        sent(receiver, task)
    };
    stream::once(start).flatten().boxed()
}

/// How far the rows of a query were delivered.
enum Delivered {
    /// All rows were delivered.
    All,
    /// The remaining rows, buffered so that the connection could be returned to the pool.
    Rest(Box<SpillBuffer>),
    /// The receiver is gone.
    Unwanted,
}

/// Sends rows as the receiver accepts them. When another query of the session waits for a connection, reads the
/// remaining rows at once.
async fn deliver(
    mut batches: BoxStream<'_, Result<RecordBatch>>,
    pool: &Pool,
    sender: &Sender<Result<RecordBatch>>,
) -> Result<Delivered> {
    while let Some(batch) = batches.try_next().await? {
        tokio::select! {
            biased;
            room = sender.reserve() => match room {
                Ok(room) => room.send(Ok(batch)),
                Err(_) => return Ok(Delivered::Unwanted),
            },
            () = pool.wanted() => {
                let mut rest = SpillBuffer::from(batch);
                while let Some(batch) = batches.try_next().await? {
                    rest.push(batch)?;
                }
                return Ok(Delivered::Rest(Box::new(rest)));
            }
        }
    }
    Ok(Delivered::All)
}

async fn send_rest(rows: &SpillBuffer, sender: &Sender<Result<RecordBatch>>) {
    let batches = match rows.batches() {
        Ok(batches) => batches,
        Err(error) => return drop(sender.send(Err(error)).await),
    };
    for batch in batches {
        if sender.send(batch).await.is_err() {
            return;
        }
    }
}
