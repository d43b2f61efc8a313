//! Pairs of dimension records whose regions overlap.

use crate::error::{Error, Result};
use crate::sphere::skypix;
use crate::universe::{Element, Universe};

/// The SELECT of the pairs of records of two elements whose regions overlap, with the dimensions of both.
///
/// # Errors
/// `Kind::NotFound` for an element without regions, and `Kind::Invalid` for two elements of one family.
pub(in crate::engine) fn overlapping(universe: &Universe, a: &str, b: &str) -> Result<String> {
    let first = spatial(universe, a)?;
    let keys = |alias: &str, names: &[String]| {
        let all: Vec<_> = names.iter().map(|name| format!("{alias}.{name}")).collect();
        all.join(", ")
    };
    if universe.element(b)?.is_skypix() {
        let columns = keys("a", &first.required);
        if b == universe.common_skypix {
            return Ok(format!("SELECT {columns}, a.skypix_index AS {b} FROM registry.{a}_skypix_overlap a"));
        }
        let (envelope, level) = match skypix::split(b) {
            Some(("htm", level)) => ("htm_envelope", level),
            Some(("healpix", level)) => ("healpix_envelope", level),
            _ => {
                let message =
                    format!("overlaps with '{b}' are not supported, only overlaps with HTM and HEALPix pixels");
                return Err(Error::invalid(message));
            }
        };
        return Ok(format!("SELECT {columns}, unnest({envelope}(a.region, {level})) AS {b} FROM {a} a"));
    }
    let second = spatial(universe, b)?;
    if universe.spatial_family(a) == universe.spatial_family(b) {
        let message = format!("'{a}' and '{b}' have regions of the same family: join them by their dimensions");
        return Err(Error::invalid(message));
    }
    let (shared, own): (Vec<_>, Vec<_>) = second.required.iter().cloned().partition(|d| first.required.contains(d));
    let same = |left: &str, right: &str, names: &[String]| {
        let all: Vec<_> = names.iter().map(|name| format!(" AND {left}.{name} = {right}.{name}")).collect();
        all.concat()
    };
    let columns = format!("{}, {}", keys("k", &first.required), keys("k", &own));
    let pairs = format!("{}, {}", keys("x", &first.required), keys("y", &own));
    Ok(format!(
        "SELECT {columns} FROM (SELECT DISTINCT {pairs} FROM registry.{a}_skypix_overlap x \
         JOIN registry.{b}_skypix_overlap y ON x.skypix_system = y.skypix_system AND x.skypix_level = y.skypix_level \
         AND x.skypix_index = y.skypix_index{}) k \
         JOIN {a} a ON true{} JOIN {b} b ON true{} WHERE overlaps(a.region, b.region)",
        same("x", "y", &shared),
        same("k", "a", &first.required),
        same("k", "b", &second.required),
    ))
}

/// The element `name`, if its records have regions.
fn spatial<'a>(universe: &'a Universe, name: &str) -> Result<&'a Element> {
    let element = universe.element(name)?;
    if element.has_table && universe.spatial_family(name).is_some() {
        return Ok(element);
    }
    let names = universe.tables().filter(|e| universe.spatial_family(&e.name).is_some()).map(|e| e.name.as_str());
    Err(Error::not_found("element with regions", name, names))
}
