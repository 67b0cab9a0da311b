//! A fleet, a target and its profiles to a release.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{self, LocatedFleet, Profile, Target};
use crate::model::budget;
use crate::model::diagnostic::Diagnostic;
use crate::model::labels::Labels;
use crate::model::object::ObjectKey;
use crate::model::profile::LayerSpec;
use crate::model::release::{LayerId, Release, ReleaseLayer, ReleaseObject, RenderedLayer};
use crate::model::target::Variables;
use crate::model::tree::Tree;

use super::cache::LayerCache;
use super::canonical::{layer_digest, release_digest};
use super::evaluate::Inputs;
use super::layer::{Failed, Source};
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
/// Everything that is wrong, with its place: variables, layers, manifests, expressions, double objects. No finding
/// ends the look for others.
pub fn compile(request: Request<'_>, cache: &LayerCache) -> Result<Release, Vec<Diagnostic>> {
    let (release, findings) = explore(request, cache);
    if findings.is_empty() { Ok(release) } else { Err(findings) }
}

/// The same for what is known to be wrong: with what can be said of the release all the same.
pub fn explore(request: Request<'_>, cache: &LayerCache) -> (Release, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    let mut parts = Vec::new();
    for at in request.profiles {
        let _share = budget::share(at.profile.name().as_str());
        let values = catalog::values(at.profile, request.fleet, request.target);
        findings.extend(values.findings);
        parts.extend(layers_of(*at, &request, &values.values, &values.suspect, cache, &mut findings));
    }
    let (nodes, contents): (Vec<Node>, Vec<_>) = parts.into_iter().unzip();
    let order = layers::order(&nodes).unwrap_or_else(|found| {
        findings.extend(found);
        (0..nodes.len()).map(|n| (n, Vec::new())).collect()
    });
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
    if !findings.is_empty() || !cache.is_compared(&release.digest) {
        findings.extend(collisions(&[&release]));
    }
    if findings.is_empty() {
        cache.keep_compared(&release.digest);
    }
    (release, findings)
}

/// What is wrong with the content of a profile's layers, whoever runs it, and what is worth saying about it
/// though it can be used. What only a target's values can show is for [`compile`] to say.
pub fn lint(at: ProfileAt<'_>, cache: &LayerCache) -> Vec<Diagnostic> {
    let _share = budget::share(at.profile.name().as_str());
    let (variables, labels) = (Variables::new(), Labels::new());
    let inputs = Inputs { variables: &variables, cluster_name: "", labels: &labels };
    let none = BTreeSet::new();
    let layers = at.profile.document.spec.layers.iter().enumerate();
    let read = layers.filter(|(_, spec)| spec.manifests.is_some());
    let found = read.flat_map(|(n, spec)| {
        match with_source(at, inputs, &none, n, spec, |source| source.lint(cache)) {
            Ok(found) | Err(found) => found,
        }
    });
    found.collect::<BTreeSet<_>>().into_iter().collect()
}

type Content = (bool, std::sync::Arc<crate::model::release::RenderedLayer>);

fn layers_of(
    at: ProfileAt<'_>,
    request: &Request<'_>,
    variables: &Variables,
    suspect: &BTreeSet<String>,
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
        let node = Node {
            id: LayerId { profile: at.profile.name().clone(), layer: spec.name.clone() },
            layer_type: spec.layer_type,
            explicit: spec.depends_on.clone(),
            place: document.place(&format!("/spec/layers/{n}")),
        };
        let content = with_source(at, inputs, suspect, n, spec, |source| source.render(cache));
        let content = content.unwrap_or_else(|Failed { findings: found, objects }| {
            findings.extend(found);
            std::sync::Arc::new(RenderedLayer { digest: layer_digest(&objects), objects })
        });
        layers.push((node, (spec.adopt, content)));
    }
    layers
}

fn with_source<T, E: From<Vec<Diagnostic>>>(
    at: ProfileAt<'_>,
    inputs: Inputs<'_>,
    suspect: &BTreeSet<String>,
    n: usize,
    spec: &LayerSpec,
    use_it: impl FnOnce(&Source<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let document = &at.profile.document;
    let Some(manifests) = &spec.manifests else {
        let place = document.place(&format!("/spec/layers/{n}"));
        let message = format!("the layer {} has no manifests", spec.name);
        let hint = "this version renders manifests: {path: ...}; kustomize and helm are not supported yet";
        return Err(vec![Diagnostic::error(place, "unsupported-source", message).hint(hint)].into());
    };
    let used = document.place(&format!("/spec/layers/{n}/manifests/path"));
    let path = at.profile.layer_path(&manifests.path).map_err(|why| {
        let message = format!("the path '{}' {why}", manifests.path);
        E::from(vec![Diagnostic::error(used.clone(), "invalid-path", message)])
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
        suspect,
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
