//! Bulk reads and writes through the raw handle of an SQLite connection, with one prepared statement.
//!
//! This is the only `unsafe` code of the library. Every block relies on two facts: the caller has locked the handle for
//! the life of the [`Statement`], and a [`Statement`] is finalized when it is dropped.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use arrow::array::RecordBatch;
use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

use crate::error::database::plain;
use crate::error::{Error, Kind, Result};
use crate::registry::db::rows::{BATCH, BatchBuilder, ColumnBuilder, Value, bind_columns, encode_bytes};
use crate::registry::schema::{ColumnType, ReadColumn, TableDef};

/// Runs a query and passes batches to `emit` until there are no more rows or `emit` returns false.
///
/// # Errors
/// SQLite errors, or a value that does not match its column type.
pub(super) fn read(
    handle: &mut LockedSqliteHandle<'_>,
    sql: &str,
    columns: &[ReadColumn],
    emit: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<()> {
    let mut statement = Statement::prepare(handle, sql)?;
    let mut gather = BatchBuilder::new(columns);
    while statement.step()? {
        for (i, cell) in (0..).zip(gather.columns()) {
            statement.read(i, cell)?;
        }
        gather.end_row();
        if gather.rows() == BATCH && !emit(gather.take()?) {
            return Ok(());
        }
    }
    if gather.rows() > 0 {
        emit(gather.take()?);
    }
    Ok(())
}

/// Inserts the rows of a batch with one prepared statement. Returns the number of rows inserted or changed.
///
/// # Errors
/// SQLite errors, most often `Kind::Conflict` for a violated constraint.
pub(super) fn insert(
    handle: &mut LockedSqliteHandle<'_>,
    sql: &str,
    table: &TableDef,
    batch: &RecordBatch,
) -> Result<u64> {
    let given = bind_columns(table, batch)?;
    let mut statement = Statement::prepare(handle, sql)?;
    let mut changed = 0;
    for row in 0..batch.num_rows() {
        let mut index = 1;
        for give in &given {
            match give.values.at(row) {
                Value::Span(begin, end) => {
                    statement.bind(index, ColumnType::Int, Value::Int(begin))?;
                    statement.bind(index + 1, ColumnType::Int, Value::Int(end))?;
                }
                // A NULL timespan is two NULLs; the second parameter is NULL unless it is bound.
                Value::Null => statement.bind(index, give.column.kind, Value::Null)?,
                value => statement.bind(index, give.column.kind, value)?,
            }
            index += if give.column.kind == ColumnType::Span { 2 } else { 1 };
        }
        changed += statement.run()?;
    }
    Ok(changed)
}

/// Returns true if a database file has a journal: a writer is active or was killed.
pub(super) fn has_journal(path: &str) -> bool {
    std::fs::metadata(format!("{path}-journal")).is_ok_and(|journal| journal.len() > 0)
}

/// Returns the error message for a database that cannot be read because of such a journal.
pub(super) fn left_journal(path: &str) -> String {
    format!(
        "an interrupted writer left the journal '{path}-journal', which a read-only session cannot roll back: run a \
         statement with --write, as a user with write access"
    )
}

struct Statement<'h> {
    db: NonNull<ffi::sqlite3>,
    raw: NonNull<ffi::sqlite3_stmt>,
    locked: PhantomData<&'h mut ()>,
}

impl<'h> Statement<'h> {
    fn prepare(handle: &'h mut LockedSqliteHandle<'_>, sql: &str) -> Result<Self> {
        let db = handle.as_raw_handle();
        let length = c_int::try_from(sql.len()).map_err(|_| Error::invalid("the statement is too long for SQLite"))?;
        let mut raw = null_mut();
        // SAFETY: `db` is locked; `sql` is readable for `length` bytes, so it needs no closing zero.
        let code =
            unsafe { ffi::sqlite3_prepare_v2(db.as_ptr(), sql.as_ptr().cast(), length, &raw mut raw, null_mut()) };
        match NonNull::new(raw) {
            Some(raw) if code == ffi::SQLITE_OK => Ok(Self { db, raw, locked: PhantomData }),
            _ => Err(complaint(db, code)),
        }
    }

    /// Advances to the next row. Returns false after the last row.
    fn step(&mut self) -> Result<bool> {
        // SAFETY: the statement is alive and its connection locked.
        match unsafe { ffi::sqlite3_step(self.raw.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            code => Err(complaint(self.db, code)),
        }
    }

    fn read(&self, index: c_int, cell: &mut ColumnBuilder) -> Result<()> {
        let raw = self.raw.as_ptr();
        // SAFETY: a row is current, and `index` is below the number of columns, which the caller wrote. Text is
        // copied into the cell before the next call on the statement.
        unsafe {
            match ffi::sqlite3_column_type(raw, index) {
                ffi::SQLITE_NULL => cell.null(),
                ffi::SQLITE_INTEGER => cell.int(ffi::sqlite3_column_int64(raw, index)),
                ffi::SQLITE_FLOAT => cell.float(ffi::sqlite3_column_double(raw, index)),
                _ => {
                    let start = ffi::sqlite3_column_blob(raw, index).cast::<u8>();
                    let length = usize::try_from(ffi::sqlite3_column_bytes(raw, index)).unwrap_or(0);
                    let bytes = if start.is_null() { &[] } else { std::slice::from_raw_parts(start, length) };
                    cell.text(bytes)?;
                }
            }
        }
        Ok(())
    }

    fn bind(&mut self, index: c_int, kind: ColumnType, value: Value<'_>) -> Result<()> {
        match value {
            Value::Null | Value::Span(..) => self.bind_with(|raw| {
                // SAFETY: the statement is alive.
                unsafe { ffi::sqlite3_bind_null(raw, index) }
            }),
            Value::Int(tai) if kind == ColumnType::UtcTime => {
                let utc = crate::model::time::tai_to_utc(tai) / 1000 * 1000;
                let text = crate::model::calendar::format(utc).replace('T', " ");
                self.bind_text(index, &text)
            }
            Value::Int(value) => self.bind_with(|raw| {
                // SAFETY: the statement is alive.
                unsafe { ffi::sqlite3_bind_int64(raw, index, value) }
            }),
            Value::Bool(value) => self.bind(index, kind, Value::Int(i64::from(value))),
            Value::Float(value) => self.bind_with(|raw| {
                // SAFETY: the statement is alive.
                unsafe { ffi::sqlite3_bind_double(raw, index, value) }
            }),
            Value::Text(text) if kind == ColumnType::Uuid => {
                let id = uuid::Uuid::try_parse(text).map_err(|_| Error::invalid(format!("'{text}' is not a UUID")))?;
                self.bind_text(index, id.simple().encode_lower(&mut uuid::Uuid::encode_buffer()))
            }
            Value::Text(text) => self.bind_text(index, text),
            Value::Bytes(bytes) => self.bind_text(index, &encode_bytes(bytes)),
        }
    }

    fn bind_text(&mut self, index: c_int, text: &str) -> Result<()> {
        let length = c_int::try_from(text.len()).map_err(|_| Error::invalid("a text is too long for SQLite"))?;
        self.bind_with(|raw| {
            // SAFETY: the statement is alive; SQLITE_TRANSIENT makes SQLite copy the text before returning.
            unsafe { ffi::sqlite3_bind_text(raw, index, text.as_ptr().cast(), length, ffi::SQLITE_TRANSIENT()) }
        })
    }

    fn bind_with(&mut self, bind: impl FnOnce(*mut ffi::sqlite3_stmt) -> c_int) -> Result<()> {
        match bind(self.raw.as_ptr()) {
            ffi::SQLITE_OK => Ok(()),
            code => Err(complaint(self.db, code)),
        }
    }

    /// Runs an insert once and resets the statement for the next row.
    fn run(&mut self) -> Result<u64> {
        self.step()?;
        // SAFETY: the statement is alive and its connection locked.
        let changed = unsafe {
            let changed = ffi::sqlite3_changes(self.db.as_ptr());
            ffi::sqlite3_reset(self.raw.as_ptr());
            ffi::sqlite3_clear_bindings(self.raw.as_ptr());
            changed
        };
        Ok(u64::try_from(changed).unwrap_or(0))
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `sqlite3_prepare_v2` and is finalized only in this function.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

/// Returns the error of the last call on a connection.
fn complaint(db: NonNull<ffi::sqlite3>, code: c_int) -> Error {
    // SAFETY: the connection is locked; the message is valid until the next call and copied at once.
    let mut message = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(db.as_ptr())) }.to_string_lossy().into_owned();
    // SAFETY: as above; the file has a name as long as the connection is open.
    let file = unsafe { CStr::from_ptr(ffi::sqlite3_db_filename(db.as_ptr(), c"main".as_ptr())) }.to_string_lossy();
    if matches!(code & 0xff, ffi::SQLITE_READONLY | ffi::SQLITE_CANTOPEN) && has_journal(&file) {
        message = left_journal(&file);
    }
    let kind = match code & 0xff {
        ffi::SQLITE_CONSTRAINT => Kind::Conflict,
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Kind::Unreachable,
        ffi::SQLITE_READONLY | ffi::SQLITE_PERM | ffi::SQLITE_AUTH => Kind::Denied,
        ffi::SQLITE_INTERRUPT => Kind::Interrupted,
        _ => Kind::Failed,
    };
    // SAFETY: the connection is locked.
    let extended = unsafe { ffi::sqlite3_extended_errcode(db.as_ptr()) };
    Error::new(kind, plain(None, &message)).with_foreign_key(extended == ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}
