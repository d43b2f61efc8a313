//! Connections to SQLite and PostgreSQL: record batches in, record batches out, and what differs between the two.

pub mod conn;
mod credentials;
pub mod dialect;
pub mod insert;
pub mod open;
mod pool;
mod postgres;
pub mod predicates;
pub mod rows;
pub mod spill;
mod sqlite;
pub mod tx;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;

use crate::error::Result;

/// A stream of record batches from the database.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;
