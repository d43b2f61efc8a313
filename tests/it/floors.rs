//! A room uses lower floors only, and none beside it.

use std::collections::BTreeMap;
use std::path::Path;

/// Rooms from the ground up; see `src/lib.rs`.
const FLOORS: [&[&str]; 8] = [
    &["error", "progress"],
    &["sphere"],
    &["model"],
    &["universe", "instrument", "format"],
    &["registry", "store"],
    &["repo"],
    &["engine"],
    &["cli"],
];

fn files(dir: &Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src is there") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, all),
            false if path.extension().is_some_and(|e| e == "rs") => all.push(path),
            false => {}
        }
    }
}

#[test]
fn nothing_climbs() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().zip(0..).flat_map(|(rooms, at)| rooms.iter().map(move |room| (*room, at))).collect();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut climbs = Vec::new();
    let mut seen = 0;
    for path in all {
        let name = path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
        let room = name.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some(own) = floor.get(room) else { continue };
        let text = std::fs::read_to_string(&path).expect("a readable file");
        for used in text.split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(other) = floor.get(used.as_str()) else { continue };
            seen += 1;
            if used != room && other >= own {
                climbs.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(seen > 100, "only {seen} uses were found: the test is blind");
    assert!(climbs.is_empty(), "{climbs:#?}");
}

#[test]
fn sql_for_databases_and_the_terminal_keep_their_rooms() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut wrong = Vec::new();
    for path in all {
        let name = path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let prints = ["println!", "eprintln!", "print!("].iter().any(|p| code.contains(p));
        if prints && !name.starts_with("cli/") {
            wrong.push(format!("{name} prints"));
        }
        if code.contains("Dialect::") && !name.starts_with("registry/") && !name.starts_with("engine/pushdown") {
            wrong.push(format!("{name} knows the databases apart"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
