//! `validate`, `render` and `plan` in clones of every form that Git makes: what is not there is unknown, never "none".

use std::path::{Path, PathBuf};
use std::process::Command;

struct World {
    dir: tempfile::TempDir,
}

/// A command's exit code, and all that it said.
type Said = (Option<i32>, String);

impl World {
    /// A bare repository and a clone of it, with a profile, two targets and a fleet.
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let path = world.dir.path();
        git(path, &["init", "-q", "--bare", "-b", "main", "source.git"]);
        for (name, value) in [("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true")] {
            git(&path.join("source.git"), &["config", name, value]);
        }
        git(path, &["clone", "-q", "source.git", "clone"]);
        git(&world.clone_path(), &["checkout", "-q", "-B", "main"]);
        let head = "apiVersion: fairlead.dev/v1alpha1\nkind:";
        world.write(
            "profiles/stall/profile.yaml",
            &format!(
                "{head} ClusterProfile\nmetadata: {{name: stall}}\nspec:\n  version: 1.0.0\n  layers:\n  - {{name: goods, \
                 type: addon, manifests: {{path: goods}}}}\n"
            ),
        );
        world.batch("1");
        for target in ["edge-001", "edge-002"] {
            let text = format!("{head} ClusterTarget\nmetadata: {{name: {target}, labels: {{row: a}}}}\n");
            world.write(&format!("clusters/{target}.yaml"), &text);
        }
        world.write(
            "fleets/market.yaml",
            &format!(
                "{head} Fleet\nmetadata: {{name: market}}\nspec:\n  clusters: {{matchLabels: {{row: a}}}}\n  profiles: \
                 [{{name: stall}}]\n"
            ),
        );
        world.commit("one");
        world
    }

    fn clone_path(&self) -> PathBuf {
        self.dir.path().join("clone")
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.clone_path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.clone_path().join(file)).unwrap();
        assert!(text.contains(from));
        self.write(file, &text.replace(from, to));
    }

    fn batch(&self, batch: &str) {
        self.write(
            "profiles/stall/goods/cm.yaml",
            &format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: crate, namespace: default}}\ndata: {{batch: \"{batch}\"}}\n"
            ),
        );
    }

    fn commit(&self, message: &str) {
        git(&self.clone_path(), &["add", "-A"]);
        git(&self.clone_path(), &["commit", "-q", "-m", message]);
        git(&self.clone_path(), &["push", "-q", "origin", "HEAD:main"]);
    }

    /// Another clone, made with these options.
    fn other(&self, name: &str, options: &[&str]) -> PathBuf {
        let url = format!("file://{}", self.dir.path().join("source.git").display());
        git(self.dir.path(), &[&["clone", "-q"], options, &[&url, name]].concat());
        self.dir.path().join(name)
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=Ida", "-c", "user.email=ida@example.test"]);
    command.args(["-c", "protocol.file.allow=always"]).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn fairlead(folder: &Path, arguments: &[&str]) -> Said {
    let output =
        Command::new(env!("CARGO_BIN_EXE_fairlead")).current_dir(folder).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn is_fine((code, text): &Said) {
    assert_eq!(*code, Some(0), "{text}");
}

fn fails((code, text): &Said, parts: &[&str]) {
    assert!(code.is_some_and(|code| code != 0), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not said:\n{text}");
    }
}

const PLAN: [&str; 5] = ["plan", "--from", "HEAD~1", "--to", "HEAD"];

#[test]
fn a_partial_or_shallow_clone_has_no_plan_and_says_what_completes_it() {
    let world = World::new();
    world.batch("2");
    world.commit("two");
    let whole = fairlead(&world.clone_path(), &PLAN);
    is_fine(&whole);
    let partial = world.other("partial", &["--filter=blob:none"]);
    let said = fairlead(&partial, &PLAN);
    fails(&said, &["partial clone", "git fetch --refetch --no-filter"]);
    assert!(!said.1.contains("new in the fleet") && !said.1.contains("leaves the fleet"), "{}", said.1);
    git(&partial, &["fetch", "-q", "--refetch", "--no-filter"]);
    assert_eq!(fairlead(&partial, &PLAN), whole);
    let shallow = world.other("shallow", &["--depth", "1"]);
    fails(&fairlead(&shallow, &PLAN), &["HEAD~1", "git fetch --unshallow"]);
    git(&shallow, &["fetch", "-q", "--unshallow"]);
    assert_eq!(fairlead(&shallow, &PLAN), whole);
}

#[test]
fn what_can_not_be_read_has_neither_left_nor_come() {
    let world = World::new();
    let clone = world.clone_path();
    world.replace("fleets/market.yaml", "clusters:", "clustres:");
    world.commit("a typo in the fleet");
    let typo = fairlead(&clone, &PLAN);
    fails(
        &typo,
        &["edge-001 (market): no plan: fleets/market.yaml", "edge-002 (market): no plan", "assignments stay"],
    );
    assert!(!typo.1.contains("leaves the fleet") && !typo.1.contains("removed"), "{}", typo.1);
    fails(&fairlead(&clone, &["render", "edge-001"]), &["fleet market can't be read", "fleets/market.yaml"]);
    // The other way round it has not come.
    let back = fairlead(&clone, &["plan", "--from", "HEAD", "--to", "HEAD~1"]);
    fails(&back, &["edge-001 (market): no plan: at commit"]);
    assert!(!back.1.contains("new in the fleet"), "{}", back.1);
    let markdown = fairlead(&clone, &[&PLAN[..], &["-o", "markdown"]].concat());
    fails(&markdown, &["edge-001 and edge-002", "no plan"]);
    // On both sides: nothing is known of it, and that is said.
    world.write("README.md", "# Fleet\n");
    world.commit("readme");
    fails(&fairlead(&clone, &PLAN), &["fleet market: not read: fleets/market.yaml"]);

    world.replace("fleets/market.yaml", "clustres:", "clusters:");
    world.commit("mended");
    world.replace("clusters/edge-001.yaml", "labels:", "lables:");
    world.commit("a typo in a target");
    let one = fairlead(&clone, &PLAN);
    fails(&one, &["edge-001 (market): no plan: clusters/edge-001.yaml"]);
    assert!(!one.1.contains("leaves the fleet"), "{}", one.1);
    // Who asks about the other target alone gets an answer.
    is_fine(&fairlead(&clone, &[&PLAN[..], &["--target", "edge-002"]].concat()));
    is_fine(&fairlead(&clone, &["render", "edge-002"]));
    fails(&fairlead(&clone, &["render", "edge-001"]), &["clusters/edge-001.yaml"]);
}

#[test]
fn work_trees_are_read_whatever_the_index_is_and_what_they_lack_is_an_error() {
    let world = World::new();
    world.write(
        "clusters/edge-003.yaml",
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {name: edge-003}\nspec: {pin: {commit: abc}}\n",
    );
    world.commit("with a mistake");
    let split = world.other("split", &[]);
    git(&split, &["update-index", "--split-index"]);
    fails(&fairlead(&split, &["validate", "."]), &["clusters/edge-003.yaml", "1 error"]);
    is_fine(&fairlead(&split, &["render", "edge-001"]));

    for form in ["--sparse-index", "--no-sparse-index"] {
        let sparse = world.other(&format!("sparse{form}"), &["--no-checkout"]);
        git(&sparse, &["sparse-checkout", "set", form, "--cone", "profiles", "fleets"]);
        git(&sparse, &["checkout", "-q", "main"]);
        fails(&fairlead(&sparse, &["validate", "."]), &["clusters", "git sparse-checkout"]);
        fails(&fairlead(&sparse, &["render", "edge-001"]), &["git sparse-checkout"]);
        git(&sparse, &["sparse-checkout", "add", "clusters"]);
        fails(&fairlead(&sparse, &["validate", "."]), &["clusters/edge-003.yaml", "1 error"]);
        is_fine(&fairlead(&sparse, &["render", "edge-001"]));
    }

    // From any folder of it, and nowhere else.
    let ci = split.join("ci/jobs");
    std::fs::create_dir_all(&ci).unwrap();
    fails(&fairlead(&ci, &["validate", "."]), &["clusters/edge-003.yaml", "1 error"]);
    let empty = world.dir.path().join("elsewhere");
    std::fs::create_dir_all(&empty).unwrap();
    fails(&fairlead(&empty, &["validate", "."]), &["none of the folders 'profiles', 'clusters', 'fleets'"]);
}
