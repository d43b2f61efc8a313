//! COPY to files.

pub mod delimited;
pub mod spelling;
pub mod target;
