//! Sidecars: datasets as JSON, byte for byte as `rucio-register` writes them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, Result};
use crate::registry::dataset_types::TypeRecord;
use crate::registry::schema::{ColumnType, ReadColumn, TableDef};
use crate::universe::{Element, Universe};

/// The fields of a record, by column.
type Fields = Arc<Map<String, Value>>;

/// Dimension records as JSON, by element and key.
#[derive(Debug)]
pub(crate) struct RecordIndex<'u> {
    universe: &'u Universe,
    records: HashMap<String, HashMap<String, Fields>>,
}

/// A dataset of a sidecar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DatasetRow<'a> {
    /// Dataset type.
    pub record: &'a TypeRecord,
    /// Dataset id.
    pub id: &'a str,
    /// RUN collection.
    pub run: &'a str,
    /// Values of the required dimensions.
    pub values: &'a [Value],
}

impl<'u> RecordIndex<'u> {
    /// Creates an index of records.
    pub(crate) fn new(universe: &'u Universe, records: &[(TableDef, RecordBatch)]) -> Self {
        let mut index = HashMap::new();
        for (table, rows) in records {
            let columns = table.read_columns();
            let keys: Vec<usize> = table
                .primary_key
                .iter()
                .filter_map(|name| columns.iter().position(|column| column.name == *name))
                .collect();
            let mut by_key = HashMap::with_capacity(rows.num_rows());
            for row in 0..rows.num_rows() {
                let cells: Vec<Value> =
                    columns.iter().zip(rows.columns()).map(|(c, a)| json_value(c, a, row)).collect();
                let key = key_of(keys.iter().map(|at| &cells[*at]));
                by_key.insert(key, Arc::new(fields(&columns, cells)));
            }
            index.insert(table.name.clone(), by_key);
        }
        Self { universe, records: index }
    }

    /// Returns the sidecar of a dataset.
    ///
    /// # Errors
    /// `Kind::NotFound` for a data ID without its dimension records.
    pub(crate) fn sidecar(&self, dataset: DatasetRow<'_>) -> Result<String> {
        let DatasetRow { record, id, run, values } = dataset;
        let dataset_type = &record.dataset_type;
        let group = self.universe.group(&dataset_type.dimensions)?;
        let mut known: HashMap<&str, Value> =
            dataset_type.dimensions.iter().map(String::as_str).zip(values.iter().cloned()).collect();
        let members = || {
            self.universe
                .elements()
                .iter()
                .filter(|e| group.required.contains(&e.name) || group.implied.contains(&e.name))
        };
        let mut found: HashMap<&str, Fields> = HashMap::new();
        // Elements that imply others come later in the universe.
        for element in members().collect::<Vec<_>>().into_iter().rev() {
            let Some(fields) = self.record(element, &known)? else { continue };
            for implied in &element.implied {
                if let Some(value) = fields.get(implied) {
                    known.entry(implied).or_insert_with(|| value.clone());
                }
            }
            found.insert(&element.name, fields);
        }
        let mut type_json = json!({
            "name": dataset_type.name,
            "storageClass": dataset_type.storage_class,
            "dimensions": group.required,
        });
        if dataset_type.is_calibration {
            type_json["isCalibration"] = json!(true);
        }
        let ordered = group.required.iter().chain(&group.implied);
        let data_id: Map<String, Value> =
            ordered.filter_map(|name| Some((name.clone(), known.get(name.as_str())?.clone()))).collect();
        let records: Map<String, Value> = members()
            .filter_map(|element| {
                let fields = found.get(element.name.as_str())?;
                Some((element.name.clone(), json!({"definition": element.name, "record": **fields})))
            })
            .collect();
        let sidecar = json!({
            "id": id,
            "datasetType": type_json,
            "dataId": {"dataId": data_id, "records": records},
            "run": run,
        });
        Ok(sidecar.to_string())
    }

    /// Returns the record of an element for a data ID; `None` for elements whose values are not known.
    fn record(&self, element: &Element, known: &HashMap<&str, Value>) -> Result<Option<Fields>> {
        let Some(values) = element.required.iter().map(|name| known.get(name.as_str())).collect::<Option<Vec<_>>>()
        else {
            return Ok(None);
        };
        if !element.has_table {
            // An element without a table, such as `band`, is its own record.
            let Some(value) = known.get(element.name.as_str()).filter(|value| !value.is_null()) else {
                return Ok(None);
            };
            return Ok(Some(Arc::new(Map::from_iter([("name".to_owned(), value.clone())]))));
        }
        if values.iter().any(|value| value.is_null()) {
            return Ok(None);
        }
        let key = key_of(values.iter().copied());
        match self.records.get(&element.name).and_then(|records| records.get(&key)) {
            Some(fields) => Ok(Some(Arc::clone(fields))),
            None => {
                let message = format!("no record of '{}' has the key ({})", element.name, key.replace('\u{1f}', ", "));
                Err(Error::new(Kind::NotFound, message))
            }
        }
    }
}

fn key_of<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    values.map(Value::to_string).collect::<Vec<_>>().join("\u{1f}")
}

/// Names the cells of a record; the two ends of a validity range are one field.
fn fields(columns: &[ReadColumn], cells: Vec<Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (column, cell) in columns.iter().zip(cells) {
        match column.name.as_str() {
            "timespan_begin" => drop(fields.insert("timespan".to_owned(), cell)),
            "timespan_end" => {
                if let Some(begin) = fields.get_mut("timespan").filter(|begin| !begin.is_null()) {
                    *begin = json!([begin.take(), cell]);
                }
            }
            name => drop(fields.insert(name.to_owned(), cell)),
        }
    }
    fields
}

/// Returns a cell as JSON: times are integers, TAI nanoseconds; regions are hexadecimal digits.
pub(crate) fn json_value(column: &ReadColumn, array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match column.kind() {
        ColumnType::Text(_) | ColumnType::Uuid => json!(array.as_string::<i32>().value(row)),
        ColumnType::Int | ColumnType::Small => json!(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float => json!(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::Bool => json!(array.as_boolean().value(row)),
        ColumnType::Bytes => {
            let bytes = array.as_binary::<i32>().value(row);
            json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        ColumnType::Time | ColumnType::UtcTime | ColumnType::Span => {
            json!(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
    }
}
