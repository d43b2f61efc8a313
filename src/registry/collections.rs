//! Reading and writing collections and chains.

use std::collections::HashMap;

use crate::error::{Error, Kind, Result};
use crate::model::collection::{Collection, CollectionType, Collections};
use crate::registry::Registry;
use crate::registry::db::conn::Conn;
use crate::registry::db::tx::Tx;
use crate::registry::i64_values;
use crate::registry::optional_string_values;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;

const TEXT: ColumnType = ColumnType::Text(None);

/// Returns all collections with their chains.
///
/// # Errors
/// Database errors, or a collection of an unknown type.
pub(crate) async fn load(registry: &Registry) -> Result<Collections> {
    let conn = &registry.conn;
    let by_name = registry.variant.collections_by_name;
    let columns = [("id", ColumnType::Int), ("name", TEXT), ("type", ColumnType::Small), ("doc", TEXT)];
    let id = if by_name { "0" } else { "collection_id" };
    let sql = format!("SELECT {id}, name, type, doc FROM {} ORDER BY name", conn.table("collection"));
    let rows = conn.rows(sql, read_columns(&columns)).await?;
    let mut children = chains(conn, by_name).await?;
    let numbers = i64_values(&rows, 0).into_iter().zip(i64_values(&rows, 2));
    let words = string_values(&rows, 1).into_iter().zip(optional_string_values(&rows, 3));
    (1..)
        .zip(numbers.zip(words))
        .map(|(row, ((id, kind), (name, doc)))| {
            Ok(Collection {
                // Collections that are keyed by name have no number; any distinct number serves.
                id: if by_name { row } else { id },
                kind: CollectionType::from_number(kind)?,
                children: children.remove(&name).unwrap_or_default(),
                doc: doc.filter(|d| !d.is_empty()),
                name,
            })
        })
        .collect()
}

async fn chains(conn: &Conn, by_name: bool) -> Result<HashMap<String, Vec<String>>> {
    let (chain, collection) = (conn.table("collection_chain"), conn.table("collection"));
    let sql = if by_name {
        format!("SELECT parent, child FROM {chain} ORDER BY parent, position")
    } else {
        format!(
            "SELECT p.name AS parent, c.name AS child FROM {chain} l JOIN {collection} p ON p.collection_id = l.parent \
             JOIN {collection} c ON c.collection_id = l.child ORDER BY l.parent, l.position"
        )
    };
    let rows = conn.rows(sql, read_columns(&[("parent", TEXT), ("child", TEXT)])).await?;
    let mut children: HashMap<String, Vec<String>> = HashMap::new();
    for (parent, child) in string_values(&rows, 0).into_iter().zip(string_values(&rows, 1)) {
        children.entry(parent).or_default().push(child);
    }
    Ok(children)
}

fn read_columns(columns: &[(&str, ColumnType)]) -> Vec<ReadColumn> {
    columns.iter().map(|(name, kind)| ReadColumn::plain(name, *kind)).collect()
}

/// Creates a collection unless one of this name exists. Returns true if it was created.
///
/// # Errors
/// Database errors.
pub(crate) async fn register(tx: &mut Tx, name: &str, kind: CollectionType, doc: Option<&str>) -> Result<bool> {
    let dialect = tx.dialect();
    let (collection, run) = (tx.table("collection"), tx.table("run"));
    let (text, number) = (dialect.text(name), kind as i64);
    let doc = doc.map_or("NULL".to_owned(), |d| dialect.text(d));
    let key = crate::registry::next_number(tx, "collection", "collection_id");
    let (columns, values) = match key {
        Some(next) => ("collection_id, name, type, doc", format!("{next}, {text}, {number}, {doc}")),
        None => ("name, type, doc", format!("{text}, {number}, {doc}")),
    };
    let made =
        tx.execute(format!("INSERT INTO {collection} ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING")).await?;
    if kind == CollectionType::Run {
        tx.execute(format!(
            "INSERT INTO {run} (collection_id) SELECT collection_id FROM {collection} WHERE name = {text} \
             AND type = {number} ON CONFLICT DO NOTHING"
        ))
        .await?;
    }
    Ok(made > 0)
}

/// Returns the key of a collection.
///
/// # Errors
/// `Kind::NotFound` when the collection does not exist; database errors.
pub(crate) async fn number(tx: &mut Tx, name: &str) -> Result<i64> {
    let sql = format!("SELECT collection_id FROM {} WHERE name = {}", tx.table("collection"), tx.dialect().text(name));
    let rows = tx.rows(sql, &[ReadColumn::plain("collection_id", ColumnType::Int)]).await?;
    i64_values(&rows, 0).first().copied().ok_or_else(|| Error::not_found("collection", name, []))
}

/// Replaces the children of a chain, which are expected to be `before`, by `children` with their positions. Locks the
/// row of the chain first, as the Butler does. Returns true if the chain changed.
///
/// # Errors
/// `Kind::Stale` when another writer has changed the chain, `Kind::Conflict` when a child was removed; database errors.
pub(crate) async fn set_chain(
    tx: &mut Tx,
    parent: &str,
    before: &[String],
    children: &[(String, i64)],
) -> Result<bool> {
    let dialect = tx.dialect();
    let (collection, chain) = (tx.table("collection"), tx.table("collection_chain"));
    let lock = if dialect == crate::registry::db::dialect::Dialect::Postgres { " FOR UPDATE" } else { "" };
    let sql = format!("SELECT collection_id FROM {collection} WHERE name = {}{lock}", dialect.text(parent));
    tx.execute(sql).await?;
    let number = number(tx, parent).await?;
    let sql = format!(
        "SELECT c.name FROM {chain} l JOIN {collection} c ON c.collection_id = l.child WHERE l.parent = {number} \
         ORDER BY l.position"
    );
    let now = string_values(&tx.rows(sql, &[ReadColumn::plain("name", TEXT)]).await?, 0);
    if now != before {
        if now.iter().eq(children.iter().map(|(name, _)| name)) {
            return Ok(false);
        }
        let message = format!("chain '{parent}' was changed by another writer meanwhile: run the statement again");
        return Err(Error::new(Kind::Stale, message));
    }
    tx.execute(format!("DELETE FROM {chain} WHERE parent = {number}")).await?;
    if children.is_empty() {
        return Ok(true);
    }
    let rows: Vec<_> = children.iter().map(|(name, at)| format!("({}, {at})", dialect.text(name))).collect();
    let made = tx
        .execute(format!(
            "INSERT INTO {chain} (parent, position, child) SELECT {number}, v.column2, c.collection_id \
             FROM (VALUES {}) AS v JOIN {collection} c ON c.name = v.column1",
            rows.join(", ")
        ))
        .await?;
    if made < children.len() as u64 {
        let message = format!("a child of chain '{parent}' was removed by another writer");
        return Err(Error::new(Kind::Conflict, message));
    }
    Ok(true)
}

/// Returns the positions of the children of a chain, in order.
///
/// # Errors
/// Database errors.
pub(crate) async fn positions(conn: &Conn, parent: &str) -> Result<Vec<i64>> {
    let (collection, chain) = (conn.table("collection"), conn.table("collection_chain"));
    let sql = format!(
        "SELECT l.position FROM {chain} l JOIN {collection} p ON p.collection_id = l.parent WHERE p.name = {} \
         ORDER BY l.position",
        conn.dialect().text(parent)
    );
    Ok(i64_values(&conn.rows(sql, vec![ReadColumn::plain("position", ColumnType::Small)]).await?, 0))
}

/// Removes a collection with its associations.
///
/// # Errors
/// `Kind::Conflict` when the collection is a child of a chain or its datasets are stored; other database errors.
pub(crate) async fn remove(tx: &mut Tx, name: &str) -> Result<u64> {
    let sql = format!("DELETE FROM {} WHERE name = {}", tx.table("collection"), tx.dialect().text(name));
    tx.execute(sql).await.map_err(|e| match e.kind() {
        Kind::Conflict => {
            Error::new(Kind::Conflict, format!("collection '{name}' is used in a chain or has datasets")).with_source(e)
        }
        _ => e,
    })
}

/// Removes a child from a chain. Returns the number of removed rows.
///
/// # Errors
/// Database errors.
pub(crate) async fn unlink(tx: &mut Tx, chain: &str, child: &str) -> Result<u64> {
    let (links, collection) = (tx.table("collection_chain"), tx.table("collection"));
    let number =
        |name: &str| format!("(SELECT collection_id FROM {collection} WHERE name = {})", tx.dialect().text(name));
    let sql = format!("DELETE FROM {links} WHERE parent = {} AND child = {}", number(chain), number(child));
    tx.execute(sql).await.map(|removed| removed.min(1))
}

/// Changes the documentation of a collection. Returns 1 if it differed.
///
/// # Errors
/// Database errors.
pub(crate) async fn set_doc(tx: &mut Tx, name: &str, doc: Option<&str>) -> Result<u64> {
    let (dialect, table) = (tx.dialect(), tx.table("collection"));
    let doc = doc.map_or("NULL".to_owned(), |doc| dialect.text(doc));
    tx.execute(format!("UPDATE {table} SET doc = {doc} WHERE name = {}", dialect.text(name))).await
}

/// Changes the name of a collection.
///
/// # Errors
/// `Kind::Conflict` when another collection has the new name; other database errors.
pub(crate) async fn rename(tx: &mut Tx, name: &str, to: &str) -> Result<u64> {
    let (dialect, table) = (tx.dialect(), tx.table("collection"));
    let sql = format!("UPDATE {table} SET name = {} WHERE name = {}", dialect.text(to), dialect.text(name));
    tx.execute(sql).await
}
