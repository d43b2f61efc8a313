//! Plain values of the Butler: collections, dataset types, times and name patterns, without access to a repository.

pub mod calendar;
pub mod collection;
pub mod dataset;
pub mod glob;
pub mod leap_seconds;
pub mod python_json;
pub mod time;
