//! The registry database of a repository: its tables, read and written as the Butler does.
//!
//! SQL text for a database is made only in this room. `repo` decides what is written.

pub(crate) mod attributes;
pub(crate) mod calibration_queries;
pub(crate) mod certifications;
pub(crate) mod collections;
pub(crate) mod dataset_queries;
pub(crate) mod dataset_types;
pub(crate) mod dataset_writer;
pub(crate) mod datasets;
pub(crate) mod db;
pub(crate) mod dimensions;
pub(crate) mod file_records;
pub(crate) mod removal;
pub(crate) mod schema;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};

use self::dataset_types::TypeRecord;
use self::db::conn::{Conn, Executor};
use self::db::dialect::Dialect;
use self::db::tx::Tx;
use self::schema::butler_tables::SchemaVariant;
use self::schema::{ColumnType, ReadColumn, TableDef};
use crate::error::{Error, Kind, Result};
use crate::universe::Universe;

/// An open registry.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Database connections.
    pub conn: Conn,
    /// Dimension universe.
    pub universe: Universe,
    /// Table layout, which depends on the managers.
    pub variant: SchemaVariant,
    /// Table of the file records.
    pub file_records: TableDef,
    /// Why the registry cannot be written, if it is read-only.
    pub read_only: Option<String>,
    /// Why the file records do not cover all files, if they do not.
    pub partial_files: Option<String>,
}

impl Registry {
    /// Opens an existing registry.
    ///
    /// # Errors
    /// `Kind::NotFound` for a database without a registry, `Kind::Unsupported` for a registry of an unsupported kind or
    /// version.
    pub(crate) async fn open(conn: Conn, file_records: &str) -> Result<Self> {
        let found = attributes::read(&conn).await?;
        let universe = Universe::parse(&found.universe)?;
        let file_records = schema::butler_tables::file_records(file_records);
        let read_only = found.read_only;
        Ok(Self { conn, universe, variant: found.variant, file_records, read_only, partial_files: None })
    }

    /// Creates all tables of a new registry in one transaction. Returns false if the registry already exists.
    ///
    /// # Errors
    /// `Kind::Exists` when the schema holds other tables; database errors.
    pub(crate) async fn create(conn: &Conn, universe: &str) -> Result<bool> {
        let parsed = Universe::parse(universe)?;
        let mut tx = conn.begin().await?;
        prepare(&mut tx).await?;
        let there = tables(&mut Executor::Tx(&mut tx)).await?;
        if there.iter().any(|t| t == "butler_attributes") {
            return Ok(false);
        }
        if let Some(other) = there.first() {
            let message =
                format!("the database contains tables that do not belong to a Butler registry, such as '{other}'");
            return Err(Error::new(Kind::Exists, message));
        }
        for table in schema::butler_tables::static_tables(&parsed, SchemaVariant::CURRENT) {
            create_table(&mut tx, &table).await?;
        }
        attributes::write(&mut tx, universe).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Returns true if the table of file records exists (`butler create` leaves its creation to the first writer).
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn has_file_records(&self) -> Result<bool> {
        let table = ReadColumn::plain("table_name", ColumnType::Text(None));
        let name = self.conn.dialect().text(&self.file_records.name);
        let sql = format!("SELECT table_name FROM {} WHERE table_name = {name}", self.conn.table("opaque_meta"));
        Ok(self.conn.rows(sql, vec![table]).await?.num_rows() > 0)
    }

    /// Creates the table of file records unless it exists, as the first writer of a new repository does.
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn make_file_records(&self, tx: &mut Tx) -> Result<()> {
        let name = tx.dialect().text(&self.file_records.name);
        let column = ReadColumn::plain("table_name", ColumnType::Text(None));
        let known = format!("SELECT table_name FROM {} WHERE table_name = {name}", tx.table("opaque_meta"));
        if tx.rows(known, &[column]).await?.num_rows() > 0 {
            return Ok(());
        }
        if !tables(&mut Executor::Tx(tx)).await?.contains(&self.file_records.name) {
            create_table(tx, &self.file_records).await?;
        }
        let target = tx.table("opaque_meta");
        tx.execute(format!("INSERT INTO {target} (table_name) VALUES ({name}) ON CONFLICT DO NOTHING")).await?;
        Ok(())
    }

    /// Begins a write transaction for rows.
    ///
    /// PostgreSQL locks the tables that a new table refers to, `dataset` first. Locking `dataset` from the start
    /// prevents a deadlock with a Butler that creates such a table (it would ignore the error and assume that the table
    /// exists).
    ///
    /// # Errors
    /// Database errors.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        let mut tx = self.conn.begin().await?;
        if tx.dialect() == Dialect::Postgres {
            let table = tx.table("dataset");
            tx.execute(format!("LOCK TABLE {table} IN ROW EXCLUSIVE MODE")).await?;
        }
        Ok(tx)
    }

    /// Checks that the registry can be written without breaking a guarantee of the Butler.
    ///
    /// # Errors
    /// `Kind::Unsupported` with the reason.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match &self.read_only {
            Some(reason) => Err(Error::new(Kind::Unsupported, format!("this repository is read-only: {reason}"))),
            None => Ok(()),
        }
    }

    /// Checks that the file records cover all files.
    ///
    /// # Errors
    /// `Kind::Unsupported` with the reason.
    pub(crate) fn check_files(&self) -> Result<()> {
        match &self.partial_files {
            Some(reason) => Err(Error::new(Kind::Unsupported, format!("files are not listed: {reason}"))),
            None => Ok(()),
        }
    }

    /// Returns all tables, as the Butler defines them.
    pub(crate) fn tables(&self, types: &[TypeRecord]) -> Vec<TableDef> {
        let mut all = schema::butler_tables::static_tables(&self.universe, self.variant);
        all.push(self.file_records.clone());
        let dynamic = types.iter().flat_map(|t| [Some(t.tags.clone()), t.calibs.clone()]).flatten();
        for table in dynamic {
            if !all.iter().any(|t| t.name == table.name) {
                all.push(table);
            }
        }
        all
    }
}

/// On PostgreSQL, creates the extension that the Butler requires, and the schema.
async fn prepare(tx: &mut Tx) -> Result<()> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let name = ReadColumn::plain("extname", ColumnType::Text(None));
    let sql = "SELECT extname::text FROM pg_extension WHERE extname = 'btree_gist'".to_owned();
    if tx.rows(sql, &[name]).await?.num_rows() == 0 {
        tx.execute("CREATE EXTENSION btree_gist".to_owned())
            .await
            .map_err(|e| e.context("the Butler needs the PostgreSQL extension btree_gist, which cannot be created"))?;
    }
    if let Some(schema) = tx.schema().map(|s| Dialect::Postgres.quote(s)) {
        tx.execute(format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
    }
    Ok(())
}

/// Returns the names of the tables in the schema.
async fn tables(source: &mut Executor<'_>) -> Result<Vec<String>> {
    let sql = match source.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'".to_owned(),
        Dialect::Postgres => {
            let schema = source.schema().map_or("current_schema()".to_owned(), |s| Dialect::Postgres.text(s));
            format!("SELECT tablename::text AS name FROM pg_tables WHERE schemaname = {schema}")
        }
    };
    Ok(string_values(&source.rows(sql, &[ReadColumn::plain("name", ColumnType::Text(None))]).await?, 0))
}

async fn create_table(tx: &mut Tx, table: &TableDef) -> Result<()> {
    let schema = tx.schema().map(str::to_owned);
    for statement in schema::ddl::create(tx.dialect(), schema.as_deref(), table) {
        tx.execute(statement).await?;
    }
    Ok(())
}

/// Returns the text column at an index of a small result; NULL becomes an empty text.
pub(crate) fn string_values(batch: &RecordBatch, column: usize) -> Vec<String> {
    batch.column(column).as_string::<i32>().iter().map(|t| t.unwrap_or_default().to_owned()).collect()
}

/// Returns the text column at an index of a small result.
pub(crate) fn optional_string_values(batch: &RecordBatch, column: usize) -> Vec<Option<String>> {
    batch.column(column).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
}

/// Returns the integer column at an index of a small result; NULL becomes zero.
pub(crate) fn i64_values(batch: &RecordBatch, column: usize) -> Vec<i64> {
    batch.column(column).as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect()
}

/// Returns the timestamp column at an index of a small result, in TAI nanoseconds.
pub(crate) fn timestamp_values(batch: &RecordBatch, column: usize) -> Vec<Option<i64>> {
    let array = batch.column(column).as_primitive::<TimestampNanosecondType>();
    (0..array.len()).map(|i| array.is_valid(i).then(|| array.value(i))).collect()
}

/// Returns the expression for the next number of a column on PostgreSQL; SQLite numbers rows by itself.
fn next_number(tx: &Tx, table: &str, column: &str) -> Option<String> {
    let mut numbered = TableDef::new(table);
    numbered.identity_column = Some(column.to_owned());
    let sequence = schema::ddl::sequence(tx.schema(), &numbered).filter(|_| tx.dialect() == Dialect::Postgres)?;
    Some(format!("nextval({})", Dialect::Postgres.text(&sequence)))
}
