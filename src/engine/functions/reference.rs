//! Renders `sql/REFERENCE.md` from the function and table definitions that the session uses.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::engine::catalog::system_tables::{COLUMNS, DERIVED_TABLES, SYSTEM_TABLES, VIEWS};
use crate::engine::functions;
use crate::engine::functions::definition::{FunctionDef, FunctionKind};

/// The descriptions of all shared columns, by column name.
pub fn columns() -> BTreeMap<&'static str, String> {
    COLUMNS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(','))
        .map(|(name, description)| (name, description.trim_matches('"').to_owned()))
        .collect()
}

/// Parses the leading comments of a view: its description, and the descriptions of columns that only it has.
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

/// The reference page of all functions and tables, in Markdown.
pub fn render() -> String {
    let mut page = String::from(
        "# SQL reference\n\nGenerated from the definitions in the program; a test compares both.\n\n## Functions\n\n\
         Procedures change the repository and return rows of *kind, status, name, count*. They are called with\n\
         `CALL procedure(…)` or used in `FROM`; arguments are positional or `name => value`. `EXPLAIN` shows the\n\
         changes that a procedure would make, without making them.\n",
    );
    for (title, wanted) in [("Procedures", 0), ("Table functions", 1), ("File functions", 2), ("Scalar functions", 3)] {
        let _ = writeln!(page, "\n### {title}");
        for function in functions::all().iter().filter(|f| kind(f) == wanted) {
            render_function(&mut page, function);
        }
    }
    page.push_str("\n## Tables\n\nIn addition, there is one table for each dimension element (`exposure`, `detector`, …), one for\n\
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
        "\n## Columns\n\nA column has the same meaning in all tables that have it.\n\n| column | meaning |\n|---|---|\n",
    );
    for (name, description) in columns() {
        let _ = writeln!(page, "| `{name}` | {description} |");
    }
    page
}

fn kind(function: &FunctionDef) -> u8 {
    match function.kind {
        FunctionKind::Operation(_) => 0,
        FunctionKind::Search(_) | FunctionKind::Query(_) | FunctionKind::Table(_) => 1,
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
        page.push_str("| argument | type | description |\n|---|---|---|\n");
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

/// The columns that are documented with their table instead of the shared list, as (table, column).
pub fn own_columns() -> Vec<(String, String)> {
    let views = VIEWS.iter().flat_map(|(name, sql)| head(sql).1.into_keys().map(move |c| ((*name).to_owned(), c)));
    let small = SYSTEM_TABLES.iter().flat_map(|t| t.columns.iter().map(|c| (t.name.to_owned(), c.0.to_owned())));
    views.chain(small).collect()
}
