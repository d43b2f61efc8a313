//! Everything that needs the whole program, and the servers it talks to.
//!
//! `cargo test --test it NAME…` runs the tests whose names contain one of the words. A test that lacks a server is
//! reported as ignored.

/// Registers a test, which stands as `#[apply(test!)]` above its function.
macro_rules! test {
    ($(#[$attribute:meta])* async fn $name:ident() $body:block) => {
        test! {
            $(#[$attribute])*
            fn $name() {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async $body);
            }
        }
    };
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        $(#[$attribute])*
        fn $name() $body

        inventory::submit!(crate::Test { module: module_path!(), name: stringify!($name), run: $name });
    };
}

mod calibrations;
mod campaign;
mod checks;
mod cli;
mod curated;
mod dependencies;
mod effects;
mod errors;
mod expressions;
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
mod removal;
mod rucio;
mod rucio_outcomes;
mod rucio_raws;
mod rucio_replay;
mod rucio_wire;
mod sky;
mod statements;
mod tables;
mod transfer;
mod visits;
mod webdav;
mod world;
mod zips;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::world::take_skipped;

/// A registered test.
struct Test {
    module: &'static str,
    name: &'static str,
    run: fn(),
}

inventory::collect!(Test);

impl Test {
    /// The name as in `cargo test -- --list` of the built-in harness.
    fn name(&self) -> String {
        format!("{}::{}", self.module.split_once("::").map_or(self.module, |(_, module)| module), self.name)
    }

    fn trial(&'static self) -> Trial {
        Trial::ignorable_test(self.name(), move || {
            take_skipped();
            (self.run)();
            Ok(take_skipped().map_or(Completion::Completed, Completion::ignored_with))
        })
    }
}

/// Options of the harness that take the next argument as their value.
const WITH_VALUE: [&str; 5] = ["--skip", "--test-threads", "--format", "--logfile", "--color"];

/// Takes the names out of the arguments: libtest-mimic knows one, `cargo test` several.
fn split_names(mut arguments: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let (mut names, mut others) = (Vec::new(), Vec::from_iter(arguments.next()));
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            others.push(argument);
            others.extend(arguments.next());
        } else if argument.starts_with('-') {
            others.push(argument);
        } else {
            names.push(argument);
        }
    }
    (names, others)
}

fn main() -> ExitCode {
    let (names, others) = split_names(std::env::args());
    let arguments = Arguments::from_iter(others);
    let is_named = |test: &&Test| {
        let matches = |name: &String| if arguments.exact { test.name() == *name } else { test.name().contains(name) };
        names.is_empty() || names.iter().any(matches)
    };
    let mut tests: Vec<&Test> = inventory::iter::<Test>.into_iter().filter(is_named).collect();
    tests.sort_by_key(|test| test.name());
    libtest_mimic::run(&arguments, tests.into_iter().map(Test::trial).collect()).exit_code()
}
