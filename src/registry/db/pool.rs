//! A pool of PostgreSQL connections that waits while the server has none free, and asks queries to release theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::sync::Notify;

use crate::error::{Error, Kind, Result};

/// How long to wait for a connection while the server has reached its limit.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait before other queries of the pool are asked to release their connections.
const YIELD_WINDOW: Duration = Duration::from_millis(500);
/// Interval between two checks for a released connection.
const STEP: Duration = Duration::from_millis(50);

/// The connections of one session, and the number of tasks that wait for one.
///
/// A query whose rows are not consumed yet holds its connection. When the server has no other connection, the consumer
/// itself may be waiting for one. The query then reads its remaining rows and releases its connection.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    connections: PgPool,
    demand: Arc<Demand>,
}

#[derive(Debug, Default)]
struct Demand {
    waiting: AtomicUsize,
    changed: Notify,
}

/// Counts one waiting task until it is dropped.
struct Waiting<'a>(&'a Demand);

impl Demand {
    fn more(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        Waiting(self)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns true if the server has reached its connection limit.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("53300"))
}

impl Pool {
    /// Creates a pool on these connections.
    pub(crate) fn new(connections: PgPool) -> Self {
        Self { connections, demand: Arc::default() }
    }

    /// Returns the underlying sqlx pool.
    pub(crate) fn connections(&self) -> &PgPool {
        &self.connections
    }

    /// Waits until a task waits for a connection.
    pub(crate) async fn wanted(&self) {
        loop {
            let changed = self.demand.changed.notified();
            if self.demand.waiting.load(Ordering::SeqCst) > 0 {
                return;
            }
            changed.await;
        }
    }

    /// Acquires a connection.
    ///
    /// # Errors
    /// `Kind::Unreachable` when the server cannot be reached or has had no free connection for 5 minutes.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>> {
        let begun = Instant::now();
        let mut acquiring = Box::pin(self.connections.acquire());
        let mut waiting = None;
        loop {
            tokio::select! {
                acquired = &mut acquiring => match acquired {
                    Err(sqlx::Error::PoolTimedOut) => {
                        self.check_reachable().await?;
                        if begun.elapsed() > ACQUIRE_TIMEOUT {
                            let message = "the database server has had no free connection for 5 minutes";
                            return Err(Error::new(Kind::Unreachable, message));
                        }
                        acquiring = Box::pin(self.connections.acquire());
                    }
                    acquired => return Ok(acquired?),
                },
                () = tokio::time::sleep(if waiting.is_some() { STEP } else { YIELD_WINDOW }) => {
                    waiting.get_or_insert_with(|| self.demand.more());
                    // A task that is connecting does not notice released connections.
                    if let Some(connection) = self.connections.try_acquire() {
                        return Ok(connection);
                    }
                }
            }
        }
    }

    /// Checks that the server is reachable; a server that has reached its connection limit is.
    async fn check_reachable(&self) -> Result<()> {
        match PgConnection::connect_with(&self.connections.connect_options()).await {
            Ok(connection) => drop(connection.close().await),
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
