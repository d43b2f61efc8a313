//! `butlersql sample`: a synthetic LSSTComCam campaign in the layout of the real one, reproducible from its arguments.

mod ancillary;
mod curated;

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::Failure;
use crate::error::{Error, Result};
use crate::format::fits::header_only;
use crate::instrument::Instrument;
use crate::model::calendar;
use crate::model::time;

/// The arguments of `butlersql sample`.
#[derive(Debug, Clone, Args)]
pub(super) struct Sample {
    /// The folder to write into.
    pub dir: PathBuf,
    /// Number of exposures.
    #[arg(long, default_value_t = 200)]
    pub exposures: usize,
    /// Number of nights.
    #[arg(long, default_value_t = 3)]
    pub nights: usize,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 103)]
    pub seed: u64,
    /// Content of the index files.
    #[arg(long, value_enum, default_value_t = Content::Translated)]
    pub content: Content,
}

/// The content of index files (`__CONTENT__`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Content {
    /// Translated properties, with the same meaning for all instruments.
    Translated,
    /// Raw header keys, as the camera writes them.
    Metadata,
}

/// The seed configuration of the sample: a SQLite registry and a datastore below the repository root.
const SEED: &str =
    "datastore:\n  name: ccms1\n  root: <butlerRoot>\nregistry:\n  db: sqlite:///<butlerRoot>/gen3.sqlite3\n";

/// Fields of Data Preview 1: name, right ascension and declination (ICRS, degrees), published exposures in ugrizy.
const FIELDS: [(&str, f64, f64, [u32; 6]); 7] = [
    ("47_Tuc", 6.128, -72.090, [6, 10, 32, 19, 0, 5]),
    ("ECDFS", 53.160, -28.100, [43, 230, 237, 162, 153, 30]),
    ("EDFS_comcam", 59.150, -48.730, [20, 61, 87, 42, 42, 20]),
    ("Fornax_dSph", 40.080, -34.450, [0, 5, 25, 12, 0, 0]),
    ("Rubin_SV_095_-25", 95.040, -25.000, [33, 82, 84, 23, 60, 10]),
    ("Rubin_SV_38_7", 37.980, 7.015, [0, 44, 40, 55, 20, 0]),
    ("Seagull", 106.300, -10.510, [10, 37, 43, 0, 10, 0]),
];
const FILTERS: [&str; 6] = ["u_02", "g_01", "r_03", "i_06", "z_03", "y_04"];

/// A kind of exposure: IMGTYPE, share of the campaign (percent), maximum number of exposures of a group, exposure
/// time (s), whether the sky is observed.
type Plan = (&'static str, usize, usize, f64, bool);
const PLANS: [Plan; 9] = [
    ("BIAS", 17, 10, 0.0, false),
    ("DARK", 13, 5, 30.0, false),
    ("FLAT", 22, 8, 2.5, false),
    ("TEST", 2, 2, 0.0, false),
    ("FOCUS", 3, 5, 5.0, true),
    ("ACQ", 14, 1, 15.0, true),
    ("CWFS", 9, 2, 30.0, true),
    ("ENGTEST", 8, 1, 5.0, true),
    ("OBJECT", 12, 1, 30.0, true),
];
/// Longitude (east) and latitude (north) of the site, degrees.
const SITE: (f64, f64) = (-70.749_417, -30.244_639);
/// The first observing day, YYYYMMDD.
const FIRST_DAY: i64 = 20_241_024;
const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;

/// The random number generator SplitMix64, which gives the same numbers on all platforms.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a uniform number in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Returns a random index with the probability of its weight.
    fn pick(&mut self, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let total: u32 = weights.clone().sum();
        let mut at = self.unit() * f64::from(total);
        for (i, weight) in weights.enumerate() {
            at -= f64::from(weight);
            if at < 0.0 {
                return i;
            }
        }
        0
    }
}

/// One exposure of the sample. Times are TAI nanoseconds, rounded to milliseconds.
struct Shot {
    plan: Plan,
    day_obs: i64,
    seq: i64,
    index: i64,
    of: i64,
    group: String,
    begin: i64,
    end: i64,
    dark_time: f64,
    filter: usize,
    target: &'static str,
    pointing: Option<(f64, f64)>,
    rotation: f64,
}

impl Sample {
    /// Writes the sample and prints a summary.
    ///
    /// # Errors
    /// A file that cannot be written, or `--nights 0`.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let written = self.write()?;
        println!("{}: {} exposures, {} files, {} good visits", self.dir.display(), written.0, written.1, written.2);
        Ok(())
    }

    /// Writes the sample; returns the numbers of exposures, files and good visits.
    ///
    /// # Errors
    /// A file that cannot be written, or `--nights 0`.
    pub(super) fn write(&self) -> Result<(usize, usize, usize)> {
        if self.nights == 0 {
            return Err(Error::invalid("--nights must be at least 1"));
        }
        let mut random = Random(self.seed);
        let camera = Instrument::find("LSSTComCam")?;
        let (mut exposures, mut files) = (0, 0);
        let mut good = String::new();
        for night in 0..self.nights {
            let count = self.exposures / self.nights + usize::from(night < self.exposures % self.nights);
            let day = calendar::day_of(calendar::day_start(FIRST_DAY).unwrap_or(0) + night as i64 * time::DAY);
            for shot in plan_night(&mut random, day, count) {
                files += shot.write(&self.dir, &camera, self.content, &mut random)?;
                exposures += 1;
                if shot.plan.0 == "OBJECT" && random.unit() < 0.84 {
                    good.push_str(&format!("{}\n", shot.exposure()));
                }
            }
        }
        put(&self.dir.join("butler-seed_ccms1.yaml"), SEED.as_bytes())?;
        put(&self.dir.join("dp1_good_visits.txt"), good.as_bytes())?;
        ancillary::write(&self.dir, &camera, &FIELDS.map(|(_, ra, dec, _)| (ra, dec)), &good)?;
        curated::write(&self.dir.join("curated"), &camera)?;
        Ok((exposures, files, good.lines().count()))
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let named = |e: std::io::Error| Error::from(e).context(format_args!("writing '{}'", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(named)?;
    }
    std::fs::write(path, bytes).map_err(named)
}

/// Plans the exposures of a night: calibrations in the afternoon, then the sky.
fn plan_night(random: &mut Random, day_obs: i64, count: usize) -> Vec<Shot> {
    let mut groups: Vec<(Plan, usize)> = Vec::new();
    let mut left = count;
    for plan in PLANS {
        let mut wanted = (count * plan.1 / 100).min(left);
        left -= wanted;
        while wanted > 0 {
            let together = wanted.min(1 + (random.next() as usize) % plan.2);
            groups.push((plan, together));
            wanted -= together;
        }
    }
    groups.extend(std::iter::repeat_n((PLANS[8], 1), left));
    let sky = groups.iter().position(|g| g.0.4).unwrap_or(groups.len());
    for i in (sky + 1..groups.len()).rev() {
        groups.swap(i, sky + (random.next() as usize) % (i - sky + 1));
    }
    let midnight = calendar::day_start(day_obs).unwrap_or(0);
    let (mut clock, mut seq) = (midnight + 19 * 3600 * SECOND, 0);
    let mut shots = Vec::with_capacity(count);
    for (plan, together) in groups {
        if plan.4 {
            clock = clock.max(midnight + 24 * 3600 * SECOND + 1800 * SECOND);
        }
        let start = clock;
        let (field, filter) = target(random);
        for index in 1..=together as i64 {
            seq += 1;
            let begin = (clock + (random.between(300.0, 1500.0) * MS as f64) as i64) / MS * MS;
            let dark_time = plan.3 + (random.between(20.0, 600.0)).round() / 1000.0;
            let end = begin + (dark_time * 1000.0).round() as i64 * MS;
            let (_, ra, dec, _) = FIELDS[field];
            let dither = (random.between(-0.2, 0.2), random.between(-0.2, 0.2));
            shots.push(Shot {
                plan,
                day_obs,
                seq,
                index,
                of: together as i64,
                group: iso(start / MS * MS),
                begin,
                end,
                dark_time,
                filter,
                target: if plan.0 == "OBJECT" { FIELDS[field].0 } else { "UNKNOWN" },
                pointing: plan.4.then_some((ra + dither.0, dec + dither.1)),
                rotation: random.between(0.0, 360.0),
            });
            clock = end + 2400 * MS;
        }
    }
    shots
}

fn target(random: &mut Random) -> (usize, usize) {
    let field = random.pick(FIELDS.iter().map(|f| f.3.iter().sum()));
    (field, random.pick(FIELDS[field].3.iter().copied()))
}

/// Formats a time (TAI nanoseconds) with milliseconds, as in headers.
fn iso(clock: i64) -> String {
    let text = calendar::format(clock);
    if text.contains('.') { format!("{text:0<23}") } else { format!("{text}.000") }
}

fn mjd(clock: i64) -> f64 {
    let (day, rest) = (clock.div_euclid(time::DAY), clock.rem_euclid(time::DAY));
    (day + 40_587) as f64 + rest as f64 / time::DAY as f64
}

/// Returns a two-part Julian Date from MJD day and fraction: an integer, and a fraction within half a day.
fn jd_pair(day: f64, rest: f64) -> Value {
    if rest >= 0.0 { json!([day + 2_400_001.0, rest - 0.5]) } else { json!([day + 2_400_000.0, rest + 0.5]) }
}

/// Returns azimuth and altitude in degrees, accurate to some arc minutes.
fn altaz((ra, dec): (f64, f64), clock: i64) -> (f64, f64) {
    let sidereal = 280.460_618_37 + 360.985_647_366_29 * (mjd(clock) - 51_544.5);
    let hour = (sidereal + SITE.0 - ra).to_radians().rem_euclid(TAU);
    let (dec, latitude) = (dec.to_radians(), SITE.1.to_radians());
    let altitude = (dec.sin() * latitude.sin() + dec.cos() * latitude.cos() * hour.cos()).asin();
    let north = dec.sin() * latitude.cos() - dec.cos() * latitude.sin() * hour.cos();
    let azimuth = (-dec.cos() * hour.sin()).atan2(north);
    (azimuth.to_degrees().rem_euclid(360.0), altitude.to_degrees())
}

impl Shot {
    fn exposure(&self) -> i64 {
        self.day_obs * 100_000 + self.seq
    }

    fn obs_id(&self) -> String {
        format!("CC_O_{}_{:06}", self.day_obs, self.seq)
    }

    /// Writes the nine files (one of them is missing at times) and their index; returns the number of files.
    fn write(&self, dir: &Path, camera: &Instrument, content: Content, random: &mut Random) -> Result<usize> {
        let folder = dir.join("raw/LSSTComCam").join(self.day_obs.to_string()).join(self.obs_id());
        let missing = (random.unit() < 0.03).then(|| (random.next() % 9) as i64);
        let mut index = Map::new();
        let (common, word) = match content {
            Content::Translated => (self.properties(), "translated"),
            Content::Metadata => (self.header(), "metadata"),
        };
        index.insert("__CONTENT__".into(), word.into());
        index.insert("__COMMON__".into(), common.into());
        for (id, full_name, slot, raft, _) in camera.detectors.iter().filter(|d| Some(d.0) != missing) {
            let raft = raft.as_deref().unwrap_or_default();
            let own = json!({"CCDSLOT": slot, "RAFTBAY": raft});
            let name = format!("{}_{full_name}.fits", self.obs_id());
            let mut header = self.header();
            header.extend(own.as_object().cloned().unwrap_or_default());
            put(&folder.join(&name), &header_only(&header))?;
            let own = match content {
                Content::Metadata => own,
                Content::Translated => json!({
                    "detector_name": slot,
                    "detector_num": id,
                    "detector_unique_name": full_name,
                    "detector_group": raft,
                }),
            };
            index.insert(name, own);
        }
        let files = index.len() - 2;
        put(&folder.join("_index.json"), format!("{}\n", Value::Object(index)).as_bytes())?;
        Ok(files)
    }

    /// Returns the header keys that all files of the exposure share.
    fn header(&self) -> Map<String, Value> {
        let mut keys = json!({
            "OBSID": self.obs_id(), "INSTRUME": "ComCam", "TELESCOP": "Simonyi Survey Telescope", "TIMESYS": "TAI",
            "CONTRLLR": "O", "DAYOBS": self.day_obs.to_string(), "SEQNUM": self.seq, "CURINDEX": self.index,
            "MAXINDEX": self.of, "GROUPID": self.group, "IMGTYPE": self.plan.0, "REASON": self.plan.0.to_lowercase(),
            "OBJECT": self.target, "PROGRAM": "SAMPLE", "MJD-BEG": mjd(self.begin), "DATE-BEG": iso(self.begin),
            "DATE-OBS": iso(self.begin), "DATE-END": iso(self.end), "DATE": iso(self.end + 40 * MS), "EXPTIME": self.plan.3, "SHUTTIME": self.plan.3, "DARKTIME": self.dark_time,
            "FILTER": FILTERS[self.filter], "VIGN_MIN": if self.plan.4 { "NO" } else { "FULLY" },
            "TRACKSYS": if self.plan.4 { "RADEC" } else { "LOCAL" }, "RADESYS": "ICRS", "ROTPA": self.rotation,
            "ROTCOORD": if self.plan.4 { "sky" } else { "mount" },
        });
        if let Some(pointing) = self.pointing {
            let (azimuth, altitude) = altaz(pointing, self.begin);
            keys["RASTART"] = pointing.0.into();
            keys["DECSTART"] = pointing.1.into();
            keys["AZSTART"] = azimuth.into();
            keys["ELSTART"] = altitude.max(20.0).into();
        }
        keys.as_object().cloned().unwrap_or_default()
    }

    /// Returns the translated properties that all files of the exposure share; they agree with the header rules.
    fn properties(&self) -> Map<String, Value> {
        let kind = if self.plan.0 == "OBJECT" { "science".to_owned() } else { self.plan.0.to_lowercase() };
        let begin = mjd(self.begin);
        let day = begin.round_ties_even();
        let end_day = self.end.div_euclid(time::DAY) + 40_587;
        let end_rest = self.end.rem_euclid(time::DAY) as f64 / time::DAY as f64;
        let end = if end_rest > 0.5 {
            jd_pair(end_day as f64 + 1.0, end_rest - 1.0)
        } else {
            jd_pair(end_day as f64, end_rest)
        };
        let mut all = json!({
            "telescope": "Simonyi Survey Telescope", "instrument": "LSSTComCam", "observation_id": self.obs_id(),
            "exposure_id": self.exposure(), "observing_day": self.day_obs, "observing_day_offset": 43_200,
            "observation_counter": self.seq, "group_counter_start": self.seq - self.index + 1,
            "group_counter_end": self.seq + self.of - self.index, "exposure_group": self.group,
            "observation_type": kind, "observation_reason": self.plan.0.to_lowercase(), "object": self.target,
            "science_program": "SAMPLE", "datetime_begin": jd_pair(day, begin - day), "datetime_end": end,
            "exposure_time": self.plan.3, "dark_time": self.dark_time, "physical_filter": FILTERS[self.filter],
            "has_simulated_content": false, "boresight_rotation_angle": self.rotation,
            "boresight_rotation_coord": if self.plan.4 { "sky" } else { "unknown" },
            "can_see_sky": self.plan.4 && self.plan.3 > 0.0,
        });
        if let Some(pointing) = self.pointing {
            let (azimuth, altitude) = altaz(pointing, self.begin);
            all["tracking_radec"] = json!([pointing.0, pointing.1]);
            all["altaz_begin"] = json!([azimuth, altitude.max(20.0)]);
        }
        all.as_object().cloned().unwrap_or_default()
    }
}
