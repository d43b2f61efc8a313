//! Camera geometry: transforms detector pixels through the focal plane to the sky.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::sphere::{Vector, unit};

/// The geometry of a camera.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Camera {
    /// Padding of regions around the detectors, pixels.
    padding: f64,
    /// Whether the image is mirrored along x.
    flip_x: bool,
    /// The coefficients of the field angle (rad) as a polynomial of the distance from the centre (mm), rad / mm^i.
    radial: Vec<f64>,
    /// The types of detectors, by name.
    sensors: BTreeMap<String, Sensor>,
    /// The position of each detector.
    places: Vec<DetectorPlacement>,
}

/// A type of detector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sensor {
    /// Width and height, pixels.
    size: [f64; 2],
    /// The reference point, pixels counted from 0.
    reference: [f64; 2],
    /// Width of a pixel, mm.
    pixel: f64,
}

/// `(detector, sensor, x, y, yaw)`: position of the reference point in the focal plane (mm), yaw (degrees).
type DetectorPlacement = (i64, String, f64, f64, f64);

/// The pointing of a camera: ICRS right ascension and declination of the boresight, and the rotation angle, degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pointing {
    /// ICRS right ascension of the boresight, degrees.
    pub ra: f64,
    /// ICRS declination of the boresight, degrees.
    pub dec: f64,
    /// Rotation angle of the camera on the sky, degrees.
    pub angle: f64,
}

impl Camera {
    /// Checks that every detector has a position, and every position a known sensor.
    ///
    /// # Errors
    /// The first detector without a position or with an unknown sensor.
    pub(crate) fn check(&self, detectors: impl Iterator<Item = i64>) -> Result<()> {
        if let Some((id, sensor, ..)) = self.places.iter().find(|place| !self.sensors.contains_key(&place.1)) {
            let error = Error::not_found("sensor", sensor, self.sensors.keys().map(String::as_str));
            return Err(error.context(format_args!("camera, detector {id}")));
        }
        match detectors.into_iter().find(|id| !self.places.iter().any(|place| place.0 == *id)) {
            Some(id) => Err(Error::invalid(format!("the camera has no position for detector {id}"))),
            None => Ok(()),
        }
    }

    /// Returns the number of detectors.
    pub(crate) fn detectors(&self) -> usize {
        self.places.len()
    }

    /// Returns the id of each detector and the sky positions of its corners: lower left, lower right, upper right,
    /// upper left.
    pub(crate) fn corners(&self, pointing: Pointing) -> Vec<(i64, [Vector; 4])> {
        let sky = Sky::new(pointing, self.flip_x);
        let detector = |place: &DetectorPlacement| {
            let (id, sensor, x, y, yaw) = place;
            let sensor = self.sensors.get(sensor)?;
            let (low, pad) = (-self.padding - 0.5, self.padding - 0.5);
            let high = [sensor.size[0] + pad, sensor.size[1] + pad];
            let corners = [[low, low], [high[0], low], high, [low, high[1]]];
            let (sin, cos) = yaw.to_radians().sin_cos();
            let on_sky = corners.map(|pixel| {
                let [a, b] = [0, 1].map(|i| sensor.pixel * (pixel[i] - sensor.reference[i]));
                sky.look(self.field_angle([x + cos * a - sin * b, y + sin * a + cos * b]))
            });
            Some((*id, on_sky))
        };
        self.places.iter().filter_map(detector).collect()
    }

    /// Returns the field angle of a point of the focal plane (mm), radians along both axes.
    fn field_angle(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let r = x.hypot(y);
        if r == 0.0 {
            return [0.0, 0.0];
        }
        let angle: f64 = (0..).zip(&self.radial).map(|(i, c)| c * r.powi(i)).sum();
        [x * (angle / r), y * (angle / r)]
    }
}

/// The tangent plane of a pointing.
struct Sky {
    centre: Vector,
    east: Vector,
    north: Vector,
    turn: [[f64; 2]; 2],
}

impl Sky {
    fn new(pointing: Pointing, flip: bool) -> Self {
        let (sin_ra, cos_ra) = pointing.ra.to_radians().sin_cos();
        let (sin_dec, cos_dec) = pointing.dec.to_radians().sin_cos();
        let (sin, cos) = pointing.angle.to_radians().sin_cos();
        let mirror = if flip { 1.0 } else { -1.0 };
        Self {
            centre: [cos_ra * cos_dec, sin_ra * cos_dec, sin_dec],
            east: [-sin_ra, cos_ra, 0.0],
            north: [-cos_ra * sin_dec, -sin_ra * sin_dec, cos_dec],
            turn: [[mirror * cos, sin], [-mirror * sin, cos]],
        }
    }

    /// Returns the direction on the sky of a field angle.
    fn look(&self, [a, b]: [f64; 2]) -> Vector {
        let [x, y] = self.turn.map(|row| row[0] * a + row[1] * b);
        unit([0, 1, 2].map(|i| self.centre[i] + x * self.east[i] + y * self.north[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::Instrument;
    use crate::sphere::hull::hull;

    #[test]
    fn every_camera_has_a_place_for_each_detector() {
        for instrument in Instrument::built_in() {
            let camera = instrument.camera.as_ref().unwrap();
            let mut seen: Vec<i64> =
                camera.corners(Pointing { ra: 10.0, dec: -30.0, angle: 45.0 }).iter().map(|c| c.0).collect();
            seen.sort_unstable();
            let mut all: Vec<i64> = instrument.detectors.iter().map(|d| d.0).collect();
            all.sort_unstable();
            assert_eq!(seen, all, "{}", instrument.name);
        }
    }

    #[test]
    fn a_detector_lies_where_the_reference_says() {
        let camera = Instrument::find("LSSTComCam").unwrap().camera.unwrap();
        let pointing =
            Pointing { ra: 53.312_407_782_266_014, dec: -27.994_761_670_941_685, angle: 102.799_263_873_305_79 };
        let corners = camera.corners(pointing);
        assert_eq!(corners.len(), 9);
        let all: Vec<Vector> = corners.iter().flat_map(|c| c.1).collect();
        // Expected values from an independent model of the camera.
        let first = [0.532_226_231_322_936_2, 0.701_747_758_940_170_8, -0.473_587_712_587_892_56];
        assert!(corners[0].1[0].iter().zip(first).all(|(a, b)| (a - b).abs() < 1e-14), "{:?}", corners[0]);
        // The edges are concave, so only the outermost corners are vertices.
        assert_eq!(hull(&all).unwrap().vertices().len(), 4);
    }
}
