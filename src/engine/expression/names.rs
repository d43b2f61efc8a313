//! Names in an expression: bound values, dimensions, fields of elements, fields of datasets.

use std::collections::BTreeSet;

use super::translator::Translator;
use super::values::{Item, Scalar, Type};
use super::{alias, bind, error_at, quoted};
use crate::error::{Error, Result, hint};
use crate::sphere::skypix;
use crate::universe::{Element, FieldType, Universe};

/// The fields of a dataset, with their types.
pub(super) const DATASET_FIELDS: [(&str, Type); 5] = [
    ("dataset_id", Type::Uuid),
    ("run", Type::Text),
    ("collection", Type::Text),
    ("ingest_date", Type::IngestDate),
    ("timespan", Type::Timespan),
];

/// The dimensions with all that they require and imply.
///
/// # Errors
/// `Kind::NotFound` for a name that is not a dimension.
pub(super) fn closed<'a>(universe: &Universe, names: impl IntoIterator<Item = &'a str>) -> Result<BTreeSet<String>> {
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let group = universe.group(&names)?;
    Ok(group.required.into_iter().chain(group.implied).collect())
}

/// The elements whose dimensions are among `dimensions`: these and the relations between them.
pub(super) fn elements<'a>(
    universe: &'a Universe,
    dimensions: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a Element> {
    universe.elements().iter().filter(|e| match e.key {
        Some(_) => dimensions.contains(&e.name),
        None => e.required.iter().all(|d| dimensions.contains(d)),
    })
}

/// The type of a field of an element; the key is not among its fields if it is named like the dimension.
fn field_type(element: &Element, field: &str) -> Option<Type> {
    let plain = element.key.iter().chain(&element.alternate_keys).chain(&element.metadata).find(|f| f.name == field);
    if let Some(plain) = plain {
        return Some(match plain.kind {
            FieldType::Text(_) => Type::Text,
            FieldType::Int => Type::Int,
            FieldType::Float => Type::Float,
            FieldType::Bool => Type::Bool,
            FieldType::Hash => Type::Hash,
            FieldType::Time => Type::Time,
        });
    }
    match field {
        "region" if element.spatial || element.is_skypix() => Some(Type::Region),
        "timespan" if element.temporal => Some(Type::Timespan),
        _ => None,
    }
}

impl Translator<'_> {
    /// Resolves a name. Names are compared as written, and then in lower case as version 29 of the Butler does.
    pub(super) fn name(&mut self, name: &str, at: usize) -> Result<Item> {
        let folded = name.to_lowercase();
        match self.resolve(name, at) {
            Err(_) if folded != name && self.resolve(&folded, at).is_ok() => self.resolve(&folded, at),
            resolved => resolved,
        }
    }

    /// Resolves a bound value.
    pub(super) fn bound(&mut self, name: &str, at: usize) -> Result<Item> {
        let Some(value) = self.scope.binds.get(name) else {
            let near = hint(name, self.scope.binds.names());
            return Err(self.error(format!("name '{name}' is not in the bind map{near}"), at));
        };
        bind::item(name, value)
    }

    /// An error of the class `InvalidQueryError`, at an offset.
    pub(super) fn error(&self, message: impl std::fmt::Display, at: usize) -> Error {
        error_at(format!("InvalidQueryError: {message}"), self.text, at)
    }

    fn resolve(&mut self, name: &str, at: usize) -> Result<Item> {
        if let Some(value) = self.scope.binds.get(name) {
            return bind::item(name, value);
        }
        if name.eq_ignore_ascii_case("null") {
            return Ok(Item::Null);
        }
        let parts: Vec<&str> = name.split('.').collect();
        let scalar = match *parts.as_slice() {
            [name] => self.single(name, at)?,
            [first, second] => self.pair(first, second, at)?,
            [first, second, bound] => {
                let span = self.pair(first, second, at)?;
                self.bound_of(span, bound, name, at)?
            }
            _ => return Err(self.unrecognized(name, at)),
        };
        Ok(Item::Scalar(scalar))
    }

    fn unrecognized(&self, name: &str, at: usize) -> Error {
        let near = elements(self.scope.universe, &self.scope.result);
        let fields = near.flat_map(|e| e.alternate_keys.iter().chain(&e.metadata).map(|f| f.name.as_str()));
        let dimensions = self.scope.universe.elements().iter().filter(|e| e.key.is_some()).map(|e| e.name.as_str());
        let known: Vec<&str> = fields.chain(dimensions).collect();
        self.error(format!("unrecognized identifier '{name}'{}", hint(name, known)), at)
    }

    fn single(&mut self, name: &str, at: usize) -> Result<Scalar> {
        let universe = self.scope.universe;
        if universe.find(name).is_some_and(|e| e.key.is_some()) {
            return Ok(self.key(name));
        }
        let found: Vec<&Element> =
            elements(universe, &self.scope.result).filter(|e| field_type(e, name).is_some()).collect();
        let dataset = self.scope.dataset.filter(|_| DATASET_FIELDS.iter().any(|field| field.0 == name));
        match (found.as_slice(), dataset) {
            ([element], None) => self.field(element, name, at),
            ([], Some(_)) => self.dataset_field(name, at),
            ([], None) => Err(self.unrecognized(name, at)),
            _ => {
                let mut all: Vec<_> = found.iter().map(|e| format!("'{}.{name}'", e.name)).collect();
                all.extend(dataset.map(|dataset| format!("'{dataset}.{name}'")));
                all.sort();
                Err(self.error(format!("ambiguous identifier '{name}' matches {}", all.join(", ")), at))
            }
        }
    }

    fn pair(&mut self, first: &str, second: &str, at: usize) -> Result<Scalar> {
        let whole = || format!("{first}.{second}");
        if let Some(element) = self.scope.universe.find(first) {
            return self.field(element, second, at);
        }
        if DATASET_FIELDS.iter().any(|field| field.0 == second) {
            if self.scope.dataset != Some(first) {
                return Err(self.error(format!("dataset type '{first}' is not part of the query"), at));
            }
            return self.dataset_field(second, at);
        }
        if first == "timespan" {
            let span = self.single(first, at)?;
            return self.bound_of(span, second, &whole(), at);
        }
        if self.scope.dataset == Some(first) {
            let message = format!("'{second}' is not a field of datasets, as '{}' needs", whole());
            return Err(self.error(message, at));
        }
        Err(self.unrecognized(&whole(), at))
    }

    /// The begin or end of a timespan.
    fn bound_of(&self, span: Scalar, bound: &str, name: &str, at: usize) -> Result<Scalar> {
        if span.kind != Type::Timespan {
            return Err(self.unrecognized(name, at));
        }
        let text = match bound {
            "begin" => span.text,
            "end" => span.end,
            _ => return Err(self.unrecognized(name, at)),
        };
        Ok(Scalar { kind: Type::Time, text, end: String::new(), ..span })
    }

    /// The key of a dimension.
    fn key(&mut self, dimension: &str) -> Scalar {
        let universe = self.scope.universe;
        self.seen.dimensions.insert(dimension.to_owned());
        self.seen.keys.insert(dimension.to_owned());
        let element = universe.find(dimension);
        if let Some(element) = element {
            self.seen.require_governor(universe, element);
        }
        let is_text = element.and_then(|e| e.key.as_ref()).is_some_and(|key| matches!(key.kind, FieldType::Text(_)));
        let text = self.keys.get(dimension).cloned().unwrap_or_default();
        Scalar::column(if is_text { Type::Text } else { Type::Int }, text, None)
    }

    /// A field of an element: its key, a dimension that it requires or implies, or another column.
    fn field(&mut self, element: &Element, field: &str, at: usize) -> Result<Scalar> {
        let owner = element.name.as_str();
        if element.key.as_ref().is_some_and(|key| key.name == field) {
            return Ok(self.key(owner));
        }
        if element.required.iter().chain(&element.implied).any(|d| d == field) {
            return Ok(self.key(field));
        }
        let Some(kind) = field_type(element, field) else {
            let fields = element.alternate_keys.iter().chain(&element.metadata).map(|f| f.name.as_str());
            return Err(self.error(format!("unrecognized field '{field}' for {owner}{}", hint(field, fields)), at));
        };
        match element.key {
            Some(_) => drop(self.seen.dimensions.insert(owner.to_owned())),
            None => self.seen.dimensions.extend(element.required.iter().cloned()),
        }
        if element.alternate_keys.iter().any(|key| key.name == field) {
            self.seen.require_governor(self.scope.universe, element);
        }
        if element.is_skypix() {
            let key = self.keys.get(owner).cloned().unwrap_or_default();
            let text = match skypix::split(owner) {
                Some(("htm", _)) => format!("htm_region({key})"),
                Some(("healpix", level)) => format!("healpix_region({key}, {level})"),
                _ => return Err(self.error(format!("regions of '{owner}' are not supported"), at)),
            };
            return Ok(Scalar::column(kind, text, Some(owner)));
        }
        let outer = self.scope.table.filter(|table| self.scope.dataset.is_none() && table.name == owner);
        if outer.is_none() {
            self.seen.elements.insert(owner.to_owned());
        }
        let owned = outer.map_or_else(|| alias(owner, self.scope.table.is_some()), |table| table.alias.to_owned());
        let column = |name: &str| format!("{owned}.{}", quoted(name));
        if kind == Type::Timespan {
            let end = column("timespan_end");
            return Ok(Scalar { end, ..Scalar::column(kind, column("timespan_begin"), Some(owner)) });
        }
        Ok(Scalar::column(kind, column(field), Some(owner)))
    }

    fn dataset_field(&mut self, field: &str, at: usize) -> Result<Scalar> {
        if self.scope.table.is_some() && matches!(field, "collection" | "timespan") {
            let message = format!("'{field}' depends on the collections that are searched; use query_datasets");
            return Err(self.error(message, at));
        }
        let alias = self.scope.table.map_or("dataset", |table| table.alias);
        self.seen.dataset_fields.insert(field.to_owned());
        let kind = DATASET_FIELDS.iter().find(|known| known.0 == field).map_or(Type::Text, |known| known.1);
        let column = |name: &str| format!("{alias}.{}", quoted(name));
        if kind == Type::Timespan {
            let end = column("timespan_end");
            return Ok(Scalar { end, ..Scalar::column(kind, column("timespan_begin"), Some("dataset")) });
        }
        Ok(Scalar::column(kind, column(field), Some("dataset")))
    }
}

/// The spatial family of an element; all pixelizations are one family.
pub(super) fn family<'a>(universe: &'a Universe, element: &str) -> Option<&'a str> {
    match universe.find(element) {
        Some(found) if found.is_skypix() => Some("skypix"),
        _ => universe.spatial_family(element),
    }
}
