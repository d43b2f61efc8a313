//! The tracts of a skymap that exposures overlap.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch};

use crate::error::{Error, Kind, Result, hint};
use crate::registry::db::rows::record_batch;
use crate::registry::dimensions;
use crate::registry::{i64_values, string_values};
use crate::repo::Repo;
use crate::sphere::region::Region;

/// Level of the HTM pixels by which tracts are looked up, as in the overlap tables of the registry.
const LEVEL: u32 = 7;

/// The tracts of a skymap.
pub(super) struct Tracts {
    tracts: Vec<(i64, Region)>,
    /// Positions of tracts by HTM pixel.
    by_pixel: HashMap<i64, Vec<usize>>,
}

impl Tracts {
    /// Reads the tracts of a skymap, by default the only one.
    ///
    /// # Errors
    /// `Kind::NotFound` for an unknown skymap, `Kind::Invalid` if there are several and none is named; database errors.
    pub(super) async fn load(repo: &Repo, skymap: Option<&str>) -> Result<Self> {
        let skymap = Self::skymap(repo, skymap).await?;
        let rows = read(repo, "tract", &["skymap", "id", "region"], None).await?;
        let mut all = Self { tracts: Vec::new(), by_pixel: HashMap::new() };
        for ((name, id), region) in string_values(&rows, 0).iter().zip(i64_values(&rows, 1)).zip(regions(&rows, 2)?) {
            let Some(region) = region.filter(|_| *name == skymap) else { continue };
            for pixel in region.envelope(LEVEL).into_iter().flatten() {
                all.by_pixel.entry(pixel).or_default().push(all.tracts.len());
            }
            all.tracts.push((id, region));
        }
        Ok(all)
    }

    async fn skymap(repo: &Repo, name: Option<&str>) -> Result<String> {
        let known = string_values(&read(repo, "skymap", &["name"], None).await?, 0);
        match (name, &known[..]) {
            (Some(name), _) if known.iter().any(|skymap| skymap == name) => Ok(name.to_owned()),
            (Some(name), _) => {
                let hint = hint(name, known.iter().map(String::as_str));
                Err(Error::new(Kind::NotFound, format!("no skymap is named '{name}'{hint}")))
            }
            (None, [one]) => Ok(one.clone()),
            (None, []) => Err(Error::new(Kind::NotFound, "the repository has no skymap, which {tract} needs")),
            (None, all) => Err(Error::invalid(format!("{{tract}} needs argument 'skymap': one of {}", all.join(", ")))),
        }
    }

    /// Returns the tracts that overlap the visits with the instruments and ids of exposures; none for an exposure
    /// without a visit that has a region.
    ///
    /// # Errors
    /// Database errors.
    pub(super) async fn of_exposures(
        &self,
        repo: &Repo,
        instrument: &ArrayRef,
        exposure: &ArrayRef,
    ) -> Result<HashMap<(String, i64), Vec<i64>>> {
        let keys = record_batch(vec![("instrument", instrument.clone()), ("id", exposure.clone())])?;
        let rows = read(repo, "visit", &["instrument", "id", "region"], Some(&keys)).await?;
        let visits = string_values(&rows, 0).into_iter().zip(i64_values(&rows, 1)).zip(regions(&rows, 2)?);
        Ok(visits.filter_map(|(key, region)| Some((key, self.overlapping(&region?)))).collect())
    }

    /// Returns the tracts that overlap a region, in ascending order.
    fn overlapping(&self, region: &Region) -> Vec<i64> {
        let pixels = region.envelope(LEVEL).into_iter().flatten();
        let mut near: Vec<usize> = pixels.filter_map(|pixel| self.by_pixel.get(&pixel)).flatten().copied().collect();
        near.sort_unstable();
        near.dedup();
        let tracts = near.into_iter().map(|at| &self.tracts[at]);
        let mut ids: Vec<i64> =
            tracts.filter(|(_, tract)| tract.overlaps(region) != Some(false)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

/// Reads some columns of an element, for all records or for those with some keys.
async fn read(repo: &Repo, element: &str, names: &[&str], keys: Option<&RecordBatch>) -> Result<RecordBatch> {
    let table = dimensions::table(&repo.registry, element)?;
    let columns = table.read_columns();
    let column = |name: &&str| {
        let found = columns.iter().find(|column| column.name == *name).cloned();
        found.ok_or_else(|| Error::bug(format!("table '{element}' has no column '{name}'")))
    };
    let columns = names.iter().map(column).collect::<Result<Vec<_>>>()?;
    match keys {
        Some(keys) => dimensions::keyed_values(&repo.registry, &table, columns, keys).await,
        None => dimensions::values(&repo.registry, element, columns, None).await,
    }
}

/// Decodes a column of regions.
fn regions(rows: &RecordBatch, column: usize) -> Result<Vec<Option<Region>>> {
    let invalid = || Error::invalid("a region of the registry cannot be decoded");
    let region = |bytes: Option<&[u8]>| bytes.map(|bytes| Region::decode(bytes).ok_or_else(invalid)).transpose();
    rows.column(column).as_binary::<i32>().iter().map(region).collect()
}
