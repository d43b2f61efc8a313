//! Regions on the sky: in the words of the Butler's expressions, and in those of ADQL.

pub mod udf;
mod values;

use crate::engine::functions::definition::{ArgType, FunctionDef};
use crate::engine::functions::sky::udf::{Op, function};

const FRAME: &str =
    "Right ascensions and declinations are ICRS degrees; a frame before them, as in ADQL, may be 'ICRS'.";

pub fn functions() -> Vec<FunctionDef> {
    let number = ArgType::Number;
    vec![
        scalar("point", Op::Point, "The region of one point.")
            .arg("ra", number, "right ascension")
            .arg("dec", number, "declination")
            .notes(FRAME)
            .example("SELECT visit FROM visit WHERE contains(point('ICRS', 53.16, -28.1), region)"),
        scalar("circle", Op::Circle, "The region of a circle.")
            .arg("ra", number, "right ascension of the centre")
            .arg("dec", number, "declination of the centre")
            .arg("radius", number, "radius, degrees")
            .notes("Instead of two numbers the centre may be a point. Frames as for `point`.")
            .example("SELECT visit FROM visit WHERE overlaps(region, circle(53.16, -28.1, 0.5))"),
        scalar("box", Op::Box, "The region between two meridians and two parallels.")
            .arg("ra", number, "right ascension of the centre")
            .arg("dec", number, "declination of the centre")
            .arg("width", number, "difference of the right ascensions, degrees")
            .arg("height", number, "difference of the declinations, degrees")
            .notes("Instead of two numbers the centre may be a point. Frames as for `point`.")
            .example("SELECT visit FROM visit WHERE overlaps(region, box(53.16, -28.1, 1, 1))"),
        scalar("polygon", Op::Polygon, "The region of the convex polygon around points.")
            .arg("ra", number, "right ascension of a vertex; as many pairs as there are vertices, three or more")
            .arg("dec", number, "declination of a vertex")
            .notes("A vertex may be a pair in parentheses, too. Frames as for `point`.")
            .example("SELECT area(polygon((52, -29), (54, -29), (54, -27), (52, -27)))"),
        scalar("overlaps", Op::Overlaps, "Whether two regions have points in common.")
            .arg("a", ArgType::Region, "a region")
            .arg("b", ArgType::Region, "another region")
            .notes(
                "As for the Butler, regions that are too near each other to tell, and ellipses and boxes where only \
                 bounds are compared, overlap. `overlaps(…) = 1` says the same, as in ADQL.",
            )
            .example("SELECT tract FROM tract WHERE overlaps(region, circle(53.16, -28.1, 0.1))"),
        scalar("intersects", Op::Overlaps, "The same as `overlaps`, as ADQL calls it.")
            .arg("a", ArgType::Region, "a region")
            .arg("b", ArgType::Region, "another region")
            .example("SELECT tract FROM tract WHERE INTERSECTS(CIRCLE('ICRS', 53.16, -28.1, 0.1), region) = 1"),
        scalar("contains", Op::Contains, "Whether the first region lies within the second, as in ADQL.")
            .arg("inner", ArgType::Region, "a region, most often a point")
            .arg("outer", ArgType::Region, "another region")
            .notes(
                "`CONTAINS(…) = 1` says the same. Within ellipses, unions and intersections, where only bounds are compared, \
                 the answer may be NULL. Of two texts: whether the first contains the second.",
            )
            .example("SELECT visit FROM visit WHERE CONTAINS(POINT('ICRS', 53.16, -28.1), region) = 1"),
        scalar("area", Op::Area, "The area of a region, square degrees; of polygons, boxes and circles.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT visit, area(region) FROM visit"),
        scalar("centroid_ra", Op::CentroidRa, "The right ascension of the middle of a region, ICRS degrees.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT tract, centroid_ra(region), centroid_dec(region) FROM tract"),
        scalar("centroid_dec", Op::CentroidDec, "The declination of the middle of a region, ICRS degrees.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT tract FROM tract WHERE centroid_dec(region) < -85"),
        scalar("vertices", Op::Vertices, "The vertices of a polygon, as a list of `ra` and `dec`, ICRS degrees.")
            .arg("region", ArgType::Region, "the region")
            .example("SELECT visit, unnest(vertices(region)) FROM visit"),
        scalar("separation", Op::Separation, "The angle between two points, degrees.")
            .arg("ra1", number, "right ascension of the first")
            .arg("dec1", number, "declination of the first")
            .arg("ra2", number, "right ascension of the second")
            .arg("dec2", number, "declination of the second")
            .notes("Of two regions instead of four numbers: between their middles.")
            .example("SELECT exposure, separation(tracking_ra, tracking_dec, 53.16, -28.1) FROM exposure"),
        scalar("distance", Op::Separation, "The same as `separation`, as ADQL calls it.")
            .arg("ra1", number, "right ascension of the first")
            .arg("dec1", number, "declination of the first")
            .arg("ra2", number, "right ascension of the second")
            .arg("dec2", number, "declination of the second")
            .example("SELECT distance(point(10, 0), point(11, 0))"),
        scalar("htm_index", Op::HtmIndex, "The HTM pixel that holds a point.")
            .arg("ra", number, "right ascension")
            .arg("dec", number, "declination")
            .arg("level", ArgType::Int, "level of the pixels, from 0 to 24")
            .notes("Instead of two numbers a point may be given.")
            .example("SELECT htm_index(53.16, -28.1, 7) AS htm7"),
        scalar("htm_envelope", Op::HtmEnvelope, "The HTM pixels of a level that touch a region, as a list.")
            .arg("region", ArgType::Region, "the region")
            .arg("level", ArgType::Int, "level of the pixels, from 0 to 24")
            .example("SELECT visit, unnest(htm_envelope(region, 9)) AS htm9 FROM visit"),
        scalar("htm_region", Op::HtmRegion, "The region of an HTM pixel.")
            .arg("index", ArgType::Int, "its index, which tells the level")
            .example("SELECT area(htm_region(131072))"),
        scalar("healpix_index", Op::HealpixIndex, "The HEALPix pixel that holds a point, in nested order.")
            .arg("ra", number, "right ascension")
            .arg("dec", number, "declination")
            .arg("level", ArgType::Int, "level of the pixels, from 0 to 17; 2^level is nside")
            .notes("Instead of two numbers a point may be given.")
            .example("SELECT healpix_index(53.16, -28.1, 9) AS healpix9"),
        scalar(
            "healpix_envelope",
            Op::HealpixEnvelope,
            "The HEALPix pixels of a level that touch a region, as a list, in nested order.",
        )
        .arg("region", ArgType::Region, "the region")
        .arg("level", ArgType::Int, "level of the pixels, from 0 to 17; 2^level is nside")
        .notes(
            "As sphgeom 29 finds them, by the middles of pixels sixteen times as fine: those that only an edge touches may \
             be missing. Unions and intersections, which it does not take, are taken too.",
        )
        .example("SELECT visit, unnest(healpix_envelope(region, 9)) AS healpix9 FROM visit"),
        scalar("healpix_region", Op::HealpixRegion, "The convex polygon around a HEALPix pixel in nested order.")
            .arg("index", ArgType::Int, "its index")
            .arg("level", ArgType::Int, "its level")
            .example("SELECT area(healpix_region(0, 9))"),
    ]
}

fn scalar(name: &'static str, op: Op, description: &'static str) -> FunctionDef {
    FunctionDef::scalar(name, description, function(name, op))
}
