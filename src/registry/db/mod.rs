//! Connections to SQLite and PostgreSQL: record batches in, record batches out, and what differs between the two.

pub(crate) mod conn;
mod credentials;
pub(crate) mod dialect;
pub(crate) mod insert;
pub(crate) mod open;
mod pool;
mod postgres;
pub(crate) mod predicates;
pub(crate) mod rows;
pub(crate) mod spill;
mod sqlite;
pub(crate) mod tx;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;

use crate::error::Result;

/// A stream of record batches from the database.
pub(crate) type Batches = BoxStream<'static, Result<RecordBatch>>;
