//! The document that describes a dimension universe, as the Butler writes it (`dimensions.json`).

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) version: i64,
    #[serde(default = "namespace")]
    pub(super) namespace: String,
    pub(super) skypix: BTreeMap<String, Skypix>,
    pub(super) elements: BTreeMap<String, Spec>,
    #[serde(default)]
    pub(super) topology: Topology,
}

fn namespace() -> String {
    "daf_butler".to_owned()
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Skypix {
    Common(String),
    System {
        #[serde(default = "one")]
        min_level: u32,
        max_level: u32,
    },
}

fn one() -> u32 {
    1
}

#[derive(Default, Deserialize)]
pub(super) struct Topology {
    #[serde(default)]
    pub(super) spatial: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) temporal: BTreeMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) keys: Vec<FieldSpec>,
    #[serde(default)]
    pub(super) requires: Vec<String>,
    #[serde(default)]
    pub(super) implies: Vec<String>,
    #[serde(default)]
    pub(super) metadata: Vec<FieldSpec>,
    #[serde(default)]
    pub(super) governor: bool,
    pub(super) implied_union_target: Option<String>,
    #[serde(default)]
    pub(super) always_join: bool,
    pub(super) populated_by: Option<String>,
    #[serde(default)]
    pub(super) storage: serde_json::Value,
}

#[derive(Deserialize)]
pub(super) struct FieldSpec {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) length: u32,
}

impl Spec {
    /// Returns the element whose rows contain the values of this one; old documents name it in a `storage` block.
    pub(super) fn union_of(&self) -> Option<String> {
        let nested = self.storage.pointer("/nested/view_of").and_then(|v| v.as_str());
        self.implied_union_target.clone().or_else(|| nested.map(str::to_owned))
    }
}
