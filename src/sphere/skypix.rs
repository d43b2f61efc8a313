//! Pixels of the sky by the names of their dimensions, such as `htm7` and `healpix9`.

/// The system and the level that a name tells; nothing if it is no such name.
pub fn split(dimension: &str) -> Option<(&str, u32)> {
    let system = dimension.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((system, dimension[system.len()..].parse().ok()?))
}

/// Whether an index is a pixel of a skypix dimension; any is of other dimensions.
pub fn is_pixel(dimension: &str, index: i64) -> bool {
    match split(dimension).map(|(system, level)| (system, 4_i64.checked_pow(level))) {
        Some(("htm", Some(pixels))) => (8 * pixels..16 * pixels).contains(&index),
        Some(("healpix", Some(pixels))) => (0..12 * pixels).contains(&index),
        _ => true,
    }
}
