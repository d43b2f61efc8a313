//! COPY to files.

pub mod spelling;
pub mod target;
