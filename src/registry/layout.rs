//! Which tables a registry has: all follow from the universe and the managers, by the rules of `lsst-daf-butler` that the
//! domain reference worked out.

use super::schema::{Column, Kind, Table};
use crate::universe::{Element, FieldType, Universe};

/// Which of the managers that shape tables a registry uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Collections are keyed by name (`nameKey`), not by number.
    pub collections_by_name: bool,
    /// `ingest_date` is a UTC timestamp (version 1 of the datasets manager).
    pub utc_ingest_date: bool,
}

impl Shape {
    /// The shape of new repositories.
    pub const CURRENT: Self = Self { collections_by_name: false, utc_ingest_date: false };

    /// The column that refers to a collection in `role` ("collection" or "run"), and its kind.
    fn collection_column(self, role: &str) -> (String, Kind) {
        if self.collections_by_name {
            (format!("{role}_name"), Kind::Text(None))
        } else {
            (format!("{role}_id"), Kind::Int)
        }
    }

    /// Adds the reference to a collection; keyed by name it is also shown as `…_id`.
    fn collection(self, table: &mut Table, role: &str, in_key: bool) -> String {
        let (name, kind) = self.collection_column(role);
        if in_key {
            table.key(&name, kind)
        } else {
            table.need(&name, kind)
        };
        if self.collections_by_name {
            alias(table, &format!("{role}_id"), &name, kind);
        }
        name
    }
}

fn alias(table: &mut Table, name: &str, of: &str, kind: Kind) {
    table.columns.push(Column { name: name.to_owned(), kind, required: true, alias_of: Some(of.to_owned()) });
}

const TEXT: Kind = Kind::Text(None);

/// All tables of a new repository but the file records, in an order that satisfies the foreign keys.
pub fn static_tables(universe: &Universe, shape: Shape) -> Vec<Table> {
    let mut tables = vec![attributes()];
    for element in universe.tables() {
        tables.push(element_table(universe, element));
        if element.spatial {
            tables.extend(skypix_overlap(universe, element));
        }
    }
    tables.extend(pair_overlaps(universe));
    tables.extend(dimension_graph());
    tables.extend(collections(shape));
    tables.extend(datasets(universe, shape));
    let mut table = Table::new("opaque_meta");
    table.key("table_name", TEXT);
    tables.push(table);
    tables.extend(locations());
    tables
}

fn attributes() -> Table {
    let mut table = Table::new("butler_attributes");
    table.key("name", TEXT).need("value", TEXT);
    table
}

/// The table of a dimension element: required, implied, alternate keys, metadata, region, timespan.
pub fn element_table(universe: &Universe, element: &Element) -> Table {
    let mut table = Table::new(&element.name);
    for name in &element.required {
        match &element.key {
            Some(key) if *name == element.name => {
                table.key(&key.name, kind_of(key.kind));
            }
            _ => table.dimension(universe, name, true),
        }
    }
    for name in &element.implied {
        table.dimension(universe, name, false);
    }
    for field in &element.alternate_keys {
        table.may(&field.name, kind_of(field.kind));
        let mut unique: Vec<_> = element.required.iter().filter(|d| **d != element.name).cloned().collect();
        unique.push(field.name.clone());
        table.unique.push(unique);
    }
    for field in &element.metadata {
        table.may(&field.name, kind_of(field.kind));
    }
    if element.spatial {
        table.may("region", Kind::Bytes);
    }
    if element.temporal {
        table.may("timespan", Kind::Span);
    }
    table
}

fn governor<'a>(universe: &Universe, element: &'a Element) -> &'a str {
    let is = |name: &&String| universe.find(name).is_some_and(|e| e.governor);
    element.required.iter().find(is).map_or("", String::as_str)
}

fn skypix_overlap(universe: &Universe, element: &Element) -> [Table; 2] {
    let governor = governor(universe, element);
    let mut summary = Table::new(format!("{}_skypix_overlap_summary", element.name));
    let mut overlap = Table::new(format!("{}_skypix_overlap", element.name));
    for table in [&mut summary, &mut overlap] {
        table.key("skypix_system", Kind::Text(Some(16))).key("skypix_level", Kind::Small);
    }
    summary.dimension(universe, governor, true);
    let shared = ["skypix_system", "skypix_level", governor];
    overlap.refers(&summary.name, &shared, &shared, true);
    for name in &element.required {
        overlap.dimension(universe, name, true);
    }
    overlap.key("skypix_index", Kind::Int);
    let lead = ["skypix_system", "skypix_level", "skypix_index"].map(str::to_owned);
    overlap.indexes.push(lead.into_iter().chain(element.required.iter().cloned()).collect());
    [summary, overlap]
}

/// Tables the Butler makes for pairs of spatial families and never uses.
fn pair_overlaps(universe: &Universe) -> Vec<Table> {
    let spatial: Vec<&Element> = universe.tables().filter(|e| e.spatial).collect();
    let mut tables = Vec::new();
    for (i, a) in spatial.iter().enumerate() {
        for b in &spatial[i + 1..] {
            if universe.spatial_family(&a.name) == universe.spatial_family(&b.name) {
                continue;
            }
            let governors = [governor(universe, a), governor(universe, b)];
            let mut summary = Table::new(format!("{}_{}_overlap_summary", a.name, b.name));
            let mut overlap = Table::new(format!("{}_{}_overlap", a.name, b.name));
            for name in governors {
                summary.dimension(universe, name, true);
                overlap.dimension(universe, name, true);
            }
            for name in a.required.iter().chain(&b.required).filter(|d| !governors.contains(&d.as_str())) {
                overlap.dimension(universe, name, true);
            }
            tables.extend([summary, overlap]);
        }
    }
    tables
}

fn dimension_graph() -> [Table; 2] {
    let mut key = Table::new("dimension_graph_key");
    key.numbered("id");
    let mut definition = Table::new("dimension_graph_definition");
    definition.key("dimension_graph_id", Kind::Int).key("dimension_name", TEXT);
    definition.refers("dimension_graph_key", &["dimension_graph_id"], &["id"], true);
    [key, definition]
}

fn collections(shape: Shape) -> [Table; 3] {
    let mut collection = Table::new("collection");
    let mut run = Table::new("run");
    let mut chain = Table::new("collection_chain");
    if shape.collections_by_name {
        collection.key("name", TEXT).need("type", Kind::Small).may("doc", TEXT);
        alias(&mut collection, "collection_id", "name", TEXT);
        run.key("name", TEXT);
        alias(&mut run, "collection_id", "name", TEXT);
        chain.key("parent", TEXT).key("position", Kind::Small).need("child", TEXT);
    } else {
        collection.numbered("collection_id").need("name", TEXT).need("type", Kind::Small).may("doc", TEXT);
        collection.unique.push(vec!["name".to_owned()]);
        run.key("collection_id", Kind::Int);
        chain.key("parent", Kind::Int).key("position", Kind::Small).need("child", Kind::Int);
    }
    let key = collection.primary_key[0].clone();
    run.may("host", TEXT).may("timespan", Kind::Span);
    let own = run.primary_key[0].clone();
    run.refers("collection", &[&own], &[&key], true);
    chain.refers("collection", &["parent"], &[&key], true).refers("collection", &["child"], &[&key], false);
    [collection, run, chain]
}

fn datasets(universe: &Universe, shape: Shape) -> Vec<Table> {
    let mut types = Table::new("dataset_type");
    types.numbered("id").need("name", TEXT).need("storage_class", TEXT).need("dimensions_key", Kind::Int);
    types.need("tag_association_table", TEXT).may("calibration_association_table", TEXT);
    types.unique.push(vec!["name".to_owned()]);
    let collection_key = if shape.collections_by_name { "name" } else { "collection_id" };
    let mut dataset = Table::new("dataset");
    dataset.key("id", Kind::Uuid).need("dataset_type_id", Kind::Int);
    dataset.need("ingest_date", if shape.utc_ingest_date { Kind::UtcTime } else { Kind::Time });
    let run = shape.collection(&mut dataset, "run", false);
    dataset.refers("dataset_type", &["dataset_type_id"], &["id"], false).refers(
        "run",
        &[&run],
        &[collection_key],
        true,
    );
    let mut summary = Table::new("collection_summary_dataset_type");
    let column = shape.collection(&mut summary, "collection", true);
    summary.key("dataset_type_id", Kind::Int);
    summary.refers("collection", &[&column], &[collection_key], true);
    summary.refers("dataset_type", &["dataset_type_id"], &["id"], true);
    let mut tables = vec![types, dataset, summary];
    for governor in universe.elements().iter().filter(|e| e.governor) {
        let mut table = Table::new(format!("collection_summary_{}", governor.name));
        let column = shape.collection(&mut table, "collection", true);
        table.refers("collection", &[&column], &[collection_key], true);
        table.dimension(universe, &governor.name, true);
        tables.push(table);
    }
    tables
}

fn locations() -> [Table; 2] {
    ["dataset_location", "dataset_location_trash"].map(|name| {
        let mut table = Table::new(name);
        table.key("datastore_name", TEXT).key("dataset_id", Kind::Uuid);
        if name == "dataset_location" {
            table.refers("dataset", &["dataset_id"], &["id"], false);
        }
        table
    })
}

/// The file records of a datastore.
pub fn file_records(name: &str) -> Table {
    let mut table = Table::new(name);
    table.key("dataset_id", Kind::Uuid).need("path", TEXT).need("formatter", TEXT).need("storage_class", TEXT);
    table.key("component", Kind::Text(Some(32))).may("checksum", TEXT).may("file_size", Kind::Int);
    table.indexes.push(vec!["path".to_owned()]);
    table
}

/// The table of memberships of a dimension group, in RUN and TAGGED collections.
pub fn tags_table(universe: &Universe, shape: Shape, name: &str, dimensions: &[String]) -> Table {
    let mut table = association(universe, shape, name, dimensions, true);
    let (collection, _) = shape.collection_column("collection");
    let lead = ["dataset_type_id".to_owned(), collection];
    table.unique.push(lead.into_iter().chain(dimensions.iter().cloned()).collect());
    table
}

/// The table of certifications of a dimension group, in CALIBRATION collections.
pub fn calibs_table(universe: &Universe, shape: Shape, name: &str, dimensions: &[String]) -> Table {
    let mut table = association(universe, shape, name, dimensions, false);
    table.need("timespan", Kind::Span);
    let (collection, _) = shape.collection_column("collection");
    let lead = ["dataset_type_id".to_owned(), collection];
    let columns = lead.into_iter().chain(dimensions.iter().cloned()).chain(["timespan".to_owned()]);
    table.indexes.push(columns.collect());
    table
}

fn association(universe: &Universe, shape: Shape, name: &str, dimensions: &[String], tags: bool) -> Table {
    let collection_key = if shape.collections_by_name { "name" } else { "collection_id" };
    let mut table = Table::new(name);
    if !tags {
        table.numbered("id");
    }
    table.need("dataset_type_id", Kind::Int).refers("dataset_type", &["dataset_type_id"], &["id"], false);
    if tags {
        table.key("dataset_id", Kind::Uuid)
    } else {
        table.need("dataset_id", Kind::Uuid)
    };
    table.refers("dataset", &["dataset_id"], &["id"], true);
    let collection = shape.collection(&mut table, "collection", tags);
    table.refers("collection", &[&collection], &[collection_key], true);
    let summary = [collection.as_str(), "dataset_type_id"];
    table.refers("collection_summary_dataset_type", &summary, &summary, false);
    for dimension in dimensions {
        table.dimension(universe, dimension, false);
        if universe.find(dimension).is_some_and(|e| e.governor) {
            let columns = [collection.as_str(), dimension.as_str()];
            table.refers(&format!("collection_summary_{dimension}"), &columns, &columns, false);
        }
    }
    table
}

impl Table {
    /// A column for a dimension, with a foreign key when the dimension has a table.
    fn dimension(&mut self, universe: &Universe, name: &str, in_key: bool) {
        let Some((element, key)) = universe.find(name).and_then(|e| Some((e, e.key.as_ref()?))) else {
            return;
        };
        let kind = kind_of(key.kind);
        if in_key {
            self.key(name, kind)
        } else {
            self.need(name, kind)
        };
        if element.has_table {
            let source: Vec<&str> = element.required.iter().map(String::as_str).collect();
            let target: Vec<&str> = source.iter().map(|d| if *d == name { key.name.as_str() } else { d }).collect();
            self.refers(name, &source, &target, false);
        }
    }
}

/// The kind of a universe field; only short text has a declared length.
fn kind_of(field: FieldType) -> Kind {
    match field {
        FieldType::Text(length) => Kind::Text(Some(length).filter(|l| *l <= 32)),
        FieldType::Int => Kind::Int,
        FieldType::Float => Kind::Float,
        FieldType::Bool => Kind::Bool,
        FieldType::Hash => Kind::Bytes,
        FieldType::Time => Kind::Time,
    }
}
