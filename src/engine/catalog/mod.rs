//! The catalog of a session: schemas `public`, `registry`, `dataset` and `collection`.

pub(super) mod calibration_members;
pub(super) mod dataset_search;
pub(super) mod file_tables;
pub(super) mod object_stores;
pub(super) mod registry_table;
pub(super) mod repositories;
pub(super) mod repository;
pub(super) mod rucio_tables;
pub(super) mod system_tables;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, MemTable, SchemaProvider, Session, TableProvider};
use datafusion::common::TableReference;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::engine::catalog::registry_table::RegistryTable;
use crate::engine::catalog::repository::{RepositoryCatalog, Snapshot, read};
use crate::engine::catalog::system_tables::{SYSTEM_TABLES, SystemTableContext, VIEWS};
use crate::engine::procedure::{OutputMode, ProcedureCall, ProcedureExec};
use crate::error::{Error, Kind};
use crate::model::collection::CollectionType;
use crate::registry::dataset_queries;
use crate::repo::Associate;
use crate::repo::Repo;
use crate::repo::RepositoryHandle;
use crate::repo::search::collections;
use crate::universe::{Element, FieldType};

/// The name of a field type of the dimension universe.
pub(super) fn type_word(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text(_) => "text",
        FieldType::Int => "integer",
        FieldType::Float => "float",
        FieldType::Bool => "boolean",
        FieldType::Hash => "bytes",
        FieldType::Time => "time",
    }
}

/// The catalog `butler` of a session.
#[derive(Debug)]
pub(in crate::engine) struct Catalog {
    schemas: BTreeMap<&'static str, Arc<ButlerSchemaProvider>>,
}

impl Catalog {
    /// Creates the catalog of a repository.
    pub(super) fn new(repository: &Arc<RepositoryCatalog>) -> Self {
        let schema = |which| {
            Arc::new(ButlerSchemaProvider {
                repository: Arc::clone(repository),
                which,
                session_tables: RwLock::default(),
            })
        };
        let schemas = BTreeMap::from([
            ("public", schema(SchemaKind::Public)),
            ("registry", schema(SchemaKind::Registry)),
            ("dataset", schema(SchemaKind::Dataset)),
            ("collection", schema(SchemaKind::Collection)),
        ]);
        Self { schemas }
    }

    /// Whether a name is a table of the repository, not one that the session created.
    pub(super) fn is_repository_table(&self, name: &TableReference) -> bool {
        let Some(tables) = self.schemas.get(name.schema().unwrap_or("public")) else { return false };
        let is_own = read(&tables.session_tables).contains_key(name.table());
        !is_own && tables.table_names().iter().any(|known| known == name.table())
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.keys().map(|s| (*s).to_owned()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.schemas.get(name).map(|tables| Arc::clone(tables) as Arc<dyn SchemaProvider>)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SchemaKind {
    /// Views, dimension elements, dataset types, system tables, and tables of the session.
    Public,
    /// The physical tables of the registry.
    Registry,
    /// Dataset types, for names that another table has in `public`.
    Dataset,
    /// Collections, for INSERT.
    Collection,
}

#[derive(Debug)]
struct ButlerSchemaProvider {
    repository: Arc<RepositoryCatalog>,
    which: SchemaKind,
    /// Tables that the session created.
    session_tables: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
}

#[async_trait]
impl SchemaProvider for ButlerSchemaProvider {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = read(&self.session_tables).into_keys().collect();
        if self.which == SchemaKind::Public {
            names.extend(SYSTEM_TABLES.iter().map(|t| t.name.to_owned()));
        }
        if let Ok(known) = self.repository.snapshot() {
            let types = known.types.iter().map(|t| t.dataset_type.name.clone());
            match self.which {
                SchemaKind::Public => {
                    names.extend(VIEWS.iter().map(|v| v.0.to_owned()));
                    names.push("memberships".to_owned());
                    names.extend(shown(&known.repo).map(|e| e.name.clone()));
                    names.extend(types);
                }
                SchemaKind::Registry => {
                    names.extend(known.repo.registry.tables(&known.types).into_iter().map(|t| t.name))
                }
                SchemaKind::Dataset => names.extend(types),
                SchemaKind::Collection => {}
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(local) = read(&self.session_tables).get(name) {
            return Ok(Some(Arc::clone(local)));
        }
        if self.which == SchemaKind::Public
            && let Some(small) = SYSTEM_TABLES.iter().find(|t| t.name == name)
        {
            return self.small(small).map(Some);
        }
        // Without a repository there are no tables; `RepositoryCatalog::unknown_table` reports the reason.
        let Ok(known) = self.repository.snapshot() else { return Ok(None) };
        match self.which {
            SchemaKind::Public => self.public(name, &known).await,
            SchemaKind::Registry => Ok(physical(name, &known)?),
            SchemaKind::Dataset => Ok(dataset_table(name, &known)),
            SchemaKind::Collection => self.collection(name, &known).await.map(Some),
        }
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(catalog) = &self.repository.attached_as {
            return Err(Error::invalid(format!("repository '{catalog}' is attached read-only")).into());
        }
        if self.which != SchemaKind::Public {
            return Err(Error::invalid("session tables can only be created in schema public").into());
        }
        Ok(self.session_tables.write().unwrap_or_else(PoisonError::into_inner).insert(name, table))
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let dropped = self.session_tables.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if dropped.is_none() && self.table_exist(name) {
            let message = format!("cannot drop '{name}': it belongs to the repository");
            return Err(Error::new(Kind::Unsupported, message).into());
        }
        Ok(dropped)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.which == SchemaKind::Collection || self.table_names().iter().any(|n| n == name)
    }
}

/// The dimension elements that have rows.
fn shown(repo: &Repo) -> impl Iterator<Item = &Element> {
    repo.registry.universe.elements().iter().filter(|e| e.has_table || e.union_of.is_some())
}

impl ButlerSchemaProvider {
    fn small(&self, small: &crate::engine::catalog::system_tables::SystemTable) -> Result<Arc<dyn TableProvider>> {
        let rows = match (self.repository.snapshot(), small.name) {
            (Ok(known), _) => {
                (small.rows)(SystemTableContext { universe: &known.repo.registry.universe, types: &known.types })?
            }
            // The table `functions` does not need a repository.
            (Err(_), "functions") => {
                let universe = crate::universe::Universe::parse(crate::universe::DEFAULT)?;
                (small.rows)(SystemTableContext { universe: &universe, types: &[] })?
            }
            (Err(error), _) => return Err(error.into()),
        };
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
    }

    async fn public(&self, name: &str, known: &Snapshot) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some((_, sql)) = VIEWS.iter().find(|v| v.0 == name) {
            // The table of file records may have another name.
            let records = quoted(&known.repo.registry.file_records.name);
            return Ok(Some(self.repository.view(&sql.replace("file_datastore_records", &records)).await?));
        }
        if name == "memberships" {
            let registry = &known.repo.registry;
            let from = dataset_queries::memberships(registry, &known.types);
            let table = RegistryTable::query(registry.conn.clone(), from, dataset_queries::membership_columns());
            return Ok(Some(Arc::new(table)));
        }
        if let Some(element) = shown(&known.repo).find(|e| e.name == name) {
            return Ok(Some(self.repository.view(&element_view(known, element)).await?));
        }
        Ok(dataset_table(name, known))
    }

    async fn collection(&self, name: &str, known: &Snapshot) -> Result<Arc<dyn TableProvider>> {
        let all = collections(&known.repo).await?;
        let kind = all.get(name)?.kind;
        let sql = format!("SELECT dataset_id, dataset_type FROM memberships WHERE collection = {}", literal(name));
        let view = self.repository.view(&sql).await?;
        Ok(Arc::new(CollectionTable { name: name.to_owned(), kind, handle: Arc::clone(&self.repository.handle), view }))
    }
}

/// A physical table of the registry.
fn physical(name: &str, known: &Snapshot) -> crate::error::Result<Option<Arc<dyn TableProvider>>> {
    let registry = &known.repo.registry;
    let Some(table) = registry.tables(&known.types).into_iter().find(|t| t.name == name) else { return Ok(None) };
    if table.name == registry.file_records.name {
        registry.check_files()?;
    }
    if !known.has_files && table.name == registry.file_records.name {
        let schema = crate::registry::schema::arrow_schema(&table.read_columns());
        return Ok(Some(Arc::new(MemTable::try_new(schema, vec![vec![]])?)));
    }
    Ok(Some(Arc::new(RegistryTable::new(registry.conn.clone(), &table))))
}

/// The table of a dataset type, with one row for each dataset.
fn dataset_table(name: &str, known: &Snapshot) -> Option<Arc<dyn TableProvider>> {
    let registry = &known.repo.registry;
    let record = known.types.iter().find(|t| t.dataset_type.name == name)?;
    let [with, without] = [true, false].map(|dated| dataset_queries::datasets(registry, record, dated));
    let table = RegistryTable::query(registry.conn.clone(), with, dataset_queries::dataset_columns(registry, record));
    Some(Arc::new(table.slim_source("ingest_date", without).row_count_table(&record.tags.name)))
}

/// The SELECT of a dimension element; its own key column has the name of the dimension.
fn element_view(known: &Snapshot, element: &Element) -> String {
    if let Some(source) = &element.union_of {
        return format!("SELECT DISTINCT {0} FROM registry.{source} WHERE {0} IS NOT NULL", quoted(&element.name));
    }
    let table = crate::registry::schema::butler_tables::element_table(&known.repo.registry.universe, element);
    let key = element.key.as_ref().map(|k| k.name.as_str());
    let show = |name: &str| match key {
        Some(key) if key == name => format!("{} AS {}", quoted(name), quoted(&element.name)),
        _ => quoted(name),
    };
    let columns: Vec<_> = table.read_columns().iter().map(|c| show(&c.name)).collect();
    format!("SELECT {} FROM registry.{}", columns.join(", "), quoted(&element.name))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A collection as a table of its members; INSERT associates datasets with a TAGGED collection.
#[derive(Debug)]
struct CollectionTable {
    name: String,
    kind: CollectionType,
    handle: Arc<RepositoryHandle>,
    view: Arc<dyn TableProvider>,
}

#[async_trait]
impl TableProvider for CollectionTable {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("dataset_id", DataType::Utf8, true)]))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ids = vec![0];
        let projection = projection.cloned().unwrap_or(ids);
        self.view.scan(state, Some(&projection), filters, limit).await
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        insert_op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if insert_op != InsertOp::Append {
            return Err(Error::new(Kind::Unsupported, "a collection supports only INSERT INTO").into());
        }
        if self.kind != CollectionType::Tagged {
            let message =
                format!("cannot insert into collection '{}' of type {}: must be TAGGED", self.name, self.kind);
            return Err(Error::new(Kind::Conflict, message).into());
        }
        let operation = Arc::new(Associate { collection: self.name.clone() });
        let call = ProcedureCall {
            function: "associate",
            operation,
            handle: Arc::clone(&self.handle),
            mode: OutputMode::Count,
        };
        Ok(Arc::new(ProcedureExec::insert(call, input)))
    }
}
