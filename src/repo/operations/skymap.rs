//! `register_skymap`: registers a sky map with its tracts and patches, and stores its dataset.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, BinaryArray, Int64Array};
use async_trait::async_trait;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::format::skymap_config::SkyMap;
use crate::model::collection::CollectionType;
use crate::model::dataset::DatasetType;
use crate::registry::dataset_types;
use crate::registry::db::rows::{constant_int, constant_text, record_batch};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions::{self, table};
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;
use crate::repo::Repo;
use crate::repo::changeset::changes::{
    ComputeRecords, CreateDatasetType, InsertDatasets, RecordSource, TransferFiles, WriteRecords,
};
use crate::repo::changeset::comparison::{Comparison, compare};
use crate::repo::changeset::report::Status;
use crate::repo::changeset::{ChangeSet, Operation, Plan, PlanContext};
use crate::repo::ingest::file_paths::{PendingRecords, paths};
use crate::repo::operations::collections;
use crate::store::Location;
use crate::store::transfer::{Transfer, TransferSource};
use crate::store::transfer_mode::TransferMode;

/// Registers a sky map; an identical registered sky map is not changed.
#[derive(Debug)]
pub(crate) struct RegisterSkymap {
    /// Path of a configuration file.
    pub config_file: Option<String>,
    /// Assignments that are applied after the file.
    pub config: Vec<String>,
}

/// Run, dataset type and storage class of sky maps.
const RUN: &str = "skymaps";
const TYPE: (&str, &str) = ("skyMap", "SkyMap");

/// Number of tracts per batch.
const TRACTS: usize = 64;
/// Maximum size in bytes of a configuration file.
const LIMIT: u64 = 1 << 20;

#[async_trait]
impl Operation for RegisterSkymap {
    async fn plan<'a>(&'a self, context: PlanContext<'a>) -> Result<Plan<'a>> {
        let map = self.configuration().await?;
        let repo = context.handle.repo().await?;
        context.progress.begin("register_skymap", None);
        Ok(change_set(&repo, map).await?.into_plan())
    }
}

/// Returns the changes that register a sky map.
async fn change_set(repo: &Repo, map: SkyMap) -> Result<ChangeSet<'static>> {
    let mut set = ChangeSet::default();
    let record = record_batch([
        ("name", constant_text(&map.name, 1)),
        ("hash", Arc::new(BinaryArray::from_vec(vec![&map.hash()])) as ArrayRef),
        ("tract_max", constant_int(map.rings.count(), 1)),
        ("patch_nx_max", constant_int(map.rings.grid()[0].into(), 1)),
        ("patch_ny_max", constant_int(map.rings.grid()[1].into(), 1)),
    ])?;
    match compare(&repo.registry, &table(&repo.registry, "skymap")?, &record).await?.as_slice() {
        [Comparison::New] => {}
        [Comparison::Differs(how)] => {
            let message = format!("sky map '{}' is registered with another geometry: {how}", map.name);
            return Err(Error::new(Kind::Conflict, message));
        }
        _ => {
            set.record("skymap", Status::Unchanged, &map.name, 1);
            return Ok(set);
        }
    }
    check_other_names(repo, &map).await?;
    set.extend(collections::ensure_collection(repo, RUN, CollectionType::Run).await?);
    let kind = DatasetType {
        name: TYPE.0.to_owned(),
        dimensions: vec!["skymap".to_owned()],
        storage_class: TYPE.1.to_owned(),
        is_calibration: false,
    };
    match dataset_types::load(&repo.registry).await?.iter().find(|t| t.dataset_type.name == kind.name) {
        Some(there) => dataset_types::check_same(&kind, &there.dataset_type)?,
        None => set.push(CreateDatasetType(kind.clone())),
    }
    let planned = SpillBuffer::from(record);
    let pickle = map.pickle();
    let dataset = record_batch([
        ("dataset_id", constant_text(&Uuid::new_v4().to_string(), 1)),
        ("skymap", constant_text(&map.name, 1)),
    ])?;
    let path = paths(repo, &kind, RUN, &dataset, &PendingRecords::from([("skymap", &planned)])).await?.swap_remove(0);
    let path = format!("{path}.pickle");
    let to = Location::parse(&repo.datastore_root())?.child(&path);
    let size = i64::try_from(pickle.len()).unwrap_or(-1);
    let from = TransferSource::Bytes(pickle.into());
    set.push(TransferFiles { transfers: vec![Transfer { from, to, mode: TransferMode::Copy }] });
    set.push(WriteRecords::insert("skymap", planned));
    let geometry = Arc::new(Geometry { map, computed: OnceLock::new() });
    for (element, part) in [("tract", Part::Tracts), ("patch", Part::Patches)] {
        let records = RecordSource::Computed(Arc::new(GeometryRecords { geometry: Arc::clone(&geometry), part }));
        set.push(WriteRecords { element: element.to_owned(), records, replace: false });
    }
    let columns = dataset.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(dataset.columns().to_vec());
    let dataset = record_batch(columns.chain([
        ("path", constant_text(&path, 1)),
        ("formatter", constant_text(repo.formatter(&kind)?, 1)),
        ("file_size", constant_int(size, 1)),
    ]))?;
    set.push(InsertDatasets { dataset_type: kind.name, run: RUN.to_owned(), rows: dataset.into() });
    Ok(set)
}

impl RegisterSkymap {
    async fn configuration(&self) -> Result<SkyMap> {
        let text = match &self.config_file {
            Some(file) => {
                let bytes = Location::parse(file)?.read(LIMIT).await?;
                String::from_utf8(bytes.to_vec()).map_err(|_| Error::invalid(format!("file '{file}' is not UTF-8")))?
            }
            None => String::new(),
        };
        SkyMap::parse(&text, &self.config).map_err(|e| match &self.config_file {
            Some(file) => e.context(format_args!("sky map configuration '{file}'")),
            None => e.context("sky map configuration"),
        })
    }
}

/// Checks that the geometry is not registered under another name.
async fn check_other_names(repo: &Repo, map: &SkyMap) -> Result<()> {
    let columns = vec![ReadColumn::plain("name", ColumnType::Text(None)), ReadColumn::plain("hash", ColumnType::Bytes)];
    let there = dimensions::values(&repo.registry, "skymap", columns, None).await?;
    let hashes = arrow::array::AsArray::as_binary::<i32>(there.column(1));
    let same = string_values(&there, 0).into_iter().zip(hashes.iter()).find(|(_, hash)| *hash == Some(&map.hash()[..]));
    match same {
        Some((name, _)) => {
            let message = format!("the geometry of sky map '{}' is registered as '{name}'", map.name);
            Err(Error::new(Kind::Conflict, message))
        }
        None => Ok(()),
    }
}

/// The tracts and patches of a sky map, computed once.
#[derive(Debug)]
struct Geometry {
    map: SkyMap,
    computed: OnceLock<Result<(SpillBuffer, SpillBuffer)>>,
}

/// Which records of a sky map.
#[derive(Debug, Clone, Copy)]
enum Part {
    Tracts,
    Patches,
}

/// The records of the tracts or of the patches.
#[derive(Debug)]
struct GeometryRecords {
    geometry: Arc<Geometry>,
    part: Part,
}

impl ComputeRecords for GeometryRecords {
    fn count(&self) -> u64 {
        let rings = &self.geometry.map.rings;
        let [nx, ny] = rings.grid();
        let tracts = rings.count().unsigned_abs();
        match self.part {
            Part::Tracts => tracts,
            Part::Patches => tracts * u64::from((nx * ny).unsigned_abs()),
        }
    }

    fn records(&self) -> Result<&SpillBuffer> {
        let Geometry { map, computed } = &*self.geometry;
        let (tracts, patches) = computed.get_or_init(|| compute(map)).as_ref().map_err(Error::clone)?;
        Ok(match self.part {
            Part::Tracts => tracts,
            Part::Patches => patches,
        })
    }
}

/// Returns the records of all tracts and patches.
fn compute(map: &SkyMap) -> Result<(SpillBuffer, SpillBuffer)> {
    let (mut tracts, mut patches) = (SpillBuffer::default(), SpillBuffer::default());
    let all: Vec<_> = (0_i64..).zip(map.rings.tracts()).collect();
    for some in all.chunks(TRACTS) {
        let ints = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let regions = |values: Vec<Vec<u8>>| Arc::new(BinaryArray::from_iter_values(values)) as ArrayRef;
        tracts.push(record_batch([
            ("skymap", constant_text(&map.name, some.len())),
            ("id", ints(some.iter().map(|(id, _)| *id).collect())),
            ("region", regions(some.iter().map(|(_, tract)| tract.polygon().encode()).collect())),
        ])?)?;
        let cells = some.iter().flat_map(|(id, tract)| {
            let [nx, ny] = tract.patches;
            (0..ny).flat_map(move |y| (0..nx).map(move |x| (*id, tract, x, y, i64::from(nx * y + x))))
        });
        let cells: Vec<_> = cells.collect();
        patches.push(record_batch([
            ("skymap", constant_text(&map.name, cells.len())),
            ("tract", ints(cells.iter().map(|c| c.0).collect())),
            ("id", ints(cells.iter().map(|c| c.4).collect())),
            ("cell_x", ints(cells.iter().map(|c| c.2.into()).collect())),
            ("cell_y", ints(cells.iter().map(|c| c.3.into()).collect())),
            ("region", regions(cells.iter().map(|c| c.1.patch(c.2, c.3).encode()).collect())),
        ])?)?;
    }
    Ok((tracts, patches))
}
