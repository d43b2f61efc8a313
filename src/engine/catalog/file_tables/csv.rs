//! Delimited text with several columns of the same name, of which DataFusion's reader keeps only one.

use std::sync::Arc;

use bytes::Buf;
use csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Kind, Result};

/// Bytes at the start of a file that are searched for the header line.
const HEAD: u64 = 1 << 20;

/// A schema with unique names (`a`, `a_1`) if the header of the first file has duplicate names; otherwise `None`.
///
/// # Errors
/// A file that cannot be read, and `Kind::Unsupported` for several files if the first has duplicate names.
pub(super) async fn renamed(
    store: &dyn ObjectStore,
    files: &[&ObjectMeta],
    delimiter: u8,
) -> Result<Option<SchemaRef>> {
    let Some(first) = files.first().filter(|file| file.size > 0) else { return Ok(None) };
    let head = store.get_range(&first.location, 0..HEAD.min(first.size)).await?;
    let mut names = ReaderBuilder::new().delimiter(delimiter).from_reader(head.as_ref());
    // The reader reports a header that is not UTF-8.
    let Ok(names) = names.headers().cloned() else { return Ok(None) };
    let Some(different) = different(names.iter()) else { return Ok(None) };
    if files.len() > 1 {
        let message =
            format!("'{}' has two columns of the same name; such a file can only be read on its own", first.location);
        return Err(Error::new(Kind::Unsupported, message));
    }
    let bytes = store.get(&first.location).await?.bytes().await?;
    let format = Format::default().with_header(true).with_delimiter(delimiter);
    let (schema, _) = format.infer_schema(bytes.reader(), None)?;
    let fields = schema.fields().iter().zip(different).map(|(field, name)| field.as_ref().clone().with_name(name));
    Ok(Some(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
}

/// Unique names, with a number appended to duplicates; `None` if all names are unique.
fn different<'a>(names: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let names: Vec<&str> = names.collect();
    let mut all: Vec<String> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let is_free = |free: &String| !all.contains(free) && !names[..i].contains(&free.as_str());
        let numbered = (1..).map(|n| format!("{name}_{n}")).filter(|free| !names.contains(&free.as_str()));
        all.extend(std::iter::once((*name).to_owned()).chain(numbered).find(is_free));
    }
    (all != names).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_numbered() {
        let names = |text: &'static str| different(text.split(','));
        assert_eq!(names("a,b"), None);
        assert_eq!(names("a,a,b,a"), Some(["a", "a_1", "b", "a_2"].map(String::from).to_vec()));
        assert_eq!(names("a,a,a_1"), Some(["a", "a_2", "a_1"].map(String::from).to_vec()));
    }
}
