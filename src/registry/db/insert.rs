//! The statements of a bulk insert, for both databases.

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::rows::{BoundColumn, bind_columns};
use crate::registry::schema::ddl;
use crate::registry::schema::{ColumnType, TableDef};

/// What an insert does with a row whose key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// Fail with `Kind::Conflict`.
    Fail,
    /// Keep the row with the same primary key; fail on any other conflict.
    Keep,
    /// Replace all columns that are not part of the primary key.
    Replace,
}

/// Maximum length in bytes of a statement with literals.
const LONGEST: usize = 256 * 1024;

/// The statements of one bulk insert.
pub(in crate::registry) struct Insert {
    target: String,
    staging: String,
    columns: String,
    parameters: String,
    /// Quoted name of the column that the database numbers, and its sequence.
    pub number: Option<(String, String)>,
    /// The `ON CONFLICT` clause, with a leading space.
    pub tail: String,
}

impl Insert {
    pub(crate) fn new(
        dialect: Dialect,
        schema: Option<&str>,
        table: &TableDef,
        batch: &RecordBatch,
        conflict: OnConflict,
    ) -> Self {
        let given = |name: &str| batch.schema_ref().column_with_name(name).is_some();
        let mut columns = Vec::new();
        for field in batch.schema_ref().fields() {
            let name = field.name();
            match name.strip_suffix("_begin").filter(|base| is_span(table, base)) {
                Some(base) if dialect == Dialect::Postgres => columns.push(base.to_owned()),
                Some(base) => columns.extend([name.clone(), format!("{base}_end")]),
                None if name.strip_suffix("_end").is_some_and(|base| is_span(table, base)) => {}
                None => columns.push(name.clone()),
            }
        }
        let quoted: Vec<_> = columns.iter().map(|c| dialect.quote(c)).collect();
        let key = |names: &[String]| names.iter().map(|c| dialect.quote(c)).collect::<Vec<_>>().join(", ");
        let tail = match conflict {
            OnConflict::Fail => String::new(),
            OnConflict::Keep => format!(" ON CONFLICT ({}) DO NOTHING", key(&table.primary_key)),
            OnConflict::Replace => {
                let others = columns.iter().filter(|c| !table.primary_key.contains(c)).map(|c| dialect.quote(c));
                let set: Vec<_> = others.map(|c| format!("{c} = excluded.{c}")).collect();
                let action =
                    if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
                format!(" ON CONFLICT ({}) DO {action}", key(&table.primary_key))
            }
        };
        let sequence = ddl::sequence(schema, table).filter(|_| dialect == Dialect::Postgres);
        let number = table.identity_column.as_ref().filter(|auto| !given(auto)).zip(sequence);
        Self {
            target: dialect.qualified(schema, &table.name),
            staging: dialect.quote(&format!("butlersql_{}", table.name)),
            parameters: vec!["?"; columns.len()].join(", "),
            columns: quoted.join(", "),
            number: number.map(|(auto, sequence)| (dialect.quote(auto), sequence)),
            tail,
        }
    }

    pub(crate) fn sqlite(&self) -> String {
        format!("INSERT INTO {} ({}) VALUES ({}){}", self.target, self.columns, self.parameters, self.tail)
    }

    /// Returns one statement with all rows as literals, for PostgreSQL, or `None` when a value has no literal or the
    /// statement would be too long.
    ///
    /// # Errors
    /// `Kind::NotFound` for a column that the table does not have.
    pub(crate) fn values(&self, table: &TableDef, batch: &RecordBatch) -> Result<Option<String>> {
        let given = bind_columns(table, batch)?;
        let (mut rows, mut length) = (Vec::with_capacity(batch.num_rows()), 0);
        for row in 0..batch.num_rows() {
            let literal = |g: &BoundColumn<'_>| Dialect::Postgres.literal(g.column.kind, g.values.at(row));
            let Some(values) = given.iter().map(literal).collect::<Option<Vec<_>>>() else { return Ok(None) };
            let number =
                self.number.as_ref().map(|(_, sequence)| format!("nextval({}), ", Dialect::Postgres.text(sequence)));
            rows.push(format!("({}{})", number.unwrap_or_default(), values.join(", ")));
            length += rows[row].len();
            if length > LONGEST {
                return Ok(None);
            }
        }
        let auto = self.number.as_ref().map(|(auto, _)| format!("{auto}, ")).unwrap_or_default();
        let (target, columns, tail) = (&self.target, &self.columns, &self.tail);
        Ok(Some(format!("INSERT INTO {target} ({auto}{columns}) VALUES {}{tail}", rows.join(", "))))
    }

    pub(crate) fn drop_staging(&self) -> String {
        format!("DROP TABLE IF EXISTS pg_temp.{}", self.staging)
    }

    pub(crate) fn make_staging(&self) -> String {
        let (staging, columns, target) = (&self.staging, &self.columns, &self.target);
        format!("CREATE TEMPORARY TABLE {staging} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA")
    }

    pub(crate) fn copy(&self, direct: bool) -> String {
        let into = if direct { &self.target } else { &self.staging };
        format!("COPY {into} ({}) FROM STDIN (FORMAT binary)", self.columns)
    }

    pub(crate) fn insert_staged(&self) -> String {
        let (target, columns, staging, tail) = (&self.target, &self.columns, &self.staging, &self.tail);
        match &self.number {
            Some((auto, sequence)) => format!(
                "INSERT INTO {target} ({auto}, {columns}) SELECT nextval({}), {columns} FROM {staging}{tail}",
                Dialect::Postgres.text(sequence)
            ),
            None => format!("INSERT INTO {target} ({columns}) SELECT {columns} FROM {staging}{tail}"),
        }
    }
}

fn is_span(table: &TableDef, name: &str) -> bool {
    table.column(name).is_some_and(|c| c.kind == ColumnType::Span)
}
