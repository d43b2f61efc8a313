//! UUID columns of Parquet and Arrow files (16 bytes), which are read as strings, as dataset ids are.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::exec_err;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::parquet::basic::LogicalType;
use object_store::{ObjectMeta, ObjectStore};
use uuid::Uuid;

/// Size of a UUID in bytes.
const SIZE: i32 = 16;

/// The names of the UUID columns of a file.
///
/// # Errors
/// A Parquet file that cannot be read.
pub(super) async fn columns(
    store: &dyn ObjectStore,
    file: &ObjectMeta,
    is_parquet: bool,
    schema: &Schema,
) -> Result<BTreeSet<String>> {
    let sized = schema.fields().iter().filter(|field| *field.data_type() == DataType::FixedSizeBinary(SIZE));
    let sized: Vec<_> = sized.collect();
    let named = sized.iter().filter(|field| field.extension_type_name() == Some("arrow.uuid"));
    let mut columns: BTreeSet<String> = named.map(|field| field.name().clone()).collect();
    if is_parquet && columns.len() < sized.len() {
        let metadata = DFParquetMetadata::new(store, file).fetch_metadata().await?;
        let all = metadata.file_metadata().schema_descr().columns();
        let uuids = all.iter().filter(|column| column.logical_type_ref() == Some(&LogicalType::Uuid));
        let alone = uuids.filter(|column| column.path().parts().len() == 1);
        columns.extend(alone.map(|column| column.name().to_owned()));
    }
    Ok(columns)
}

/// The function that converts UUIDs to strings.
pub(super) fn text() -> ScalarUDF {
    ScalarUDF::from(Text { signature: Signature::exact(vec![DataType::FixedSizeBinary(SIZE)], Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    signature: Signature,
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &'static str {
        "uuid_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values] = args.args.as_slice() else { return exec_err!("uuid_text takes one argument") };
        let values = values.to_array(args.number_rows)?;
        let Some(bytes) = values.as_fixed_size_binary_opt() else {
            return exec_err!("uuid_text takes UUIDs, not {}", values.data_type());
        };
        let text = |bytes: &[u8]| Uuid::from_slice(bytes).map(|uuid| uuid.to_string()).ok();
        Ok(ColumnarValue::Array(Arc::new(bytes.iter().map(|bytes| bytes.and_then(text)).collect::<StringArray>())))
    }
}
