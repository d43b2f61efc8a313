//! The dependencies have licences that `deny.toml` allows, and there is one version of what batches pass through.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use macro_rules_attribute::apply;

/// The strings in quotes between two lines of `deny.toml`.
fn quoted<'a>(text: &'a str, from: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(from).expect("a section");
    let list = rest.split("\n]").next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether a licence expression can be satisfied by allowed licences.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.replace('/', " OR ");
    let plain = expression.replace(['(', ')'], " ");
    let every = plain.split(" AND ");
    every.into_iter().all(|one| one.split(" OR ").any(|licence| allowed.contains(&licence.trim())))
}

#[apply(test!)]
fn licences_are_allowed_and_versions_unique() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deny = std::fs::read_to_string(top.join("deny.toml")).expect("deny.toml");
    let (allowed, single) = (quoted(&deny, "allow = ["), quoted(&deny, "deny = ["));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]);
    let output = cargo.current_dir(top).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100 && allowed.len() > 5 && single.len() > 3);
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{name} has the licence '{licence}'");
        versions.entry(name).or_default().push(package["version"].as_str().unwrap_or_default());
    }
    for name in single {
        assert_eq!(versions.get(name).map_or(0, Vec::len), 1, "{name} {:?}", versions.get(name));
    }
}
