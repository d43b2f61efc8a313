//! A room uses lower floors only, and none beside it.

use std::collections::BTreeMap;
use std::path::Path;

use macro_rules_attribute::apply;

/// Rooms from the ground up; see `src/lib.rs`.
const FLOORS: [&[&str]; 8] = [
    &["error", "progress"],
    &["sphere"],
    &["model"],
    &["universe", "instrument", "format", "net"],
    &["registry", "store", "rucio"],
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

#[apply(test!)]
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

#[apply(test!)]
fn sql_for_databases_and_the_terminal_keep_their_rooms() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut wrong = Vec::new();
    for path in all {
        let name = path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let mut statements = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let prints = statements.any(|line| ["println!", "eprintln!", "print!("].iter().any(|p| line.contains(p)));
        if prints && !name.starts_with("cli/") {
            wrong.push(format!("{name} prints"));
        }
        if code.contains("Dialect::") && !name.starts_with("registry/") && !name.starts_with("engine/pushdown") {
            wrong.push(format!("{name} knows the databases apart"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Files of one room that depend on each other, and why.
const CIRCLES: [(&str, &str, &str); 4] = [
    ("cli::commands", "cli::runner", "commands run scripts, and scripts run commands"),
    ("sphere::circle", "sphere::lonlat_box", "relations of two shapes are computed by either"),
    ("sphere::htm", "sphere::region", "a pixel is a region, and a region has an envelope of pixels"),
    ("store::webdav::failure", "store::webdav::send", "a failure names its request, and sending retries failures"),
];

/// The source files by the path of their module, with their text without tests.
fn modules() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let module = |path: std::path::PathBuf| {
        let name = path.strip_prefix(&src).expect("below src").with_extension("").to_string_lossy().replace('/', "::");
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (name.trim_end_matches("::mod").to_owned(), code)
    };
    all.into_iter().map(module).collect()
}

/// The paths of a tree as in `use`: `a::{b, c::{d}}`.
fn paths(prefix: &str, tree: &str, all: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        all.push(format!("{prefix}{}", tree.split(" as ").next().unwrap_or_default().trim()));
        return;
    };
    let head = format!("{prefix}{}", head.trim());
    let (mut depth, mut part) = (0, String::new());
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                paths(&head, part.trim(), all);
                part.clear();
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    if !part.trim().is_empty() {
        paths(&head, part.trim(), all);
    }
}

/// The modules that a module uses.
fn used(module: &str, code: &str, known: &BTreeMap<String, String>) -> Vec<String> {
    let mut all = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let is_tree = code[..at].trim_end().ends_with("use");
        let end = if is_tree {
            code[at..].find(';')
        } else {
            code[at..].find(|c: char| !c.is_alphanumeric() && !"_:".contains(c))
        };
        paths("", &code[at..at + end.unwrap_or(0)], &mut all);
    }
    let full = |path: &String| {
        let mut base: Vec<&str> = Vec::new();
        let mut rest = path.as_str();
        if let Some(own) = rest.strip_prefix("crate::") {
            rest = own;
        } else {
            base = module.split("::").collect();
            while let Some(up) = rest.strip_prefix("super::") {
                base.pop();
                rest = up;
            }
        }
        let mut parts: Vec<&str> = base.into_iter().chain(rest.split("::")).collect();
        while !parts.is_empty() && !known.contains_key(&parts.join("::")) {
            parts.pop();
        }
        parts.join("::")
    };
    all.iter().map(full).filter(|found| found != module && !found.is_empty()).collect()
}

#[apply(test!)]
fn files_of_a_room_do_not_depend_on_each_other() {
    let all = modules();
    let uses: BTreeMap<&String, Vec<String>> = all.iter().map(|(name, code)| (name, used(name, code, &all))).collect();
    assert!(uses.values().flatten().count() > 500, "the test finds few uses");
    let mut pairs = Vec::new();
    for (one, others) in &uses {
        let is_sibling =
            |other: &str| !one.starts_with(&format!("{other}::")) && !other.starts_with(&format!("{one}::"));
        for other in others.iter().filter(|other| *other > *one && is_sibling(other)) {
            if uses.get(other).is_some_and(|back| back.contains(one)) {
                pairs.push((one.as_str(), other.as_str()));
            }
        }
    }
    pairs.dedup();
    let listed: Vec<_> = CIRCLES.iter().map(|(one, other, _)| (*one, *other)).collect();
    assert_eq!(pairs, listed);
}

#[apply(test!)]
fn sql_text_is_made_by_the_registry_and_the_engine() {
    let rooms = ["error", "progress", "sphere", "model", "universe", "instrument", "format", "store", "repo"];
    let all = modules();
    let below = all.iter().filter(|(name, _)| rooms.contains(&name.split("::").next().unwrap_or_default()));
    let wrong: Vec<_> = below.filter(|(_, code)| code.contains("SELECT ")).map(|(name, _)| name).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[apply(test!)]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    let mut lengths = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    for path in all {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > 400 {
            long.push(format!("{}: {} lines", path.display(), lines.len()));
        }
        for (at, line) in lines.iter().enumerate() {
            let is_word =
                |word: &str| word.starts_with("pub") || word.ends_with(')') || ["async", "const"].contains(&word);
            let is_function = line.split_once("fn ").is_some_and(|(before, _)| before.split_whitespace().all(is_word));
            if !is_function || line.ends_with(';') {
                continue;
            }
            let end = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
            let length = lines[at..].iter().position(|line| *line == end).map_or(1, |length| length + 1);
            lengths.push(length);
            if length > 80 && !line.ends_with('}') {
                long.push(format!("{}:{}: a function of {length} lines", path.display(), at + 1));
            }
        }
    }
    lengths.sort_unstable();
    assert!(lengths.len() > 1000, "the test finds few functions");
    assert!(long.is_empty(), "{long:#?}");
    let p99 = lengths[lengths.len() * 99 / 100];
    assert!(p99 <= 60, "one of a hundred functions has more than {p99} lines");
}
