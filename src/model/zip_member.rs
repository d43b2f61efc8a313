//! Datastore paths of members of zip archives, such as `raw/exposure.zip#zip-path=R22_S11.fits`.

/// Separates the path of an archive from the name of its member.
pub(crate) const SEPARATOR: &str = "#zip-path=";

/// Splits a path into the path of the file, and the name of the member if the file is an archive.
pub(crate) fn split(path: &str) -> (&str, Option<&str>) {
    // Names of runs may contain '#' too.
    match path.rsplit_once(SEPARATOR) {
        Some((archive, member)) => (archive, Some(member)),
        None => (path, None),
    }
}

/// Returns the path of a member of an archive.
pub(crate) fn join(archive: &str, member: &str) -> String {
    format!("{archive}{SEPARATOR}{member}")
}

/// Returns the path of the archive; `None` if the file is not a member.
pub(crate) fn archive(path: &str) -> Option<&str> {
    path.rsplit_once(SEPARATOR).map(|(archive, _)| archive)
}
