//! What the fleet repository says, as files and as the objects that each cluster should have because of it.
//!
//! The objects are worked out here, from what the driver wrote, never asked of the daemon.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

/// Objects by their paths in the API: what of each the repository decides.
pub type Objects = BTreeMap<String, Value>;

/// Fleets, and the profiles they run.
pub const FLEETS: [(&str, &str); 3] = [("base", "base"), ("lab", "app"), ("retail", "app")];

/// What a bad commit does; each fails at once, on every cluster that gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// The server refuses an object.
    Refused,
    /// The pods crash, and the Deployment gives up.
    Crash,
    /// An object has a field that its kind does not have: server-side apply answers 500.
    UnknownField,
    /// An object is larger than the server stores.
    TooLarge,
}

impl Bad {
    pub const ALL: [Self; 4] = [Self::Refused, Self::Crash, Self::UnknownField, Self::TooLarge];
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// ConfigMaps, and the versions of their values.
    pub maps: BTreeMap<String, u32>,
    /// The version of the image of the Deployment `web`.
    pub image: Option<u32>,
    /// The number of a Job that is removed as soon as it has completed.
    pub job: Option<u32>,
    pub bad: Option<Bad>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub segment: &'static str,
    /// A variable that some objects show.
    pub note: Option<u32>,
    pub replicas: u32,
    /// The place of a commit in the history.
    pub pin: Option<usize>,
    pub suspend: bool,
    /// Its document has a mistake: a variable of the wrong type.
    pub mistake: bool,
    /// A value that its own cluster refuses.
    pub poison: bool,
}

/// Files that can't be read, or say that nothing should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The fleets' documents are no YAML.
    Fleets,
    /// The profile's document has an unknown field.
    Profile,
    /// A manifest is no YAML.
    Manifest,
    /// No targets are there at all.
    NoTargets,
    /// A layer's folder has nothing in it.
    EmptyLayer,
}

impl Broken {
    pub const ALL: [Self; 5] =
        [Self::Fleets, Self::Profile, Self::Manifest, Self::NoTargets, Self::EmptyLayer];
}

/// All that the repository says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub profiles: BTreeMap<&'static str, Profile>,
    pub targets: BTreeMap<String, Target>,
    pub readme: u32,
    pub broken: Option<Broken>,
}

impl Content {
    pub fn first(clusters: usize) -> Self {
        let target = |number: usize| {
            let segment = if number % 10 < 7 { "retail" } else { "lab" };
            let target = Target {
                segment,
                note: None,
                replicas: 2,
                pin: None,
                suspend: false,
                mistake: false,
                poison: false,
            };
            (format!("edge-{number:03}"), target)
        };
        let maps = |count: usize, prefix: &str| (0..count).map(|n| (format!("{prefix}-{n:02}"), 1)).collect();
        let base = Profile { maps: maps(4, "net"), ..Profile::default() };
        let app = Profile { maps: maps(8, "cfg"), image: Some(1), ..Profile::default() };
        Self {
            profiles: BTreeMap::from([("base", base), ("app", app)]),
            targets: (1..=clusters).map(target).collect(),
            readme: 0,
            broken: None,
        }
    }

    /// Every file, by its path.
    pub fn files(&self, commits: &[String]) -> BTreeMap<String, String> {
        let mut files = BTreeMap::from([("README.md".to_owned(), format!("# Fleet\n\n{}\n", self.readme))]);
        for (name, profile) in &self.profiles {
            files.extend(profile.files(name, self.broken.filter(|_| *name == "app")));
        }
        for (fleet, profile) in FLEETS {
            let text = if self.broken == Some(Broken::Fleets) {
                "kind: Fleet\n  metadata: [".to_owned()
            } else {
                fleet_text(fleet, profile)
            };
            files.insert(format!("fleets/{fleet}.yaml"), text);
        }
        let targets = self.targets.iter().filter(|_| self.broken != Some(Broken::NoTargets));
        for (name, target) in targets {
            files.insert(format!("clusters/{name}.yaml"), target.text(name, commits));
        }
        files
    }

    /// Who is in a fleet.
    pub fn members(&self, fleet: &str) -> impl Iterator<Item = (&String, &Target)> {
        self.targets.iter().filter(move |(_, target)| fleet == "base" || target.segment == fleet)
    }

    /// What a fleet wants on a target; `past` has the content of every commit.
    pub fn objects(&self, fleet: &str, name: &str, past: &[Self]) -> Option<Objects> {
        let (_, profile) = FLEETS.into_iter().find(|(known, _)| *known == fleet)?;
        let target = self.targets.get(name)?;
        let source = target.pin.and_then(|pin| past.get(pin)).unwrap_or(self);
        Some(source.profiles.get(profile)?.objects(profile, name, target))
    }
}

/// The document of a target that no fleet of the model takes.
pub fn hostile_target(name: &str) -> String {
    let labels = "{kind: none, segment: hostile}";
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: {name}, labels: {labels}}}\n"
    )
}

pub fn fleet_text(fleet: &str, profile: &str) -> String {
    let labels = if fleet == "base" { "{kind: edge}".to_owned() } else { format!("{{segment: {fleet}}}") };
    let failures = if fleet == "lab" { 2 } else { 0 };
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: {fleet}}}\nspec:\n  \
         clusters: {{matchLabels: {labels}}}\n  profiles: [{{name: {profile}}}]\n  \
         rollout: {{maxFailures: {failures}, progressDeadline: 30m}}\n"
    )
}

/// The namespace of a profile's objects.
fn namespace(profile: &str) -> &'static str {
    if profile == "base" { "infra" } else { "shop" }
}

pub fn map_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps/{name}")
}

/// Bytes of a value that no ConfigMap may hold: the limit is 1 MiB.
const TOO_LARGE: usize = (1 << 20) + 1;

pub const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

impl Profile {
    fn files(&self, name: &str, broken: Option<Broken>) -> BTreeMap<String, String> {
        let space = namespace(name);
        let extra = if broken == Some(Broken::Profile) { "  layerz: []\n" } else { "" };
        let variables = "type: object, properties: {note: {type: integer, default: 0}, \
                         replicas: {type: integer, default: 2}, mark: {type: string, default: fine}}";
        let profile = format!(
            "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterProfile\nmetadata: {{name: {name}}}\nspec:\n  \
             version: 1.0.0\n  variables: {{{variables}}}\n{extra}  layers:\n  \
             - {{name: {name}, type: addon, manifests: {{path: objects}}}}\n"
        );
        let folder = format!("profiles/{name}");
        let mut files = BTreeMap::from([(format!("{folder}/profile.yaml"), profile)]);
        if broken == Some(Broken::EmptyLayer) {
            files.insert(format!("{folder}/objects/none.yaml"), "# nothing\n".to_owned());
            return files;
        }
        let mut put = |file: &str, text: String| files.insert(format!("{folder}/objects/{file}.yaml"), text);
        put("namespace", format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {space}}}\n"));
        for (map, version) in &self.maps {
            put(map, map_text(space, map, *version));
        }
        if let Some(image) = self.image {
            put("web", web_text(image, self.bad));
        }
        if let Some(job) = self.job {
            put("job", job_text(job));
        }
        if self.bad == Some(Bad::TooLarge) {
            let value = "x".repeat(TOO_LARGE);
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: refused, namespace: shop}}\ndata: {{large: {value}}}\n"
            );
            put("refused", text);
        }
        if self.bad == Some(Bad::Refused) {
            let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: refused, namespace: shop}\n\
                        data: {\"not a key\": \"x\"}\n";
            put("refused", text.to_owned());
        }
        if broken == Some(Broken::Manifest) {
            put("torn", "kind: ConfigMap\nmetadata: {name: torn".to_owned());
        }
        files
    }

    fn objects(&self, profile: &str, name: &str, target: &Target) -> Objects {
        let space = namespace(profile);
        let mut objects = Objects::from([(format!("/api/v1/namespaces/{space}"), json!({}))]);
        for (map, version) in &self.maps {
            let mut data = json!({"value": format!("v{version}"), "cluster": name});
            if has_more(*version) {
                data["more"] = json!("x");
            }
            if is_noted(map) {
                data["note"] = json!(target.note.unwrap_or(0).to_string());
            }
            objects.insert(map_path(space, map), data);
        }
        if let Some(image) = self.image {
            let image = format!("example.com/web:{image}");
            let mark = if target.poison { "not fine!" } else { "fine" };
            let crash = self.bad == Some(Bad::Crash);
            let web = json!({"image": image, "replicas": target.replicas, "mark": mark, "crash": crash});
            objects.insert(WEB.to_owned(), web);
        }
        match self.bad {
            Some(Bad::Refused) => {
                objects.insert(map_path("shop", "refused"), json!({"not a key": "x"}));
            }
            Some(Bad::TooLarge) => {
                objects.insert(map_path("shop", "refused"), json!({"large": "x".repeat(TOO_LARGE)}));
            }
            _ => {}
        }
        objects
    }
}

/// Whether a ConfigMap shows the target's note.
fn is_noted(map: &str) -> bool {
    map.ends_with(['1', '5', '9'])
}

/// Whether a version of a ConfigMap has a key more, which the next version drops.
fn has_more(version: u32) -> bool {
    version.is_multiple_of(3)
}

fn map_text(namespace: &str, name: &str, version: u32) -> String {
    let more = if has_more(version) { ", more: x" } else { "" };
    let note = if is_noted(name) { ", note: \"${{ string(var.note) }}\"" } else { "" };
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         data: {{value: v{version}, cluster: \"${{{{ cluster.name }}}}\"{note}{more}}}\n"
    )
}

fn web_text(image: u32, bad: Option<Bad>) -> String {
    let (fields, fail) = match bad {
        Some(Bad::Crash) => {
            ("\n  progressDeadlineSeconds: 1", ", annotations: {sim.fairlead.dev/fail: crash}")
        }
        Some(Bad::UnknownField) => ("\n  replica: 2", ""),
        _ => ("", ""),
    };
    format!(
        "apiVersion: apps/v1\nkind: Deployment\n\
         metadata: {{name: web, namespace: shop, labels: {{mark: \"${{{{ var.mark }}}}\"}}}}\nspec:\n  \
         replicas: ${{{{ var.replicas }}}}{fields}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    \
         metadata: {{labels: {{app: web}}{fail}}}\n    \
         spec: {{containers: [{{name: main, image: \"example.com/web:{image}\"}}]}}\n"
    )
}

pub fn job_path(number: u32) -> String {
    format!("/apis/batch/v1/namespaces/shop/jobs/once-{number}")
}

fn job_text(number: u32) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once-{number}, namespace: shop}}\nspec:\n  \
         ttlSecondsAfterFinished: 0\n  template:\n    \
         spec: {{restartPolicy: Never, containers: [{{name: main, image: \"example.com/once:{number}\"}}]}}\n"
    )
}

impl Target {
    fn text(&self, name: &str, commits: &[String]) -> String {
        let mut variables = format!("replicas: {}", self.replicas);
        let note = self.note.map(|note| note.to_string());
        if let Some(note) = self.mistake.then(|| "many".to_owned()).or(note) {
            let _ = write!(variables, ", note: {note}");
        }
        if self.poison {
            let _ = write!(variables, ", mark: \"not fine!\"");
        }
        let mut spec = format!("  variables: {{{variables}}}\n");
        if let Some(commit) = self.pin.and_then(|pin| commits.get(pin)) {
            let _ = writeln!(spec, "  pin: {{commit: {commit}}}");
        }
        if self.suspend {
            spec += "  suspend: true\n";
        }
        let labels = format!("{{kind: edge, segment: {}}}", self.segment);
        format!(
            "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: {name}, labels: {labels}}}\nspec:\n{spec}"
        )
    }
}

/// What of an object the repository decides, in the form of [`Objects`].
pub fn essence(path: &str, object: &Value) -> Value {
    if path.contains("/configmaps/") {
        return object["data"].clone();
    }
    if path.contains("/deployments/") {
        let template = &object["spec"]["template"];
        return json!({
            "image": template["spec"]["containers"][0]["image"],
            "replicas": object["spec"]["replicas"],
            "mark": object["metadata"]["labels"]["mark"],
            "crash": template["metadata"]["annotations"]["sim.fairlead.dev/fail"] == "crash",
        });
    }
    json!({})
}
