//! Datastore paths of members of zip archives, such as `raw/exposure.zip#zip-path=R22_S11.fits`.

/// Separates the path of an archive from the name of its member.
const MEMBER: &str = "#zip-path=";

/// Splits a path into the path of the file, and the name of the member if the file is an archive.
pub(crate) fn split(path: &str) -> (&str, Option<&str>) {
    // Names of runs may contain '#' too.
    match path.rsplit_once(MEMBER) {
        Some((archive, member)) => (archive, Some(member)),
        None => (path, None),
    }
}
