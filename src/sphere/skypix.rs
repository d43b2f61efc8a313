//! Names of skypix dimensions, such as `htm7` and `healpix9`, and their pixels.

/// Splits the name of a skypix dimension into its system and level; `None` if the name does not end in a number.
pub(crate) fn split(dimension: &str) -> Option<(&str, u32)> {
    let system = dimension.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((system, dimension[system.len()..].parse().ok()?))
}

/// Returns true if an index is a valid pixel of an HTM or HEALPix dimension; always true for other dimensions.
pub(crate) fn is_pixel(dimension: &str, index: i64) -> bool {
    match split(dimension).map(|(system, level)| (system, 4_i64.checked_pow(level))) {
        Some(("htm", Some(pixels))) => (8 * pixels..16 * pixels).contains(&index),
        Some(("healpix", Some(pixels))) => (0..12 * pixels).contains(&index),
        _ => true,
    }
}
