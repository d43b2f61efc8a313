//! Reading and registering dataset types, with the tables of their dimension groups.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::model::dataset::DatasetType;
use crate::registry::Registry;
use crate::registry::create_table;
use crate::registry::db::conn::Executor;
use crate::registry::db::dialect::Dialect;
use crate::registry::db::insert::OnConflict;
use crate::registry::db::tx::Tx;
use crate::registry::i64_values;
use crate::registry::next_number;
use crate::registry::optional_string_values;
use crate::registry::schema::butler_tables::{calibs_table, tags_table};
use crate::registry::schema::ddl;
use crate::registry::schema::{ColumnType, ReadColumn, TableDef};
use crate::registry::string_values;
use crate::registry::tables;

const TEXT: ColumnType = ColumnType::Text(None);

/// A registered dataset type with its key and tables.
#[derive(Debug, Clone)]
pub(crate) struct TypeRecord {
    /// Key in the table `dataset_type`.
    pub id: i64,
    /// Definition of the dataset type.
    pub dataset_type: DatasetType,
    /// Table of memberships in RUN and TAGGED collections.
    pub tags: TableDef,
    /// Table of certifications; `None` unless it is a calibration type.
    pub calibs: Option<TableDef>,
}

/// Returns all dataset types, ordered by name.
///
/// # Errors
/// Database errors, or a type with an unknown dimension group.
pub(crate) async fn load(registry: &Registry) -> Result<Vec<TypeRecord>> {
    let conn = &registry.conn;
    let columns = [
        ("id", ColumnType::Int),
        ("name", TEXT),
        ("storage_class", TEXT),
        ("dimensions_key", ColumnType::Int),
        ("tag_association_table", TEXT),
        ("calibration_association_table", TEXT),
    ];
    let names: Vec<_> = columns.iter().map(|c| c.0).collect();
    let sql = format!("SELECT {} FROM {} ORDER BY name", names.join(", "), conn.table("dataset_type"));
    let rows = conn.rows(sql, columns.iter().map(|(n, k)| ReadColumn::plain(n, *k)).collect()).await?;
    // Read after the types: another writer may register a type in between, and a group is written before its type.
    let groups = groups(registry).await?;
    let (ids, keys) = (i64_values(&rows, 0), i64_values(&rows, 3));
    let (names, classes, tags, calibs) =
        (string_values(&rows, 1), string_values(&rows, 2), string_values(&rows, 4), optional_string_values(&rows, 5));
    let mut all = Vec::new();
    for i in 0..rows.num_rows() {
        let dimensions = match (keys[i], groups.get(&keys[i])) {
            (0, _) => Vec::new(),
            (_, Some(dimensions)) => dimensions.clone(),
            (key, None) => {
                return Err(Error::invalid(format!("dataset type '{}' has unknown dimensions ({key})", names[i])));
            }
        };
        let calibs = calibs[i].as_ref().map(|t| calibs_table(&registry.universe, registry.variant, t, &dimensions));
        all.push(TypeRecord {
            id: ids[i],
            tags: tags_table(&registry.universe, registry.variant, &tags[i], &dimensions),
            dataset_type: DatasetType {
                name: names[i].clone(),
                storage_class: classes[i].clone(),
                is_calibration: calibs.is_some(),
                dimensions,
            },
            calibs,
        });
    }
    Ok(all)
}

/// Returns the required dimensions of every registered dimension group, in universe order.
async fn groups(registry: &Registry) -> Result<BTreeMap<i64, Vec<String>>> {
    let (columns, sql) = group_query(registry.conn.table("dimension_graph_definition"));
    gather(registry, &registry.conn.rows(sql, columns).await?)
}

fn group_query(table: String) -> (Vec<ReadColumn>, String) {
    let columns =
        vec![ReadColumn::plain("dimension_graph_id", ColumnType::Int), ReadColumn::plain("dimension_name", TEXT)];
    (columns, format!("SELECT dimension_graph_id, dimension_name FROM {table}"))
}

fn gather(registry: &Registry, rows: &arrow::array::RecordBatch) -> Result<BTreeMap<i64, Vec<String>>> {
    let mut groups: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (id, name) in i64_values(rows, 0).into_iter().zip(string_values(rows, 1)) {
        groups.entry(id).or_default().push(name);
    }
    for names in groups.values_mut() {
        *names = registry.universe.group(names)?.required;
    }
    Ok(groups)
}

/// Returns the dataset type with this name.
///
/// # Errors
/// `Kind::NotFound` when the type is not registered; database errors.
pub(crate) async fn get(registry: &Registry, name: &str) -> Result<TypeRecord> {
    let all = load(registry).await?;
    match all.iter().find(|t| t.dataset_type.name == name) {
        Some(found) => Ok(found.clone()),
        None => Err(Error::not_found("dataset type", name, all.iter().map(|t| t.dataset_type.name.as_str()))),
    }
}

/// Checks that a definition equals the registered one.
///
/// # Errors
/// `Kind::Conflict` with the difference.
pub(crate) fn check_same(wanted: &DatasetType, there: &DatasetType) -> Result<()> {
    let differs = if wanted.dimensions != there.dimensions {
        format!("dimensions {{{}}}, not {{{}}}", there.dimensions.join(", "), wanted.dimensions.join(", "))
    } else if wanted.storage_class != there.storage_class {
        format!("storage class {}, not {}", there.storage_class, wanted.storage_class)
    } else if wanted.is_calibration != there.is_calibration {
        format!("is_calibration => {}, not {}", there.is_calibration, wanted.is_calibration)
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Conflict, format!("dataset type '{}' is registered with {differs}", wanted.name)))
}

/// What [`register`] created for a dataset type, for [`unregister_if_unused`].
#[derive(Debug)]
pub(crate) struct Registered {
    /// Dataset type name.
    pub name: String,
    /// True if the dataset type is new.
    is_new: bool,
    /// Key of the dimension group, if it is new.
    key: Option<i64>,
    /// Tables that are new.
    tables: Vec<TableDef>,
}

impl Registered {
    /// Creates a record of a dataset type for which nothing was created yet.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), is_new: false, key: None, tables: Vec::new() }
    }
}

/// Registers a dataset type unless it exists. Returns true if it was registered, and records in `made` what was
/// created. Like the Butler, this uses several short transactions, each of which can be repeated.
///
/// # Errors
/// `Kind::Conflict` when the name is registered with another definition; database errors.
pub(crate) async fn register(registry: &Registry, wanted: &DatasetType, made: &mut Registered) -> Result<bool> {
    if let Some(there) = load(registry).await?.iter().find(|t| t.dataset_type.name == wanted.name) {
        check_same(wanted, &there.dataset_type)?;
        // A Butler that lost a race may have left a type without its tables.
        let missing = std::iter::once(&there.tags).chain(&there.calibs);
        return make_tables(registry, missing, &mut Registered::new(&wanted.name)).await.map(|()| false);
    }
    let key = dimensions_key(registry, &wanted.dimensions, made).await?;
    let tags = tags_table(&registry.universe, registry.variant, &format!("dataset_tags_{key:08}"), &wanted.dimensions);
    let calibs = wanted.is_calibration.then(|| {
        calibs_table(&registry.universe, registry.variant, &format!("dataset_calibs_{key:08}"), &wanted.dimensions)
    });
    make_tables(registry, [Some(&tags), calibs.as_ref()].into_iter().flatten(), made).await?;
    let mut tx = registry.conn.begin().await?;
    let dialect = tx.dialect();
    let target = tx.table("dataset_type");
    let calibs = calibs.map_or("NULL".to_owned(), |t| dialect.text(&t.name));
    let (name, class, tags) =
        (dialect.text(&wanted.name), dialect.text(&wanted.storage_class), dialect.text(&tags.name));
    let next = next_number(&tx, "dataset_type", "id");
    let id = next.as_ref().map_or("", |_| "id, ");
    let next = next.map_or_else(String::new, |n| format!("{n}, "));
    let inserted = tx
        .execute(format!(
            "INSERT INTO {target} ({id}name, storage_class, dimensions_key, tag_association_table, \
             calibration_association_table) VALUES ({next}{name}, {class}, {key}, {tags}, {calibs}) \
             ON CONFLICT DO NOTHING"
        ))
        .await?;
    tx.commit().await?;
    made.is_new |= inserted > 0;
    // Another writer may have registered the name first, with another definition.
    check_same(wanted, &get(registry, &wanted.name).await?.dataset_type)?;
    Ok(inserted > 0)
}

/// Removes a newly registered dataset type, with the tables and the dimension group that were created for it. Whatever
/// is used by other dataset types is kept.
///
/// # Errors
/// Database errors.
pub(crate) async fn unregister_if_unused(registry: &Registry, made: &Registered) -> Result<()> {
    let mut tx = registry.conn.begin().await?;
    let (dialect, types) = (tx.dialect(), tx.table("dataset_type"));
    if made.is_new {
        tx.execute(format!("DELETE FROM {types} WHERE name = {}", dialect.text(&made.name))).await?;
    }
    let used = |column: &str, value: &str| format!("SELECT name FROM {types} WHERE {column} = {value}");
    let name = [ReadColumn::plain("name", TEXT)];
    for table in &made.tables {
        let table_name = dialect.text(&table.name);
        let by_tags = used("tag_association_table", &table_name);
        let by_calibs = used("calibration_association_table", &table_name);
        if tx.rows(by_tags, &name).await?.num_rows() + tx.rows(by_calibs, &name).await?.num_rows() == 0 {
            let schema = tx.schema().map(str::to_owned);
            for statement in ddl::drop(dialect, schema.as_deref(), table) {
                tx.execute(statement).await?;
            }
        }
    }
    if let Some(key) = made.key
        && tx.rows(used("dimensions_key", &key.to_string()), &name).await?.num_rows() == 0
    {
        let (definitions, keys) = (tx.table("dimension_graph_definition"), tx.table("dimension_graph_key"));
        tx.execute(format!("DELETE FROM {definitions} WHERE dimension_graph_id = {key}")).await?;
        tx.execute(format!("DELETE FROM {keys} WHERE id = {key}")).await?;
    }
    tx.commit().await
}

/// Returns the key of a dimension group, which is created if it does not exist; 0 is the group without dimensions.
async fn dimensions_key(registry: &Registry, dimensions: &[String], made: &mut Registered) -> Result<i64> {
    if dimensions.is_empty() {
        return Ok(0);
    }
    let mut tx = registry.conn.begin().await?;
    let (keys, definitions) = (tx.table("dimension_graph_key"), tx.table("dimension_graph_definition"));
    if tx.dialect() == Dialect::Postgres {
        tx.execute(format!("LOCK TABLE {keys}, {definitions} IN EXCLUSIVE MODE")).await?;
    }
    let (columns, sql) = group_query(definitions);
    let known = gather(registry, &tx.rows(sql, &columns).await?)?;
    if let Some((key, _)) = known.iter().find(|(_, names)| *names == dimensions) {
        return Ok(*key);
    }
    let insert = match next_number(&tx, "dimension_graph_key", "id") {
        Some(next) => format!("INSERT INTO {keys} (id) VALUES ({next})"),
        None => format!("INSERT INTO {keys} DEFAULT VALUES"),
    };
    tx.execute(insert).await?;
    let rows =
        tx.rows(format!("SELECT max(id) AS id FROM {keys}"), &[ReadColumn::plain("id", ColumnType::Int)]).await?;
    let key = i64_values(&rows, 0)[0];
    let definition = crate::registry::schema::butler_tables::static_tables(&registry.universe, registry.variant);
    let table = definition.iter().find(|t| t.name == "dimension_graph_definition");
    let table = table.ok_or_else(|| Error::bug("no table dimension_graph_definition"))?;
    let rows = crate::registry::db::rows::record_batch([
        ("dimension_graph_id", crate::registry::db::rows::constant_int(key, dimensions.len())),
        ("dimension_name", crate::registry::db::rows::text_column(dimensions.iter().map(String::as_str))),
    ])?;
    tx.insert(table, &rows, OnConflict::Fail).await?;
    tx.commit().await?;
    made.key = Some(key);
    Ok(key)
}

/// Returns true if the tables of a dataset type exist.
///
/// # Errors
/// Database errors.
pub(crate) async fn has_tables(registry: &Registry, record: &TypeRecord) -> Result<bool> {
    let there = tables(&mut Executor::Conn(&registry.conn)).await?;
    Ok(std::iter::once(&record.tags).chain(&record.calibs).all(|table| there.contains(&table.name)))
}

/// Creates missing tables. A table that another writer creates at the same moment is accepted.
async fn make_tables(
    registry: &Registry,
    wanted: impl Iterator<Item = &TableDef>,
    registered: &mut Registered,
) -> Result<()> {
    for table in wanted {
        let mut tx = registry.conn.begin().await?;
        if tables(&mut Executor::Tx(&mut tx)).await?.contains(&table.name) {
            continue;
        }
        let made = match create_table(&mut tx, table).await {
            Ok(()) => tx.commit().await,
            Err(error) => {
                drop(tx);
                Err(error)
            }
        };
        match made {
            Ok(()) => registered.tables.push(table.clone()),
            Err(error) => {
                // Errors of this check are ignored: the first error is reported.
                let there = tables(&mut Executor::Conn(&registry.conn)).await;
                if !there.is_ok_and(|there| there.contains(&table.name)) {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}
/// Returns the names of the dataset types that have datasets.
///
/// # Errors
/// Database errors.
pub(crate) async fn used(registry: &Registry) -> Result<Vec<String>> {
    let conn = &registry.conn;
    let sql = format!(
        "SELECT t.name FROM {} t WHERE EXISTS (SELECT 1 FROM {} d WHERE d.dataset_type_id = t.id)",
        conn.table("dataset_type"),
        conn.table("dataset")
    );
    Ok(string_values(&conn.rows(sql, vec![ReadColumn::plain("name", ColumnType::Text(None))]).await?, 0))
}

/// Deletes a dataset type.
///
/// # Errors
/// `Kind::Conflict` for a dataset type with datasets; other database errors.
pub(crate) async fn delete(tx: &mut Tx, name: &str) -> Result<u64> {
    tx.execute(format!("DELETE FROM {} WHERE name = {}", tx.table("dataset_type"), tx.dialect().text(name))).await
}
