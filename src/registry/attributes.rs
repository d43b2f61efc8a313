//! The table `butler_attributes`: the classes and versions of the registry managers, and the dimension universe.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::registry::db::conn::Conn;
use crate::registry::db::tx::Tx;
use crate::registry::schema::butler_tables::SchemaVariant;
use crate::registry::schema::{ColumnType, ReadColumn};
use crate::registry::string_values;

/// A manager: its key, its class, and the supported versions, newest first. New registries get the newest.
const MANAGERS: [(&str, &str, &[&str]); 6] = [
    ("attributes", "lsst.daf.butler.registry.attributes.DefaultButlerAttributeManager", &["1.0.1"]),
    ("dimensions", "lsst.daf.butler.registry.dimensions.static.StaticDimensionRecordStorageManager", &["6.0.2"]),
    ("collections", "lsst.daf.butler.registry.collections.synthIntKey.SynthIntKeyCollectionManager", &["2.0.0"]),
    (
        "datasets",
        "lsst.daf.butler.registry.datasets.byDimensions._manager.ByDimensionsDatasetRecordStorageManagerUUID",
        &["2.0.0", "1.0.0"],
    ),
    ("opaque", "lsst.daf.butler.registry.opaque.ByNameOpaqueTableStorageManager", &["0.2.0"]),
    ("datastores", "lsst.daf.butler.registry.bridge.monolithic.MonolithicDatastoreRegistryBridgeManager", &["0.2.0"]),
];
const BY_NAME: &str = "lsst.daf.butler.registry.collections.nameKey.NameKeyCollectionManager";
const UNIVERSE: &str = "config:dimensions.json";
const OBSCORE: &str = "config:registry.managers.obscore";

/// The attributes of a registry.
pub(crate) struct RegistryAttributes {
    /// The dimension universe, as JSON text.
    pub universe: String,
    /// The table layout that the managers use.
    pub variant: SchemaVariant,
    /// Why the registry cannot be written, if it is read-only.
    pub read_only: Option<String>,
}

/// Reads and checks the attributes.
///
/// # Errors
/// `Kind::NotFound` when the database holds no Butler registry, `Kind::Unsupported` for a manager of another class or
/// version, and other database errors.
pub(crate) async fn read(conn: &Conn) -> Result<RegistryAttributes> {
    let columns = ["name", "value"].map(|n| ReadColumn::plain(n, ColumnType::Text(None))).to_vec();
    let sql = format!("SELECT name, value FROM {}", conn.table("butler_attributes"));
    let rows = conn.rows(sql, columns).await.map_err(|e| no_registry(conn, e))?;
    let all: BTreeMap<String, String> = string_values(&rows, 0).into_iter().zip(string_values(&rows, 1)).collect();
    let universe = all.get(UNIVERSE).cloned().ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("the registry has no '{UNIVERSE}', so its dimensions are unknown"))
    })?;
    let mut variant = SchemaVariant::CURRENT;
    let mut read_only = None;
    for (manager, class, versions) in MANAGERS {
        let found = all.get(&format!("config:registry.managers.{manager}")).map(String::as_str);
        let found = found.ok_or_else(|| unknown(manager, "none"))?;
        if manager == "collections" && found == BY_NAME {
            variant.collections_by_name = true;
            read_only = Some("its collections are keyed by name (nameKey)".to_owned());
        } else if found != class {
            return Err(unknown(manager, found));
        }
        let Some(version) = all.get(&format!("version:{found}")) else { continue };
        match check_version(version, versions) {
            Compatibility::Equal(known) => variant.utc_ingest_date |= (manager, known) == ("datasets", "1.0.0"),
            Compatibility::Older => read_only = Some(format!("its {manager} manager has the older version {version}")),
            Compatibility::Unknown => {
                let message = format!("version {version} of the registry's {manager} manager is not supported");
                return Err(Error::new(Kind::Unsupported, message));
            }
        }
    }
    if all.contains_key(OBSCORE) {
        read_only = Some("it has an obscore table, which butlersql does not maintain".to_owned());
    }
    Ok(RegistryAttributes { universe, variant, read_only })
}

/// Writes the attributes of a new registry.
///
/// # Errors
/// Database errors.
pub(crate) async fn write(tx: &mut Tx, universe: &str) -> Result<()> {
    let mut rows = Vec::new();
    for (manager, class, versions) in MANAGERS {
        rows.push((format!("config:registry.managers.{manager}"), class));
        rows.push((format!("version:{class}"), versions[0]));
    }
    rows.push((UNIVERSE.to_owned(), universe.trim()));
    let dialect = tx.dialect();
    let values: Vec<_> = rows.iter().map(|(n, v)| format!("({}, {})", dialect.text(n), dialect.text(v))).collect();
    let target = tx.table("butler_attributes");
    tx.execute(format!("INSERT INTO {target} (name, value) VALUES {}", values.join(", "))).await?;
    Ok(())
}

enum Compatibility {
    Equal(&'static str),
    Older,
    Unknown,
}

/// Applies the version rule of the Butler: the same major and minor version can be read and written, an older minor
/// version can only be read, any other version is refused.
fn check_version(version: &str, known: &[&'static str]) -> Compatibility {
    let parts = |v: &str| v.split('.').map(|p| p.parse::<u32>().ok()).take(2).collect::<Option<Vec<_>>>();
    let Some(stored) = parts(version) else { return Compatibility::Unknown };
    let mut older = false;
    for candidate in known {
        match parts(candidate) {
            Some(own) if own == stored => return Compatibility::Equal(candidate),
            Some(own) if own[0] == stored[0] && own[1] > stored[1] => older = true,
            _ => {}
        }
    }
    if older { Compatibility::Older } else { Compatibility::Unknown }
}

fn unknown(manager: &str, class: &str) -> Error {
    Error::new(Kind::Unsupported, format!("the registry's {manager} manager is not supported: {class}"))
}

fn no_registry(conn: &Conn, error: Error) -> Error {
    if error.kind() != Kind::Failed && error.kind() != Kind::NotFound {
        return error;
    }
    let place = conn.schema().map_or_else(String::new, |s| format!(" in namespace '{s}'"));
    Error::new(Kind::NotFound, format!("it does not contain a Butler registry{place}")).with_source(error)
}
