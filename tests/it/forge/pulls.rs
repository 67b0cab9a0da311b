//! Pull requests on a real forge: the check, the one comment, the merge, and strangers.

use std::time::Duration;

use serde_json::{Value, json};

use super::gitea::OWNER;
use super::world::World;
use crate::e2e::{config_map, namespace, value};
use crate::harness::shared;
use crate::world::eventually;

const SETTINGS: &str = "profiles/app/app/settings.yaml";
const SOON: Duration = Duration::from_secs(60);

fn secret(ns: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: {ns}}}\nstringData: {{key: {value}}}\n"
    )
}

impl World {
    /// Commits everything on a branch of its own, and pushes it.
    fn push_branch(&self, branch: &str, message: &str) -> String {
        self.repo.git(&["add", "--all"]);
        self.repo.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.repo.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:{branch}")]);
        self.repo.head()
    }

    async fn open_pull(&self, token: &str, head: &str) -> u64 {
        let pull = json!({"head": head, "base": "main", "title": format!("Merge {head}"), "body": "please"});
        eventually("the pull request is open", SOON, async || {
            // Gitea knows of a new branch only a moment after it was pushed.
            let answer = self.gitea.api_as(token, "POST", &self.at("/pulls"), pull.clone()).await?;
            if answer.status == 201 {
                Ok(answer.json()["number"].as_u64().unwrap())
            } else {
                Err(answer.body)
            }
        })
        .await
    }

    async fn comments(&self, pull: u64) -> Vec<Value> {
        self.gitea.get(&self.at(&format!("/issues/{pull}/comments"))).await.as_array().cloned().unwrap()
    }

    /// Waits until the daemon's comment says this; gives it.
    async fn expect_comment(&self, pull: u64, says: &str) -> Value {
        let what = format!("the comment says {says:?}");
        eventually(&what, SOON, async || {
            let comments = self.comments(pull).await;
            let ours = comments.iter().find(|comment| comment["user"]["login"] == OWNER);
            match ours {
                Some(comment) if comment["body"].as_str().unwrap_or_default().contains(says) => {
                    Ok(comment.clone())
                }
                _ => Err(format!("{comments:#?}\n{}", self.log_tail())),
            }
        })
        .await
    }

    fn log_tail(&self) -> String {
        let log = self.daemon.log();
        let tail: Vec<_> = log.lines().rev().take(30).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

async fn start(ns: &'static str) -> World {
    let plane = shared("beta").await.unwrap();
    let mut world = World::new(plane, ns).await;
    let first = world
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write(SETTINGS, &config_map(ns, "settings", "1"))
        .write("profiles/app/app/secret.yaml", &secret(ns, "canary-of-old"))
        .push("First");
    world.daemon.start();
    world.wait_until_up().await;
    world.add_webhook();
    world.expect_status(&first, "retail", "success").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_is_checked_shown_merged_and_followed_to_its_end() {
    let ns = "forge-pull";
    let world = start(ns).await;
    world
        .repo
        .write(SETTINGS, &config_map(ns, "settings", "2"))
        .write("profiles/app/app/secret.yaml", &secret(ns, "canary-of-new"));
    let head = world.push_branch("change", "A change");
    let pull = world.open_pull(world.gitea.token(), "change").await;
    let told = world.expect_status(&head, "validate", "success").await;
    assert_eq!(told.len(), 1, "{told:?}");
    let first = world.expect_comment(pull, "1 of 1 target would change").await;
    let body = first["body"].as_str().unwrap();
    for part in
        ["| retail | 1 of 1 | all at once | at any time |", "| ConfigMap | 0 | 1 | 0 | 0 |", "-  value: "]
    {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!body.contains("canary-of"), "{body}");

    // A commit that changes nothing for the fleet: a check of its own, and the comment stays as it is.
    world.repo.write("README.md", "# Fleet\n");
    let head = world.push_branch("change", "A README");
    world.expect_status(&head, "validate", "success").await;
    let comments = world.comments(pull).await;
    assert_eq!(comments.len(), 1, "{comments:#?}");
    assert_eq!(comments[0]["updated_at"], first["updated_at"]);

    // A mistake: the check fails, and the comment names its place.
    world.repo.write("clusters/edge-002.yaml", "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarge\n");
    let head = world.push_branch("change", "A mistake");
    let told = world.expect_status(&head, "validate", "failure").await;
    assert!(told.last().unwrap().1.contains("clusters/edge-002.yaml:1:"), "{told:?}");
    world.expect_comment(pull, "clusters/edge-002.yaml:2:7: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_pull_request_says_where_it_converged() {
    let ns = "forge-merge";
    let world = start(ns).await;
    world.repo.write(SETTINGS, &config_map(ns, "settings", "2"));
    world.push_branch("change", "A change");
    let pull = world.open_pull(world.gitea.token(), "change").await;
    world.expect_comment(pull, "1 of 1 target would change").await;
    let merge = json!({"Do": "merge"});
    eventually("it is merged", SOON, async || {
        // Gitea works out for a moment whether it can be merged.
        let answer =
            world.gitea.api("POST", &world.at(&format!("/pulls/{pull}/merge")), merge.clone()).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.body) }
    })
    .await;
    let merged = world.gitea.get(&world.at(&format!("/pulls/{pull}"))).await;
    let commit = merged["merge_commit_sha"].as_str().unwrap().to_owned();
    world.expect_status(&commit, "retail", "success").await;
    let last = world.expect_comment(pull, "- fleet retail: 1 of 1 converged").await;
    let body = last["body"].as_str().unwrap();
    assert!(body.contains(&format!("**Merged as {}**", &commit[..7])), "{body}");
    assert!(body.contains("1 of 1 target would change"), "{body}");
    assert_eq!(world.comments(pull).await.len(), 1);
    assert_eq!(value(shared("beta").await.unwrap(), ns, "settings").await.as_deref(), Some("2"));

    // One that touches nothing says so in a line.
    world.repo.git(&["fetch", "--quiet", "origin"]);
    world.repo.git(&["checkout", "--quiet", "-B", "main", "origin/main"]);
    world.repo.write("README.md", "# Fleet\n");
    world.push_branch("readme", "A README");
    let pull = world.open_pull(world.gitea.token(), "readme").await;
    let comment = world.expect_comment(pull, "No cluster is touched.").await;
    assert!(comment["body"].as_str().unwrap().lines().filter(|line| !line.is_empty()).count() <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_of_a_stranger_is_read_and_nothing_more() {
    let ns = "forge-fork";
    let world = start(ns).await;
    let mallory = world.gitea.add_user("mallory").await;
    let collaborator = world.at("/collaborators/mallory");
    world.gitea.must("PUT", &collaborator, json!({"permission": "read"}), 204).await;
    let fork = world.gitea.api_as(&mallory, "POST", &world.at("/forks"), json!({})).await.unwrap();
    assert_eq!(fork.status, 202, "{}", fork.body);
    let url = world.gitea.url().replace("https://", &format!("https://mallory:{mallory}@"));
    world.repo.git(&["remote", "set-url", "origin", &format!("{url}/mallory/fleet.git")]);
    // A change, a link out of the repository, and mark-up where text belongs.
    world.repo.write(SETTINGS, &config_map(ns, "settings", "</details><h1>@platform approve</h1>"));
    std::os::unix::fs::symlink("/etc/passwd", world.repo.clone_path().join("profiles/app/app/link.yaml"))
        .unwrap();
    let head = world.push_branch("evil", "Evil");
    let pull = world.open_pull(&mallory, "mallory:evil").await;
    // A comment that pretends to be ours is not taken for it.
    let marker = format!("<!-- fairlead:{ns}:plan -->\nAll is well.");
    let path = world.at(&format!("/issues/{pull}/comments"));
    let answer = world.gitea.api_as(&mallory, "POST", &path, json!({"body": marker})).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);

    let told = world.expect_status(&head, "validate", "failure").await;
    assert!(told.last().unwrap().1.contains("profiles/app/app/link.yaml"), "{told:?}");
    let ours = world.expect_comment(pull, "link.yaml").await;
    let body = ours["body"].as_str().unwrap();
    assert!(!body.contains("root:") && !body.contains("<h1>"), "{body}");
    assert!(!body.contains(world.gitea.token()), "{body}");
    let comments = world.comments(pull).await;
    let theirs = comments.iter().find(|comment| comment["user"]["login"] == "mallory").unwrap();
    assert_eq!(theirs["body"], marker.as_str(), "a stranger's comment was edited");
    // Nothing of it reaches the cluster, and the daemon does not answer comments.
    assert_eq!(comments.len(), 2, "{comments:#?}");
    assert_eq!(value(shared("beta").await.unwrap(), ns, "settings").await.as_deref(), Some("1"));
    assert!(!world.daemon.log().contains(world.gitea.token()));
}
