//! The tables of a registry, derived from the dimension universe and the managers by the rules of `lsst-daf-butler`.

use crate::registry::schema::{Column, ColumnType, TableDef};
use crate::universe::{Element, FieldType, Universe};

/// The table layout of a registry, which depends on its managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SchemaVariant {
    /// Collections are keyed by name (`nameKey`), not by number.
    pub collections_by_name: bool,
    /// `ingest_date` is a UTC timestamp (version 1 of the datasets manager).
    pub utc_ingest_date: bool,
}

impl SchemaVariant {
    /// The layout of new repositories.
    pub(crate) const CURRENT: Self = Self { collections_by_name: false, utc_ingest_date: false };

    /// Returns the name and type of the column that refers to a collection in `role` ("collection" or "run").
    fn collection_column(self, role: &str) -> (String, ColumnType) {
        if self.collections_by_name {
            (format!("{role}_name"), ColumnType::Text(None))
        } else {
            (format!("{role}_id"), ColumnType::Int)
        }
    }

    /// Adds the reference to a collection. When collections are keyed by name, an alias column `…_id` is added too.
    fn collection(self, table: &mut TableDef, role: &str, in_key: bool) -> String {
        let (name, kind) = self.collection_column(role);
        if in_key {
            table.primary_key(&name, kind)
        } else {
            table.not_null(&name, kind)
        };
        if self.collections_by_name {
            alias(table, &format!("{role}_id"), &name, kind);
        }
        name
    }
}

fn alias(table: &mut TableDef, name: &str, of: &str, kind: ColumnType) {
    table.columns.push(Column { name: name.to_owned(), kind, required: true, alias_of: Some(of.to_owned()) });
}

const TEXT: ColumnType = ColumnType::Text(None);

/// Returns all tables of a new repository except the file records, in an order that satisfies the foreign keys.
pub(crate) fn static_tables(universe: &Universe, variant: SchemaVariant) -> Vec<TableDef> {
    let mut tables = vec![attributes()];
    for element in universe.tables() {
        tables.push(element_table(universe, element));
        if element.spatial {
            tables.extend(skypix_overlap(universe, element));
        }
    }
    tables.extend(pair_overlaps(universe));
    tables.extend(dimension_graph());
    tables.extend(collections(variant));
    tables.extend(datasets(universe, variant));
    let mut table = TableDef::new("opaque_meta");
    table.primary_key("table_name", TEXT);
    tables.push(table);
    tables.extend(locations());
    tables
}

fn attributes() -> TableDef {
    let mut table = TableDef::new("butler_attributes");
    table.primary_key("name", TEXT).not_null("value", TEXT);
    table
}

/// Returns the table of a dimension element: required and implied dimensions, alternate keys, metadata, region,
/// timespan.
pub(crate) fn element_table(universe: &Universe, element: &Element) -> TableDef {
    let mut table = TableDef::new(&element.name);
    for name in &element.required {
        match &element.key {
            Some(key) if *name == element.name => {
                table.primary_key(&key.name, kind_of(key.kind));
            }
            _ => table.dimension(universe, name, true),
        }
    }
    for name in &element.implied {
        table.dimension(universe, name, false);
    }
    for field in &element.alternate_keys {
        table.nullable(&field.name, kind_of(field.kind));
        let mut unique: Vec<_> = element.required.iter().filter(|d| **d != element.name).cloned().collect();
        unique.push(field.name.clone());
        table.unique.push(unique);
    }
    for field in &element.metadata {
        table.nullable(&field.name, kind_of(field.kind));
    }
    if element.spatial {
        table.nullable("region", ColumnType::Bytes);
    }
    if element.temporal {
        table.nullable("timespan", ColumnType::Span);
    }
    table
}

fn governor<'a>(universe: &Universe, element: &'a Element) -> &'a str {
    let is = |name: &&String| universe.find(name).is_some_and(|e| e.governor);
    element.required.iter().find(is).map_or("", String::as_str)
}

fn skypix_overlap(universe: &Universe, element: &Element) -> [TableDef; 2] {
    let governor = governor(universe, element);
    let mut summary = TableDef::new(format!("{}_skypix_overlap_summary", element.name));
    let mut overlap = TableDef::new(format!("{}_skypix_overlap", element.name));
    for table in [&mut summary, &mut overlap] {
        table.primary_key("skypix_system", ColumnType::Text(Some(16))).primary_key("skypix_level", ColumnType::Small);
    }
    summary.dimension(universe, governor, true);
    let shared = ["skypix_system", "skypix_level", governor];
    overlap.foreign_key(&summary.name, &shared, &shared, true);
    for name in &element.required {
        overlap.dimension(universe, name, true);
    }
    overlap.primary_key("skypix_index", ColumnType::Int);
    let lead = ["skypix_system", "skypix_level", "skypix_index"].map(str::to_owned);
    overlap.indexes.push(lead.into_iter().chain(element.required.iter().cloned()).collect());
    [summary, overlap]
}

/// Returns the overlap tables for pairs of spatial families, which the Butler creates and never uses.
fn pair_overlaps(universe: &Universe) -> Vec<TableDef> {
    let spatial: Vec<&Element> = universe.tables().filter(|e| e.spatial).collect();
    let mut tables = Vec::new();
    for (i, a) in spatial.iter().enumerate() {
        for b in &spatial[i + 1..] {
            if universe.spatial_family(&a.name) == universe.spatial_family(&b.name) {
                continue;
            }
            let governors = [governor(universe, a), governor(universe, b)];
            let mut summary = TableDef::new(format!("{}_{}_overlap_summary", a.name, b.name));
            let mut overlap = TableDef::new(format!("{}_{}_overlap", a.name, b.name));
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

fn dimension_graph() -> [TableDef; 2] {
    let mut key = TableDef::new("dimension_graph_key");
    key.identity("id");
    let mut definition = TableDef::new("dimension_graph_definition");
    definition.primary_key("dimension_graph_id", ColumnType::Int).primary_key("dimension_name", TEXT);
    definition.foreign_key("dimension_graph_key", &["dimension_graph_id"], &["id"], true);
    [key, definition]
}

fn collections(variant: SchemaVariant) -> [TableDef; 3] {
    let mut collection = TableDef::new("collection");
    let mut run = TableDef::new("run");
    let mut chain = TableDef::new("collection_chain");
    if variant.collections_by_name {
        collection.primary_key("name", TEXT).not_null("type", ColumnType::Small).nullable("doc", TEXT);
        alias(&mut collection, "collection_id", "name", TEXT);
        run.primary_key("name", TEXT);
        alias(&mut run, "collection_id", "name", TEXT);
        chain.primary_key("parent", TEXT).primary_key("position", ColumnType::Small).not_null("child", TEXT);
    } else {
        collection
            .identity("collection_id")
            .not_null("name", TEXT)
            .not_null("type", ColumnType::Small)
            .nullable("doc", TEXT);
        collection.unique.push(vec!["name".to_owned()]);
        run.primary_key("collection_id", ColumnType::Int);
        chain
            .primary_key("parent", ColumnType::Int)
            .primary_key("position", ColumnType::Small)
            .not_null("child", ColumnType::Int);
    }
    let key = collection.primary_key[0].clone();
    run.nullable("host", TEXT).nullable("timespan", ColumnType::Span);
    let own = run.primary_key[0].clone();
    run.foreign_key("collection", &[&own], &[&key], true);
    chain.foreign_key("collection", &["parent"], &[&key], true).foreign_key("collection", &["child"], &[&key], false);
    [collection, run, chain]
}

fn datasets(universe: &Universe, variant: SchemaVariant) -> Vec<TableDef> {
    let mut types = TableDef::new("dataset_type");
    types
        .identity("id")
        .not_null("name", TEXT)
        .not_null("storage_class", TEXT)
        .not_null("dimensions_key", ColumnType::Int);
    types.not_null("tag_association_table", TEXT).nullable("calibration_association_table", TEXT);
    types.unique.push(vec!["name".to_owned()]);
    let collection_key = if variant.collections_by_name { "name" } else { "collection_id" };
    let mut dataset = TableDef::new("dataset");
    dataset.primary_key("id", ColumnType::Uuid).not_null("dataset_type_id", ColumnType::Int);
    dataset.not_null("ingest_date", if variant.utc_ingest_date { ColumnType::UtcTime } else { ColumnType::Time });
    let run = variant.collection(&mut dataset, "run", false);
    dataset.foreign_key("dataset_type", &["dataset_type_id"], &["id"], false).foreign_key(
        "run",
        &[&run],
        &[collection_key],
        true,
    );
    let mut summary = TableDef::new("collection_summary_dataset_type");
    let column = variant.collection(&mut summary, "collection", true);
    summary.primary_key("dataset_type_id", ColumnType::Int);
    summary.foreign_key("collection", &[&column], &[collection_key], true);
    summary.foreign_key("dataset_type", &["dataset_type_id"], &["id"], true);
    let mut tables = vec![types, dataset, summary];
    for governor in universe.elements().iter().filter(|e| e.governor) {
        let mut table = TableDef::new(format!("collection_summary_{}", governor.name));
        let column = variant.collection(&mut table, "collection", true);
        table.foreign_key("collection", &[&column], &[collection_key], true);
        table.dimension(universe, &governor.name, true);
        tables.push(table);
    }
    tables
}

fn locations() -> [TableDef; 2] {
    ["dataset_location", "dataset_location_trash"].map(|name| {
        let mut table = TableDef::new(name);
        table.primary_key("datastore_name", TEXT).primary_key("dataset_id", ColumnType::Uuid);
        if name == "dataset_location" {
            table.foreign_key("dataset", &["dataset_id"], &["id"], false);
        }
        table
    })
}

/// Returns the table of the file records of a datastore.
pub(crate) fn file_records(name: &str) -> TableDef {
    let mut table = TableDef::new(name);
    table
        .primary_key("dataset_id", ColumnType::Uuid)
        .not_null("path", TEXT)
        .not_null("formatter", TEXT)
        .not_null("storage_class", TEXT);
    table
        .primary_key("component", ColumnType::Text(Some(32)))
        .nullable("checksum", TEXT)
        .nullable("file_size", ColumnType::Int);
    table.indexes.push(vec!["path".to_owned()]);
    table
}

/// Returns the table of memberships in RUN and TAGGED collections for a dimension group.
pub(crate) fn tags_table(universe: &Universe, variant: SchemaVariant, name: &str, dimensions: &[String]) -> TableDef {
    let mut table = association(universe, variant, name, dimensions, true);
    let (collection, _) = variant.collection_column("collection");
    let lead = ["dataset_type_id".to_owned(), collection];
    table.unique.push(lead.into_iter().chain(dimensions.iter().cloned()).collect());
    table
}

/// Returns the table of certifications in CALIBRATION collections for a dimension group.
pub(crate) fn calibs_table(universe: &Universe, variant: SchemaVariant, name: &str, dimensions: &[String]) -> TableDef {
    let mut table = association(universe, variant, name, dimensions, false);
    table.not_null("timespan", ColumnType::Span);
    let (collection, _) = variant.collection_column("collection");
    let lead = ["dataset_type_id".to_owned(), collection];
    let columns = lead.into_iter().chain(dimensions.iter().cloned()).chain(["timespan".to_owned()]);
    table.indexes.push(columns.collect());
    table
}

fn association(universe: &Universe, variant: SchemaVariant, name: &str, dimensions: &[String], tags: bool) -> TableDef {
    let collection_key = if variant.collections_by_name { "name" } else { "collection_id" };
    let mut table = TableDef::new(name);
    if !tags {
        table.identity("id");
    }
    table.not_null("dataset_type_id", ColumnType::Int).foreign_key(
        "dataset_type",
        &["dataset_type_id"],
        &["id"],
        false,
    );
    if tags {
        table.primary_key("dataset_id", ColumnType::Uuid)
    } else {
        table.not_null("dataset_id", ColumnType::Uuid)
    };
    table.foreign_key("dataset", &["dataset_id"], &["id"], true);
    let collection = variant.collection(&mut table, "collection", tags);
    table.foreign_key("collection", &[&collection], &[collection_key], true);
    let summary = [collection.as_str(), "dataset_type_id"];
    table.foreign_key("collection_summary_dataset_type", &summary, &summary, false);
    for dimension in dimensions {
        table.dimension(universe, dimension, false);
        if universe.find(dimension).is_some_and(|e| e.governor) {
            let columns = [collection.as_str(), dimension.as_str()];
            table.foreign_key(&format!("collection_summary_{dimension}"), &columns, &columns, false);
        }
    }
    table
}

impl TableDef {
    /// Adds a column for a dimension, with a foreign key when the dimension has a table.
    fn dimension(&mut self, universe: &Universe, name: &str, in_key: bool) {
        let Some((element, key)) = universe.find(name).and_then(|e| Some((e, e.key.as_ref()?))) else {
            return;
        };
        let kind = kind_of(key.kind);
        if in_key {
            self.primary_key(name, kind)
        } else {
            self.not_null(name, kind)
        };
        if element.has_table {
            let source: Vec<&str> = element.required.iter().map(String::as_str).collect();
            let target: Vec<&str> = source.iter().map(|d| if *d == name { key.name.as_str() } else { d }).collect();
            self.foreign_key(name, &source, &target, false);
        }
    }
}

/// Returns the column type of a universe field. Only text of at most 32 characters has a declared length.
fn kind_of(field: FieldType) -> ColumnType {
    match field {
        FieldType::Text(length) => ColumnType::Text(Some(length).filter(|l| *l <= 32)),
        FieldType::Int => ColumnType::Int,
        FieldType::Float => ColumnType::Float,
        FieldType::Bool => ColumnType::Bool,
        FieldType::Hash => ColumnType::Bytes,
        FieldType::Time => ColumnType::Time,
    }
}
