//! COPY … TO: options, delimited text, and staged files.

pub mod copy_options;
pub mod delimited;
pub mod target;
