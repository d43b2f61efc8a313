//! Statements that create and drop tables, sequences and indexes, as the Butler writes them.

use crate::model::time;
use crate::registry::db::dialect::Dialect;
use crate::registry::schema::{ColumnType, TableDef};

/// Returns the statements that create a table; `schema` qualifies names on PostgreSQL.
pub(crate) fn create(dialect: Dialect, schema: Option<&str>, table: &TableDef) -> Vec<String> {
    let writer = Writer { dialect, schema, table };
    let mut statements = Vec::new();
    statements.extend(writer.sequence().map(|name| format!("CREATE SEQUENCE {name}")));
    statements.push(writer.table());
    statements.extend(writer.indexes());
    statements
}

/// Returns the statements that drop a table created by [`create`].
pub(crate) fn drop(dialect: Dialect, schema: Option<&str>, table: &TableDef) -> Vec<String> {
    let writer = Writer { dialect, schema, table };
    let mut statements = vec![format!("DROP TABLE {}", writer.qualified(&table.name))];
    statements.extend(writer.sequence().map(|name| format!("DROP SEQUENCE {name}")));
    statements
}

/// Returns the qualified name of the PostgreSQL sequence that numbers the rows of a table.
pub(crate) fn sequence(schema: Option<&str>, table: &TableDef) -> Option<String> {
    Writer { dialect: Dialect::Postgres, schema, table }.sequence()
}

struct Writer<'a> {
    dialect: Dialect,
    schema: Option<&'a str>,
    table: &'a TableDef,
}

impl Writer<'_> {
    fn qualified(&self, name: &str) -> String {
        match self.schema {
            Some(schema) => format!("{}.{}", self.dialect.schema_name(schema), self.dialect.schema_name(name)),
            None => self.dialect.schema_name(name),
        }
    }

    fn sequence(&self) -> Option<String> {
        let identity_column = self.table.identity_column.as_ref().filter(|_| self.dialect == Dialect::Postgres)?;
        Some(self.qualified(&self.dialect.constraint(&format!("{}_seq_{identity_column}", self.table.name))))
    }

    fn list(&self, columns: &[String]) -> String {
        columns.iter().map(|c| self.dialect.schema_name(c)).collect::<Vec<_>>().join(", ")
    }

    fn table(&self) -> String {
        let mut lines = Vec::new();
        let mut checks = Vec::new();
        for column in self.table.columns.iter().filter(|c| c.alias_of.is_none()) {
            let required = if column.required { " NOT NULL" } else { "" };
            if column.kind == ColumnType::Span {
                lines.extend(self.span(&column.name, column.required));
                continue;
            }
            let identity_column = self.table.identity_column.as_deref() == Some(&column.name);
            let kind = self.dialect.column_type(column.kind, identity_column);
            let default = if column.kind == ColumnType::UtcTime { " DEFAULT CURRENT_TIMESTAMP" } else { "" };
            lines.push(format!("{} {kind}{default}{required}", self.dialect.schema_name(&column.name)));
            if let (Dialect::Sqlite, ColumnType::Text(Some(length))) = (self.dialect, column.kind) {
                let (table, name) = (&self.table.name, &column.name);
                checks.push(format!(
                    "CONSTRAINT {table}_len_{name} CHECK (length(\"{name}\")<={length} AND length(\"{name}\")>=1)"
                ));
            }
        }
        lines.push(format!("PRIMARY KEY ({})", self.list(&self.table.primary_key)));
        lines.extend(checks);
        lines.extend(self.unique_constraints());
        lines.extend(self.foreign_keys());
        format!("CREATE TABLE {} (\n\t{}\n)", self.qualified(&self.table.name), lines.join(", \n\t"))
    }

    fn span(&self, name: &str, required: bool) -> Vec<String> {
        let not_null = if required { " NOT NULL" } else { "" };
        if self.dialect == Dialect::Postgres {
            let default = if required { " DEFAULT '(,)'::int8range" } else { "" };
            return vec![format!("{name} INT8RANGE{default}{not_null}")];
        }
        let part = |part: &str, value: i64| {
            let default = if required { format!(" DEFAULT {value}") } else { String::new() };
            format!("{name}_{part} BIGINT{default}{not_null}")
        };
        vec![part("begin", 0), part("end", time::MAX)]
    }

    fn unique_constraints(&self) -> impl Iterator<Item = String> {
        self.table.unique.iter().map(|columns| {
            let name = self.dialect.constraint(&format!("{}_unq_{}", self.table.name, columns.join("_")));
            format!("CONSTRAINT {name} UNIQUE ({})", self.list(columns))
        })
    }

    fn foreign_keys(&self) -> impl Iterator<Item = String> {
        self.table.foreign_keys.iter().map(|key| {
            let parts = [&key.target[..], &key.source[..]].concat().join("_");
            let name = self.dialect.constraint(&format!("fkey_{}_{}_{parts}", self.table.name, key.table));
            let cascade = if key.cascade { " ON DELETE CASCADE" } else { "" };
            let (source, target) = (self.list(&key.source), self.list(&key.target));
            format!(
                "CONSTRAINT {name} FOREIGN KEY({source}) REFERENCES {} ({target}){cascade}",
                self.qualified(&key.table)
            )
        })
    }

    fn indexes(&self) -> Vec<String> {
        let table = self.table;
        let mut taken: Vec<Vec<String>> = vec![table.primary_key.clone()];
        taken.extend(table.unique.iter().cloned());
        let mut wanted = Vec::new();
        for columns in &table.indexes {
            let columns = self.expand(columns);
            wanted.push(("idx", columns.clone()));
            taken.push(columns);
        }
        for key in &table.foreign_keys {
            if !taken.contains(&key.source) {
                wanted.push(("fkidx", key.source.clone()));
            }
        }
        wanted
            .into_iter()
            .map(|(kind, columns)| {
                let name = self.dialect.constraint(&format!("{}_{kind}_{}", table.name, columns.join("_")));
                format!("CREATE INDEX {name} ON {} ({})", self.qualified(&table.name), self.list(&columns))
            })
            .collect()
    }

    /// Returns the columns of an index in this database: SQLite stores a timespan in two columns.
    fn expand(&self, columns: &[String]) -> Vec<String> {
        let split = self.dialect == Dialect::Sqlite;
        let is_span = |name: &str| self.table.column(name).is_some_and(|c| c.kind == ColumnType::Span);
        columns
            .iter()
            .flat_map(|name| {
                if split && is_span(name) {
                    vec![format!("{name}_begin"), format!("{name}_end")]
                } else {
                    vec![name.clone()]
                }
            })
            .collect()
    }
}
