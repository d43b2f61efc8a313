//! Datastore paths of datasets, from file templates, data IDs and dimension records.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::model::dataset::DatasetType;
use crate::registry::db::rows::{record_batch, required_column};
use crate::registry::db::spill::SpillBuffer;
use crate::registry::dimensions;
use crate::registry::schema::butler_tables::element_table;
use crate::registry::schema::{ReadColumn, TableDef};
use crate::repo::Repo;
use crate::store::path_template;
use crate::universe::Element;

/// Records that the same change set inserts, by element; they are treated as existing.
pub(crate) type PendingRecords<'a> = HashMap<&'a str, &'a SpillBuffer>;

/// The texts of one template field, one per row; `None` where the field has no value.
pub(crate) type Field = Vec<Option<String>>;

/// Returns the file template of a dataset type: by its name, its dimensions or its storage class, else the default.
///
/// # Errors
/// Dimensions that are not in the universe, or a template that the Butler refuses.
pub(crate) fn template<'a>(repo: &'a Repo, dataset_type: &DatasetType, instrument: Option<&str>) -> Result<&'a str> {
    let universe = &repo.registry.universe;
    // Dimensions may be named in any order, with or without the dimensions that they require or imply.
    let is_ours = |key: &str| {
        let names: Vec<String> = key.split('+').map(str::to_owned).collect();
        names.len() > 1 && universe.group(&names).is_ok_and(|group| group.required == dataset_type.dimensions)
    };
    let own = instrument.map(|name| format!("instrument<{name}>"));
    let own = own.as_ref().map(|own| vec!["datastore", "templates", own.as_str()]);
    let sections = own.into_iter().chain([vec!["datastore", "templates"]]);
    let sections: Vec<_> = sections.filter_map(|path| repo.config.value(&path)?.as_mapping()).collect();
    let template = |value: &'a serde_yaml::Value| value.as_str().or_else(|| value.get("template")?.as_str());
    let by_dimensions = |section: &'a serde_yaml::Mapping| {
        section.iter().find(|(key, _)| key.as_str().is_some_and(is_ours)).and_then(|(_, value)| template(value))
    };
    // The configuration is merged with the Butler's defaults, which have a template for raws.
    let raw = is_ours("physical_filter+detector+exposure").then_some(path_template::RAW);
    let (name, class) = (&dataset_type.name, &dataset_type.storage_class);
    let chosen = sections.iter().enumerate().find_map(|(at, section)| {
        let is_last = at + 1 == sections.len();
        let by_name = section.get(name.as_str()).and_then(template);
        let by_dimensions = by_name.or_else(|| by_dimensions(section)).or(raw.filter(|_| is_last));
        by_dimensions.or_else(|| section.get(class.as_str()).and_then(template))
    });
    let default = || sections.iter().find_map(|section| section.get("default")?.as_str());
    let found = chosen.or(raw).or_else(default).unwrap_or(path_template::DEFAULT);
    path_template::check(found)?;
    Ok(found)
}

/// Returns the paths of datasets of one type and run, relative to the datastore root and without extension. The rows
/// hold `dataset_id` and the dimensions.
///
/// # Errors
/// A template field without a value; database errors.
pub(crate) async fn paths(
    repo: &Repo,
    dataset_type: &DatasetType,
    run: &str,
    rows: &RecordBatch,
    planned: &PendingRecords<'_>,
) -> Result<Vec<String>> {
    let instrument = rows.column_by_name("instrument").map(texts).transpose()?;
    let instrument = instrument.and_then(|names| names.into_iter().next().flatten());
    let template = template(repo, dataset_type, instrument.as_deref())?;
    let fields = fields(repo, dataset_type, rows, path_template::fields(template), planned).await?;
    let ids = texts(&required_column(rows, "dataset_id")?)?;
    (0..rows.num_rows())
        .map(|row| {
            let value = |name: &str| match name {
                "run" => Some(run.to_owned()),
                "datasetType" => Some(dataset_type.name.clone()),
                "id" => ids[row].clone(),
                "skypix" => dataset_type
                    .dimensions
                    .iter()
                    .find(|d| is_skypix(repo, d))
                    .and_then(|d| fields.get(d)?[row].clone()),
                other => fields.get(other)?[row].clone(),
            };
            path_template::render(template, &value)
        })
        .collect()
}

fn is_skypix(repo: &Repo, dimension: &str) -> bool {
    repo.registry.universe.find(dimension).is_some_and(Element::is_skypix)
}

fn texts(array: &arrow::array::ArrayRef) -> Result<Field> {
    let texts = cast(array, &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

/// Returns the values of the dimensions, of implied dimensions, and of the wanted record fields (`exposure.obs_id`).
///
/// # Errors
/// Database errors.
pub(crate) async fn fields(
    repo: &Repo,
    dataset_type: &DatasetType,
    rows: &RecordBatch,
    wanted: Vec<&str>,
    planned: &PendingRecords<'_>,
) -> Result<HashMap<String, Field>> {
    let universe = &repo.registry.universe;
    let mut all: HashMap<String, Field> = HashMap::new();
    for dimension in &dataset_type.dimensions {
        all.insert(dimension.clone(), texts(&required_column(rows, dimension)?)?);
    }
    let group = universe.group(&dataset_type.dimensions)?;
    // Elements that imply others come later in the universe.
    let members: Vec<_> = group.required.iter().chain(&group.implied).collect();
    for element in universe.elements().iter().rev().filter(|e| e.has_table && members.contains(&&e.name)) {
        let metadata: Vec<String> = wanted
            .iter()
            .filter_map(|field| field.strip_prefix(&element.name)?.strip_prefix('.'))
            .filter(|name| !element.implied.iter().any(|d| d == name))
            .map(str::to_owned)
            .collect();
        let known = element_table(universe, element);
        let fetched: Vec<String> =
            element.implied.iter().cloned().chain(metadata).filter(|name| known.column(name).is_some()).collect();
        let keys: Option<Vec<&Field>> = element.required.iter().map(|d| all.get(d)).collect();
        let (Some(keys), false) = (keys, fetched.is_empty()) else { continue };
        let keys: Vec<String> = (0..rows.num_rows())
            .map(|row| keys.iter().map(|k| format!("{}\u{1f}", k[row].as_deref().unwrap_or_default())).collect())
            .collect();
        let found =
            records(repo, &known, &element.required, &fetched, rows, &keys, planned.get(&*element.name)).await?;
        for (at, name) in fetched.iter().enumerate() {
            let values: Field = keys.iter().map(|key| found.get(key)?[at].clone()).collect();
            if element.implied.contains(name) {
                all.entry(name.clone()).or_insert_with(|| values.clone());
            }
            all.insert(format!("{}.{name}", element.name), values);
        }
    }
    Ok(all)
}

/// Returns some fields of the records with these keys.
async fn records(
    repo: &Repo,
    table: &TableDef,
    required: &[String],
    fetched: &[String],
    rows: &RecordBatch,
    keys: &[String],
    planned: Option<&&SpillBuffer>,
) -> Result<HashMap<String, Field>> {
    let registry = &repo.registry;
    let key_names = &table.primary_key;
    let columns: Vec<ReadColumn> = key_names
        .iter()
        .chain(fetched)
        .filter_map(|name| table.read_columns().into_iter().find(|c| c.name == *name))
        .collect();
    // Records are selected by the keys in the rows; records of implied dimensions are few, and all of them are read.
    let given: Option<Vec<_>> = required.iter().map(|d| rows.column_by_name(d).cloned()).collect();
    let mut batches = vec![match given {
        Some(arrays) => {
            let keys = record_batch(key_names.iter().map(String::as_str).zip(arrays))?;
            dimensions::keyed_values(registry, table, columns, &keys).await?
        }
        None => dimensions::values(registry, &table.name, columns, None).await?,
    }];
    if let Some(planned) = planned {
        planned.batches()?.try_for_each(|rows| rows.map(|rows| batches.push(rows)))?;
    }
    let wanted: std::collections::HashSet<&String> = keys.iter().collect();
    let mut found = HashMap::new();
    for rows in batches {
        let key_texts =
            key_names.iter().map(|name| texts(&required_column(&rows, name)?)).collect::<Result<Vec<_>>>()?;
        let values = fetched.iter().map(|name| texts(&required_column(&rows, name)?)).collect::<Result<Vec<_>>>()?;
        for row in 0..rows.num_rows() {
            let key: String =
                key_texts.iter().map(|k| format!("{}\u{1f}", k[row].as_deref().unwrap_or_default())).collect();
            if wanted.contains(&key) {
                found.insert(key, values.iter().map(|v| v[row].clone()).collect());
            }
        }
    }
    Ok(found)
}
