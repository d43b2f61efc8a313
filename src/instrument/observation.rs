//! The observation that the metadata of a raw file describes, and the types of translated properties.

use serde_json::Value;

use super::Object;
use crate::error::{Error, Result};
use crate::model::python_json::constant;
use crate::model::time;

/// The metadata of one file; values common to the index take precedence over the values of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Values shared by all files of the index.
    pub common: &'a Object,
    /// Values of this file.
    pub own: &'a Object,
}

/// An observation: the properties of an exposure, and the detector that the file contains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observation {
    /// Name of the instrument.
    pub instrument: String,
    /// Exposure id.
    pub exposure: i64,
    /// Detector id.
    pub detector: i64,
    /// Observation id, such as `CC_O_20241108_000266`.
    pub obs_id: String,
    /// Observing day, `YYYYMMDD`.
    pub day_obs: i64,
    /// Start of the observing day, seconds after midnight TAI.
    pub day_offset: Option<i64>,
    /// Name of the group of exposures taken together.
    pub group: String,
    /// Name of the filter.
    pub physical_filter: String,
    /// Exposure time, s.
    pub exposure_time: f64,
    /// Time since the last clearing of the detectors, s.
    pub dark_time: Option<f64>,
    /// Type of observation: `science`, `bias`, …
    pub observation_type: String,
    /// Reason for the observation.
    pub observation_reason: Option<String>,
    /// Sequence number in the observing day.
    pub seq_num: Option<i64>,
    /// First sequence number of the group.
    pub seq_start: i64,
    /// Last sequence number of the group.
    pub seq_end: i64,
    /// Name of the target.
    pub target_name: Option<String>,
    /// Name of the science programme.
    pub science_program: Option<String>,
    /// ICRS right ascension and declination of the boresight, degrees.
    pub tracking: Option<(f64, f64)>,
    /// Rotation angle of the camera on the sky, degrees.
    pub sky_angle: Option<f64>,
    /// Azimuth at the start, degrees in [0, 360).
    pub azimuth: Option<f64>,
    /// Zenith angle at the start, degrees.
    pub zenith_angle: Option<f64>,
    /// Whether any part of the data is simulated.
    pub has_simulated: bool,
    /// Whether the sky was visible; `None` if unknown.
    pub can_see_sky: Option<bool>,
    /// Start and end, TAI nanoseconds; the end is after the start.
    pub timespan: (i64, i64),
}

/// The JSON type of a translated property.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Int,
    Bool,
    /// An integer or a float.
    Number,
    /// A number written as a float.
    Float,
    /// A list of this number of numbers.
    Numbers(usize),
}

/// The translated properties of `astro_metadata_translator`, with their types.
const PROPERTIES: [(&str, Form); 41] = [
    ("_translator", Form::Text),
    ("telescope", Form::Text),
    ("instrument", Form::Text),
    ("location", Form::Numbers(3)),
    ("exposure_id", Form::Int),
    ("visit_id", Form::Int),
    ("physical_filter", Form::Text),
    ("datetime_begin", Form::Numbers(2)),
    ("datetime_end", Form::Numbers(2)),
    ("exposure_group", Form::Text),
    ("exposure_time", Form::Number),
    ("exposure_time_requested", Form::Number),
    ("dark_time", Form::Number),
    ("boresight_airmass", Form::Float),
    ("boresight_rotation_angle", Form::Number),
    ("boresight_rotation_coord", Form::Text),
    ("detector_num", Form::Int),
    ("detector_name", Form::Text),
    ("detector_unique_name", Form::Text),
    ("detector_serial", Form::Text),
    ("detector_group", Form::Text),
    ("detector_exposure_id", Form::Int),
    ("focus_z", Form::Number),
    ("object", Form::Text),
    ("temperature", Form::Number),
    ("pressure", Form::Number),
    ("relative_humidity", Form::Float),
    ("tracking_radec", Form::Numbers(2)),
    ("altaz_begin", Form::Numbers(2)),
    ("altaz_end", Form::Numbers(2)),
    ("science_program", Form::Text),
    ("observation_type", Form::Text),
    ("observation_id", Form::Text),
    ("observation_reason", Form::Text),
    ("observing_day", Form::Int),
    ("observing_day_offset", Form::Int),
    ("observation_counter", Form::Int),
    ("group_counter_start", Form::Int),
    ("group_counter_end", Form::Int),
    ("has_simulated_content", Form::Bool),
    ("can_see_sky", Form::Bool),
];

/// Checks that translated metadata contains known properties of the right type only.
///
/// # Errors
/// The first property that is unknown or has another type, by name.
pub(crate) fn check_properties(object: &Object) -> Result<()> {
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let Some((_, form)) = PROPERTIES.iter().find(|(name, _)| name == key) else {
            return Err(Error::not_found("translated property", key, PROPERTIES.iter().map(|p| p.0)));
        };
        if !fits(*form, value) {
            return Err(Error::invalid(format!("property '{key}' has a value of the wrong type: {}", brief(value))));
        }
    }
    Ok(())
}

fn fits(form: Form, value: &Value) -> bool {
    match form {
        Form::Text => value.is_string() && constant(value).is_none(),
        Form::Int => value.is_i64() || value.is_u64(),
        Form::Bool => value.is_boolean(),
        Form::Number => number(value).is_some(),
        Form::Float => value.is_f64() || constant(value).is_some(),
        Form::Numbers(n) => value.as_array().is_some_and(|a| a.len() == n && a.iter().all(|v| number(v).is_some())),
    }
}

/// Returns a number; Python constants such as NaN are decoded.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| constant(value))
}

/// Returns the first characters of a value, for an error message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl<'a> Entry<'a> {
    /// Returns the value of a key, unless it is null.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.common.get(key).or_else(|| self.own.get(key)).filter(|v| !v.is_null())
    }

    /// Returns a string value.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.value(key).filter(|value| constant(value).is_none())?.as_str()
    }

    /// Returns an integer, which may be written as a string; fractions are truncated.
    pub(crate) fn int(&self, key: &str) -> Option<i64> {
        match self.value(key)? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_i64().or_else(|| value.as_f64().map(|f| f as i64)),
        }
    }

    /// Returns a number; NaN and infinities are accepted as Python writes them.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        number(self.value(key)?)
    }

    /// Returns a list of two numbers.
    fn pair(&self, key: &str) -> Option<(f64, f64)> {
        match self.value(key)?.as_array()?.as_slice() {
            [a, b] => Some((number(a)?, number(b)?)),
            _ => None,
        }
    }

    /// Returns `(instrument, exposure, detector)` of a file with translated metadata.
    ///
    /// # Errors
    /// A required property that is missing, by name.
    pub(crate) fn identity(&self) -> Result<(&'a str, i64, i64)> {
        let exposure = self.int("exposure_id").ok_or_else(|| missing("exposure_id"))?;
        let detector = self.int("detector_num").ok_or_else(|| missing("detector_num"))?;
        Ok((self.text("instrument").ok_or_else(|| missing("instrument"))?, exposure, detector))
    }
}

fn missing(property: &str) -> Error {
    Error::invalid(format!("required property '{property}' is missing"))
}

impl Observation {
    /// Creates an observation from translated metadata checked by [`check_properties`].
    ///
    /// # Errors
    /// A required property that is missing, or a declination or altitude beyond 90 degrees.
    pub(crate) fn from_translated(entry: &Entry<'_>) -> Result<Self> {
        let text = |key: &str| entry.text(key).map(str::to_owned);
        let need_text = |key: &str| text(key).ok_or_else(|| missing(key));
        let need_int = |key: &str| entry.int(key).ok_or_else(|| missing(key));
        let time = |key: &str| entry.pair(key).map(|(a, b)| time::from_jd_pair(a, b)).ok_or_else(|| missing(key));
        let (instrument, exposure, detector) = entry.identity()?;
        let seq_num = entry.int("observation_counter");
        let group_counter = |key: &str| entry.int(key).or(seq_num).ok_or_else(|| missing(key));
        let tracking = entry.pair("tracking_radec").map(|(ra, dec)| (wrap(ra), dec));
        let on_sky = tracking.is_some() && entry.text("boresight_rotation_coord") == Some("sky");
        let altaz = entry.pair("altaz_begin");
        for (property, pair) in [("tracking_radec", tracking), ("altaz_begin", altaz)] {
            if let Some((_, latitude)) = pair.filter(|(_, latitude)| !(-90.0..=90.0).contains(latitude)) {
                let message = format!(
                    "the second angle of property '{property}' must be between -90 and 90 degrees, not {latitude}"
                );
                return Err(Error::invalid(message));
            }
        }
        Ok(Self {
            instrument: instrument.to_owned(),
            exposure,
            detector,
            obs_id: need_text("observation_id")?,
            day_obs: need_int("observing_day")?,
            day_offset: entry.int("observing_day_offset"),
            group: need_text("exposure_group")?,
            physical_filter: need_text("physical_filter")?,
            exposure_time: entry.number("exposure_time").ok_or_else(|| missing("exposure_time"))?,
            dark_time: entry.number("dark_time"),
            observation_type: need_text("observation_type")?,
            observation_reason: text("observation_reason"),
            seq_num,
            seq_start: group_counter("group_counter_start")?,
            seq_end: group_counter("group_counter_end")?,
            target_name: text("object"),
            science_program: text("science_program"),
            tracking,
            sky_angle: entry.number("boresight_rotation_angle").filter(|_| on_sky),
            azimuth: altaz.map(|(azimuth, _)| wrap(azimuth)),
            zenith_angle: altaz.map(|(_, altitude)| 90.0 - altitude),
            has_simulated: entry.value("has_simulated_content").and_then(Value::as_bool).unwrap_or(false),
            can_see_sky: entry.value("can_see_sky").and_then(Value::as_bool),
            timespan: ordered(time("datetime_begin")?, time("datetime_end")?),
        })
    }
}

/// Normalizes an angle in degrees to [0, 360).
pub(super) fn wrap(degrees: f64) -> f64 {
    let wrapped = degrees - (degrees / 360.0).floor() * 360.0;
    // A very small negative angle is rounded to 360.
    if wrapped >= 360.0 { wrapped - 360.0 } else { wrapped }
}

/// Returns start and end of an exposure as stored in the registry: clamped, and at least one nanosecond apart.
pub(super) fn ordered(begin: i64, end: i64) -> (i64, i64) {
    let (begin, end) = (begin.clamp(0, time::MAX), end.clamp(0, time::MAX));
    if end > begin { (begin, end) } else { (begin, begin + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    const COMMON: &str = r#"{"instrument": "LSSTComCam", "exposure_id": 7, "observation_id": "CC_O_20241108_000266",
        "observing_day": 20241108, "exposure_group": "g", "physical_filter": "g_01", "exposure_time": 30,
        "observation_type": "science", "observation_counter": 266, "datetime_begin": [2460624.0, -0.2259106133133173],
        "datetime_end": [2460624.0, -0.22555840277777778], "tracking_radec": [53.3, -28.0],
        "boresight_rotation_angle": 102.8, "boresight_rotation_coord": "sky", "altaz_begin": [-89.0, 70.0]}"#;

    #[test]
    fn properties_become_an_observation() {
        let (common, own) = (object(COMMON), object(r#"{"detector_num": 4}"#));
        check_properties(&common).unwrap();
        let seen = Observation::from_translated(&Entry { common: &common, own: &own }).unwrap();
        assert_eq!((seen.detector, seen.seq_start, seen.azimuth), (4, 266, Some(271.0)));
        assert_eq!((seen.sky_angle, seen.zenith_angle), (Some(102.8), Some(20.0)));
        assert_eq!(seen.timespan, (1_731_134_081_323_009_729, 1_731_134_111_754_000_000));
    }

    #[test]
    fn angles_and_times_stay_in_their_range() {
        assert_eq!([wrap(-1.0), wrap(361.0), wrap(360.0), wrap(-1e-14)], [359.0, 1.0, 0.0, 0.0]);
        assert_eq!(ordered(-5, time::MAX + 7), (0, time::MAX));
    }

    #[test]
    fn wrong_forms_are_named() {
        for (text, message) in [
            (r#"{"exposure_id": 1.5}"#, "property 'exposure_id' has a value of the wrong type: 1.5"),
            (r#"{"relative_humidity": 22}"#, "property 'relative_humidity' has a value of the wrong type: 22"),
            (r#"{"exposure_tim": 1}"#, "no translated property named 'exposure_tim'; did you mean 'exposure_time'?"),
        ] {
            assert_eq!(check_properties(&object(text)).unwrap_err().message(), message);
        }
        let (common, own) = (object(COMMON), object("{}"));
        let error = Observation::from_translated(&Entry { common: &common, own: &own }).unwrap_err();
        assert_eq!(error.message(), "required property 'detector_num' is missing");
    }
}
