//! A fleet, a target and its profiles to a release.

use std::collections::BTreeMap;

use crate::catalog::{self, LocatedFleet, Profile, Target};
use crate::model::diagnostic::Diagnostic;
use crate::model::labels::Labels;
use crate::model::object::ObjectKey;
use crate::model::profile::LayerSpec;
use crate::model::release::{LayerId, Release, ReleaseLayer, ReleaseObject};
use crate::model::target::Variables;
use crate::model::tree::Tree;

use super::cache::LayerCache;
use super::canonical::release_digest;
use super::evaluate::Inputs;
use super::layer::Source;
use super::layers::{self, Node};

/// A profile as of one commit, and the tree of that commit.
#[derive(Clone, Copy)]
pub struct ProfileAt<'a> {
    pub profile: &'a Profile,
    pub tree: &'a dyn Tree,
}

/// What a release is compiled from.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub fleet: &'a LocatedFleet,
    pub target: &'a Target,
    /// In the fleet's order.
    pub profiles: &'a [ProfileAt<'a>],
}

/// What one target should run for one fleet.
///
/// # Errors
/// Everything that is wrong, with its place: variables, layers, manifests, expressions, double objects.
pub fn compile(request: Request<'_>, cache: &LayerCache) -> Result<Release, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let mut parts = Vec::new();
    for at in request.profiles {
        let variables = catalog::variables(at.profile, request.fleet, request.target);
        match variables {
            Ok(variables) => parts.extend(layers_of(*at, &request, &variables, cache, &mut findings)),
            Err(found) => findings.extend(found),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let (nodes, contents): (Vec<Node>, Vec<_>) = parts.into_iter().unzip();
    let order = layers::order(&nodes)?;
    let layers: Vec<ReleaseLayer> = order
        .into_iter()
        .filter_map(|(n, depends_on)| {
            let (adopt, content) = contents.get(n)?;
            let node = nodes.get(n)?;
            Some(ReleaseLayer {
                id: node.id.clone(),
                layer_type: node.layer_type,
                depends_on,
                adopt: *adopt,
                content: std::sync::Arc::clone(content),
            })
        })
        .collect();
    let release = Release {
        target: request.target.metadata.name.clone(),
        fleet: request.fleet.metadata.name.clone(),
        digest: release_digest(&layers),
        layers,
    };
    if !cache.is_compared(&release.digest) {
        let double = collisions(&[&release]);
        if !double.is_empty() {
            return Err(double);
        }
        cache.keep_compared(&release.digest);
    }
    Ok(release)
}

/// What is wrong with the content of a profile's layers, whoever runs it, and what is worth saying about it
/// though it can be used. What only a target's values can show is for [`compile`] to say.
pub fn lint(at: ProfileAt<'_>, cache: &LayerCache) -> Vec<Diagnostic> {
    let (variables, labels) = (Variables::new(), Labels::new());
    let inputs = Inputs { variables: &variables, cluster_name: "", labels: &labels };
    let layers = at.profile.document.spec.layers.iter().enumerate();
    let read = layers.filter(|(_, spec)| spec.manifests.is_some());
    let found =
        read.flat_map(|(n, spec)| match with_source(at, inputs, n, spec, |source| source.lint(cache)) {
            Ok(found) | Err(found) => found,
        });
    found.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

type Content = (bool, std::sync::Arc<crate::model::release::RenderedLayer>);

fn layers_of(
    at: ProfileAt<'_>,
    request: &Request<'_>,
    variables: &Variables,
    cache: &LayerCache,
    findings: &mut Vec<Diagnostic>,
) -> Vec<(Node, Content)> {
    let document = &at.profile.document;
    let inputs = Inputs {
        variables,
        cluster_name: request.target.metadata.name.as_str(),
        labels: &request.target.metadata.labels,
    };
    let mut layers = Vec::new();
    for (n, spec) in document.spec.layers.iter().enumerate() {
        match with_source(at, inputs, n, spec, |source| source.render(cache)) {
            Ok(content) => {
                let node = Node {
                    id: LayerId { profile: at.profile.name().clone(), layer: spec.name.clone() },
                    layer_type: spec.layer_type,
                    explicit: spec.depends_on.clone(),
                    place: document.place(&format!("/spec/layers/{n}")),
                };
                layers.push((node, (spec.adopt, content)));
            }
            Err(found) => findings.extend(found),
        }
    }
    layers
}

fn with_source<T>(
    at: ProfileAt<'_>,
    inputs: Inputs<'_>,
    n: usize,
    spec: &LayerSpec,
    use_it: impl FnOnce(&Source<'_>) -> Result<T, Vec<Diagnostic>>,
) -> Result<T, Vec<Diagnostic>> {
    let document = &at.profile.document;
    let Some(manifests) = &spec.manifests else {
        let place = document.place(&format!("/spec/layers/{n}"));
        let message = format!("the layer {} has no manifests", spec.name);
        let hint = "this version renders manifests: {path: ...}; kustomize and helm are not supported yet";
        return Err(vec![Diagnostic::error(place, "unsupported-source", message).hint(hint)]);
    };
    let used = document.place(&format!("/spec/layers/{n}/manifests/path"));
    let path = at.profile.layer_path(&manifests.path).map_err(|why| {
        let message = format!("the path '{}' {why}", manifests.path);
        vec![Diagnostic::error(used.clone(), "invalid-path", message)]
    })?;
    let declared: Vec<&str> = declared(&document.spec.variables).collect();
    use_it(&Source {
        tree: at.tree,
        path: &path,
        used: &used,
        expressions: spec.expressions,
        inputs,
        profile: at.profile.name().as_str(),
        declares: &|name| at.profile.declares(name),
        declared: &declared,
    })
}

fn declared(schema: &Variables) -> impl Iterator<Item = &str> {
    let properties = schema.get("properties").and_then(serde_json::Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}

/// Objects that stand in more than one place of a target's releases, of one fleet or of several. Each is an
/// error at the later place that names the earlier one.
///
/// An object that names no namespace is taken to be in `default`, which is where it would go if its kind has one.
pub fn collisions(releases: &[&Release]) -> Vec<Diagnostic> {
    let mut first: BTreeMap<Identity<'_>, (&Release, &ReleaseLayer, &ReleaseObject)> = BTreeMap::new();
    let mut findings = Vec::new();
    for release in releases {
        for (layer, object) in release.objects() {
            let Some((other, other_layer, earlier)) = first.get(&identity(&object.key)) else {
                first.insert(identity(&object.key), (release, layer, object));
                continue;
            };
            let fleet = match other.fleet == release.fleet {
                true => String::new(),
                false => format!(" of the fleet {}", other.fleet),
            };
            let message = format!(
                "{} is in the layer {} and, at {}, in the layer {}{fleet}",
                object.key, layer.id, earlier.place, other_layer.id
            );
            let finding = Diagnostic::error(object.place.clone(), "duplicate-object", message);
            findings.push(finding.hint("an object of a cluster has one source: remove one of them"));
        }
    }
    findings
}

type Identity<'a> = (&'a str, &'a str, &'a str, &'a str);

fn identity(key: &ObjectKey) -> Identity<'_> {
    (key.group(), key.kind(), key.namespace().unwrap_or("default"), key.name())
}
