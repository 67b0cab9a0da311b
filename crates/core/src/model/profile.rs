//! ClusterProfile: a versioned, full-stack description of a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::Labels;
use super::name::{LayerName, ProfileName};

/// `apiVersion` of all documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    #[serde(rename = "fairlead.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterProfileKind {
    ClusterProfile,
}

/// A document's name and labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata<N> {
    /// Unique among the documents of this kind.
    pub name: N,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// For people and their tools; Fairlead does not read them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

/// A versioned, full-stack description of a cluster: ordered, typed layers with typed variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterProfile {
    pub api_version: ApiVersion,
    pub kind: ClusterProfileKind,
    pub metadata: Metadata<ProfileName>,
    pub spec: ClusterProfileSpec,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterProfileSpec {
    /// A semantic version, for people and for tag ranges.
    #[schemars(with = "String", extend("format" = "semver"))]
    pub version: semver::Version,
    /// A JSON Schema (draft 2020-12) of the variables, `type: object`. Targets' values are validated
    /// against it; a property's `default` is used where neither fleet nor target gives a value.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// The layers, in the order in which people read them; types decide the order of applying.
    #[serde(default)]
    pub layers: Vec<LayerSpec>,
}

/// What a layer is about. The order of the variants is the order of applying where `dependsOn` says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LayerType {
    Os,
    Kubernetes,
    Cni,
    Csi,
    Addon,
}

/// One layer; exactly one of `manifests`, `kustomize` and `helm` says where its objects come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerSpec {
    pub name: LayerName,
    #[serde(rename = "type")]
    pub layer_type: LayerType,
    /// Layers of this profile that must be healthy first. Without it: all layers of earlier types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<Vec<LayerName>>,
    /// Kubernetes manifests (YAML or JSON), in a folder or one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<ManifestsSource>,
    /// A kustomization. Not supported by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizeSource>,
    /// A Helm chart. Not supported by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmSource>,
    /// Whether `${{ ... }}` expressions are evaluated. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub expressions: bool,
    /// Take over objects that were there before, even where another manager owns a field. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
}

/// Where a layer's manifests are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestsSource {
    /// A folder (all `*.yaml`, `*.yml` and `*.json` files below it) or a file, relative to the profile's folder.
    #[schemars(length(min = 1))]
    pub path: String,
}

/// Where a layer's kustomization is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KustomizeSource {
    /// The folder that holds `kustomization.yaml`, relative to the profile's folder.
    #[schemars(length(min = 1))]
    pub path: String,
}

/// Where a layer's Helm chart is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmSource {
    /// The chart's folder, relative to the profile's folder, or its name in the lock file.
    #[schemars(length(min = 1))]
    pub chart: String,
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

fn yes() -> bool {
    true
}

fn is_true(flag: &bool) -> bool {
    *flag
}
