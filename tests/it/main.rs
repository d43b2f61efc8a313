//! Everything that needs the whole program, and the servers it talks to.

mod campaign;
mod checks;
mod cli;
mod curated;
mod dependencies;
mod errors;
mod faults;
mod floors;
mod golden;
mod imports;
mod interop;
mod kills;
mod once;
mod public_api;
mod pushdown;
mod readme;
mod reference;
mod sky;
mod statements;
mod tables;
mod visits;
mod webdav;
mod world;
