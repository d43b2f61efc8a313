//! `public-api.txt` lists the public items of the crate, so that a change of the public API is seen in review. The lint
//! `unreachable_pub` ensures that an item with `pub` is public. `UPDATE=1` writes the list again.

use std::path::Path;

use macro_rules_attribute::apply;

/// What `butlersql::internal` exports for tests.
const INTERNAL: [&str; 4] = ["format/", "sphere/", "store/webdav/", "engine/functions/reference.rs"];

fn declarations(folder: &Path, src: &Path, all: &mut Vec<String>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).expect("src").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            declarations(&path, src, all);
            continue;
        }
        let name = path.strip_prefix(src).expect("below src").to_string_lossy().into_owned();
        if !name.ends_with(".rs") || INTERNAL.iter().any(|internal| name.starts_with(internal)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with("pub ")) {
            // Fields of types that are not public are marked too.
            let is_item = ["fn ", "async ", "const ", "use "].iter().any(|word| line.contains(&format!("pub {word}")));
            let container = lines[..at].iter().rev().find(|line| line.starts_with(|c: char| c.is_alphabetic()));
            if line.starts_with(' ') && !is_item && !container.is_some_and(|line| line.starts_with("pub ")) {
                continue;
            }
            // A signature may have several lines.
            let end =
                lines[at..].iter().position(|line| line.ends_with([';', '{', '}', ',']) && !line.ends_with("&self,"));
            let many = if line.trim_end().ends_with('(') {
                lines[at..].iter().position(|line| line.trim_start().starts_with(')'))
            } else {
                end
            };
            let parts = lines[at..=at + many.unwrap_or(0)].iter().map(|line| line.trim());
            let item = parts.collect::<Vec<_>>().join(" ");
            all.push(format!("{name}: {}", item.trim_end_matches([' ', '{', ';', ','])));
        }
    }
}

#[apply(test!)]
fn the_public_api_is_listed() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    declarations(&top.join("src"), &top.join("src"), &mut all);
    let found = all.join("\n") + "\n";
    let list = top.join("public-api.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&list, &found).expect("written");
    }
    let listed = std::fs::read_to_string(&list).expect("public-api.txt");
    assert!(found == listed, "the public API changed; UPDATE=1 writes public-api.txt again");
}
