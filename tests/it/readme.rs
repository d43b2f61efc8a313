//! What the README claims is so.

use std::path::Path;

use macro_rules_attribute::apply;

use crate::world::{program, run};

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md")
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[apply(test!)]
fn the_demo_prints_what_the_readme_shows_and_its_queries_run() {
    let readme = readme();
    let home = tempfile::tempdir().expect("a temporary folder");
    let out = run(program().current_dir(home.path()).arg("demo")).ok();
    let shown = blocks(&readme, "text");
    assert!(!shown.is_empty(), "the README shows no output");
    for block in shown {
        assert!(out.contains(block.trim()), "the demo does not print:\n{block}\nbut\n{out}");
    }
    let queries = blocks(&readme, "sql");
    assert!(queries.len() >= 2, "the README shows no SQL");
    for sql in queries {
        run(program().current_dir(home.path()).args(["butlersql-demo/repo", "--write", "-c", sql])).ok();
    }
}

#[apply(test!)]
fn the_two_commands_are_those_of_ci() {
    let commands: Vec<String> = blocks(&readme(), "sh").iter().flat_map(|b| b.lines()).map(str::to_owned).collect();
    assert!(commands.contains(&"cargo run -- demo".to_owned()), "{commands:?}");
    assert!(commands.contains(&"bash tests/run.sh".to_owned()), "{commands:?}");
    let ci = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run")).expect(".ci/run");
    assert!(ci.contains("-- demo") && ci.contains("bash tests/run.sh"));
}
