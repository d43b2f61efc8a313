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

/// A dimension record.
#[derive(Debug)]
struct Record {
    /// The record as JSON: `{"definition":ELEMENT,"record":{…}}`.
    json: String,
    /// The values of the implied dimensions.
    implied: Vec<(String, Value)>,
}

/// Dimension records by element and key, of which sidecars are made.
#[derive(Debug)]
pub(crate) struct RecordIndex<'u> {
    universe: &'u Universe,
    records: HashMap<String, HashMap<String, Arc<Record>>>,
}

/// Makes the sidecars of the datasets of one type.
#[derive(Debug)]
pub(crate) struct SidecarWriter<'i> {
    index: &'i RecordIndex<'i>,
    record: &'i TypeRecord,
    /// Required and implied dimensions.
    dimensions: Vec<String>,
    /// The elements of the data ID with records, in the order of the universe.
    elements: Vec<&'i Element>,
    /// The dataset type as JSON.
    type_json: String,
}

impl<'u> RecordIndex<'u> {
    /// Creates an index of records.
    ///
    /// # Errors
    /// An element that is not in the universe.
    pub(crate) fn new(universe: &'u Universe, records: &[(TableDef, RecordBatch)]) -> Result<Self> {
        let mut index = HashMap::new();
        for (table, rows) in records {
            let element = universe.element(&table.name)?;
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
                by_key.insert(key, Arc::new(Record::new(element, fields(&columns, cells))));
            }
            index.insert(table.name.clone(), by_key);
        }
        Ok(Self { universe, records: index })
    }

    /// Returns a writer of sidecars of a dataset type.
    ///
    /// # Errors
    /// Dimensions that are not in the universe.
    pub(crate) fn writer<'i>(&'i self, record: &'i TypeRecord) -> Result<SidecarWriter<'i>> {
        let dataset_type = &record.dataset_type;
        let group = self.universe.group(&dataset_type.dimensions)?;
        let mut type_json = json!({
            "name": dataset_type.name,
            "storageClass": dataset_type.storage_class,
            "dimensions": group.required,
        });
        if dataset_type.is_calibration {
            type_json["isCalibration"] = json!(true);
        }
        let dimensions: Vec<String> = group.required.iter().chain(&group.implied).cloned().collect();
        let elements = self.universe.elements().iter().filter(|e| dimensions.contains(&e.name)).collect();
        Ok(SidecarWriter { index: self, record, dimensions, elements, type_json: type_json.to_string() })
    }

    /// Returns the record of an element for a data ID; `None` for elements whose values are not known.
    fn record(&self, element: &Element, known: &HashMap<&str, Value>) -> Result<Option<Arc<Record>>> {
        let Some(values) = element.required.iter().map(|name| known.get(name.as_str())).collect::<Option<Vec<_>>>()
        else {
            return Ok(None);
        };
        if !element.has_table {
            // An element without a table, such as `band`, is its own record.
            let Some(value) = known.get(element.name.as_str()).filter(|value| !value.is_null()) else {
                return Ok(None);
            };
            let fields = Map::from_iter([("name".to_owned(), value.clone())]);
            return Ok(Some(Arc::new(Record::new(element, fields))));
        }
        if values.iter().any(|value| value.is_null()) {
            return Ok(None);
        }
        let key = key_of(values.iter().copied());
        match self.records.get(&element.name).and_then(|records| records.get(&key)) {
            Some(record) => Ok(Some(Arc::clone(record))),
            None => {
                let message = format!("no record of '{}' has the key ({})", element.name, key.replace('\u{1f}', ", "));
                Err(Error::new(Kind::NotFound, message))
            }
        }
    }
}

impl SidecarWriter<'_> {
    /// Returns the sidecar of a dataset; `values` are those of the required dimensions.
    ///
    /// # Errors
    /// `Kind::NotFound` for a data ID without its dimension records.
    pub(crate) fn sidecar(&self, id: &str, run: &str, values: Vec<Value>) -> Result<String> {
        let (known, records) = self.expanded(values)?;
        let data_id: Vec<String> = self
            .dimensions
            .iter()
            .filter_map(|name| Some(format!("{}:{}", text(name), known.get(name.as_str())?)))
            .collect();
        Ok(format!(
            "{{\"id\":{},\"datasetType\":{},\"dataId\":{{\"dataId\":{{{}}},\"records\":{{{}}}}},\"run\":{}}}",
            text(id),
            self.type_json,
            data_id.join(","),
            records.join(","),
            text(run)
        ))
    }
}

impl<'i> SidecarWriter<'i> {
    /// Returns the values of all dimensions; `values` are those of the required ones.
    ///
    /// # Errors
    /// `Kind::NotFound` for a data ID without its dimension records.
    pub(crate) fn data_id(&self, values: Vec<Value>) -> Result<Map<String, Value>> {
        let (known, _) = self.expanded(values)?;
        Ok(self.dimensions.iter().filter_map(|name| Some((name.clone(), known.get(name.as_str())?.clone()))).collect())
    }

    /// Returns the values of all dimensions, and the records as JSON.
    fn expanded(&self, values: Vec<Value>) -> Result<(HashMap<&'i str, Value>, Vec<String>)> {
        let required = self.record.dataset_type.dimensions.iter().map(String::as_str);
        let mut known: HashMap<&str, Value> = required.zip(values).collect();
        let mut records = Vec::with_capacity(self.elements.len());
        // Elements that imply others come later in the universe.
        for element in self.elements.iter().rev() {
            let Some(record) = self.index.record(element, &known)? else { continue };
            for name in &element.implied {
                if let Some((_, value)) = record.implied.iter().find(|(implied, _)| implied == name) {
                    known.entry(name).or_insert_with(|| value.clone());
                }
            }
            records.push(format!("{}:{}", text(&element.name), record.json));
        }
        records.reverse();
        Ok((known, records))
    }
}

impl Record {
    fn new(element: &Element, fields: Map<String, Value>) -> Self {
        let implied = element.implied.iter().filter_map(|name| Some((name.clone(), fields.get(name)?.clone())));
        let implied = implied.collect();
        Self { json: json!({"definition": element.name, "record": fields}).to_string(), implied }
    }
}

/// Returns a text as JSON.
fn text(text: &str) -> String {
    Value::from(text).to_string()
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

/// Returns records as lists of values, in the order of the columns of their table.
pub(crate) fn record_values(table: &TableDef, rows: &RecordBatch) -> Vec<Vec<Value>> {
    let columns = table.read_columns();
    let cells = |row| columns.iter().zip(rows.columns()).map(|(c, a)| json_value(c, a, row)).collect();
    let values = |row| fields(&columns, cells(row)).into_iter().map(|(_, value)| value).collect();
    (0..rows.num_rows()).map(values).collect()
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
