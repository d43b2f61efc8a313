//! The database of a registry: Arrow out, Arrow in. Two arms, four verbs: query, insert, execute, begin.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use super::dialect::Dialect;
use super::insert::Insert;
use super::open::BEGIN_TO_WRITE;
use super::postgres::{Decoder, encode};
use super::schema::{Kind, Scanned, Table, arrow_schema};
use super::{ints, sqlite, texts};
use crate::error::{Error, Kind as ErrorKind, Result};

/// Batches as they come from the database.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Steps of SQLite's machine between two looks whether anybody still listens.
const STEPS: i32 = 100_000;

/// From how many rows on an insert is first tried as if all of them were new.
const LIKELY_NEW: usize = 64;

/// Up to how many rows an insert is one statement with literals.
const FEW: usize = 16;

/// A pool of connections to the database of a registry.
#[derive(Debug, Clone)]
pub enum Conn {
    /// A file.
    Sqlite(SqlitePool),
    /// A server, and the schema ("namespace") that was configured.
    Postgres(PgPool, Option<String>),
}

/// A write transaction; rolled back when dropped before [`Tx::commit`].
pub enum Tx {
    /// Begun with `BEGIN IMMEDIATE`, as the Butler does.
    Sqlite(Transaction<'static, Sqlite>),
    /// At the server's default level, READ COMMITTED.
    Postgres(Transaction<'static, Postgres>, Option<String>),
}

/// Where a small question goes: to the database as it is, or as a transaction sees it.
pub enum Source<'a> {
    /// Any connection.
    Conn(&'a Conn),
    /// Inside a transaction.
    Tx(&'a mut Tx),
}

impl Source<'_> {
    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Conn(conn) => conn.dialect(),
            Self::Tx(tx) => tx.dialect(),
        }
    }

    /// The schema that was configured, if any.
    pub fn schema(&self) -> Option<&str> {
        match self {
            Self::Conn(conn) => conn.schema(),
            Self::Tx(tx) => tx.schema(),
        }
    }

    /// A table's name as statements must write it.
    pub fn table(&self, name: &str) -> String {
        match self {
            Self::Conn(conn) => conn.table(name),
            Self::Tx(tx) => tx.table(name),
        }
    }

    /// Runs a query whose answer is small, as one batch.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rows(&mut self, sql: String, columns: &[Scanned]) -> Result<RecordBatch> {
        match self {
            Self::Conn(conn) => conn.rows(sql, columns.to_vec()).await,
            Self::Tx(tx) => tx.rows(sql, columns).await,
        }
    }
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

impl Conn {
    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(..) => Dialect::Postgres,
        }
    }

    /// Whether it is the same pool, perhaps held by another.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(own), Self::Sqlite(other)) => {
                std::sync::Arc::ptr_eq(&own.connect_options(), &other.connect_options())
            }
            (Self::Postgres(own, _), Self::Postgres(other, _)) => {
                std::sync::Arc::ptr_eq(&own.connect_options(), &other.connect_options())
            }
            _ => false,
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
        qualified(self.dialect(), self.schema(), name)
    }

    /// Runs a query; its columns come out as declared, in this order. Nothing happens before the first poll.
    pub fn query(&self, sql: String, columns: Vec<Scanned>) -> Batches {
        tracing::debug!(sql, "query");
        match self {
            Self::Sqlite(pool) => query_sqlite(pool.clone(), sql, columns),
            Self::Postgres(pool, _) => query_postgres(pool.clone(), sql, columns),
        }
    }

    /// Runs a query whose answer is small, as one batch.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rows(&self, sql: String, columns: Vec<Scanned>) -> Result<RecordBatch> {
        let schema = arrow_schema(&columns);
        let batches: Vec<_> = self.query(sql, columns).try_collect().await?;
        Ok(concat_batches(&schema, &batches)?)
    }

    /// About how many rows a table has, as the database knows without counting; [`Conn::table`] gives its name.
    ///
    /// # Errors
    /// What the database says.
    pub async fn about(&self, table: &str) -> Result<Option<usize>> {
        let rows = self.rows(self.dialect().about(table), vec![Scanned::plain("rows", Kind::Int)]).await?;
        Ok(ints(&rows, 0).first().and_then(|rows| usize::try_from(*rows).ok()))
    }

    /// Has PostgreSQL count the rows of tables that were empty when it last did. Until then it may look through all
    /// rows of an instrument whenever it checks a reference.
    ///
    /// # Errors
    /// What the database says.
    pub async fn count_new(&self) -> Result<()> {
        let Self::Postgres(pool, schema) = self else { return Ok(()) };
        let schema = schema.as_ref().map_or_else(
            || "current_schema()::regnamespace".to_owned(),
            |name| format!("to_regnamespace({})", self.dialect().text(&self.dialect().quote(name))),
        );
        let sql = format!(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relpages = 0 \
             AND relnamespace = {schema} AND pg_relation_size(oid) > 0"
        );
        let names = texts(&self.rows(sql, vec![Scanned::plain("name", Kind::Text(None))]).await?, 0);
        if !names.is_empty() {
            sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {}", names.join(", ")))).execute(pool).await?;
        }
        Ok(())
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// What the database says: another writer holding the lock too long.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin_with(BEGIN_TO_WRITE).await.map_err(|e| {
                let file = pool.connect_options().get_filename().display().to_string();
                Error::from(e).context(format_args!("writing to the registry database '{file}'"))
            })?),
            Self::Postgres(pool, schema) => Tx::Postgres(pool.begin().await?, schema.clone()),
        })
    }

    /// Lets go of all connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool, _) => pool.close().await,
        }
    }
}

pub(super) fn qualified(dialect: Dialect, schema: Option<&str>, name: &str) -> String {
    match schema {
        Some(schema) => format!("{}.{}", dialect.quote(schema), dialect.quote(name)),
        None => dialect.quote(name),
    }
}

fn query_sqlite(pool: SqlitePool, sql: String, columns: Vec<Scanned>) -> Batches {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let start = async move {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let work = || -> Result<()> {
                let mut conn = runtime.block_on(pool.acquire())?;
                let mut handle = runtime.block_on(conn.lock_handle())?;
                // A query nobody waits for any more ends, also while it finds no row.
                let listener = sender.clone();
                handle.set_progress_handler(STEPS, move || !listener.is_closed());
                let done =
                    sqlite::read(&mut handle, &sql, &columns, &mut |batch| sender.blocking_send(Ok(batch)).is_ok());
                handle.remove_progress_handler();
                done
            };
            if let Err(error) = work() {
                // Nobody listening any more is no error.
                let _ = sender.blocking_send(Err(error));
            }
        });
        futures::stream::unfold(receiver, |mut r| async { r.recv().await.map(|item| (item, r)) })
    };
    futures::stream::once(start).flatten().boxed()
}

fn query_postgres(pool: PgPool, sql: String, columns: Vec<Scanned>) -> Batches {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let start = async move {
        tokio::spawn(async move {
            let mut conn = match pool.acquire().await {
                Ok(conn) => conn,
                Err(error) => return drop(sender.send(Err(error.into())).await),
            };
            let work = async {
                let pieces = conn.copy_out_raw(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)")).await?;
                let mut batches = decoded(pieces, columns);
                while let Some(batch) = batches.try_next().await? {
                    if sender.send(Ok(batch)).await.is_err() {
                        return Ok(false);
                    }
                }
                Ok::<_, Error>(true)
            };
            let done = tokio::select! {
                done = work => done,
                () = sender.closed() => Ok(false),
            };
            match done {
                Ok(true) => {}
                // Nobody waits any more: without its connection the server stops.
                Ok(false) => drop(conn.detach()),
                // What the server has still to say is not for the next query.
                Err(error) => {
                    drop(conn.detach());
                    drop(sender.send(Err(error)).await);
                }
            }
        });
        futures::stream::unfold(receiver, |mut r| async { r.recv().await.map(|item| (item, r)) })
    };
    futures::stream::once(start).flatten().boxed()
}

/// Pieces of a COPY stream as batches.
fn decoded<'a>(
    pieces: BoxStream<'a, sqlx::Result<bytes::Bytes>>,
    columns: Vec<Scanned>,
) -> BoxStream<'a, Result<RecordBatch>> {
    let state = (pieces, Some(Decoder::new(&columns)));
    futures::stream::try_unfold(state, |(mut pieces, decoder)| async move {
        let Some(mut decoder) = decoder else { return Ok(None) };
        match pieces.next().await {
            Some(piece) => {
                let full = decoder.feed(&piece.map_err(Error::from)?)?;
                Ok::<_, Error>(Some((full, (pieces, Some(decoder)))))
            }
            None => Ok(Some((decoder.finish()?.into_iter().collect(), (pieces, None)))),
        }
    })
    .map_ok(|batches: Vec<RecordBatch>| futures::stream::iter(batches.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
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
        qualified(self.dialect(), self.schema(), name)
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
    pub async fn rows(&mut self, sql: String, columns: &[Scanned]) -> Result<RecordBatch> {
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
    pub async fn insert(&mut self, table: &Table, batch: &RecordBatch, conflict: OnConflict) -> Result<u64> {
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

    /// A few rows as literals; more by COPY: straight into the table where no row can be in the way, or none is likely
    /// to be, else through a staging table.
    async fn insert_postgres(&mut self, insert: &Insert, table: &Table, batch: &RecordBatch) -> Result<u64> {
        if batch.num_rows() <= FEW
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
                Err(error) if error.kind() == ErrorKind::Conflict => {
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
