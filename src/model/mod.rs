//! Plain values of the Butler: collections, dataset types, times and name patterns, without access to a repository.

pub(crate) mod calendar;
pub(crate) mod collection;
pub(crate) mod dataset;
pub(crate) mod glob;
pub(crate) mod leap_seconds;
pub(crate) mod python_json;
pub(crate) mod time;
pub(crate) mod zip_member;
