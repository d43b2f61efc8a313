//! Rucio, the catalogue of files at all sites: a client of its REST interface.
//!
//! The client is configured by the files and variables of the original one. It reads lists as streams, retries what
//! another attempt may fix, and never cuts an answer short silently.

pub(crate) mod catalog;
mod client;
pub(crate) mod did;
mod login;
mod refusal;
pub(crate) mod registration;
pub(crate) mod replicas;
pub(crate) mod rses;
pub(crate) mod rules;
mod settings;
mod token_cache;

pub(crate) use self::client::Client;
