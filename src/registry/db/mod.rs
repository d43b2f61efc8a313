//! Connections to SQLite and PostgreSQL: record batches in, record batches out, and what differs between the two.

pub mod conn;
mod credentials;
pub mod dialect;
mod insert;
pub mod open;
mod pool;
mod postgres;
pub mod rows;
pub mod spill;
mod sqlite;
pub mod tx;
