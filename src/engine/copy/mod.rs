//! COPY to files.

pub mod copy_options;
pub mod delimited;
pub mod target;
