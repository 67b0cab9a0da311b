//! The room through its public way in, and parts of it where a table is clearer.

mod compile;
mod expressions;
mod fixture;
mod hostile;
mod manifests;
mod print;

use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::labels::Labels;
use crate::model::release::RenderedLayer;
use crate::model::target::Variables;
use crate::model::tree::MemoryTree;

use super::cache::LayerCache;
use super::evaluate::Inputs;
use super::layer::Source;

/// A layer at `layer/` of a tree, for the cluster `edge-1` with labels `region: eu` and `a.b/c: d`.
struct Case {
    tree: MemoryTree,
    variables: Variables,
    expressions: bool,
}

impl Case {
    fn new(manifest: &str, variables: serde_json::Value) -> Self {
        let serde_json::Value::Object(variables) = variables else { panic!("not a map") };
        Self { tree: MemoryTree::new([("layer/a.yaml", manifest)]), variables, expressions: true }
    }

    /// A custom object whose `data.v` is the YAML of `scalar`.
    fn scalar(scalar: &str, variables: serde_json::Value) -> Self {
        Self::new(
            &format!("apiVersion: x.io/v1\nkind: Thing\nmetadata: {{name: a}}\ndata:\n  v: {scalar}\n"),
            variables,
        )
    }

    fn render(&self) -> Result<std::sync::Arc<RenderedLayer>, Vec<Diagnostic>> {
        self.render_with(&LayerCache::default())
    }

    fn render_with(&self, cache: &LayerCache) -> Result<std::sync::Arc<RenderedLayer>, Vec<Diagnostic>> {
        let labels = Labels::from([("region".into(), "eu".into()), ("a.b/c".into(), "d".into())]);
        let mut declared: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        declared.push("unset");
        let used = Place::at("profile.yaml", 1, 1);
        Source {
            tree: &self.tree,
            path: "layer",
            used: &used,
            expressions: self.expressions,
            inputs: Inputs { variables: &self.variables, cluster_name: "edge-1", labels: &labels },
            profile: "p",
            declares: &|name| declared.contains(&name),
            declared: &declared,
            suspect: &Default::default(),
        }
        .render(cache)
        .map_err(|failed| failed.findings)
    }

    /// The only object.
    fn object(&self) -> serde_json::Value {
        let layer = self.render().unwrap();
        assert_eq!(layer.objects.len(), 1);
        serde_json::from_slice(&layer.objects[0].bytes).unwrap()
    }

    fn errors(&self) -> Vec<String> {
        self.render().unwrap_err().iter().map(Diagnostic::to_string).collect()
    }
}

/// A release of just this layer.
fn release_of_layer(content: std::sync::Arc<RenderedLayer>) -> crate::model::release::Release {
    use crate::model::release::{LayerId, Release, ReleaseLayer};
    let id = LayerId { profile: "p".parse().unwrap(), layer: "l".parse().unwrap() };
    let layer_type = crate::model::profile::LayerType::Addon;
    let layers = vec![ReleaseLayer { id, layer_type, depends_on: vec![], adopt: false, content }];
    let digest = super::release_digest(&layers);
    Release { target: "t".parse().unwrap(), fleet: "f".parse().unwrap(), digest, layers }
}
