//! Data identifiers: a scope and a name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::net::uri::quoted;

/// The last parts of the paths of requests about DIDs.
const ENDINGS: [&str; 10] =
    ["associated_rules", "datasets", "dids", "files", "follow", "history", "meta", "parents", "rules", "status"];

/// Percent-encodes one part of a path, such as the id of a rule or the name of a storage element.
pub(super) fn encoded_part(text: &str) -> String {
    let encoded = quoted(text).replace('/', "%2F");
    if matches!(encoded.as_str(), "." | "..") { encoded.replace('.', "%2E") } else { encoded }
}

/// A data identifier of a file, dataset or container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Did {
    /// Scope.
    pub scope: String,
    /// Name, unique in the scope.
    pub name: String,
}

impl Did {
    /// Parses `scope:name`.
    ///
    /// # Errors
    /// `Kind::Invalid` for text without a scope or a name.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((scope, name)) if !scope.is_empty() && !name.is_empty() => Self::new(scope, name),
            _ => Err(Error::invalid(format!("'{text}' is not a data identifier of Rucio; write 'scope:name'"))),
        }
    }

    /// Creates a data identifier.
    ///
    /// # Errors
    /// `Kind::Invalid` for an empty scope or name, and for one that leads requests to another DID.
    pub(crate) fn new(scope: &str, name: &str) -> Result<Self> {
        let wrong =
            |reason: &str| Err(Error::invalid(format!("'{scope}:{name}' is not a data identifier of Rucio: {reason}")));
        match (scope, name) {
            ("", _) | (_, "") => wrong("its scope or its name is empty"),
            _ if name.split('/').chain([scope]).any(|part| matches!(part, "." | "..")) => {
                wrong("it has a part '.' or '..'")
            }
            _ if scope.contains('/') => wrong("its scope has a slash"),
            _ => Ok(Self { scope: scope.to_owned(), name: name.to_owned() }),
        }
    }

    /// Checks the name of a new dataset: requests about a name that ends as their own paths do would reach another DID.
    ///
    /// # Errors
    /// `Kind::Invalid` for such a name.
    pub(crate) fn check_new(&self) -> Result<()> {
        match self.name.rsplit_once('/') {
            Some((_, last)) if ENDINGS.contains(&last) => {
                let message = format!("the name '{}' ends in '/{last}', which Rucio takes for a request", self.name);
                Err(Error::invalid(message))
            }
            _ => Ok(()),
        }
    }

    /// The path of requests about the DID.
    pub(super) fn path(&self) -> String {
        // Servers and proxies merge slashes that follow each other.
        let name = quoted(&self.name).replace("//", "/%2F");
        let name = name.strip_prefix('/').map_or_else(|| name.clone(), |rest| format!("%2F{rest}"));
        format!("{}/{name}", quoted(&self.scope))
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scope, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_did_has_a_scope_and_a_name() {
        let did = Did::parse("ancillary:Dataset/a b+c:d").unwrap();
        assert_eq!((did.scope.as_str(), did.name.as_str()), ("ancillary", "Dataset/a b+c:d"));
        assert_eq!(did.path(), "ancillary/Dataset/a%20b%2Bc%3Ad");
        assert_eq!(Did::parse("raw:/Dataset//x").unwrap().path(), "raw/%2FDataset/%2Fx");
        assert!(Did::parse("raw:a/../b").is_err());
        assert!(Did::new("raw", "../x").is_err() && Did::new("..", "x").is_err() && Did::new("a/b", "x").is_err());
        assert!(Did::new("raw", "a/files").unwrap().check_new().is_err());
        Did::new("raw", "a/files/b").unwrap().check_new().unwrap();
        for wrong in ["", "x", ":x", "x:"] {
            assert!(Did::parse(wrong).unwrap_err().message().contains("write 'scope:name'"), "{wrong}");
        }
    }
}
