//! Connections to PostgreSQL: waited for while the server has none to give, and given back when others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::sync::Notify;

use crate::error::{Error, Kind, Result};

/// How long a connection is waited for while the server has none to give.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long one is waited for before others of the pool are asked to give theirs back.
const YIELD_WINDOW: Duration = Duration::from_millis(500);
/// How often a connection that was given back is looked for.
const STEP: Duration = Duration::from_millis(50);

/// The connections of one session, and how many of its tasks wait for one.
///
/// A query whose rows nobody takes yet holds its connection; where the server has no other, the one who should take them
/// may be waiting for a connection itself. Then the query reads its rows to the end and gives its connection back.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: PgPool,
    demand: Arc<Demand>,
}

#[derive(Debug, Default)]
struct Demand {
    waiting: AtomicUsize,
    changed: Notify,
}

/// One more who waits, as long as this lives.
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

/// Whether a server says that it has no connection to give.
pub fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("53300"))
}

impl Pool {
    /// Of these connections.
    pub fn new(connections: PgPool) -> Self {
        Self { connections, demand: Arc::default() }
    }

    /// The connections.
    pub fn connections(&self) -> &PgPool {
        &self.connections
    }

    /// Waits until somebody waits for a connection.
    pub async fn wanted(&self) {
        loop {
            let changed = self.demand.changed.notified();
            if self.demand.waiting.load(Ordering::SeqCst) > 0 {
                return;
            }
            changed.await;
        }
    }

    /// A connection.
    ///
    /// # Errors
    /// The server is out of reach, or has had no connection to give for some minutes.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>> {
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
                    // One that connects does not see what is given back meanwhile.
                    if let Some(connection) = self.connections.try_acquire() {
                        return Ok(connection);
                    }
                }
            }
        }
    }

    /// Tells a server that is full, which is waited for, from one that is gone.
    async fn check_reachable(&self) -> Result<()> {
        match PgConnection::connect_with(&self.connections.connect_options()).await {
            Ok(connection) => drop(connection.close().await),
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
