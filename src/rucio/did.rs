//! Data identifiers: a scope and a name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::net::uri::quoted;

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
        if text.split([':', '/']).any(|part| matches!(part, "." | "..")) {
            return Err(Error::invalid(format!(
                "'{text}' is not a data identifier of Rucio: it has a part '.' or '..'"
            )));
        }
        match text.split_once(':') {
            Some((scope, name)) if !scope.is_empty() && !name.is_empty() => {
                Ok(Self { scope: scope.to_owned(), name: name.to_owned() })
            }
            _ => Err(Error::invalid(format!("'{text}' is not a data identifier of Rucio; write 'scope:name'"))),
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
        for wrong in ["", "x", ":x", "x:"] {
            assert!(Did::parse(wrong).unwrap_err().message().contains("write 'scope:name'"), "{wrong}");
        }
    }
}
