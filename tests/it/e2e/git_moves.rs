//! Git is the truth, and moves the clusters: pins, revisions, tags, rewritten history, going back by a commit.

use std::process::Command;

use serde_json::{Value, json};

use super::{FLEET, PROFILE, SOON, Small, TARGET, config_map, eventually, namespace, target, value};
use crate::harness::{ControlPlane, shared};
use crate::world::daemon::Daemon;

const SETTINGS: &str = "profiles/app/app/settings.yaml";
const FLEET_FILE: &str = "fleets/retail.yaml";
const TARGET_FILE: &str = "clusters/edge-001.yaml";

/// A world whose first commits have the values `one`, `two` and so on; gives their hashes too.
async fn world(plane: &ControlPlane, ns: &str, values: &[&str]) -> (Small, Vec<String>) {
    let mut small = Small::new(plane, ns);
    small.repo.write("profiles/app/app/namespace.yaml", &namespace(ns));
    small.daemon.start();
    let mut commits = Vec::new();
    for value in values {
        commits.push(small.repo.write(SETTINGS, &config_map(ns, "settings", value)).push(value));
    }
    small.converged(commits.last().unwrap()).await;
    (small, commits)
}

async fn has(plane: &ControlPlane, ns: &str, wanted: &str) {
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some(wanted));
}

/// The fleet's document with a revision of its profile.
fn revision(spec: &str) -> String {
    FLEET.replace("{name: app}", &format!("{{name: app, revision: {spec}}}"))
}

/// Waits until the fleet holds with a reason that says this.
async fn holds(small: &Small, says: &str) -> Value {
    let held = |status: &Value| {
        let fleet = &status["fleets"][0];
        fleet["state"] == "held" && fleet["reason"].as_str().unwrap_or_default().contains(says)
    };
    small.daemon.until(&format!("held: {says}"), SOON, held).await
}

/// Runs a command without a daemon, in the clone; it must succeed. Gives its output.
fn fairlead(small: &Small, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    let output = command.args(args).current_dir(small.repo.clone_path()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that asks the daemon; it must succeed. Gives its output.
fn ask(small: &Small, args: &[&str]) -> String {
    let output = small.daemon.command(args);
    assert!(Daemon::answered(args, &output), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn accept(small: &Small) {
    let said = ask(small, &["accept", "retail", "--reason", "looked at"]);
    assert!(said.contains("retail"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pins_and_revisions_move_to_older_and_newer_commits() {
    let plane = shared("beta").await.unwrap();
    let ns = "git-pins";
    let (small, commits) = world(plane, ns, &["one", "two", "three"]).await;
    has(plane, ns, "three").await;

    // A target's pin: older, unmoved by what comes, newer, and off again.
    let pin = |commit: &str| format!("{TARGET}spec: {{pin: {{commit: {commit}}}}}\n");
    let pinned = small.repo.write(TARGET_FILE, &pin(&commits[0])).push("Pin to one");
    small.converged(&pinned).await;
    has(plane, ns, "one").await;
    let four = small.repo.write(SETTINGS, &config_map(ns, "settings", "four")).push("Four");
    small.converged(&four).await;
    has(plane, ns, "one").await;
    let newer = small.repo.write(TARGET_FILE, &pin(&commits[1])).push("Pin to two");
    small.converged(&newer).await;
    has(plane, ns, "two").await;
    let free = small.repo.write(TARGET_FILE, TARGET).push("No pin");
    small.converged(&free).await;
    has(plane, ns, "four").await;

    // A fleet's profile at a commit: older, newer.
    for (commit, wanted) in [(&commits[0], "one"), (&commits[2], "three")] {
        let fleet = revision(&format!("{{commit: {commit}}}"));
        let moved = small.repo.write(FLEET_FILE, &fleet).push("Profile at a commit");
        small.converged(&moved).await;
        has(plane, ns, wanted).await;
    }

    // A commit that the control branch does not reach is held, even if its hash can be had.
    small.repo.git(&["checkout", "--quiet", "-b", "side"]);
    small.repo.write(SETTINGS, &config_map(ns, "settings", "from the side"));
    small.repo.git(&["commit", "--quiet", "--all", "-m", "Side"]);
    small.repo.git(&["push", "--quiet", "origin", "side"]);
    let side = small.repo.head();
    small.repo.git(&["checkout", "--quiet", "main"]);
    small
        .repo
        .write(FLEET_FILE, &revision(&format!("{{commit: {side}}}")))
        .push("Profile at a side's commit");
    holds(&small, "reached by neither the control branch nor an allowed tag").await;
    has(plane, ns, "three").await;
    let back = small.repo.write(FLEET_FILE, FLEET).push("Profile at the head");
    small.converged(&back).await;
    has(plane, ns, "four").await;

    let history = ask(&small, &["history", "edge-001"]);
    assert!(history.contains(&pinned[..7]) && history.contains("converged"), "{history}");
    let history: Value = serde_json::from_str(&ask(&small, &["history", "edge-001", "-o", "json"])).unwrap();
    let newest = &history[0];
    assert_eq!((&newest["commit"], &newest["outcome"]), (&Value::from(back), &Value::from("converged")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_off_the_branch_holds_its_fleet_alone_until_it_is_accepted_and_there() {
    let plane = shared("beta").await.unwrap();
    let ns = "git-side";
    let (small, _) = world(plane, ns, &["one"]).await;
    let zoo = FLEET.replace("name: retail", "name: zoo").replace("{name: app}", "{name: zoo}");
    let animal = |value: &str| config_map(ns, "animal", value);
    small
        .repo
        .write("profiles/zoo/profile.yaml", &PROFILE.replace("app", "zoo"))
        .write("profiles/zoo/zoo/animal.yaml", &animal("ape"))
        .write("fleets/zoo.yaml", &zoo);
    let first = small.repo.push("Another fleet");
    small.converged(&first).await;

    small.repo.git(&["checkout", "--quiet", "-b", "side"]);
    small.repo.write(SETTINGS, &config_map(ns, "settings", "from the side"));
    small.repo.git(&["commit", "--quiet", "--all", "-m", "Side"]);
    small.repo.git(&["push", "--quiet", "origin", "side"]);
    let side = small.repo.head();
    small.repo.git(&["checkout", "--quiet", "main"]);
    let fleet = revision(&format!("{{commit: {side}}}"));
    small.repo.write(FLEET_FILE, &fleet).write("profiles/zoo/zoo/animal.yaml", &animal("bear")).push("Side");
    holds(&small, "reached by neither the control branch nor an allowed tag").await;
    let zoo_has = async |wanted: &str| {
        eventually(&format!("the animal is {wanted}"), SOON, async || {
            let found = value(plane, ns, "animal").await;
            if found.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    zoo_has("bear").await;

    // A person's word does not bring it here: nothing that is followed has it. The other fleet goes on.
    accept(&small);
    holds(&small, "was accepted but is not there").await;
    small.repo.write("profiles/zoo/zoo/animal.yaml", &animal("cat")).push("Another animal");
    zoo_has("cat").await;
    has(plane, ns, "one").await;

    // Once a branch that is followed brings it, it is taken: it was accepted.
    let zoo = zoo.replace("[{name: zoo}]", "[{name: zoo, revision: {branch: side}}]");
    let followed = small.repo.write("fleets/zoo.yaml", &zoo).push("The zoo follows the side branch");
    small.converged(&followed).await;
    has(plane, ns, "from the side").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_in_a_range_move_the_profile_and_a_moved_tag_holds() {
    let plane = shared("beta").await.unwrap();
    let ns = "git-tags";
    let (mut small, commits) = world(plane, ns, &["one", "two", "three"]).await;
    let tag = |small: &Small, name: &str, commit: &str| {
        small.repo.git(&["tag", "--force", name, commit]);
        small.repo.git(&["push", "--quiet", "--force", "origin", &format!("refs/tags/{name}")]);
    };
    tag(&small, "app/v1.0.0", &commits[0]);
    tag(&small, "app/v2.0.0", &commits[2]);
    let ranged = small.repo.write(FLEET_FILE, &revision("{tag: \">=1, <2\"}")).push("Versions 1");
    small.converged(&ranged).await;
    has(plane, ns, "one").await;

    // A new tag in the range moves it, without a commit on the branch.
    tag(&small, "app/v1.1.0", &commits[1]);
    moved(plane, ns, "two").await;

    // People see which tag and which commit that is.
    let runs = format!("profiles      app v1.1.0 ({})\n", &commits[1][..7]);
    crate::world::eventually("explain names tag and commit", SOON, async || {
        let said = ask(&small, &["explain", "edge-001"]);
        if said.contains(&runs) { Ok(()) } else { Err(said) }
    })
    .await;
    let history = small.daemon.get("/api/v1/targets/edge-001/history");
    let profiles: Vec<_> = history.as_array().unwrap().iter().map(|event| &event["profiles"]).collect();
    let of = |version: &str, commit: &str| json!([{"profile": "app", "tag": version, "commit": commit}]);
    assert_eq!(profiles[0], &of("app/v1.1.0", &commits[1]));
    assert!(profiles.contains(&&of("app/v1.0.0", &commits[0])), "{profiles:?}");
    let table = ask(&small, &["history", "edge-001"]);
    assert!(table.contains("app v1.1.0") && table.contains("app v1.0.0"), "{table}");

    // A tag that moves holds, whatever else comes, until a person accepts it.
    tag(&small, "app/v1.1.0", &commits[2]);
    holds(&small, "tag app/v1.1.0 moved from").await;
    let readme = small.repo.write("README.md", "# Fleet\n").push("README");
    small
        .daemon
        .until("the README is seen", SOON, |status| status["repository"]["observed"] == *readme)
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    holds(&small, "tag app/v1.1.0 moved from").await;
    has(plane, ns, "two").await;
    small.daemon.kill().start();
    holds(&small, "tag app/v1.1.0 moved from").await;
    accept(&small);
    moved(plane, ns, "three").await;
    small.converged(&readme).await;

    // A tag that is gone holds too: the one before it would be a way back that nobody asked for. Also after a restart.
    small.repo.git(&["push", "--quiet", "origin", ":refs/tags/app/v1.1.0"]);
    holds(&small, "tag app/v1.1.0 (commit").await;
    small.daemon.kill().start();
    holds(&small, "app/v1.0.0 is the newest that is left").await;
    has(plane, ns, "three").await;

    // A newer one in the range is taken at once, and a person can take what is left.
    tag(&small, "app/v1.2.0", &commits[1]);
    moved(plane, ns, "two").await;
    small.repo.git(&["push", "--quiet", "origin", ":refs/tags/app/v1.2.0"]);
    holds(&small, "tag app/v1.2.0 (commit").await;
    accept(&small);
    moved(plane, ns, "one").await;
}

async fn moved(plane: &ControlPlane, ns: &str, wanted: &str) {
    crate::world::eventually(&format!("the value is {wanted}"), SOON, async || {
        let found = value(plane, ns, "settings").await;
        if found.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_branch_holds_until_a_person_accepts_it() {
    let plane = shared("beta").await.unwrap();
    let ns = "git-rewritten";
    let (mut small, commits) = world(plane, ns, &["one", "two"]).await;
    small.repo.git(&["reset", "--quiet", "--hard", &commits[0]]);
    small.repo.write(SETTINGS, &config_map(ns, "settings", "other"));
    small.repo.git(&["commit", "--quiet", "--all", "-m", "Other"]);
    small.repo.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    let other = small.repo.head();

    let status = holds(&small, "history was rewritten").await;
    assert_eq!(status["fleets"][0]["accepted"], *commits[1], "{status:#}");
    assert_eq!(target(&status, "edge-001")["status"], "converged", "{status:#}");
    let table = ask(&small, &["status"]);
    assert!(
        table.contains(&format!("{} does not descend from {}", &other[..7], &commits[1][..7])),
        "{table}"
    );
    has(plane, ns, "two").await;

    // The hold outlives the daemon.
    small.daemon.kill().start();
    holds(&small, "history was rewritten").await;
    has(plane, ns, "two").await;

    accept(&small);
    small.converged(&other).await;
    has(plane, ns, "other").await;
    let next = small.repo.write(SETTINGS, &config_map(ns, "settings", "next")).push("Next");
    small.converged(&next).await;
    has(plane, ns, "next").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_is_a_commit_on_a_branch_whose_merge_brings_the_cluster_back() {
    let plane = shared("beta").await.unwrap();
    let ns = "git-rollback";
    let (small, commits) = world(plane, ns, &["one", "two"]).await;
    let merge = |branch: &str| {
        small.repo.git(&["merge", "--quiet", "--no-ff", "-m", "Merge", branch]);
        small.repo.push("Merged")
    };

    let said = fairlead(&small, &["rollback", "retail", "--to", &commits[0], "--reason", "two is bad"]);
    let branch = format!("rollback/retail-{}", &commits[0][..7]);
    assert!(said.contains(&branch), "{said}");
    let message = small.repo.git(&["log", "-1", "--format=%B", &branch]);
    assert!(message.contains("two is bad"), "{message}");
    has(plane, ns, "two").await;
    let merged = merge(&branch);
    small.converged(&merged).await;
    has(plane, ns, "one").await;

    let three = small.repo.write(SETTINGS, &config_map(ns, "settings", "three")).push("Three");
    small.converged(&three).await;
    fairlead(&small, &["rollback", "retail", "--to", &commits[1], "--pin", "--branch", "pinned"]);
    let merged = merge("pinned");
    small.converged(&merged).await;
    has(plane, ns, "two").await;
    let four = small.repo.write(SETTINGS, &config_map(ns, "settings", "four")).push("Four");
    small.converged(&four).await;
    has(plane, ns, "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_say_what_a_commit_does_and_what_the_clusters_lack() {
    let plane = shared("beta").await.unwrap();
    let ns = "git-plans";
    let (small, commits) = world(plane, ns, &["one", "two"]).await;
    let (from, to) = (commits[0].as_str(), commits[1].as_str());

    let plan = ["plan", "--from", from, "--to", to];
    let text = fairlead(&small, &plan);
    for part in ["edge-001", &format!("ConfigMap {ns}/settings"), "value: one", "value: two"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let json: Value =
        serde_json::from_str(&fairlead(&small, &[&plan[..], &["-o", "json"]].concat())).unwrap();
    let group = &json["groups"][0];
    assert_eq!((&group["fleet"], &group["targets"][0]), (&"retail".into(), &"edge-001".into()), "{json:#}");
    let object = &group["layers"][0]["objects"][0];
    assert_eq!(object["what"], "changed", "{json:#}");
    let markdown = fairlead(&small, &[&plan[..], &["-o", "markdown"]].concat());
    assert!(markdown.contains("```diff") && markdown.contains("edge-001"), "{markdown}");

    // The other way round, and nothing at all.
    let back = fairlead(&small, &["plan", "--from", to, "--to", from]);
    assert!(back.contains("+  value: one"), "{back}");
    let none: Value =
        serde_json::from_str(&fairlead(&small, &["plan", "--from", to, "--to", to, "-o", "json"])).unwrap();
    assert_eq!(
        (&none["groups"], &none["unchanged"][0]["target"]),
        (&Value::Array(vec![]), &"edge-001".into())
    );

    // With what the cluster has: it lacks nothing at the head; at the older commit, the value would change.
    let live: Value = serde_json::from_str(&ask(&small, &["plan", "--live", "-o", "json"])).unwrap();
    assert_eq!(
        (&live["groups"], &live["unchanged"][0]["target"]),
        (&Value::Array(vec![]), &"edge-001".into())
    );
    let live = ask(&small, &["plan", "--live", "--to", from]);
    assert!(live.contains("value: one") && live.contains("value: two"), "{live}");
}
