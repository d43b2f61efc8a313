//! Instruments, read from data: one YAML file each.
//!
//! To add one, put its file beside this one and its word in the list below; a file of the user's own works too.

pub mod camera;
mod headers;
mod observation;

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Map;

pub use self::observation::{Entry, Observation, check_properties};
use crate::error::{Error, Kind, Result};
use crate::model::time;

/// The instruments that come with the program.
const BUILT_IN: [&str; 4] = [
    include_str!("lsstcomcam.yaml"),
    include_str!("lsstcomcamsim.yaml"),
    include_str!("lsstcam.yaml"),
    include_str!("latiss.yaml"),
];

/// An instrument: the rows `register_instrument` writes, and how its raws are named and described.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// Short name, the value of the dimension.
    pub name: String,
    /// The Python class that stands for it.
    pub class_name: String,
    /// Other spellings of the class.
    #[serde(default)]
    pub other_class_names: Vec<String>,
    /// Upper limit of visit ids.
    pub visit_max: i64,
    /// Upper limit of exposure ids.
    pub exposure_max: i64,
    /// Upper limit of detector ids.
    pub detector_max: i64,
    /// The preferred visit system.
    pub visit_system: i64,
    /// How raw datasets are registered.
    pub raw: Raw,
    /// How file metadata is recognised and understood.
    pub headers: Headers,
    /// Its detectors, by id.
    pub detectors: Vec<Detector>,
    /// Its filters with their bands, in the order of registration.
    pub filters: Vec<(String, String)>,
    /// The name of its folder in a folder of calibration data, and of the instrument in the files there.
    pub curated_folder: Option<String>,
    /// Where its detectors look; without it no visits can be defined.
    pub camera: Option<camera::Camera>,
}

/// How raw datasets of an instrument are registered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Dataset type.
    pub dataset_type: String,
    /// Its dimensions.
    pub dimensions: Vec<String>,
    /// Its storage class.
    pub storage_class: String,
    /// The Python class that reads the files.
    pub formatter: String,
    /// The default RUN collection.
    pub run: String,
}

/// `(id, full_name, name_in_raft, raft, purpose)`.
pub type Detector = (i64, String, String, Option<String>, String);

/// How the metadata of an instrument's files are recognised and understood.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// The name translated metadata give themselves in `_translator`.
    pub translator: String,
    /// Alternatives; each maps header keys to the values (lower case) they may have.
    #[serde(default)]
    recognise: Vec<std::collections::BTreeMap<String, Vec<String>>>,
    /// How header keys become properties; without it only translated metadata are understood.
    rules: Option<headers::Rules>,
}

impl Instrument {
    /// The instruments that come with the program; their files are read once.
    pub fn built_in() -> &'static [Self] {
        static ALL: LazyLock<Vec<Instrument>> = LazyLock::new(|| {
            BUILT_IN
                .iter()
                .map(|text| Instrument::parse(text).expect("the program's own files are understood"))
                .collect()
        });
        &ALL
    }

    /// The instrument of this name, class name, or YAML file.
    ///
    /// # Errors
    /// No such instrument, or a file that cannot be understood.
    pub fn find(name: &str) -> Result<Self> {
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

    /// Whether these header values, or translated properties, are of this instrument.
    pub fn recognises(&self, entry: &Entry<'_>) -> bool {
        let value = |key: &str| entry.text(key).unwrap_or_default().to_lowercase();
        self.headers.recognise.iter().any(|keys| keys.iter().all(|(key, allowed)| allowed.contains(&value(key))))
    }

    /// What header values say about the exposure.
    ///
    /// # Errors
    /// An instrument without header rules, or a required value that is missing or of the wrong form.
    pub fn translate(&self, entry: &Entry<'_>) -> Result<Observation> {
        match &self.headers.rules {
            Some(rules) => headers::translate(self, rules, entry),
            None => Err(Error::new(
                Kind::Unsupported,
                format!("raw headers of {} are not supported, only translated metadata", self.name),
            )),
        }
    }

    /// Seconds from midnight, TAI, to the begin of an observing day, where that is known.
    pub fn observing_day_offset(&self) -> Option<i64> {
        Some(self.headers.rules.as_ref()?.observing_day_offset)
    }

    /// The id of the detector with this name.
    fn detector(&self, full_name: &str) -> Option<i64> {
        self.detectors.iter().find(|d| d.1 == full_name).map(|d| d.0)
    }
}

/// The TAI range of an observing day: 24 hours from the day's midnight plus the offset in seconds.
pub fn day_obs_timespan(day_obs: i64, offset: i64) -> Option<(i64, i64)> {
    let begin = time::day_start(day_obs)? + offset * 1_000_000_000;
    Some((begin, begin + time::DAY))
}

/// A JSON object, as index files hold them.
pub type Object = Map<String, serde_json::Value>;

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
