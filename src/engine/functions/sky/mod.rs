//! Scalar functions of regions on the sky, with the names of Butler expressions and of ADQL.

mod compute;
pub(crate) mod udf;
mod values;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::engine::functions::sky::udf::{Op, function};

const FRAME: &str =
    "Right ascension and declination are in ICRS degrees; the first argument may be the frame 'ICRS', as in ADQL.";

pub(crate) fn functions() -> Vec<FunctionDef> {
    regions().into_iter().chain(measures()).chain(pixels()).collect()
}

/// Functions that return regions.
fn regions() -> Vec<FunctionDef> {
    let number = ArgType::Number;
    vec![
        scalar("point", Op::Point, "Returns a point as a region.")
            .arg("ra", number, "right ascension")
            .arg("dec", number, "declination")
            .notes(FRAME)
            .example("SELECT visit FROM visit WHERE contains(point('ICRS', 53.16, -28.1), region)"),
        scalar("circle", Op::Circle, "Returns a circle as a region.")
            .arg("ra", number, "right ascension of the centre")
            .arg("dec", number, "declination of the centre")
            .arg("radius", number, "radius in degrees")
            .notes("The centre may be a region instead of two numbers. The frame is as for `point`.")
            .example("SELECT visit FROM visit WHERE overlaps(region, circle(53.16, -28.1, 0.5))"),
        scalar("box", Op::Box, "Returns the region between two meridians and two parallels.")
            .arg("ra", number, "right ascension of the centre")
            .arg("dec", number, "declination of the centre")
            .arg("width", number, "difference of right ascension in degrees")
            .arg("height", number, "difference of declination in degrees")
            .notes("The centre may be a region instead of two numbers. The frame is as for `point`.")
            .example("SELECT visit FROM visit WHERE overlaps(region, box(53.16, -28.1, 1, 1))"),
        scalar("polygon", Op::Polygon, "Returns the convex hull of points as a region.")
            .arg("ra", number, "right ascension of a vertex; `ra` and `dec` are repeated for three or more vertices")
            .arg("dec", number, "declination of a vertex")
            .notes("A vertex may also be a pair in parentheses. The frame is as for `point`.")
            .example("SELECT area(polygon((52, -29), (54, -29), (54, -27), (52, -27)))"),
    ]
}

/// Comparisons and measures of regions.
fn measures() -> Vec<FunctionDef> {
    let number = ArgType::Number;
    vec![
        scalar("overlaps", Op::Overlaps, "Returns whether two regions have a common point.")
            .arg("a", ArgType::Region, "a region")
            .arg("b", ArgType::Region, "another region")
            .notes(
                "As in the Butler, the result is true if the comparison is undecided: for regions that almost touch, and for \
                 ellipses and boxes that are compared by bounds. `overlaps(…) = 1` is equivalent, as in ADQL.",
            )
            .example("SELECT tract FROM tract WHERE overlaps(region, circle(53.16, -28.1, 0.1))"),
        scalar("intersects", Op::Overlaps, "The name of `overlaps` in ADQL.")
            .arg("a", ArgType::Region, "a region")
            .arg("b", ArgType::Region, "another region")
            .example("SELECT tract FROM tract WHERE INTERSECTS(CIRCLE('ICRS', 53.16, -28.1, 0.1), region) = 1"),
        scalar("contains", Op::Contains, "Returns whether the first region lies within the second, as in ADQL.")
            .arg("inner", ArgType::Region, "a region, most often a point")
            .arg("outer", ArgType::Region, "another region")
            .notes(
                "`CONTAINS(…) = 1` is equivalent. For ellipses, unions and intersections only bounds are compared, and the \
                 result may be NULL. With two strings: whether the first contains the second.",
            )
            .example("SELECT visit FROM visit WHERE CONTAINS(POINT('ICRS', 53.16, -28.1), region) = 1"),
        scalar("area", Op::Area, "Returns the area of a polygon, box or circle in square degrees.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT visit, area(region) FROM visit"),
        scalar("centroid_ra", Op::CentroidRa, "Returns the right ascension of the centroid of a region in ICRS degrees.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT tract, centroid_ra(region), centroid_dec(region) FROM tract"),
        scalar("centroid_dec", Op::CentroidDec, "Returns the declination of the centroid of a region in ICRS degrees.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT tract FROM tract WHERE centroid_dec(region) < -85"),
        scalar("vertices", Op::Vertices, "Returns the vertices of a polygon as a list of `ra` and `dec` in ICRS degrees.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT visit, unnest(vertices(region)) FROM visit"),
        scalar("separation", Op::Separation, "Returns the angle between two points in degrees.")
            .arg("ra1", number, "right ascension of the first point")
            .arg("dec1", number, "declination of the first point")
            .arg("ra2", number, "right ascension of the second point")
            .arg("dec2", number, "declination of the second point")
            .notes("With two regions instead of four numbers, the angle between their centroids.")
            .example("SELECT exposure, separation(tracking_ra, tracking_dec, 53.16, -28.1) FROM exposure"),
        scalar("distance", Op::Separation, "The name of `separation` in ADQL.")
            .arg("ra1", number, "right ascension of the first point")
            .arg("dec1", number, "declination of the first point")
            .arg("ra2", number, "right ascension of the second point")
            .arg("dec2", number, "declination of the second point")
            .example("SELECT distance(point(10, 0), point(11, 0))"),
    ]
}

/// Functions of sky pixels.
fn pixels() -> Vec<FunctionDef> {
    let number = ArgType::Number;
    vec![
        scalar("htm_index", Op::HtmIndex, "Returns the HTM pixel that contains a point.")
            .arg("ra", number, "right ascension")
            .arg("dec", number, "declination")
            .arg("level", ArgType::Int, "level of the pixels, from 0 to 24")
            .notes("The point may be a region instead of two numbers.")
            .example("SELECT htm_index(53.16, -28.1, 7) AS htm7"),
        scalar("htm_envelope", Op::HtmEnvelope, "Returns the HTM pixels of a level that touch a region, as a list.")
            .arg("region", ArgType::Region, "the region")
            .arg("level", ArgType::Int, "level of the pixels, from 0 to 24")
            .example("SELECT visit, unnest(htm_envelope(region, 9)) AS htm9 FROM visit"),
        scalar("htm_region", Op::HtmRegion, "Returns the region of an HTM pixel.")
            .arg("index", ArgType::Int, "the index of the pixel, which includes the level")
            .example("SELECT area(htm_region(131072))"),
        scalar("healpix_index", Op::HealpixIndex, "Returns the HEALPix pixel that contains a point, in nested order.")
            .arg("ra", number, "right ascension")
            .arg("dec", number, "declination")
            .arg("level", ArgType::Int, "level of the pixels, from 0 to 17; 2^level is nside")
            .notes("The point may be a region instead of two numbers.")
            .example("SELECT healpix_index(53.16, -28.1, 9) AS healpix9"),
        scalar(
            "healpix_envelope",
            Op::HealpixEnvelope,
            "Returns the HEALPix pixels of a level that touch a region, as a list, in nested order.",
        )
        .arg("region", ArgType::Region, "the region")
        .arg("level", ArgType::Int, "level of the pixels, from 0 to 17; 2^level is nside")
        .notes(
            "As in sphgeom 29, the pixels are found from the centres of subpixels that are 16 times smaller: pixels that only \
             touch an edge may be missing. Unions and intersections are also supported.",
        )
        .example("SELECT visit, unnest(healpix_envelope(region, 9)) AS healpix9 FROM visit"),
        scalar("healpix_region", Op::HealpixRegion, "Returns the convex hull of a HEALPix pixel in nested order.")
            .arg("index", ArgType::Int, "the index of the pixel")
            .arg("level", ArgType::Int, "the level of the pixel")
            .example("SELECT area(healpix_region(0, 9))"),
    ]
}

fn scalar(name: &'static str, op: Op, description: &'static str) -> FunctionDef {
    FunctionDef::scalar(name, description, function(name, op))
}
