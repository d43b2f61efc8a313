//! Rings sky maps: tracts along circles of declination in tangent-plane projection, each divided into patches.
//!
//! The order of all computations is that of the Rubin sky map package and its coordinate library, so that regions agree
//! to the last bits. The formulas and their tests are in the domain reference.

use std::f64::consts::PI;

use super::Vector;
use super::polygon::Polygon;

const DEG: f64 = PI / 180.0;
const ASEC: f64 = PI / 180.0 / 3600.0;
const D2R: f64 = 0.017_453_292_519_943_295;
const R2D: f64 = 57.295_779_513_082_32;

/// How a tract is divided into patches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Builder {
    /// Patches that consist of cells; outer patches extend beyond the tract.
    Cells {
        /// Width and height of a cell, pixels.
        inner: i32,
        /// Overlap of cells, pixels.
        border: i32,
        /// Number of cells along a side of a patch.
        per_patch: i32,
        /// Number of cells by which a patch overlaps its neighbours.
        in_border: i32,
    },
    /// Patches that consist of pixels; outer patches are clipped to the tract.
    Legacy {
        /// Width and height of a patch, pixels.
        inner: [i32; 2],
        /// Overlap of patches, pixels.
        border: i32,
    },
}

/// A rings sky map in gnomonic (TAN) projection without rotation.
#[derive(Debug, Clone, PartialEq)]
pub struct Rings {
    /// Number of rings between the two polar caps.
    pub num_rings: i32,
    /// Right ascension of the first tract of each ring, degrees.
    pub ra_start: f64,
    /// Minimum overlap of tracts, degrees.
    pub tract_overlap: f64,
    /// Pixel scale, arcseconds per pixel.
    pub pixel_scale: f64,
    /// How tracts are divided into patches.
    pub builder: Builder,
}

/// A tract: its position on the sky and its grid of patches; pixels are counted from the lower left.
#[derive(Debug, Clone)]
pub struct Tract {
    matrix: [[f64; 3]; 3],
    alpha0: f64,
    scale: f64,
    shift: [f64; 2],
    inner: [i32; 2],
    border: i32,
    clipped: bool,
    /// Number of patches along x and y.
    pub patches: [i32; 2],
}

impl Rings {
    /// Returns the height of a ring, radians.
    fn height(&self) -> f64 {
        PI / f64::from(self.num_rings + 1)
    }

    /// Returns the number of tracts of a ring.
    fn tracts_of(&self, ring: i32) -> i64 {
        let size = self.height();
        let start = size * (f64::from(ring) + 0.5) - 0.5 * PI;
        let stop = start + size;
        let nearest = start.abs().min(stop.abs());
        (2.0 * PI * nearest.cos() / size) as i64 + 1
    }

    /// Returns the number of tracts; their ids start at 0.
    pub fn count(&self) -> i64 {
        (0..self.num_rings).map(|ring| self.tracts_of(ring)).sum::<i64>() + 2
    }

    /// Iterates over the tracts in the order of their ids: south cap, rings from south to north, north cap.
    pub fn tracts(&self) -> impl Iterator<Item = Tract> + '_ {
        let size = self.height();
        let rings = (0..self.num_rings).flat_map(move |ring| {
            let count = self.tracts_of(ring);
            let dec = size * f64::from(ring + 1) - 0.5 * PI;
            (0..count).map(move |k| (wrap((2.0 * PI * k as f64 / count as f64) + self.ra_start * DEG), dec))
        });
        let centres = std::iter::once((0.0, -0.5 * PI)).chain(rings).chain([(0.0, 0.5 * PI)]);
        centres.map(|(ra, dec)| self.tract(ra, dec))
    }

    /// Returns the numbers of patches along x and y, which are the same for all tracts.
    pub fn grid(&self) -> [i32; 2] {
        self.frame().0
    }

    /// Returns true if tracts are smaller than the sky and the number of patches is below a limit.
    pub fn is_sane(&self) -> bool {
        let radius = 0.5 * self.height() + self.tract_overlap * DEG;
        let extent = radius.tan() / (self.pixel_scale * ASEC);
        if radius > 80.0 * DEG || extent > 1e8 {
            return false;
        }
        let [nx, ny] = self.grid();
        self.count() * i64::from(nx) * i64::from(ny) < 50_000_000
    }

    /// Returns the number of patches along each axis, the sky reference point in pixels, and the inner size of a patch.
    fn frame(&self) -> ([i32; 2], [i32; 2], [i32; 2]) {
        let inner = match self.builder {
            Builder::Cells { inner, per_patch, .. } => [inner * per_patch; 2],
            Builder::Legacy { inner, .. } => inner,
        };
        let radius = 0.5 * self.height() + self.tract_overlap * DEG;
        let extent = radius.tan() / (self.pixel_scale * ASEC);
        let (low, high) = ((-extent - 0.5).ceil() as i32, (extent + 0.5).floor() as i32);
        let size = high - low + 1;
        let mut patches = [0; 2];
        let mut reference = [0; 2];
        for axis in 0..2 {
            patches[axis] = (size + inner[axis] - 1) / inner[axis];
            let more = inner[axis] * patches[axis] - size;
            reference[axis] = -(low - more.max(0) / 2);
        }
        (patches, reference, inner)
    }

    fn tract(&self, ra: f64, dec: f64) -> Tract {
        let (patches, reference, inner) = self.frame();
        let scale = (self.pixel_scale * ASEC) / DEG * D2R;
        let (border, clipped) = match self.builder {
            Builder::Cells { inner, border, in_border, .. } => (in_border * inner + border, false),
            Builder::Legacy { border, .. } => (border, true),
        };
        let (alpha0, delta0) = ((ra / DEG) * D2R, ((dec / DEG) * D2R).clamp(-PI / 2.0, PI / 2.0));
        let native_pole = if delta0 >= PI / 2.0 { 0.0 } else { PI };
        let mut matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        for (axis, angle) in
            [([0.0, 0.0, 1.0], -native_pole), ([0.0, 1.0, 0.0], delta0 - PI / 2.0), ([0.0, 0.0, 1.0], PI + alpha0)]
        {
            matrix = rotated(matrix, axis, angle);
        }
        let shift = [scale * f64::from(reference[0]), scale * f64::from(reference[1])];
        Tract { matrix, alpha0, scale, shift, inner, border, clipped, patches }
    }
}

impl Tract {
    /// Returns the region of the tract.
    pub fn polygon(&self) -> Polygon {
        let [nx, ny] = self.patches;
        self.rectangle(0, 0, self.inner[0] * nx, self.inner[1] * ny)
    }

    /// Returns the region of the patch in a column and row, including its border.
    pub fn patch(&self, x: i32, y: i32) -> Polygon {
        let [nx, ny] = self.patches;
        let mut low = [self.inner[0] * x - self.border, self.inner[1] * y - self.border];
        let mut high = [self.inner[0] * (x + 1) + self.border, self.inner[1] * (y + 1) + self.border];
        if self.clipped {
            low = low.map(|at| at.max(0));
            high = [high[0].min(self.inner[0] * nx), high[1].min(self.inner[1] * ny)];
        }
        self.rectangle(low[0], low[1], high[0] - low[0], high[1] - low[1])
    }

    /// Returns the polygon of a pixel rectangle: lower right, lower left, upper left, upper right, which is the order
    /// of the hull of the corners (x increases to the west).
    fn rectangle(&self, x: i32, y: i32, width: i32, height: i32) -> Polygon {
        let (left, bottom) = (f64::from(x) - 0.5, f64::from(y) - 0.5);
        let (right, top) = (f64::from(x + width) - 0.5, f64::from(y + height) - 0.5);
        Polygon::new([(right, bottom), (left, bottom), (left, top), (right, top)].map(|(x, y)| self.sky(x, y)).to_vec())
    }

    /// Returns the position of a pixel on the sky.
    fn sky(&self, px: f64, py: f64) -> Vector {
        let (x, y) = (R2D * (self.shift[0] - self.scale * px), R2D * (-self.shift[1] + self.scale * py));
        let r = (x * x + y * y).sqrt();
        let phi = if r == 0.0 { 0.0 } else { atan2d(x, -y) } * D2R;
        let theta = atan2d(180.0 / PI, r) * D2R;
        let native = [phi.cos() * theta.cos(), phi.sin() * theta.cos(), theta.sin()];
        let o = self.matrix.map(|row| 0.0 + row[0] * native[0] + row[1] * native[1] + row[2] * native[2]);
        let small = 1000.0 * o[2].abs() * f64::EPSILON;
        let (lon, lat) = if o[0].abs() < small && o[1].abs() < small {
            (self.alpha0, (PI / 2.0).copysign(o[2]))
        } else {
            (o[1].atan2(o[0]), o[2].atan2((o[0] * o[0] + o[1] * o[1]).sqrt()))
        };
        let lon = wrap(lon);
        [lon.cos() * lat.cos(), lon.sin() * lat.cos(), lat.sin()]
    }
}

/// Normalizes an angle to [0, 2π).
fn wrap(angle: f64) -> f64 {
    let turn = 2.0 * PI;
    let mut wrapped = angle % turn;
    if wrapped < 0.0 {
        wrapped += turn;
    }
    if wrapped >= turn { 0.0 } else { wrapped }
}

fn atan2d(a: f64, b: f64) -> f64 {
    if a == 0.0 {
        if b >= 0.0 { 0.0 } else { 180.0 }
    } else if b == 0.0 {
        90.0_f64.copysign(a)
    } else {
        (a.atan2(b) * 180.0) / PI
    }
}

/// Rotates a rotation matrix about a unit axis; elements that are negligible in their row and column become zero.
fn rotated(matrix: [[f64; 3]; 3], [ax, ay, az]: Vector, angle: f64) -> [[f64; 3]; 3] {
    let (c, s) = (angle.cos(), angle.sin());
    if c == 1.0 {
        return matrix;
    }
    let a = 1.0 - c;
    let (b, d, f) = (a * ax * ay, a * ax * az, a * ay * az);
    let (p, q, r) = (s * ax, s * ay, s * az);
    let turn = [[a * ax * ax + c, b - r, d + q], [b + r, a * ay * ay + c, f - p], [d - q, f + p, a * az * az + c]];
    let mut out = [[0.0; 3]; 3];
    for (i, row) in turn.iter().enumerate() {
        for j in 0..3 {
            out[i][j] = (0..3).fold(0.0, |sum, k| sum + row[k] * matrix[k][j]);
        }
    }
    let largest = |values: [f64; 3]| values.into_iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let rows = out.map(largest);
    let columns = [0, 1, 2].map(|j| largest([out[0][j], out[1][j], out[2][j]]));
    let limit = f64::EPSILON.sqrt();
    for i in 0..3 {
        for j in (0..3).filter(|j| *j != i) {
            if out[i][j].abs() <= limit * rows[i] && out[i][j].abs() <= limit * columns[j] {
                out[i][j] = 0.0;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::region::Region;
    use crate::sphere::vectors::{bytes, text};

    const CELLS: Rings = Rings {
        num_rings: 120,
        ra_start: 0.0,
        tract_overlap: 1.0 / 60.0,
        pixel_scale: 0.2,
        builder: Builder::Cells { inner: 150, border: 50, per_patch: 20, in_border: 1 },
    };

    #[test]
    fn the_map_of_rubin_has_its_numbers() {
        assert_eq!((CELLS.count(), CELLS.grid()), (18_938, [10, 10]));
        assert_eq!(CELLS.tracts_of(59), 243);
        let tract = CELLS.tracts().nth(5063).unwrap();
        let degrees = |v: &Vector| (v[1].atan2(v[0]).to_degrees(), v[2].asin().to_degrees());
        let corners: Vec<_> = tract.polygon().vertices().iter().map(degrees).collect();
        assert!(
            corners.iter().all(|(ra, dec)| (52.0..54.1).contains(ra) && (-28.4..-26.6).contains(dec)),
            "{corners:?}"
        );
    }

    #[test]
    fn pixels_equal_those_of_the_real_map() {
        let (tracts, patches) = (text("tract_htm7.csv.gz"), text("patch_htm7.txt.gz"));
        if tracts.is_empty() {
            return;
        }
        let pixels = |polygon: Polygon| {
            let ranges = Region::Polygon(polygon).envelope(7);
            ranges.iter().map(|r| format!("{}-{}", r.start, r.end)).collect::<Vec<_>>().join(";")
        };
        let (tracts, patches): (Vec<_>, Vec<_>) = (tracts.lines().skip(1).collect(), patches.lines().collect());
        assert_eq!((tracts.len(), patches.len()), (18_938, 18_938));
        // A sample of all heights, because computing all of them takes minutes.
        for (number, tract) in CELLS.tracts().enumerate().step_by(97) {
            assert_eq!(format!("{number},{}", pixels(tract.polygon())), tracts[number]);
            let ours: Vec<String> = (0..100).map(|patch| pixels(tract.patch(patch % 10, patch / 10))).collect();
            assert_eq!(ours.join("|"), patches[number], "tract {number}");
        }
    }

    #[test]
    fn regions_equal_those_of_the_real_map() {
        let text = text("patches_sample.csv.gz");
        let Some(names) = text.lines().next() else { return };
        let names: Vec<&str> = names.split(',').collect();
        let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
        let (tract_at, patch_at, region_at) = (at("tract"), at("patch"), at("outer_polygon_encoded_hex"));
        let tracts: Vec<Tract> = CELLS.tracts().collect();
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let (tract, patch): (usize, i32) = (cells[tract_at].parse().unwrap(), cells[patch_at].parse().unwrap());
            let ours = tracts[tract].patch(patch % 10, patch / 10);
            let Some(Region::Polygon(theirs)) = Region::decode(&bytes(cells[region_at])) else { panic!("{line}") };
            for (a, b) in ours.vertices().iter().flatten().zip(theirs.vertices().iter().flatten()) {
                assert!((a - b).abs() < 1e-14, "tract {tract} patch {patch}");
            }
        }
    }
}
