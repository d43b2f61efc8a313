//! The reference page, printed from the lists that the session itself uses.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::engine::catalog::system_tables::{COLUMNS, DERIVED_TABLES, SYSTEM_TABLES, VIEWS};
use crate::engine::functions;
use crate::engine::functions::definition::{FunctionDef, FunctionKind};

/// What every column means, by name.
pub fn columns() -> BTreeMap<&'static str, String> {
    COLUMNS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(','))
        .map(|(name, description)| (name, description.trim_matches('"').to_owned()))
        .collect()
}

/// The head of a view's text: its sentence, and what columns of its own mean.
pub fn head(sql: &str) -> (String, BTreeMap<String, String>) {
    let comments = sql.lines().map_while(|line| line.strip_prefix("-- "));
    let mut description = Vec::new();
    let mut own = BTreeMap::new();
    for line in comments {
        match line.strip_prefix("column ").and_then(|c| c.split_once(": ")) {
            Some((name, meaning)) => {
                own.insert(name.to_owned(), meaning.to_owned());
            }
            None => description.push(line),
        }
    }
    (description.join(" "), own)
}

/// The page of all functions and tables, in Markdown.
pub fn render() -> String {
    let mut page = String::from(
        "# SQL reference\n\nPrinted from the program's own lists; a test keeps it true.\n\n## Functions\n\n\
         Verbs change the repository and answer with rows of *thing, outcome, detail, count*. They are called with\n\
         `CALL verb(…)` or used in `FROM`; arguments are positional or `name => value`. `EXPLAIN` shows what a verb\n\
         would do and does nothing.\n",
    );
    for (title, wanted) in [("Verbs", 0), ("Searches", 1), ("Files", 2), ("Values", 3)] {
        let _ = writeln!(page, "\n### {title}");
        for function in functions::all().iter().filter(|f| kind(f) == wanted) {
            render_function(&mut page, function);
        }
    }
    page.push_str("\n## Tables\n\nBeside these there is one table for each dimension element (`exposure`, `detector`, …), one for\n\
         each dataset type (`raw`, `bias`, …), and the schema `registry` with all physical tables.\n");
    for (name, sql) in VIEWS {
        let (description, own) = head(sql);
        render_table(&mut page, name, &description, own.iter().map(|(n, m)| (n.as_str(), m.as_str())));
    }
    for (name, description, columns) in DERIVED_TABLES {
        render_table(&mut page, name, description, columns.iter().copied());
    }
    for small in &SYSTEM_TABLES {
        render_table(&mut page, small.name, small.description, small.columns.iter().copied());
    }
    page.push_str(
        "\n## Columns\n\nA column means the same in every table that has it.\n\n| column | meaning |\n|---|---|\n",
    );
    for (name, description) in columns() {
        let _ = writeln!(page, "| `{name}` | {description} |");
    }
    page
}

fn kind(function: &FunctionDef) -> u8 {
    match function.kind {
        FunctionKind::Operation(_) => 0,
        FunctionKind::Search | FunctionKind::Query(_) => 1,
        FunctionKind::Read(_) => 2,
        FunctionKind::Scalar(_) => 3,
    }
}

fn render_function(page: &mut String, function: &FunctionDef) {
    let _ = writeln!(page, "\n#### `{}`\n\n{}\n", function.signature(), function.description);
    if !function.notes.is_empty() {
        let _ = writeln!(page, "{}\n", function.notes);
    }
    if !function.arguments.is_empty() {
        page.push_str("| argument | takes | |\n|---|---|---|\n");
        for a in &function.arguments {
            let _ = writeln!(page, "| `{}` | {} | {} |", a.name, a.arg_type.name(), a.description);
        }
    }
    let _ = writeln!(page, "\n```sql\n{};\n```", function.example);
}

fn render_table<'a>(
    page: &mut String,
    name: &str,
    description: &str,
    columns: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let _ = writeln!(page, "\n### `{name}`\n\n{description}");
    let rows: Vec<_> = columns.map(|(n, m)| format!("| `{n}` | {m} |")).collect();
    if !rows.is_empty() {
        let _ = writeln!(page, "\n| column | meaning |\n|---|---|\n{}", rows.join("\n"));
    }
}

/// The columns that tables tell about themselves: table and column.
pub fn own_columns() -> Vec<(String, String)> {
    let views = VIEWS.iter().flat_map(|(name, sql)| head(sql).1.into_keys().map(move |c| ((*name).to_owned(), c)));
    let small = SYSTEM_TABLES.iter().flat_map(|t| t.columns.iter().map(|c| (t.name.to_owned(), c.0.to_owned())));
    views.chain(small).collect()
}
