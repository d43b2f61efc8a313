//! Instruments, each defined by a YAML file.
//!
//! To add an instrument, put its file into this folder and add it to `BUILT_IN`; users can also name their own files.

pub(crate) mod camera;
mod headers;
mod observation;

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Map;

pub(crate) use self::observation::{Entry, Observation, check_properties};
use crate::error::{Error, Kind, Result};
use crate::model::calendar;
use crate::model::time;

/// The files of the built-in instruments.
const BUILT_IN: [&str; 4] = [
    include_str!("lsstcomcam.yaml"),
    include_str!("lsstcomcamsim.yaml"),
    include_str!("lsstcam.yaml"),
    include_str!("latiss.yaml"),
];

/// An instrument: the records that `register_instrument` writes, and the properties of its raws.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instrument {
    /// Name of the instrument, the value of the dimension `instrument`.
    pub name: String,
    /// Fully qualified name of its Python class.
    pub class_name: String,
    /// Other accepted names of the class.
    #[serde(default)]
    pub other_class_names: Vec<String>,
    /// Upper limit of visit ids.
    pub visit_max: i64,
    /// Upper limit of exposure ids.
    pub exposure_max: i64,
    /// Upper limit of detector ids.
    pub detector_max: i64,
    /// Default visit system.
    pub visit_system: i64,
    /// How raw datasets are registered.
    pub raw: Raw,
    /// How the metadata of its files is recognised and translated.
    pub headers: Headers,
    /// Detectors, ordered by id.
    pub detectors: Vec<Detector>,
    /// Filters with their bands, in the order of registration.
    pub filters: Vec<(String, String)>,
    /// The name of the instrument in a calibration data folder and in the files of that folder.
    pub curated_folder: Option<String>,
    /// Camera geometry; required to define visits.
    pub camera: Option<camera::Camera>,
}

/// How raw datasets of an instrument are registered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    /// Name of the dataset type.
    pub dataset_type: String,
    /// Dimensions of the dataset type.
    pub dimensions: Vec<String>,
    /// Storage class of the dataset type.
    pub storage_class: String,
    /// Fully qualified name of the formatter class.
    pub formatter: String,
    /// The default RUN collection.
    pub run: String,
}

/// A detector: `(id, full_name, name_in_raft, raft, purpose)`.
pub(crate) type Detector = (i64, String, String, Option<String>, String);

/// How the metadata of the files of an instrument is recognised and translated.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Headers {
    /// The value of `_translator` in translated metadata.
    pub translator: String,
    /// Alternative conditions; each maps header keys to their allowed values (lower case).
    #[serde(default)]
    recognise: Vec<std::collections::BTreeMap<String, Vec<String>>>,
    /// The rules for raw headers; if absent, only translated metadata is supported.
    rules: Option<headers::Rules>,
}

impl Instrument {
    /// Returns the built-in instruments; their files are parsed once.
    pub(crate) fn built_in() -> &'static [Self] {
        static ALL: LazyLock<Vec<Instrument>> = LazyLock::new(|| {
            BUILT_IN
                .iter()
                .map(|text| Instrument::parse(text).expect("the built-in instrument files are valid"))
                .collect()
        });
        &ALL
    }

    /// Finds an instrument by name or class name, or reads it from a YAML file.
    ///
    /// # Errors
    /// An unknown instrument, or an invalid file.
    pub(crate) fn find(name: &str) -> Result<Self> {
        if Path::new(name).extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let text = std::fs::read_to_string(name)
                .map_err(|e| Error::from(e).context(format_args!("instrument file '{name}'")))?;
            return Self::parse(&text).map_err(|e| e.context(format_args!("instrument file '{name}'")));
        }
        let all = Self::built_in();
        let named = |i: &Self| i.name == name || i.class_name == name || i.other_class_names.iter().any(|c| c == name);
        match all.iter().find(|i| named(i)) {
            Some(found) => Ok(found.clone()),
            None => {
                let names = all.iter().flat_map(|i| [i.name.as_str(), i.class_name.as_str()]);
                Err(Error::not_found("instrument", name, names))
            }
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let parsed: Self = serde_yaml::from_str(text).map_err(|e| Error::invalid(e.to_string()).with_source(e))?;
        if let Some(camera) = &parsed.camera {
            camera.check(parsed.detectors.iter().map(|d| d.0))?;
        }
        Ok(parsed)
    }

    /// Returns true if these header values or translated properties belong to this instrument.
    pub(crate) fn recognises(&self, entry: &Entry<'_>) -> bool {
        let value = |key: &str| entry.text(key).unwrap_or_default().to_lowercase();
        self.headers.recognise.iter().any(|keys| keys.iter().all(|(key, allowed)| allowed.contains(&value(key))))
    }

    /// Translates header values to an observation.
    ///
    /// # Errors
    /// An instrument without header rules, or a required value that is missing or invalid.
    pub(crate) fn translate(&self, entry: &Entry<'_>) -> Result<Observation> {
        match &self.headers.rules {
            Some(rules) => headers::translate(self, rules, entry),
            None => Err(Error::new(
                Kind::Unsupported,
                format!("raw headers of {} are not supported, only translated metadata", self.name),
            )),
        }
    }

    /// Returns the start of an observing day in seconds after midnight TAI, if known.
    pub(crate) fn observing_day_offset(&self) -> Option<i64> {
        Some(self.headers.rules.as_ref()?.observing_day_offset)
    }

    /// Returns the id of the detector with this full name.
    fn detector(&self, full_name: &str) -> Option<i64> {
        self.detectors.iter().find(|d| d.1 == full_name).map(|d| d.0)
    }
}

/// Returns start and end (TAI nanoseconds) of an observing day: 24 hours from midnight plus the offset (seconds).
pub(crate) fn day_obs_timespan(day_obs: i64, offset: i64) -> Option<(i64, i64)> {
    let begin = calendar::day_start(day_obs)? + offset * 1_000_000_000;
    Some((begin, begin + time::DAY))
}

/// A JSON object, as in index files.
pub(crate) type Object = Map<String, serde_json::Value>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruments_are_found_by_every_name() {
        for (name, detectors, filters) in
            [("LSSTComCam", 9, 15), ("LSSTComCamSim", 9, 15), ("lsst.obs.lsst.LsstCam", 205, 276), ("LATISS", 1, 707)]
        {
            let found = Instrument::find(name).unwrap();
            assert_eq!((found.detectors.len(), found.filters.len()), (detectors, filters), "{name}");
        }
        assert_eq!(
            Instrument::find("lsst.obs.lsst.LsstComCan").unwrap_err().message(),
            "no instrument named 'lsst.obs.lsst.LsstComCan'; did you mean 'lsst.obs.lsst.LsstComCam'?"
        );
    }

    #[test]
    fn days_turn_over_at_noon() {
        assert_eq!(day_obs_timespan(20_241_108, 43_200), Some((1_731_067_200_000_000_000, 1_731_153_600_000_000_000)));
    }
}
