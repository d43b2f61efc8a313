//! The configuration of a repository (`butler.yaml`): the locations of its registry and datastore.

use serde_yaml::{Mapping, Value};

use super::yaml;
use crate::error::{Error, Kind, Result};

/// The configuration of a repository; keys that this program does not use are kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config(Mapping);

/// Manager classes of a new repository, as `butler create` lists them.
const MANAGERS: [(&str, &str); 6] = [
    ("attributes", "lsst.daf.butler.registry.attributes.DefaultButlerAttributeManager"),
    ("collections", "lsst.daf.butler.registry.collections.synthIntKey.SynthIntKeyCollectionManager"),
    ("datasets", "lsst.daf.butler.registry.datasets.byDimensions.ByDimensionsDatasetRecordStorageManagerUUID"),
    ("datastores", "lsst.daf.butler.registry.bridge.monolithic.MonolithicDatastoreRegistryBridgeManager"),
    ("dimensions", "lsst.daf.butler.registry.dimensions.static.StaticDimensionRecordStorageManager"),
    ("opaque", "lsst.daf.butler.registry.opaque.ByNameOpaqueTableStorageManager"),
];
const FILE_DATASTORE: &str = "lsst.daf.butler.datastores.fileDatastore.FileDatastore";
const DEFAULT_DB: &str = "sqlite:///<butlerRoot>/gen3.sqlite3";

impl Config {
    /// Parses the text of a `butler.yaml` or a seed configuration.
    ///
    /// # Errors
    /// Text that is not a YAML mapping.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match serde_yaml::from_str(text) {
            Ok(Value::Mapping(map)) => Ok(Self(undoubled(map))),
            Ok(Value::Null) => Ok(Self::default()),
            Ok(_) => Err(Error::invalid("the configuration is not a mapping of keys to values")),
            Err(e) => Err(Error::invalid(format!("the configuration is not YAML: {e}")).with_source(e)),
        }
    }

    /// Returns the string at a path of keys, if present.
    pub(crate) fn text(&self, path: &[&str]) -> Option<&str> {
        self.value(path)?.as_str()
    }

    /// Returns the value at a path of keys, if present.
    pub(crate) fn value(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, key| value.get(*key))
    }

    /// Returns the class of a registry manager, given as a name or as a mapping with `cls`, if present.
    pub(crate) fn manager(&self, name: &str) -> Option<&str> {
        let value = self.value(&["registry", "managers", name])?;
        value.as_str().or_else(|| value.get("cls")?.as_str())
    }

    /// Returns the root of the datastore, with `<butlerRoot>` not expanded.
    pub(crate) fn datastore_root(&self) -> &str {
        self.text(&["datastore", "root"]).unwrap_or("<butlerRoot>/datastore")
    }

    /// Returns the name of the datastore in the registry.
    pub(crate) fn datastore_name(&self) -> String {
        let named = self.text(&["datastore", "name"]).map(str::to_owned);
        named.unwrap_or_else(|| format!("FileDatastore@{}", self.datastore_root()))
    }

    /// Returns the name of the table of file records.
    pub(crate) fn records_table(&self) -> &str {
        self.text(&["datastore", "records", "table"]).unwrap_or("file_datastore_records")
    }

    /// Returns the URL of the registry database, with `<butlerRoot>` not expanded.
    pub(crate) fn registry_db(&self) -> &str {
        self.text(&["registry", "db"]).unwrap_or(DEFAULT_DB)
    }

    /// Returns a part of the registry URL that is configured separately (`username`, `host` …), if present.
    pub(crate) fn registry_part(&self, name: &str) -> Option<String> {
        match self.value(&["registry", name])? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Returns true if the datastore records checksums of its files.
    pub(crate) fn keeps_checksums(&self) -> bool {
        self.value(&["datastore", "checksum"]).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Refuses repositories whose registry cannot be read.
    ///
    /// # Errors
    /// A remote Butler, or a configuration that includes other files.
    pub(crate) fn check_supported(&self) -> Result<()> {
        if self.0.values().any(includes) || self.0.contains_key("includeConfigs") {
            let message = "the configuration includes other files (!include or includeConfigs), which is not supported";
            return Err(Error::new(Kind::Unsupported, message));
        }
        match self.text(&["cls"]) {
            Some(class) if class.ends_with("RemoteButler") => {
                let message = format!("the Butler class {class} is not supported, only direct repositories are");
                Err(Error::new(Kind::Unsupported, message))
            }
            _ => Ok(()),
        }
    }

    /// Returns the class of the datastore, if it is not `FileDatastore`.
    pub(crate) fn other_datastore(&self) -> Option<&str> {
        self.text(&["datastore", "cls"]).filter(|class| !class.ends_with(".FileDatastore"))
    }

    /// Refuses managers and datastores that this program cannot create.
    ///
    /// # Errors
    /// A manager of another class, a given schema version, another datastore class, or an obscore table.
    pub(crate) fn check_managers(&self) -> Result<()> {
        for (name, class) in MANAGERS {
            let other = self.manager(name).filter(|given| *given != class);
            let version = self.value(&["registry", "managers", name, "config", "schema_version"]);
            if let Some(other) = other {
                let message =
                    format!("creating repositories with the {name} manager '{other}' is not supported, only '{class}'");
                return Err(Error::new(Kind::Unsupported, message));
            }
            if version.or_else(|| self.value(&["registry", "managers", name, "schema_version"])).is_some() {
                let message =
                    format!("creating repositories with a given schema_version of the {name} manager is not supported");
                return Err(Error::new(Kind::Unsupported, message));
            }
        }
        if let Some(class) = self.other_datastore() {
            let message = format!("creating repositories with the datastore class {class} is not supported");
            return Err(Error::new(Kind::Unsupported, message));
        }
        match self.manager("obscore") {
            None => Ok(()),
            Some(_) => Err(Error::new(Kind::Unsupported, "creating an obscore table is not supported")),
        }
    }

    /// Returns the configuration that `butler create --seed-config` writes; `keep` corresponds to `--override`.
    #[must_use]
    pub(crate) fn for_new_repository(&self, keep: bool) -> Self {
        let mut map = self.0.clone();
        let datastore = section(&mut map, "datastore");
        default(datastore, "cls", FILE_DATASTORE);
        default(section(datastore, "records"), "table", "file_datastore_records");
        if !keep {
            datastore.insert("root".into(), "<butlerRoot>".into());
        }
        default(datastore, "root", "<butlerRoot>");
        let registry = section(&mut map, "registry");
        let sqlite = registry.get("db").and_then(Value::as_str).is_none_or(|db| db.starts_with("sqlite"));
        if sqlite && !keep {
            registry.insert("db".into(), DEFAULT_DB.into());
        }
        default(registry, "db", DEFAULT_DB);
        let managers = section(registry, "managers");
        for (name, class) in MANAGERS {
            default(managers, name, class);
        }
        Self(map)
    }

    /// Formats the configuration as YAML with sorted keys, as the Butler does.
    pub(crate) fn to_yaml(&self) -> String {
        yaml::write(&sorted(&Value::Mapping(self.0.clone())))
    }
}

/// Replaces each section that contains a mapping under its own name (as files used with `!include` have) by that inner
/// mapping, as the Butler does.
fn undoubled(mut map: Mapping) -> Mapping {
    for (name, section) in &mut map {
        if let Some(inner) = section.get(name).filter(|inner| inner.is_mapping()) {
            *section = inner.clone();
        }
    }
    map
}

/// Returns the mapping under a key; creates it if absent.
fn section<'a>(map: &'a mut Mapping, key: &str) -> &'a mut Mapping {
    let entry = map.entry(key.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
    if !entry.is_mapping() {
        *entry = Value::Mapping(Mapping::new());
    }
    match entry {
        Value::Mapping(inner) => inner,
        _ => unreachable!("made a mapping just above"),
    }
}

fn default(map: &mut Mapping, key: &str, value: &str) {
    map.entry(key.into()).or_insert_with(|| value.into());
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Mapping(map) => {
            let mut items: Vec<_> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            items.sort_by(|a, b| a.0.as_str().cmp(&b.0.as_str()));
            Value::Mapping(items.into_iter().collect())
        }
        Value::Sequence(items) => Value::Sequence(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Returns true if a value or one of its descendants includes another file.
fn includes(value: &Value) -> bool {
    match value {
        Value::Tagged(_) => true,
        Value::Mapping(map) => map.contains_key("includeConfigs") || map.values().any(includes),
        Value::Sequence(items) => items.iter().any(includes),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str =
        "datastore: {name: ccms1, root: 'davs://x/ccms1'}\nregistry: {db: 'postgresql://h/d', namespace: ccms1}";

    #[test]
    fn seeds_are_merged_as_butler_create_does() {
        let seed = Config::parse(SEED).unwrap();
        let kept = seed.for_new_repository(true);
        assert_eq!(kept.datastore_root(), "davs://x/ccms1");
        let replaced = seed.for_new_repository(false);
        assert_eq!((replaced.datastore_root(), replaced.registry_db()), ("<butlerRoot>", "postgresql://h/d"));
        assert_eq!(
            (replaced.datastore_name().as_str(), kept.text(&["registry", "namespace"])),
            ("ccms1", Some("ccms1"))
        );
    }

    #[test]
    fn of_doubled_sections_the_inner_one_counts() {
        let doubled = "datastore: {name: outer, datastore: {root: <butlerRoot>/inner}}\nregistry: {registry: 3, db: x}";
        let config = Config::parse(doubled).unwrap();
        assert_eq!((config.datastore_root(), config.text(&["datastore", "name"])), ("<butlerRoot>/inner", None));
        assert_eq!(config.registry_db(), "x");
    }

    #[test]
    fn the_default_is_what_butler_create_writes() {
        let text = Config::default().for_new_repository(false).to_yaml();
        assert!(
            text.starts_with("datastore:\n  cls: lsst.daf.butler.datastores.fileDatastore.FileDatastore\n  records:\n")
        );
        assert!(text.contains("registry:\n  db: sqlite:///<butlerRoot>/gen3.sqlite3\n  managers:\n    attributes: "));
    }
}
