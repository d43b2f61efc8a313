//! Translates raw FITS headers of Rubin cameras as the original translator does.
//!
//! The rules were determined by running the original LSSTComCam translator; they are described in the domain
//! reference. The corrections of single observations in the data files of that package are not applied.

use serde::Deserialize;
use serde_json::Value;

use super::Instrument;
use super::observation::{Entry, Observation, ordered, wrap};
use crate::error::{Error, Result};
use crate::model::calendar;
use crate::model::time;

/// The parameters of the rules that differ between cameras.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// Start of an observing day, seconds after midnight TAI.
    pub(super) observing_day_offset: i64,
    /// First supported observing day (`YYYYMMDD`); earlier days began at another hour and are refused.
    first_day_obs: i64,
    /// UTC time after which exposures were taken on the mountain, not in the laboratory.
    on_mountain_after: String,
    /// Values of `FILTER` that mean that no filter is installed.
    empty_filters: Vec<String>,
    /// Whether all its exposures are simulated.
    always_simulated: bool,
    /// Whether the visibility of the sky follows from the observation type if the header lacks the dome state.
    can_see_sky_from_type: bool,
}

/// Camera controllers, in the order of the offset they add to exposure ids.
const CONTROLLERS: &str = "OCHPQS";

/// A header with its rules, and values that several properties need.
struct Header<'a> {
    rules: &'a Rules,
    entry: &'a Entry<'a>,
    begin: i64,
    observation_type: String,
    controller: char,
}

/// Translates a header to an observation.
pub(super) fn translate(instrument: &Instrument, rules: &Rules, entry: &Entry<'_>) -> Result<Observation> {
    let observation_type = match need(entry, "IMGTYPE")?.to_lowercase().as_str() {
        "skyexp" | "object" => "science".to_owned(),
        other => other.to_owned(),
    };
    let controller = entry.text("CONTRLLR").and_then(|c| c.chars().next()).unwrap_or('O');
    let begin = begin(entry)?;
    let header = Header { rules, entry, begin, observation_type, controller };
    header.observation(instrument)
}

impl Header<'_> {
    fn observation(&self, instrument: &Instrument) -> Result<Observation> {
        let entry = self.entry;
        let day_obs = self.day_obs()?;
        let seq = entry.int("SEQNUM").unwrap_or(0);
        let exposure = self.exposure_id(day_obs, seq)?;
        let (seq_start, seq_end) = group_counters(entry, seq, exposure);
        let exposure_time = entry.number("SHUTTIME").filter(|t| *t > 0.0).or_else(|| entry.number("EXPTIME"));
        let exposure_time = exposure_time.ok_or_else(|| missing("EXPTIME"))?;
        let tracking = self.tracking()?;
        let altaz = self.altaz();
        let sky = tracking.is_some() && self.rotation_coord() == "sky";
        let angle = entry.number("ROTPA").unwrap_or(0.0);
        Ok(Observation {
            instrument: instrument.name.clone(),
            exposure,
            detector: detector(instrument, entry)?,
            obs_id: need(entry, "OBSID")?.to_owned(),
            day_obs,
            day_offset: Some(self.rules.observing_day_offset),
            group: entry.text("GROUPID").map_or_else(|| exposure.to_string(), str::to_owned),
            physical_filter: self.physical_filter(),
            exposure_time,
            dark_time: Some(entry.number("DARKTIME").unwrap_or(exposure_time)),
            observation_type: self.observation_type.clone(),
            observation_reason: Some(self.reason()),
            seq_num: Some(seq),
            seq_start,
            seq_end,
            target_name: Some(entry.text("OBJECT").unwrap_or("UNKNOWN").to_owned()),
            science_program: Some(self.program()),
            tracking,
            sky_angle: sky.then_some(angle),
            azimuth: altaz.map(|(azimuth, _)| azimuth),
            zenith_angle: altaz.map(|(_, elevation)| 90.0 - elevation),
            has_simulated: self.simulated(),
            can_see_sky: self.can_see_sky(),
            timespan: ordered(self.begin, self.end(exposure_time)?),
        })
    }

    fn day_obs(&self) -> Result<i64> {
        let offset = self.rules.observing_day_offset * 1_000_000_000;
        let day = self.entry.int("DAYOBS").unwrap_or_else(|| calendar::day_of(self.begin - offset));
        if day < self.rules.first_day_obs {
            return Err(Error::invalid(format!(
                "observing day {day} is before the first day that the header rules support"
            )));
        }
        Ok(day)
    }

    /// Returns the exposure id from day and sequence number, offset by multiples of 1000 years for controllers that
    /// share these numbers with the camera.
    fn exposure_id(&self, day_obs: i64, seq: i64) -> Result<i64> {
        if !(0..100_000).contains(&seq) {
            return Err(Error::invalid(format!("header key 'SEQNUM' is out of range: {seq}")));
        }
        let shift = match self.controller {
            'C' if day_obs > 20_231_004 => 0,
            'P' | 'Q' | 'S' if day_obs > 20_250_417 => 0,
            other => CONTROLLERS.find(other).ok_or_else(|| {
                Error::invalid(format!("header key 'CONTRLLR' names the unknown controller '{other}'"))
            })? as i64,
        };
        Ok((day_obs + shift * 10_000_000) * 100_000 + seq)
    }

    fn on_mountain(&self) -> bool {
        let since = time::parse_utc(&self.rules.on_mountain_after);
        self.controller == 'H' || since.is_some_and(|t| self.begin > t)
    }

    fn on_sky(&self) -> bool {
        let local = self.entry.text("TRACKSYS").is_some_and(|t| t.eq_ignore_ascii_case("local"));
        !local && !["bias", "dark", "flat"].contains(&self.observation_type.as_str()) && self.on_mountain()
    }

    fn rotation_coord(&self) -> &str {
        if self.on_sky() { self.entry.text("ROTCOORD").unwrap_or("unknown") } else { "unknown" }
    }

    fn tracking(&self) -> Result<Option<(f64, f64)>> {
        let entry = self.entry;
        let untracked = entry.text("TRACKSYS").is_some_and(|t| t != "RADEC");
        let frame = entry.text("RADESYS").unwrap_or("ICRS").trim().to_lowercase();
        if ["bias", "flat"].contains(&self.observation_type.as_str()) || untracked || frame == "gappt" {
            return Ok(None);
        }
        // If both are equal, the original translator computes the coordinates from azimuth and elevation.
        match (entry.text("DATE"), entry.text("DATE-OBS")) {
            (Some(made), Some(observed)) if made != observed => {}
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "tracking coordinates from azimuth and elevation are not supported (DATE equals DATE-OBS)",
                ));
            }
            _ => return Ok(None),
        }
        let pair = |a: &str, b: &str| Some((wrap(entry.number(a)?), entry.number(b)?));
        Ok(pair("RASTART", "DECSTART").or_else(|| pair("RA", "DEC")))
    }

    /// Returns azimuth in [0, 360) and elevation clipped to the range of the telescope, degrees.
    fn altaz(&self) -> Option<(f64, f64)> {
        let (azimuth, elevation) = (self.entry.number("AZSTART")?, self.entry.number("ELSTART")?);
        let usable = self.on_mountain() && azimuth >= -360.0 && elevation >= -90.0;
        usable.then(|| (wrap(azimuth), elevation.clamp(-5.55, 90.0)))
    }

    fn physical_filter(&self) -> String {
        if self.entry.text("FILTER").is_some_and(|f| self.rules.empty_filters.iter().any(|e| e == f)) {
            return "empty".to_owned();
        }
        let named = |f: &str| if f == "NONE" { "none".to_owned() } else { f.to_owned() };
        let first = self.entry.text("FILTER").unwrap_or("unknown");
        let further = ["FILTER1", "FILTER2"].iter().filter_map(|k| self.entry.text(k));
        let parts: Vec<_> = std::iter::once(first).chain(further).map(named).collect();
        parts.join("~").trim_end_matches("~empty").to_owned()
    }

    fn reason(&self) -> String {
        let given = self.entry.text("REASON").or_else(|| self.entry.text("TESTTYPE"));
        let default = if self.observation_type == "science" { "science" } else { "unknown" };
        given.map_or_else(|| default.to_owned(), str::to_lowercase)
    }

    fn program(&self) -> String {
        let run = || match self.entry.value("RUNNUM")? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        self.entry.text("PROGRAM").map(str::to_owned).or_else(run).unwrap_or_else(|| "unknown".to_owned())
    }

    fn simulated(&self) -> bool {
        let truthy = |value: &Value| match value {
            Value::Bool(yes) => *yes,
            Value::Number(n) => n.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            _ => false,
        };
        let any = |object: &super::Object| object.iter().any(|(k, v)| k.contains("SIMULATE") && truthy(v));
        self.rules.always_simulated || "HPQS".contains(self.controller) || any(self.entry.common) || any(self.entry.own)
    }

    fn can_see_sky(&self) -> Option<bool> {
        if !self.on_mountain() || self.entry.number("SHUTTIME") == Some(0.0) {
            return Some(false);
        }
        match self.entry.text("VIGN_MIN") {
            Some("FULLY") => Some(false),
            Some("UNKNOWN") => None,
            Some(_) => Some(true),
            None if self.controller == 'H' || self.rules.can_see_sky_from_type => {
                match self.observation_type.as_str() {
                    "science" => Some(true),
                    "bias" | "dark" | "flat" => Some(false),
                    _ => None,
                }
            }
            None => None,
        }
    }

    fn end(&self, exposure_time: f64) -> Result<i64> {
        let Some(text) = self.entry.text("DATE-END") else {
            return Ok(self.begin + (exposure_time.max(0.0) * 1e9).round() as i64);
        };
        let tai = self.entry.text("TIMESYS").is_some_and(|s| s.eq_ignore_ascii_case("tai"));
        let end = if tai { calendar::parse(text) } else { time::parse_utc(text) };
        end.ok_or_else(|| Error::invalid(format!("header key 'DATE-END' is not a date: '{text}'")))
    }
}

/// Returns the start in TAI nanoseconds, from the first of four keys that is defined; `TIMESYS` is ignored.
fn begin(entry: &Entry<'_>) -> Result<i64> {
    for key in ["MJD-BEG", "DATE-BEG", "MJD-OBS", "DATE-OBS"] {
        let found = if key.starts_with("MJD") {
            entry.number(key).map(time::from_mjd)
        } else {
            entry.text(key).and_then(calendar::parse)
        };
        if let Some(begin) = found {
            return Ok(begin);
        }
    }
    Err(missing("MJD-BEG"))
}

fn group_counters(entry: &Entry<'_>, seq: i64, exposure: i64) -> (i64, i64) {
    match (entry.int("CURINDEX"), entry.int("MAXINDEX")) {
        _ if seq == 0 => (exposure, exposure),
        (Some(current), Some(last)) => (seq - current + 1, seq + last - current),
        (Some(current), None) => (seq - current + 1, seq),
        (None, _) => (seq, seq),
    }
}

fn detector(instrument: &Instrument, entry: &Entry<'_>) -> Result<i64> {
    let full_name = format!("{}_{}", need(entry, "RAFTBAY")?, need(entry, "CCDSLOT")?);
    instrument
        .detector(&full_name)
        .ok_or_else(|| Error::not_found("detector", &full_name, instrument.detectors.iter().map(|d| d.1.as_str())))
}

fn need<'a>(entry: &Entry<'a>, key: &str) -> Result<&'a str> {
    entry.text(key).ok_or_else(|| missing(key))
}

fn missing(key: &str) -> Error {
    Error::invalid(format!("required header key '{key}' is missing"))
}
