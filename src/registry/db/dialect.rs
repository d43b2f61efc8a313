//! SQL text that differs between the two databases: names, types, literals, expressions. No I/O.

use blake2::digest::{Update, VariableOutput};

use crate::model::time;
use crate::registry::db::rows::{Value, encode_bytes};
use crate::registry::schema::{ColumnSource, ColumnType, ReadColumn};

/// The SQL dialect of a database that the Butler supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// SQLite: the registry is one file.
    Sqlite,
    /// PostgreSQL: the registry is a schema ("namespace").
    Postgres,
}

/// Names that the Butler quotes in its statements.
const QUOTED: [&str; 1] = ["group"];

/// Approximate size in bytes of a row in a PostgreSQL table.
const ROW: u64 = 150;

impl Dialect {
    /// Quotes an identifier.
    pub(crate) fn quote(self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// Returns a table name, qualified and quoted for use in statements.
    pub(crate) fn qualified(self, schema: Option<&str>, name: &str) -> String {
        let schema = schema.map(|schema| format!("{}.", self.quote(schema)));
        schema.unwrap_or_default() + &self.quote(name)
    }

    /// Returns an identifier of the schema, quoted only where the Butler quotes it.
    pub(crate) fn schema_name(self, name: &str) -> String {
        if QUOTED.contains(&name) || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            self.quote(name)
        } else {
            name.to_owned()
        }
    }

    /// Returns a text literal. NUL characters are dropped.
    pub(crate) fn text(self, value: &str) -> String {
        // A backslash needs no escape: both databases take it literally in a plain literal.
        format!("'{}'", value.replace('\'', "''").replace('\0', ""))
    }

    /// Returns a UUID literal for text with dashes, or `None` when the text is not a UUID.
    pub(crate) fn uuid(self, value: &str) -> Option<String> {
        let id = uuid::Uuid::try_parse(value).ok()?;
        Some(match self {
            Self::Sqlite => format!("'{}'", id.simple()),
            Self::Postgres => format!("'{id}'::uuid"),
        })
    }

    /// Returns a Boolean literal.
    pub(crate) fn bool(self, value: bool) -> &'static str {
        match (self, value) {
            (Self::Sqlite, true) => "1",
            (Self::Sqlite, false) => "0",
            (Self::Postgres, true) => "true",
            (Self::Postgres, false) => "false",
        }
    }

    /// Returns a literal of a column type, or `None` when the value cannot be written as one.
    pub(crate) fn literal(self, kind: ColumnType, value: Value<'_>) -> Option<String> {
        Some(match (kind, value) {
            (_, Value::Null) => "NULL".to_owned(),
            (ColumnType::Uuid, Value::Text(text)) => self.uuid(text)?,
            // A literal cannot contain NUL, and `text` would drop it.
            (_, Value::Text(text)) if text.contains('\0') => return None,
            (_, Value::Text(text)) => self.text(text),
            (ColumnType::UtcTime, Value::Int(_)) | (_, Value::Span(..)) => return None,
            (_, Value::Int(value)) => value.to_string(),
            (_, Value::Float(value)) if value.is_finite() => format!("{value:?}"),
            (_, Value::Float(_)) => return None,
            (_, Value::Bool(value)) => self.bool(value).to_owned(),
            (_, Value::Bytes(bytes)) => self.text(&encode_bytes(bytes)),
        })
    }

    /// Returns a text expression that is ordered byte by byte.
    pub(crate) fn binary_collation(self, text: &str) -> String {
        match self {
            Self::Sqlite => text.to_owned(),
            Self::Postgres => format!("{text} COLLATE \"C\""),
        }
    }

    /// Returns the condition that a text matches a LIKE pattern, case-sensitively; the pattern has no escape character.
    pub(crate) fn like(self, text: &str, negated: bool, pattern: &str) -> String {
        let not = if negated { "NOT " } else { "" };
        match self {
            Self::Postgres => format!("({text} {not}LIKE {})", self.text(pattern)),
            // LIKE of SQLite ignores case.
            Self::Sqlite => {
                let pattern: String = pattern.chars().map(globbed).collect();
                format!("({text} {not}GLOB {})", self.text(&pattern))
            }
        }
    }

    /// Returns the LIMIT and OFFSET clauses with a leading space, or an empty text when all rows are wanted.
    pub(crate) fn limit(self, skip: u64, fetch: Option<u64>) -> String {
        let limit = match (fetch, self) {
            (Some(fetch), _) => format!(" LIMIT {fetch}"),
            (None, Self::Sqlite) if skip > 0 => " LIMIT -1".to_owned(),
            (None, _) => String::new(),
        };
        if skip > 0 { format!("{limit} OFFSET {skip}") } else { limit }
    }

    /// Returns the query that estimates the number of rows of a table, given its quoted name. SQLite takes the largest
    /// row number; PostgreSQL takes its statistics, or the table size when the table has not been analyzed.
    pub(crate) fn estimated_rows(self, table: &str) -> String {
        match self {
            Self::Sqlite => format!("SELECT coalesce(max(rowid), 0) AS rows FROM {table}"),
            Self::Postgres => format!(
                "SELECT CASE WHEN reltuples > 0 THEN CAST(reltuples AS bigint) ELSE pg_relation_size(oid) / {ROW} END \
                 AS rows FROM pg_class WHERE oid = to_regclass({})",
                self.text(table)
            ),
        }
    }

    /// Returns true if the database has row count statistics and uses them to plan joins and sorts of entire tables.
    pub(crate) fn has_statistics(self) -> bool {
        self == Self::Postgres
    }

    /// Returns why a statement exceeds the limits of the database, if it does. SQLite joins at most 64 tables and
    /// allows an expression depth of 1000, estimated by the nesting of parentheses; PostgreSQL limits the length of a
    /// statement.
    pub(crate) fn beyond(self, sql: &str, tables: usize) -> Option<&'static str> {
        let (length, joined, depth) = match self {
            Self::Sqlite => (900_000_000, 60, 900),
            Self::Postgres => (500_000_000, usize::MAX, 2000),
        };
        if sql.len() > length {
            return Some("the statement is too long for the database");
        }
        if tables > joined {
            return Some("these are too many tables for a join in the database");
        }
        (nesting(sql) > depth).then_some("the expression is too deep for the database")
    }

    /// Returns the type of a column in `CREATE TABLE`.
    pub(crate) fn column_type(self, kind: ColumnType, auto: bool) -> String {
        match (self, kind) {
            (Self::Sqlite, ColumnType::Int) if auto => "INTEGER".to_owned(),
            (_, ColumnType::Int | ColumnType::Time) => "BIGINT".to_owned(),
            (_, ColumnType::Small) => "SMALLINT".to_owned(),
            (_, ColumnType::Text(Some(length))) => format!("VARCHAR({length})"),
            (_, ColumnType::Text(None) | ColumnType::Bytes) => "TEXT".to_owned(),
            (_, ColumnType::Bool) => "BOOLEAN".to_owned(),
            (Self::Sqlite, ColumnType::Uuid) => "CHAR(32)".to_owned(),
            (Self::Postgres, ColumnType::Uuid) => "UUID".to_owned(),
            (Self::Sqlite, ColumnType::Float) => "FLOAT".to_owned(),
            (Self::Postgres, ColumnType::Float) => "DOUBLE PRECISION".to_owned(),
            (_, ColumnType::UtcTime) => "TIMESTAMP".to_owned(),
            (_, ColumnType::Span) => "INT8RANGE".to_owned(),
        }
    }

    /// Returns the expression that reads a column, qualified by a table alias unless `alias` is empty.
    pub(crate) fn select_expr(self, column: &ReadColumn, alias: &str) -> String {
        let named = |name: &str| match alias {
            "" => self.quote(name),
            alias => format!("{alias}.{}", self.quote(name)),
        };
        let span = |part: &str, source: &str, empty: i64, open: i64| match self {
            Self::Sqlite => named(&format!("{source}_{part}")),
            Self::Postgres => {
                let range = named(source);
                let bound = if part == "begin" { "lower" } else { "upper" };
                format!(
                    "CASE WHEN isempty({range}) THEN {empty} \
                     ELSE coalesce({bound}({range}), CASE WHEN {range} IS NOT NULL THEN {open} END) END"
                )
            }
        };
        match &column.source {
            ColumnSource::Plain(_, source) => named(source),
            ColumnSource::Begin(source) => span("begin", source, time::MAX, 0),
            ColumnSource::End(source) => span("end", source, 0, time::MAX),
        }
    }

    /// Returns the name of a constraint or index. Names longer than the 63 characters of PostgreSQL are shortened with
    /// a digest of the full name, as the Butler does.
    pub(crate) fn constraint(self, name: &str) -> String {
        if self == Self::Sqlite || name.len() <= 63 {
            return name.to_owned();
        }
        let mut digest = [0_u8; 4];
        let mut hasher = blake2::Blake2bVar::new(4).expect("4 is a valid length of a BLAKE2b digest");
        hasher.update(name.as_bytes());
        hasher.finalize_variable(&mut digest).expect("the buffer has the length asked for");
        let digest: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        format!("{}_{digest}", &name[..54])
    }
}

/// Returns the nesting depth of parentheses in a statement, outside text literals.
fn nesting(sql: &str) -> usize {
    let (mut depth, mut deepest, mut is_text) = (0_usize, 0, false);
    for byte in sql.bytes() {
        match byte {
            b'\'' => is_text = !is_text,
            b'(' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Translates a character of a LIKE pattern to GLOB.
fn globbed(c: char) -> String {
    match c {
        '%' => "*".to_owned(),
        '_' => "?".to_owned(),
        '*' | '?' | '[' => format!("[{c}]"),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_as_the_butler_cuts_them() {
        let full = "fkey_visit_physical_filter_instrument_name_instrument_physical_filter";
        assert_eq!(
            Dialect::Postgres.constraint(full),
            "fkey_visit_physical_filter_instrument_name_instrument__daee087b"
        );
        assert_eq!(Dialect::Sqlite.constraint(full), full);
    }

    #[test]
    fn limits_are_known() {
        let deep = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
        assert_eq!(Dialect::Sqlite.beyond(&deep(800), 2), None);
        assert!(Dialect::Sqlite.beyond(&deep(1000), 2).is_some() && Dialect::Sqlite.beyond("1", 65).is_some());
        assert_eq!(Dialect::Sqlite.beyond(&format!("'{}'", "(".repeat(1000)), 2), None);
        assert_eq!(Dialect::Postgres.beyond(&deep(1000), 100), None);
    }

    #[test]
    fn literals_are_quoted() {
        assert_eq!(Dialect::Sqlite.text("it's"), "'it''s'");
        assert_eq!(Dialect::Postgres.quote("a\"b"), "\"a\"\"b\"");
        let id = "C9B72B48-0087-57A6-BD0C-2120836AEDD4";
        assert_eq!(Dialect::Sqlite.uuid(id).as_deref(), Some("'c9b72b48008757a6bd0c2120836aedd4'"));
        assert_eq!(Dialect::Postgres.uuid("7"), None);
    }
}
