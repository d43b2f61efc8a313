//! `associate` and `disassociate`: picks of datasets in TAGGED collections.

use std::collections::{HashMap, HashSet};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use async_trait::async_trait;

use super::hand::{Change, Hand, Outcome};
use super::records::all;
use super::{Access, Repo, Verb};
use crate::error::{Error, Kind, Result};
use crate::model::collection::CollectionType;
use crate::registry::conn::Batches;
use crate::registry::dataset_types::{self, TypeRecord};
use crate::registry::datasets::ids;
use crate::registry::schema::{Kind as ColumnKind, Scanned};
use crate::registry::{collections, ints, texts};

/// How many ids go into one query.
const CHUNK: usize = 4096;

/// Puts datasets into a TAGGED collection.
#[derive(Debug)]
pub struct Associate {
    /// The collection; it must exist.
    pub collection: String,
}

/// Takes datasets out of a TAGGED collection; those not in it are passed over.
#[derive(Debug)]
pub struct Disassociate {
    /// The collection; it must exist.
    pub collection: String,
}

#[async_trait]
impl Verb for Associate {
    async fn run(&self, access: &Access, rows: Option<Batches>, hand: &mut Hand<'_>) -> Result<()> {
        let repo = access.repo().await?;
        tagged(&repo, &self.collection, "associate into").await?;
        let mut plan = Vec::new();
        for (record, wanted) in by_type(&repo, rows).await? {
            let members = members(&repo, &record, &wanted).await?;
            let there = memberships(&repo, &record, &self.collection).await?;
            let new: BooleanArray =
                ids(&members, "dataset_id")?.iter().map(|id| Some(!there.contains(id))).collect();
            let name = record.dataset_type.name;
            hand.note("membership", Outcome::Existing, &name, (new.len() - new.true_count()) as u64);
            if new.true_count() > 0 {
                let rows = filter_record_batch(&members, &new)?;
                plan.push(Change::Associate(self.collection.clone(), name, rows));
            }
        }
        hand.apply(plan).await.map_err(|e| match e.kind() {
            Kind::Conflict => Error::new(
                Kind::Conflict,
                format!("collection '{}' already holds another dataset with the same type and data ID", self.collection),
            )
            .because(e),
            _ => e,
        })
    }
}

#[async_trait]
impl Verb for Disassociate {
    async fn run(&self, access: &Access, rows: Option<Batches>, hand: &mut Hand<'_>) -> Result<()> {
        let repo = access.repo().await?;
        tagged(&repo, &self.collection, "disassociate from").await?;
        let mut plan = Vec::new();
        for (record, wanted) in by_type(&repo, rows).await? {
            let there = memberships(&repo, &record, &self.collection).await?;
            let going: Vec<_> = wanted.into_iter().filter(|id| there.contains(id)).collect();
            if !going.is_empty() {
                plan.push(Change::Disassociate(self.collection.clone(), record.dataset_type.name, going));
            }
        }
        hand.apply(plan).await
    }
}

async fn tagged(repo: &Repo, name: &str, doing: &str) -> Result<()> {
    match collections::load(&repo.registry).await?.get(name)?.kind {
        CollectionType::Tagged => Ok(()),
        other => {
            Err(Error::new(Kind::Conflict, format!("cannot {doing} collection '{name}' of type {other}: must be TAGGED")))
        }
    }
}

/// The ids given, by dataset type; each must be in the registry.
async fn by_type(repo: &Repo, rows: Option<Batches>) -> Result<Vec<(TypeRecord, Vec<String>)>> {
    let rows = all(rows).await?;
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let column = rows.schema_ref().index_of("dataset_id").unwrap_or(0);
    let text = arrow::compute::cast(rows.column(column), &arrow::datatypes::DataType::Utf8)?;
    let rows = crate::registry::rows::batch([("dataset_id", text)])?;
    let mut seen = HashSet::new();
    let wanted: Vec<String> = ids(&rows, "dataset_id")?.into_iter().filter(|id| seen.insert(id.clone())).collect();
    let mut kinds: HashMap<i64, Vec<String>> = HashMap::new();
    let mut found = 0;
    for some in wanted.chunks(CHUNK) {
        let list = id_list(repo, some)?;
        let sql = format!("SELECT id, dataset_type_id FROM {} WHERE id IN ({list})", repo.registry.conn.table("dataset"));
        let columns = vec![Scanned::plain("id", ColumnKind::Uuid), Scanned::plain("dataset_type_id", ColumnKind::Int)];
        let rows = repo.registry.conn.rows(sql, columns).await?;
        found += rows.num_rows();
        for (id, kind) in texts(&rows, 0).into_iter().zip(ints(&rows, 1)) {
            kinds.entry(kind).or_default().push(id);
        }
    }
    if found < wanted.len() {
        let known: HashSet<&String> = kinds.values().flatten().collect();
        let missing = wanted.iter().find(|id| !known.contains(id)).map_or("", String::as_str);
        return Err(Error::new(Kind::NotFound, format!("no dataset has the id '{missing}'")));
    }
    let types = dataset_types::load(&repo.registry).await?;
    let mut all: Vec<_> =
        types.into_iter().filter_map(|t| kinds.remove(&t.id).map(|ids| (t, ids))).collect();
    all.iter_mut().for_each(|(_, ids)| ids.sort_unstable());
    Ok(all)
}

fn id_list(repo: &Repo, ids: &[String]) -> Result<String> {
    let dialect = repo.registry.conn.dialect();
    let literal = |id: &String| dialect.uuid(id).ok_or_else(|| Error::invalid(format!("'{id}' is no dataset id")));
    Ok(ids.iter().map(literal).collect::<Result<Vec<_>>>()?.join(", "))
}

/// The data IDs of datasets: `dataset_id` and the dimensions, from their RUN's memberships.
async fn members(repo: &Repo, record: &TypeRecord, wanted: &[String]) -> Result<RecordBatch> {
    let (conn, dialect) = (&repo.registry.conn, repo.registry.conn.dialect());
    let columns: Vec<Scanned> = record
        .tags
        .scanned()
        .into_iter()
        .filter(|c| c.name == "dataset_id" || record.dataset_type.dimensions.contains(&c.name))
        .collect();
    let select: Vec<_> = columns.iter().map(|c| format!("t.{}", dialect.quote(&c.name))).collect();
    let mut batches = Vec::new();
    for some in wanted.chunks(CHUNK) {
        let sql = format!(
            "SELECT {} FROM {} t JOIN {} d ON d.id = t.dataset_id AND d.run_id = t.collection_id \
             WHERE t.dataset_id IN ({})",
            select.join(", "),
            conn.table(&record.tags.name),
            conn.table("dataset"),
            id_list(repo, some)?
        );
        batches.push(conn.rows(sql, columns.clone()).await?);
    }
    Ok(arrow::compute::concat_batches(&crate::registry::schema::arrow_schema(&columns), &batches)?)
}

/// The ids of the datasets of a type in a collection.
async fn memberships(repo: &Repo, record: &TypeRecord, collection: &str) -> Result<HashSet<String>> {
    let conn = &repo.registry.conn;
    let sql = format!(
        "SELECT t.dataset_id FROM {} t JOIN {} c ON c.collection_id = t.collection_id WHERE c.name = {} \
         AND t.dataset_type_id = {}",
        conn.table(&record.tags.name),
        conn.table("collection"),
        conn.dialect().text(collection),
        record.id
    );
    let rows = conn.rows(sql, vec![Scanned::plain("dataset_id", ColumnKind::Uuid)]).await?;
    Ok(texts(&rows, 0).into_iter().collect())
}
