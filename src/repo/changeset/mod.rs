//! Changes of a repository: what an operation plans, and the applier that writes it.

pub mod applier;
pub mod change;
pub mod comparison;
pub mod input_rows;
