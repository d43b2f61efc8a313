//! Delimited text with several columns of one name, which the reader below us loses.

use std::sync::Arc;

use bytes::Buf;
use csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Kind, Result};

/// So much of a file is looked at for its names.
const HEAD: u64 = 1 << 20;

/// The schema of files of which the first has two columns of one name, with names that differ: `a`, `a_1`.
///
/// # Errors
/// A file that cannot be read, and several files of which the first has equal names.
pub async fn renamed(store: &dyn ObjectStore, files: &[&ObjectMeta], delimiter: u8) -> Result<Option<SchemaRef>> {
    let Some(first) = files.first().filter(|file| file.size > 0) else { return Ok(None) };
    let head = store.get_range(&first.location, 0..HEAD.min(first.size)).await?;
    let mut names = ReaderBuilder::new().delimiter(delimiter).from_reader(head.as_ref());
    // What is no text the reader tells of.
    let Ok(names) = names.headers().cloned() else { return Ok(None) };
    let Some(different) = different(names.iter()) else { return Ok(None) };
    if files.len() > 1 {
        let message = format!("'{}' has two columns of one name; such a file is read alone", first.location);
        return Err(Error::new(Kind::Unsupported, message));
    }
    let bytes = store.get(&first.location).await?.bytes().await?;
    let format = Format::default().with_header(true).with_delimiter(delimiter);
    let (schema, _) = format.infer_schema(bytes.reader(), None)?;
    let fields = schema.fields().iter().zip(different).map(|(field, name)| field.as_ref().clone().with_name(name));
    Ok(Some(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
}

/// Names of which no two are equal, if some are.
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
