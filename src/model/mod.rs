//! The nouns of the Butler as plain values, and what can be decided about them without asking anyone.

pub mod collection;
pub mod dataset;
pub mod glob;
pub mod leap_seconds;
pub mod python_json;
pub mod time;
